//! FASTQ at the door and in `reads-qc`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use helix_tests::{StdioClient, World, cache, world};
use serde_json::{Value, json};

use super::fastq::{self, Case, Expected};
use super::make::{bgzf, cuts, gunzip, gzip, gzip_fast};
use super::memory::Watch;
use crate::stage::{failure, text};

/// What `gzip -t` finds whole and we do not, and why.
const WHOLE_TO_GZIP: [(&str, &str); 6] = [
    ("BGZF without its end block", "gzip knows no end block"),
    ("BGZF cut after its first block", "the same"),
    ("gzip, then BGZF without its end block", "the same"),
    ("a block longer than it says", "gzip does not read what a block says of its length"),
    ("a block much longer than it says", "the same"),
    ("a block shorter than it says", "the same"),
];

/// Whole files that seqkit reads in another way, and how.
const OTHER_TO_SEQKIT: [(&str, &str); 2] = [
    ("blank lines between records", "takes a line with nothing but CR for a record's first"),
    ("zeros after the last member", "takes them for another member, where gzip ignores them"),
];

/// Memory that a runner may take, whatever its input holds.
const RUNNER_BYTES_MAX: u64 = 150 * 1024 * 1024;

/// A host with `reads-qc`.
struct Lab {
    world: World,
    client: StdioClient,
    /// How many files were brought.
    files: usize,
}

/// What became of a file.
#[derive(Debug)]
enum Became {
    Numbers { reads: u64, bases: u64 },
    Import(String),
    Run(String),
}

impl Became {
    fn is(&self, expected: Expected) -> bool {
        match (self, expected) {
            (Self::Numbers { reads, bases }, Expected::Numbers { reads: r, bases: b }) => {
                (*reads, *bases) == (r, b)
            }
            (Self::Import(code), Expected::Import(wanted)) | (Self::Run(code), Expected::Run(wanted)) => {
                code == wanted
            }
            _ => false,
        }
    }
}

impl Lab {
    fn new(prepare: impl FnOnce(&mut World)) -> Result<Self> {
        let mut world = World::new()?;
        world.allow("reads-qc", &world::toolpack("reads-qc")?)?;
        prepare(&mut world);
        world.start()?;
        let client = world.client()?;
        Ok(Self { world, client, files: 0 })
    }

    /// Imports bytes as a file of this name; its id, or the code of the refusal.
    fn import(&mut self, bytes: &[u8], file: &str, hint: Option<&str>) -> Result<Result<String, String>> {
        self.files += 1;
        let name = format!("{}-{file}", self.files);
        fs::write(self.world.data().join(&name), bytes)?;
        let reply =
            self.client.call("artifact_import", json!({"root": "data", "path": name, "type_hint": hint}))?;
        fs::remove_file(self.world.data().join(&name))?;
        if reply.is_error {
            return Ok(Err(code(&failure(&reply))));
        }
        Ok(Ok(text(&reply.structured["artifacts"][0]["artifact_id"])))
    }

    /// What a tool makes of an artifact.
    fn run(&mut self, tool: &str, id: &str) -> Result<Became> {
        let reply = self.client.call(tool, json!({"reads": [id], "wait_seconds": 600}))?;
        if reply.is_error {
            return Ok(Became::Run(code(&failure(&reply))));
        }
        ensure!(reply.status() == "succeeded", "{}", reply.structured);
        let result = &reply.structured["result"];
        let (reads, bases) = match tool {
            "fastq_stats" => (&result["total"]["reads"], &result["total"]["bases"]),
            _ => (&result["reads_out"], &result["bases_out"]),
        };
        Ok(Became::Numbers { reads: count(reads)?, bases: count(bases)? })
    }

    fn finish(self) -> Result<()> {
        self.client.close()?;
        self.world.finish()
    }
}

fn count(value: &Value) -> Result<u64> {
    value.as_u64().with_context(|| format!("no count: {value}"))
}

fn code(failure: &str) -> String {
    failure.rsplit('/').next().unwrap_or_default().to_owned()
}

/// The first records of real Illumina reads.
fn some_reads(records: usize) -> Result<Vec<u8>> {
    let file = cache::seqkit_reads()?.join("Illimina1.8.fq.gz");
    let text = gunzip(&fs::read(cache::fetched(&file)?)?)?;
    let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').take(4 * records).collect();
    ensure!(lines.len() == 4 * records, "{} has too few reads", file.display());
    Ok(lines.concat())
}

