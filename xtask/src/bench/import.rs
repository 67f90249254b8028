//! `import`: a large file becomes an artifact, against `cp` and a sync of it, then `sha256sum`.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use helix_tests::World;
use serde_json::json;

use super::measure::{self, Paired, timed};
use super::peers::Peer;
use super::{Row, Size, mib, shown};
use crate::say;

const REACH: f64 = 0.6;
const MEMORY_REACH_MIB: f64 = 64.0;

/// Plain reads of this many bytes.
fn write_reads(path: &Path, bytes: u64) -> Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let (mut state, mut written) = (1_u64, 0);
    while written < bytes {
        // A short generator is enough: the bytes must only be no zeros and not all alike.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let sequence: String = (0..100)
            .map(|place| ["A", "C", "G", "T"][usize::from(state.rotate_left(place).to_le_bytes()[0] & 3)])
            .collect();
        let record = format!("@read{state:020}\n{sequence}\n+\n{}\n", "I".repeat(100));
        file.write_all(record.as_bytes())?;
        written += record.len() as u64;
    }
    file.into_inner()?.sync_all()?;
    Ok(())
}

/// Other bytes of the same length: the name of the first read.
fn change(path: &Path, round: usize) -> Result<()> {
    let file = File::options().write(true).open(path)?;
    file.write_all_at(format!("{round:020}").as_bytes(), 5)?;
    file.sync_all()?;
    Ok(())
}

pub fn measure(size: Size) -> Result<Vec<Row>> {
    let mut world = World::new()?;
    world.start()?;
    let reads = world.data().join("reads.fastq");
    let bytes = size.of(1 << 30, 1 << 20);
    write_reads(&reads, bytes)?;
    let mut ours = Peer::start(world.serve()?)?;
    ours.greet()?;
    let host = world.host_pid().context("no host")?;
    measure::forget_peak(host)?;
    let copied = world.path().join("copied.fastq");
    let processes = [host, ours.id()];
    let paired = Paired::time(
        size.of(5, 1),
        |round| {
            change(&reads, round)?;
            let arguments = json!({"root": "data", "path": "reads.fastq", "wait_seconds": 600});
            let line =
                ours.line_of("tools/call", &json!({"name": "artifact_import", "arguments": arguments}));
            let took = timed(&processes, || ours.expect(&line, "\"status\":\"imported\"").map(drop))?;
            // The disk need not hold all rounds; nobody asks for the bytes again.
            forget_objects(&world)?;
            Ok(took)
        },
        |_| {
            let took = timed(&[], || {
                say::quiet(Command::new("cp").arg(&reads).arg(&copied))?;
                say::quiet(Command::new("sync").arg(&copied))?;
                let sum = say::quiet(Command::new("sha256sum").arg(&copied))?;
                ensure!(sum.len() > 64, "no checksum: {sum}");
                Ok(())
            })?;
            fs::remove_file(&copied)?;
            Ok(took)
        },
    )?;
    let peak = measure::memory(host, "status", "VmHWM")?;
    let (us, them) = paired.walls();
    let figures =
        format!("{:.0} MiB: import {}, cp + sync + sha256sum {}", mib(bytes), shown(us), shown(them));
    let memory = format!("the host's highest resident memory while it imports {:.0} MiB", mib(bytes));
    Ok(vec![
        Row::ratio("import", &paired, REACH, figures),
        Row::number("import: memory", mib(peak), "MiB", MEMORY_REACH_MIB, memory),
    ])
}

fn forget_objects(world: &World) -> Result<()> {
    let objects = world.home().join("objects");
    for shelf in fs::read_dir(&objects)? {
        fs::remove_dir_all(shelf?.path())?;
    }
    Ok(())
}
