//! `flagstat`: counts of a BAM's flags, artifact to report, against `samtools flagstat`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use helix_tests::{World, cache, world};
use serde_json::json;

use super::measure::{Paired, timed};
use super::peers::Peer;
use super::{Row, Size, mib, shown};
use crate::{build, machine, say};

const REACH: f64 = 0.8;

const SAMTOOLS: &str = "/usr/bin/samtools";

/// Whom we are set against.
///
/// # Errors
/// It cannot be installed.
pub fn prepare() -> Result<()> {
    machine::apt_install("the benchmark of flagstat", &["samtools"], Path::new(SAMTOOLS))?;
    crate::fetch::demo_reads()
}

/// Alignments of simulated reads, again and again.
fn alignments(copies: usize) -> Result<PathBuf> {
    let folder = build::target_dir()?.join("bench");
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("alignments-{copies}.bam"));
    if path.exists() {
        return Ok(path);
    }
    let once = folder.join("once.bam");
    let source = cache::lambda_reads()?.join("combined_reads.bam.gz");
    say::step(&format!("make {}", path.display()), || {
        let unpacked = Command::new("gzip")
            .arg("-dc")
            .arg(cache::fetched(&source)?)
            .stdout(File::create(&once)?)
            .status()?;
        ensure!(unpacked.success(), "gzip cannot read {}", source.display());
        let draft = path.with_extension("draft");
        let mut cat = Command::new(SAMTOOLS);
        cat.args(["cat", "--no-PG", "-o"]).arg(&draft).args(std::iter::repeat_n(&once, copies));
        say::quiet(&mut cat)?;
        Ok(fs::rename(&draft, &path)?)
    })?;
    Ok(path)
}

pub fn measure(size: Size) -> Result<Vec<Row>> {
    let file = alignments(size.of(40, 1))?;
    let mut world = World::new()?;
    world.allow("align-qc", &world::toolpack("align-qc")?)?;
    world.start()?;
    world.bring(&file)?;
    let mut ours = Peer::start(world.serve()?)?;
    ours.greet()?;
    let name = file.file_name().context("no name")?.to_string_lossy().into_owned();
    let arguments = json!({"root": "data", "path": name, "wait_seconds": 600});
    let import = ours.request("tools/call", &json!({"name": "artifact_import", "arguments": arguments}))?;
    let id = import["structuredContent"]["artifacts"][0]["artifact_id"].as_str();
    let id = id.with_context(|| format!("no import: {import}"))?.to_owned();
    let processes = [world.host_pid().context("no host")?, ours.id()];

    let mut rows = Vec::new();
    for (label, threads) in [("flagstat", "0"), ("flagstat: against -@ 1", "1")] {
        let paired = Paired::time(
            size.of(9, 1),
            |round| {
                let arguments =
                    json!({"alignments": id, "sample": format!("t{threads}r{round}"), "wait_seconds": 600});
                let line =
                    ours.line_of("tools/call", &json!({"name": "bam_flagstat", "arguments": arguments}));
                timed(&processes, || ours.expect(&line, "\"status\":\"succeeded\"").map(drop))
            },
            |_| {
                timed(&[], || {
                    let mut command = Command::new(SAMTOOLS);
                    let said = say::quiet(command.args(["flagstat", "-@", threads]).arg(&file))?;
                    ensure!(said.contains("in total"), "samtools said {said}");
                    Ok(())
                })
            },
        )?;
        let (us, them) = paired.walls();
        let bytes = fs::metadata(&file)?.len();
        let figures = format!(
            "{:.0} MiB: artifact to report {}, samtools flagstat -@ {threads} {}",
            mib(bytes),
            shown(us),
            shown(them)
        );
        rows.push(Row::ratio(label, &paired, REACH, figures));
    }
    Ok(rows)
}