fn all_cases(text: &[u8]) -> Result<Vec<Case>> {
    let mut cases = fastq::plain(text);
    cases.extend(fastq::compressed(text)?);
    Ok(cases)
}

/// Each file alone, at the import and in both tools.
#[test]
fn a_damaged_fastq_is_a_typed_failure_and_never_a_number() -> Result<()> {
    let mut lab = Lab::new(|_| ())?;
    let cases = all_cases(&some_reads(40)?)?;
    let mut wrong = Vec::new();
    for case in &cases {
        let imported = lab.import(&case.bytes, case.file, case.hint)?;
        for tool in ["fastq_stats", "fastq_filter"] {
            let became = match &imported {
                Ok(id) => lab.run(tool, id)?,
                Err(code) => Became::Import(code.clone()),
            };
            if !became.is(case.expected) {
                wrong.push(format!("{tool}, {}: {became:?} instead of {:?}", case.name, case.expected));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(cases.len() >= 70, "only {} cases", cases.len());
    lab.finish()
}

/// A hundred reads, cut at 500 places as one gzip member, and at 120 each plain and as BGZF.
#[test]
fn a_fastq_cut_anywhere_is_whole_or_refused() -> Result<()> {
    let mut lab = Lab::new(|_| ())?;
    let text = some_reads(100)?;
    let mut wrong = Vec::new();
    let mut whole = 0;
    let files = [
        ("reads.fq", "FASTQ", text.clone(), 120),
        ("reads.fq.gz", "FASTQ_GZ", gzip(&text)?, 500),
        ("reads.fq.gz", "FASTQ_GZ", bgzf(&text)?, 120),
    ];
    for (file, hint, bytes, count) in files {
        for length in cuts(bytes.len(), count) {
            let cut = bytes.get(..length).unwrap_or_default();
            let became = match lab.import(cut, file, Some(hint))? {
                Ok(id) => lab.run("fastq_stats", &id)?,
                Err(code) => Became::Import(code),
            };
            let fits = match (&became, hint) {
                (became, "FASTQ") => became.is(fastq::of_cut(cut)),
                // Of a file that is all but empty nobody can tell what it was.
                (Became::Import(code), _) => code == "type_mismatch" && length < 400,
                (Became::Run(code), _) => code == "input_damaged",
                (Became::Numbers { .. }, _) => false,
            };
            whole += u32::from(matches!(became, Became::Numbers { .. }));
            if !fits {
                wrong.push(format!("{hint} cut to {length} bytes: {became:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    // The cuts between two records: the test has seen both kinds.
    assert!(whole > 0, "no cut left a whole file");
    lab.finish()
}

/// What we call whole others call so too, with the same numbers; and what does not decode does
/// not decode for gzip either.
#[test]
fn gzip_and_seqkit_agree_where_they_judge_rightly() -> Result<()> {
    let program = cache::seqkit()?;
    let seqkit = cache::fetched(&program)?;
    let folder = tempfile::tempdir()?;
    let (mut wrong, mut asked) = (Vec::new(), (0, 0));
    for case in all_cases(&some_reads(40)?)? {
        let file = folder.path().join(case.file);
        fs::write(&file, &case.bytes)?;
        if case.bytes.starts_with(&[0x1f, 0x8b]) {
            let whole = Command::new("gzip").arg("-t").arg(&file).output()?.status.success();
            let ours = !matches!(case.expected, Expected::Run("input_damaged"));
            let known = WHOLE_TO_GZIP.iter().any(|(name, _)| *name == case.name);
            asked.0 += 1;
            if whole != (ours || known) {
                wrong.push(format!(
                    "{}: gzip -t calls it {}",
                    case.name,
                    if whole { "whole" } else { "damaged" }
                ));
            }
        }
        let Expected::Numbers { reads, bases } = case.expected else { continue };
        if reads == 0 || OTHER_TO_SEQKIT.iter().any(|(name, _)| *name == case.name) {
            continue;
        }
        let output = Command::new(seqkit).args(["stats", "-T"]).arg(&file).output()?;
        let stdout = String::from_utf8_lossy(&output.stdout);
        let mut lines = stdout.lines().map(|line| line.split('\t'));
        let row: BTreeMap<&str, &str> = match (lines.next(), lines.next()) {
            (Some(names), Some(values)) => names.zip(values).collect(),
            _ => BTreeMap::new(),
        };
        asked.1 += 1;
        let theirs = (row.get("num_seqs").copied(), row.get("sum_len").copied());
        if theirs != (Some(&*reads.to_string()), Some(&*bases.to_string())) {
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            wrong.push(format!("{}: seqkit says {theirs:?}, not {reads} and {bases}: {stderr}", case.name));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(asked.0 >= 30 && asked.1 >= 12, "asked only {asked:?}");
    Ok(())
}

/// Fifty megabytes without a line end, in each part of a record.
#[test]
fn a_line_of_fifty_megabytes_takes_no_more_memory() -> Result<()> {
    const BYTES: usize = 50_000_000;
    let mut lab = Lab::new(|_| ())?;
    let host = lab.world.host_pid().context("no host")?;
    let bases = vec![b'A'; BYTES];
    let qualities = vec![b'I'; BYTES];
    let record = gzip_fast(&[b"@r\n", &bases[..], b"\n+\n", &qualities, b"\n"].concat())?;
    let header = gzip_fast(&[b"@s\nA\n+\nI\n@", &bases[..], b"\nA\n+\nI\n"].concat())?;
    let plus = gzip_fast(&[b"@s\nA\n+\nI\n@r\nA\n+", &bases[..], b"\nI\n"].concat())?;
    let whole = Expected::Numbers { reads: 1, bases: BYTES as u64 };
    let refused = Expected::Run("invalid_input");
    for (what, bytes, stats) in
        [("sequence", record, whole), ("header", header, refused), ("+", plus, refused)]
    {
        let id = lab.import(&bytes, "long.fq.gz", Some("FASTQ_GZ"))?.map_err(anyhow::Error::msg)?;
        // The filter gathers a read before it keeps it, and says how long that may be.
        for (tool, expected) in [("fastq_stats", stats), ("fastq_filter", refused)] {
            let watch = Watch::start(host);
            let became = lab.run(tool, &id)?;
            let peak = watch.peak_bytes()?;
            assert!(became.is(expected), "{tool}, {what}: {became:?}");
            assert!(peak > 1024 * 1024, "the watch saw no runner");
            assert!(peak < RUNNER_BYTES_MAX, "{tool}, {what}: a runner took {} MiB", peak >> 20);
        }
    }
    lab.finish()
}

/// Two gigabytes in two megabytes: the limit on what inputs decode to ends the run, and not much
/// later than it is reached.
#[test]
fn a_bomb_meets_its_limit() -> Result<()> {
    let mut lab = Lab::new(|world| {
        world.policy.limit("guest", "decoded_bytes", "\"256MiB\"");
    })?;
    let host = lab.world.host_pid().context("no host")?;
    // A million bases a read, as many reads as make two gigabytes, each a member of its own.
    let read = [b"@r\n", &[b'A'; 1_000_000][..], b"\n+\n", &[b'I'; 1_000_000], b"\n"].concat();
    let member = gzip_fast(&read)?;
    let mut bomb = File::create(lab.world.data().join("bomb.fq.gz"))?;
    for _ in 0..1000 {
        bomb.write_all(&member)?;
    }
    let id = lab.world.import(&mut lab.client, "bomb.fq.gz")?;
    let watch = Watch::start(host);
    for tool in ["fastq_stats", "fastq_filter"] {
        let became = lab.run(tool, &id)?;
        assert!(became.is(Expected::Run("limit_decoded_bytes")), "{tool}: {became:?}");
    }
    let peak = watch.peak_bytes()?;
    assert!(peak < RUNNER_BYTES_MAX, "a runner took {} MiB", peak >> 20);
    // Zeros are no reads, however they are packed.
    let zeros = gzip_fast(&vec![0; 100_000_000])?;
    let import = lab.import(&zeros, "zeros.fq.gz", Some("FASTQ_GZ"))?;
    assert_eq!(import, Err("type_mismatch".to_owned()));
    lab.finish()
}
