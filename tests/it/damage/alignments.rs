//! BAM at the door, in the host's checks and decoder, and in a guest that reads all of it.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use helix_ids::ArtifactType;
use helix_tests::{World, cache, world};
use helixmcp::sandbox::client::GuestError;
use helixmcp::sandbox::protocol::Verdict;
use serde_json::{Value, json};

use super::bam::{self, Expected, Parts};
use super::make::{bgzf, cuts, gunzip};
use crate::guests;
use crate::sandbox_client::{Bench, Task, file};
use crate::stage::failure;

/// How many alignments each file is made of.
const RECORDS: usize = 20;

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
    let parts = some_alignments(RECORDS)?;
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
    let whole = bgzf(&some_alignments(RECORDS)?.joined())?;
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
    /// How many records a result counts; nothing if it does not look at records.
    records: fn(&Value) -> Option<u64>,
    /// Whether a result says that the file is in order.
    content: fn(&Value) -> bool,
    /// Whether it may say so of records that hold what they cannot: it looks at other things.
    odd_is_good: bool,
}

/// What became of a file.
#[derive(Debug)]
enum Became {
    Result(Value),
    Failed(String),
}

impl Tool {
    /// Whether that is what must become of it.
    fn fits(&self, case: &bam::Case, became: &Became) -> bool {
        let counts = |result, records: usize| {
            (self.records)(result).is_none_or(|counted| usize::try_from(counted) == Ok(records))
        };
        // A header that ends within its magic is nobody's.
        let cut_short = case.name == "ends within the magic";
        match (case.expected, became) {
            (Expected::NoBam, Became::Failed(code)) => code == "type_mismatch",
            (_, Became::Failed(code)) if cut_short => code == "type_mismatch",
            (Expected::Records(records), Became::Result(result)) => {
                counts(result, records) && (self.content)(result)
            }
            (Expected::Undecodable, Became::Failed(code)) => code == "input_damaged",
            // A tool that does not look at records cannot know.
            (Expected::Malformed, Became::Result(result)) => (self.records)(result).is_none(),
            (Expected::Odd, Became::Result(result)) => {
                counts(result, RECORDS) && (self.odd_is_good || !(self.content)(result))
            }
            (Expected::Malformed | Expected::Odd, Became::Failed(code)) => code == "invalid_input",
            _ => false,
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
    for (number, case) in bam::cases(&some_alignments(RECORDS)?)?.into_iter().enumerate() {
        let name = format!("{number}.bam");
        fs::write(world.data().join(&name), &case.bytes)?;
        let import = json!({"root": "data", "path": name, "type_hint": "BAM"});
        let mut reply = client.call("artifact_import", import)?;
        if let Some(id) = reply.structured["artifacts"][0]["artifact_id"].as_str() {
            reply = client.call(tool.name, json!({(tool.role): id, "wait_seconds": 600}))?;
        }
        let became = if reply.is_error {
            Became::Failed(failure(&reply).rsplit('/').next().unwrap_or_default().to_owned())
        } else {
            ensure!(reply.status() == "succeeded", "{}: {}", case.name, reply.structured);
            Became::Result(reply.structured["result"].clone())
        };
        if !tool.fits(&case, &became) {
            wrong.push(format!("{}: {became:?} instead of {:?}", case.name, case.expected));
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
        records: |_| None,
        content: |_| true,
        odd_is_good: true,
    })
}

/// `align-qc`, with a tool's own counts and verdict.
fn align_qc(
    name: &'static str,
    records: fn(&Value) -> Option<u64>,
    content: fn(&Value) -> bool,
) -> Result<Tool> {
    let component = world::toolpack("align-qc")?;
    Ok(Tool {
        toolpack: "align-qc",
        component,
        name,
        role: "alignments",
        records,
        content,
        odd_is_good: true,
    })
}

#[test]
fn a_damaged_bam_is_a_typed_failure_and_never_a_number() -> Result<()> {
    let total =
        |result: &Value| Some(result["passed"]["total"].as_u64()? + result["failed"]["total"].as_u64()?);
    every_damage_is_answered(&align_qc("bam_flagstat", total, |_| true)?)
}

/// A validation may answer, where the records can be told apart: then it must not say `valid`.
#[test]
fn a_damaged_bam_is_never_called_valid() -> Result<()> {
    let tool =
        align_qc("bam_validate", |result| result["records"].as_u64(), |result| result["valid"] == true)?;
    every_damage_is_answered(&Tool { odd_is_good: false, ..tool })
}

/// What we call whole samtools reads as well, with as many records. It is no judge of the others:
/// to a file without its end it gives a number and a warning.
#[test]
fn samtools_agrees_on_what_is_whole() -> Result<()> {
    let program = cache::samtools();
    let samtools = cache::fetched(&program)?;
    let file = tempfile::NamedTempFile::new()?;
    let (mut agreed, mut refused) = (0, 0);
    for case in bam::cases(&some_alignments(RECORDS)?)? {
        fs::write(file.path(), &case.bytes)?;
        let output = Command::new(samtools).args(["view", "-c"]).arg(file.path()).output()?;
        let count = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        refused += u32::from(!output.status.success());
        match case.expected {
            // gzip ignores zeros after its last member, samtools does not.
            Expected::Records(_) if case.name == "zeros after the end block" => {}
            Expected::Records(records) => {
                assert!(output.status.success() && count == records.to_string(), "{}: {count}", case.name);
                agreed += 1;
            }
            Expected::NoBam | Expected::Undecodable | Expected::Malformed | Expected::Odd => {}
        }
    }
    assert!(agreed >= 4 && refused >= 20, "samtools agreed {agreed} times and refused {refused} files");
    Ok(())
}
