//! BAM at the door, in the host's checks and decoder, and in a guest that reads all of it.

use std::fs;

use anyhow::{Context, Result, ensure};
use helix_ids::ArtifactType;
use helix_tests::{World, cache};
use helixmcp::sandbox::client::GuestError;
use helixmcp::sandbox::protocol::Verdict;
use serde_json::json;

use super::bam::{self, Expected, Parts};
use super::make::{bgzf, cuts, gunzip};
use crate::guests;
use crate::sandbox_client::{Bench, Task, file};
use crate::stage::failure;

/// The first records of real Nanopore reads, aligned.
fn some_alignments(records: usize) -> Result<Parts> {
    let path = cache::seqkit_reads()?.join("pcs109_5k.bam.gz");
    // Debian packs what is BGZF already.
    let decoded = gunzip(&gunzip(&fs::read(cache::fetched(&path)?)?)?)?;
    let parts = Parts::of(&decoded, records)?;
    ensure!(parts.records.len() == records, "{} has too few records", path.display());
    Ok(parts)
}

/// The host's whole-file check and its decoder, each alone.
#[tokio::test]
async fn a_damaged_bam_passes_no_check_and_no_decoder() -> Result<()> {
    let bench = Bench::new()?;
    let copies = bench.load(&guests::honest("copies")?).await?;
    let parts = some_alignments(20)?;
    let cases = bam::cases(&parts)?;
    let mut wrong = Vec::new();
    for case in &cases {
        let verdict = bench.sandbox.check(file(&case.bytes)?, ArtifactType::Bam).await?;
        if (verdict == Verdict::Good) != matches!(case.expected, Expected::Records(_)) {
            wrong.push(format!("{}: the check says {verdict:?}", case.name));
        }
        let task = Task { params: r#"{"how":1}"#, input: Some(case.bytes.clone()), ..Task::default() };
        let (ran, _outputs) = bench.run(&copies, &task).await?;
        let undecodable = matches!(ran, Err(GuestError::Input { .. }));
        ensure!(undecodable || ran.is_ok(), "{}: {ran:?}", case.name);
        if undecodable != (case.expected == Expected::Undecodable) {
            wrong.push(format!("{}: decoding ends as {ran:?}", case.name));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(cases.len() >= 55, "only {} cases", cases.len());
    Ok(())
}

/// Cut at 500 places: nothing of it is whole. Only its first byte decodes, being no gzip.
#[tokio::test]
async fn a_bam_cut_anywhere_is_not_whole() -> Result<()> {
    let bench = Bench::new()?;
    let whole = bgzf(&some_alignments(20)?.joined())?;
    let good = bench.sandbox.check(file(&whole)?, ArtifactType::Bam).await?;
    assert_eq!(good, Verdict::Good);
    let copies = bench.load(&guests::honest("copies")?).await?;
    for (number, length) in cuts(whole.len(), 500).into_iter().enumerate() {
        let cut = whole.get(..length).context("a cut")?;
        let verdict = bench.sandbox.check(file(cut)?, ArtifactType::Bam).await?;
        assert!(matches!(verdict, Verdict::Bad { .. }), "cut to {length} bytes: {verdict:?}");
        // The decoder stops at the same places; a guest of its own for each would take long.
        if number % 10 == 0 && length > 1 {
            let task = Task { params: r#"{"how":1}"#, input: Some(cut.to_vec()), ..Task::default() };
            let (ran, _outputs) = bench.run(&copies, &task).await?;
            assert!(matches!(ran, Err(GuestError::Input { .. })), "cut to {length} bytes: {ran:?}");
        }
    }
    Ok(())
}

/// A tool that reads BAM.
struct Tool {
    toolpack: &'static str,
    component: Vec<u8>,
    name: &'static str,
    role: &'static str,
    /// How its run fails on what decodes and is no BAM file; nothing if it does not look.
    malformed: Option<&'static str>,
    /// Where its result says how many records there are.
    records: Option<&'static str>,
}

impl Tool {
    /// What must become of a file: the code of a failure, or how many records the result counts.
    fn expected(&self, expected: Expected) -> Result<Option<usize>, &'static str> {
        let counted = |records: usize| Ok(self.records.map(|_| records));
        match (expected, self.malformed) {
            (Expected::Records(records), _) => counted(records),
            (Expected::Malformed, None) => Ok(None),
            (Expected::Malformed, Some(code)) => Err(code),
            (Expected::Undecodable, _) => Err("input_damaged"),
            (Expected::NoBam, _) => Err("type_mismatch"),
        }
    }
}

/// Each file alone: what is no BAM by its first bytes is not imported, and what is damaged behind
/// them fails the tool's run.
fn every_damage_is_answered(tool: &Tool) -> Result<()> {
    let mut world = World::new()?;
    world.allow(tool.toolpack, &tool.component)?;
    world.start()?;
    let mut client = world.client()?;
    let mut wrong = Vec::new();
    for (number, case) in bam::cases(&some_alignments(20)?)?.into_iter().enumerate() {
        let name = format!("{number}.bam");
        fs::write(world.data().join(&name), &case.bytes)?;
        let import = json!({"root": "data", "path": name, "type_hint": "BAM"});
        let mut reply = client.call("artifact_import", import)?;
        // A header that ends within its magic is nobody's.
        let cut_short = case.name == "ends within the magic";
        if let Some(id) = reply.structured["artifacts"][0]["artifact_id"].as_str() {
            reply = client.call(tool.name, json!({(tool.role): [id], "wait_seconds": 600}))?;
        }
        let expected = if cut_short { Err("type_mismatch") } else { tool.expected(case.expected) };
        let became = if reply.is_error {
            Err(failure(&reply).rsplit('/').next().unwrap_or_default().to_owned())
        } else {
            let counted = tool.records.and_then(|at| reply.structured["result"].pointer(at)?.as_u64());
            Ok(counted.map(usize::try_from).transpose()?)
        };
        if became.as_ref().map_err(String::as_str) != expected.as_ref().map_err(|code| *code) {
            wrong.push(format!("{}: {became:?} instead of {expected:?}", case.name));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    client.close()?;
    world.finish()
}

/// A guest that looks at 16 bytes of its input and is content learns of damage wherever it lies.
#[test]
fn a_damaged_bam_fails_also_the_run_that_does_not_read_on() -> Result<()> {
    every_damage_is_answered(&Tool {
        toolpack: "peeks",
        component: guests::honest("peeks")?,
        name: "peeks",
        role: "data",
        malformed: None,
        records: None,
    })
}
