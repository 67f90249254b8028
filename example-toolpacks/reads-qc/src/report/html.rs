//! The report for people: one file, no script, nothing fetched from anywhere.

use std::fmt::Write as _;

use super::{gc_bars, grouped, length_bars, positions, quality_bars, svg};
use crate::stats::{Counted, Summary};

const STYLE: &str = include_str!("style.css");

/// The whole page.
pub fn html(files: &[Counted], total: &Summary) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
         <title>Reads quality report</title><style>{STYLE}</style></head><body><main>\n\
         <header><h1>Reads quality report</h1><p>{} · {} reads · {} bases</p></header>\n",
        names(files),
        grouped(total.reads),
        grouped(total.bases),
    );
    cards(&mut page, total);
    table(&mut page, files, total);
    for file in files {
        plots(&mut page, file);
    }
    page.push_str(METHODS);
    page.push_str("</main></body></html>\n");
    page
}

fn names(files: &[Counted]) -> String {
    files.iter().map(|file| escaped(&file.name())).collect::<Vec<_>>().join(" and ")
}

fn cards(page: &mut String, total: &Summary) {
    page.push_str("<section class=\"cards\">");
    for (name, value) in [
        ("Reads", grouped(total.reads)),
        ("Bases", grouped(total.bases)),
        ("Mean length", format!("{:.1} bp", total.length_mean)),
        ("N50", format!("{} bp", grouped(total.n50))),
        ("Q20", format!("{:.2} %", total.q20_percent)),
        ("Q30", format!("{:.2} %", total.q30_percent)),
        ("GC", format!("{:.2} %", total.gc_percent)),
        ("Mean quality", format!("{:.1}", total.quality_mean)),
    ] {
        // Writing to a String cannot fail.
        write!(page, "<div class=\"card\"><span>{name}</span><strong>{value}</strong></div>").ok();
    }
    page.push_str("</section>\n");
}

/// A row's name, and what stands in it.
type Row = (&'static str, fn(&Summary) -> String);

const ROWS: &[Row] = &[
    ("Reads", |s| grouped(s.reads)),
    ("Bases", |s| grouped(s.bases)),
    ("Shortest read", |s| grouped(s.length_min)),
    ("First quartile of lengths", |s| format!("{:.1}", s.length_q1)),
    ("Median length", |s| format!("{:.1}", s.length_median)),
    ("Mean length", |s| format!("{:.1}", s.length_mean)),
    ("Third quartile of lengths", |s| format!("{:.1}", s.length_q3)),
    ("Longest read", |s| grouped(s.length_max)),
    ("N50", |s| grouped(s.n50)),
    ("Gaps", |s| grouped(s.gaps)),
    ("Bases of Q20 or more", |s| format!("{:.2} %", s.q20_percent)),
    ("Bases of Q30 or more", |s| format!("{:.2} %", s.q30_percent)),
    ("Mean quality", |s| format!("{:.2}", s.quality_mean)),
    ("GC", |s| format!("{:.2} %", s.gc_percent)),
    ("N", |s| format!("{:.4} %", s.n_percent)),
    ("Qualities look like", |s| s.encoding_guess.clone()),
];

fn table(page: &mut String, files: &[Counted], total: &Summary) {
    page.push_str("<section><h2>Summary</h2><div class=\"scroll\"><table><thead><tr><th></th>");
    for file in files {
        write!(page, "<th>{}</th>", escaped(&file.name())).ok();
    }
    let together = (files.len() > 1).then_some(total);
    page.push_str(if together.is_some() {
        "<th>together</th></tr></thead><tbody>"
    } else {
        "</tr></thead><tbody>"
    });
    for (name, value) in ROWS {
        write!(page, "<tr><th>{name}</th>").ok();
        for summary in files.iter().map(|file| &file.summary).chain(together) {
            write!(page, "<td>{}</td>", value(summary)).ok();
        }
        page.push_str("</tr>");
    }
    page.push_str("</tbody></table></div></section>\n");
}

fn plots(page: &mut String, file: &Counted) {
    write!(
        page,
        "<section><h2>{}</h2><p class=\"digest\">{}</p>",
        escaped(&file.name()),
        escaped(&file.digest)
    )
    .ok();
    if file.summary.bases == 0 {
        page.push_str("<p>There is no base in this file.</p></section>\n");
        return;
    }
    let along = positions(file);
    let quality_key = key(&[("median", "median"), ("mean", "mean"), ("band", "middle half of the bases")]);
    figure(page, "Quality by position", &quality_key, &svg::quality(&along));
    let base_key =
        key(&[("base-a", "A"), ("base-c", "C"), ("base-g", "G"), ("base-t", "T"), ("base-n", "N")]);
    figure(page, "Base composition by position", &base_key, &svg::composition(&along));
    for (title, bars, x_name) in [
        ("Read lengths", length_bars(file), "length (bp)"),
        ("Quality of reads", quality_bars(file), "quality of the mean error (Phred)"),
        ("GC of reads", gc_bars(file), "GC (%)"),
    ] {
        figure(page, title, "", &svg::histogram(&bars, title, x_name));
    }
    page.push_str("</section>\n");
}

fn figure(page: &mut String, title: &str, key: &str, svg: &str) {
    writeln!(page, "<figure><figcaption><h3>{title}</h3>{key}</figcaption>{svg}</figure>").ok();
}

fn key(entries: &[(&str, &str)]) -> String {
    let entry = |(class, name): &(&str, &str)| format!("<span><i class=\"{class}\"></i>{name}</span>");
    format!("<p class=\"key\">{}</p>", entries.iter().map(entry).collect::<String>())
}

/// Text that came from outside, as text.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const METHODS: &str = "<footer><h2>How to read this</h2>\
<p>Numbers follow the definitions of <code>seqkit stats -a</code>. Quartiles of lengths are the medians of \
the halves. N50: reads of this length or longer hold half of all bases. Q20 and Q30: share of bases whose \
chance to be wrong is at most 1 % and 0.1 %. Mean quality is the Phred score of the mean chance of error, \
which is lower than the mean of the scores; a read's quality is that of its own mean. Along the read, the \
first 512 positions are counted one by one and later ones in bins of growing width. Where few reads are that \
long, the lines jump; positions.tsv says how many bases stand behind each point.</p></footer>";
