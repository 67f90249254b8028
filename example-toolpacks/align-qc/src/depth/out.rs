//! The outputs of `bam_depth`.

use helix_toolpack::prelude::*;
use helix_toolpack::{LinkedInput, serde_json};

use super::totals::{by_bases, mean};
use super::{Depth, DepthIo, OfReference, Totals};
use crate::bam::Header;
use crate::report::{self, Page, Point, grouped};
use crate::{percent, shown};

/// References that have a plot in the report.
const PLOTS_MAX: usize = 24;

/// Most steps of a plot: more cannot be seen.
const POINTS_MAX: usize = 400;

pub fn write(
    io: &DepthIo,
    header: &Header,
    totals: &Totals,
    depth: &Depth,
    input: &LinkedInput,
) -> Result<(), ToolError> {
    let mut metrics = io.metrics.create()?;
    serde_json::to_writer(&mut metrics, depth)?;
    metrics.write_all(b"\n")?;
    metrics.finish()?;

    let mut table = io.references.create()?;
    writeln!(table, "reference\tbases\treads\tcovered_bases\tcovered_percent\tmean_depth\tmax_depth")?;
    for ((name, bases), sums) in header.references.iter().zip(&totals.references) {
        let (covered, mean) = (percent(sums.covered.into(), bases.into()), mean(sums.sum, bases.into()));
        let (name, reads, bases_covered, max) = (report::cell(name), sums.reads, sums.covered, sums.max);
        writeln!(table, "{name}\t{bases}\t{reads}\t{bases_covered}\t{covered}\t{mean}\t{max}")?;
    }
    table.finish()?;
    write_windows(io, header, totals)?;
    io.report.write_all(html(header, totals, depth, input).as_bytes())
}

fn write_windows(io: &DepthIo, header: &Header, totals: &Totals) -> Result<(), ToolError> {
    let mut table = io.windows.create()?;
    writeln!(table, "reference\tstart\tend\tmean_depth\tcovered_bases\tmax_depth")?;
    for index in 0..header.references.len() {
        let name = report::cell(header.references.name(index));
        for (start, end, window) in stretches(header, totals, index) {
            let (mean, covered, max) = (mean(window.sum, end - start), window.covered, window.max);
            writeln!(table, "{name}\t{start}\t{end}\t{mean}\t{covered}\t{max}")?;
        }
    }
    Ok(table.finish()?)
}

/// A reference's windows with where they begin and end (from 0, the end not included).
fn stretches<'a>(
    header: &Header,
    totals: &'a Totals,
    index: usize,
) -> impl Iterator<Item = (u64, u64, &'a super::Window)> {
    let (bases, size) = (u64::from(header.references.bases(index)), u64::from(totals.cut.bases));
    let windows = totals.windows.get(totals.cut.of(index)).unwrap_or_default();
    (0_u64..).zip(windows).map(move |(number, window)| {
        let start = number * size;
        (start, (start + size).min(bases), window)
    })
}

/// Windows put together until they are few enough to be seen.
fn points(header: &Header, totals: &Totals, index: usize) -> Vec<Point> {
    let stretches: Vec<_> = stretches(header, totals, index).collect();
    let together = stretches.len().div_ceil(POINTS_MAX).max(1);
    let point = |group: &[(u64, u64, &super::Window)]| {
        let from = group.first().map_or(0, |first| first.0);
        let to = group.last().map_or(0, |last| last.1);
        let sum = group.iter().map(|(_, _, window)| window.sum).sum();
        let most = group.iter().map(|(_, _, window)| window.max).max().unwrap_or_default();
        Point { from, to, mean: mean(sum, to - from), most: f64::from(most) }
    };
    stretches.chunks(together).map(point).collect()
}

fn html(header: &Header, totals: &Totals, depth: &Depth, input: &LinkedInput) -> String {
    let title = format!("{} reads on {} bases", grouped(depth.reads), grouped(depth.bases));
    let mut page = Page::new("Depth of coverage", input, &title);
    page.cards(&[
        ("Mean depth", depth.mean_depth.to_string()),
        ("Covered", format!("{} %", depth.covered_percent)),
        ("Greatest depth", grouped(depth.max_depth)),
        ("Reads counted", grouped(depth.reads)),
        ("Reads left out", grouped(depth.reads_left_out)),
        ("References with reads", grouped(depth.references_with_reads)),
    ]);
    if depth.bases_past_end > 0 {
        let bases = grouped(depth.bases_past_end);
        page.note(&format!("{bases} aligned bases lie past the end of their reference and are not counted."));
    }
    let order = by_bases(totals);
    let key = report::key(&[("mean", "mean depth"), ("most", "greatest depth")]);
    for &index in order.iter().take(PLOTS_MAX) {
        let name = shown(header.references.name(index));
        let bases = u64::from(header.references.bases(index));
        let svg = report::coverage(&points(header, totals, index), bases, &format!("Depth along {name}"));
        page.figure(&name, &key, &svg);
    }
    if order.len() > PLOTS_MAX {
        let more = grouped((order.len() - PLOTS_MAX) as u64);
        page.note(&format!("{more} more references have reads; depth-windows.tsv has all of them."));
    }
    let rows = order.iter().take(PLOTS_MAX).map(|&index| {
        let of = OfReference::of(header, totals, index);
        vec![
            of.name,
            grouped(of.bases.into()),
            grouped(of.reads),
            grouped(of.covered_bases.into()),
            format!("{} %", of.covered_percent),
            of.mean_depth.to_string(),
            grouped(of.max_depth.into()),
        ]
    });
    let columns = ["reference", "bases", "reads", "covered bases", "covered", "mean depth", "greatest depth"];
    page.table("References with the most aligned bases", &columns, rows);
    page.finish(
        "A position's depth is the number of reads that have a base aligned to it, as <code>samtools depth</code> \
         counts: deletions, skipped introns, clips and insertions do not count, and where the two mates of a pair \
         overlap both do. The area is the mean of each window, the line the deepest position in it. \
         depth-windows.tsv and depth-references.tsv have the numbers.",
    )
}
