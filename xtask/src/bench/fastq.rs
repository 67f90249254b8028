//! `fastq`: statistics of reads, artifact to report, against `seqkit stats -a -j 1` of the same file.

use std::fs::{self, File};
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use helix_tests::{World, cache, world};
use serde_json::json;

use super::measure::{self, Paired, Watch, timed};
use super::peers::Peer;
use super::{Row, Size, mib, shown};
use crate::{build, say};

const REACH: f64 = 0.35;
const MEMORY_REACH_MIB: f64 = 150.0;

/// How often the part stands in the file.
const PARTS: u64 = 8;

/// How the file was compressed: in members of many megabytes, as `gzip` does and `cat` of several
/// lanes makes more of, or in BGZF's small blocks, as sequencers' own software does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Gzip,
    Bgzf,
}

/// Real Illumina reads of 150 bases, again and again until a part has this many bytes of text, and
/// compressed as `gzip -6` does; the file is eight of the part. Kept, because it takes a while.
fn reads(kind: Kind, part_bytes: u64) -> Result<PathBuf> {
    let folder = build::target_dir()?.join("bench");
    fs::create_dir_all(&folder)?;
    let name = format!("reads-{part_bytes}.{}", if kind == Kind::Gzip { "fq.gz" } else { "fq.bgz" });
    let path = folder.join(name);
    if path.exists() {
        return Ok(path);
    }
    let source = cache::seqkit_reads()?.join("Illimina1.8.fq.gz");
    let unpacked = Command::new("gzip").arg("-dc").arg(cache::fetched(&source)?).output()?;
    ensure!(unpacked.status.success(), "gzip cannot read {}", source.display());
    let once = unpacked.stdout;
    let (part, draft) = (path.with_extension("part"), path.with_extension("draft"));
    let (mut compress, copies) = match kind {
        Kind::Gzip => (Command::new("gzip"), PARTS),
        // Its end-of-file block may stand at the end only, so it is made in one go.
        Kind::Bgzf => (Command::new(super::peers::program("bgzf")?), 1),
    };
    compress.args((kind == Kind::Gzip).then_some("-6")).stdin(Stdio::piped()).stdout(File::create(&part)?);
    let text_bytes = if kind == Kind::Gzip { part_bytes } else { part_bytes * PARTS };
    say::step(&format!("make {}", path.display()), || {
        let mut child = compress.spawn()?;
        let mut stdin = child.stdin.take().context("no stdin")?;
        let mut written = 0;
        while written < text_bytes {
            stdin.write_all(&once)?;
            written += once.len() as u64;
        }
        drop(stdin);
        ensure!(child.wait()?.success(), "the reads could not be compressed");
        let mut file = File::create(&draft)?;
        for _copy in 0..copies {
            std::io::copy(&mut File::open(&part)?, &mut file)?;
        }
        fs::remove_file(&part)?;
        Ok(())
    })?;
    fs::rename(&draft, &path)?;
    Ok(path)
}

/// A world with `reads-qc`, an assistant, and the file as an artifact.
struct Scene {
    world: World,
    peer: Peer,
    artifact: String,
}

impl Scene {
    fn with(file: &Path) -> Result<Self> {
        let mut world = World::new()?;
        world.allow("reads-qc", &world::toolpack("reads-qc")?)?;
        world.start()?;
        // A link would do as well, but for roots on another disk.
        fs::copy(file, world.data().join("reads.fq.gz"))?;
        let mut peer = Peer::start(world.serve()?)?;
        peer.greet()?;
        let arguments = json!({"root": "data", "path": "reads.fq.gz", "wait_seconds": 3600});
        let import =
            peer.request("tools/call", &json!({"name": "artifact_import", "arguments": arguments}))?;
        let id = import["structuredContent"]["artifacts"][0]["artifact_id"].as_str();
        let artifact = id.with_context(|| format!("no import: {import}"))?.to_owned();
        fs::remove_file(world.data().join("reads.fq.gz"))?;
        Ok(Self { world, peer, artifact })
    }

    /// A run that was not made before: the sample's name is part of its identity.
    fn stats(&mut self, sample: &str) -> Result<measure::Took> {
        let arguments = json!({"reads": [self.artifact], "sample": sample, "wait_seconds": 3600});
        let line = self.peer.line_of("tools/call", &json!({"name": "fastq_stats", "arguments": arguments}));
        let host = self.world.host_pid().context("no host")?;
        let processes = [host, self.peer.id()];
        let took = timed(&processes, || self.peer.expect(&line, "\"status\":\"succeeded\"").map(drop))?;
        ensure!(!self.peer.last().contains("\"replayed\":true"), "the run was not new");
        Ok(took)
    }
}

pub fn measure(size: Size) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (kind, name) in [(Kind::Gzip, "fastq: gzip"), (Kind::Bgzf, "fastq: BGZF")] {
        let part_bytes = size.of(64 << 20, 1 << 20);
        let file = reads(kind, part_bytes)?;
        let mut scene = Scene::with(&file)?;
        let seqkit = cache::seqkit()?;
        let paired = Paired::time(
            size.of(5, 1),
            |round| scene.stats(&format!("s{round}")),
            |_| {
                timed(&[], || {
                    let mut command = Command::new(cache::fetched(&seqkit)?);
                    let said = say::quiet(command.args(["stats", "-a", "-T", "-j", "1"]).arg(&file))?;
                    ensure!(said.lines().count() == 2, "seqkit said {said}");
                    Ok(())
                })
            },
        )?;
        let (us, them) = paired.walls();
        let bytes = fs::metadata(&file)?.len();
        let figures = format!(
            "{:.0} MiB, of text {:.0} MiB: artifact to report {}, seqkit stats -a -j 1 {}",
            mib(bytes),
            mib(part_bytes * PARTS),
            shown(us),
            shown(them)
        );
        rows.push(Row::ratio(name, &paired, REACH, figures));
    }
    Ok(rows)
}

/// The highest memory of host and runner on a file of 4 GiB: members of gzip, one after the other.
pub fn memory(size: Size) -> Result<Vec<Row>> {
    let part = reads(Kind::Gzip, size.of(64 << 20, 1 << 20))?;
    let wanted = size.of(4 << 30, 1 << 20);
    let large = part.with_file_name("large.fq.gz");
    let mut file = File::create(&large)?;
    let mut part = File::open(&part)?;
    while file.metadata()?.len() < wanted {
        part.rewind()?;
        std::io::copy(&mut part, &mut file)?;
    }
    drop(file);
    let bytes = fs::metadata(&large)?.len();
    let mut scene = Scene::with(&large)?;
    fs::remove_file(&large)?;
    let host = scene.world.host_pid().context("no host")?;
    measure::forget_peak(host)?;
    let watch = Watch::children_of(host);
    let took = scene.stats("large")?;
    let runner = watch.end();
    let ours = measure::memory(host, "status", "VmHWM")?;
    let figures = format!(
        "{:.0} MiB of gzip in {}: at most {:.0} MiB resident in the runner, {:.0} MiB in the host",
        mib(bytes),
        shown(took.wall),
        mib(runner),
        mib(ours)
    );
    Ok(vec![Row::number("fastq: memory", mib(runner.max(ours)), "MiB", MEMORY_REACH_MIB, figures)])
}
