//! The tools of `align-qc` against samtools, number by number, on every BAM that others ship.
//!
//! `bam_flagstat` against `samtools flagstat`; `bam_index_stats` against `samtools idxstats`, which
//! counts as we do where there is no index, but wants the references of a file one after the other:
//! what it refuses is sorted for it; `bam_depth` against `samtools coverage` (sorted for it where
//! need be) and, position by position, `samtools depth`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use flate2::read::MultiGzDecoder;
use helix_tests::{StdioClient, ToolReply, World, cache, world};
use serde_json::{Value, json};

/// samtools' name of a count, and ours.
const FLAGSTAT: [(&str, &str); 16] = [
    ("total", "total"),
    ("primary", "primary"),
    ("secondary", "secondary"),
    ("supplementary", "supplementary"),
    ("duplicates", "duplicates"),
    ("primary duplicates", "primary_duplicates"),
    ("mapped", "mapped"),
    ("primary mapped", "primary_mapped"),
    ("paired in sequencing", "paired"),
    ("read1", "read1"),
    ("read2", "read2"),
    ("properly paired", "properly_paired"),
    ("with itself and mate mapped", "both_mapped"),
    ("singletons", "singletons"),
    ("with mate mapped to a different chr", "mate_on_other_reference"),
    ("with mate mapped to a different chr (mapQ >= 5)", "mate_on_other_reference_mapq5"),
];

/// samtools' name of a share, and ours.
const SHARES: [(&str, &str); 4] = [
    ("mapped %", "mapped_percent"),
    ("primary mapped %", "primary_mapped_percent"),
    ("properly paired %", "properly_paired_percent"),
    ("singletons %", "singletons_percent"),
];

/// Our params of a depth, and those of `samtools coverage` and `samtools depth`. The two call
/// the least qualities of reads and bases by each other's letters.
type Filter = (&'static str, &'static [&'static str], &'static [&'static str]);
const FILTERS: [Filter; 3] = [
    ("{}", &[], &[]),
    (r#"{"min_mapq":20}"#, &["-q", "20"], &["-Q", "20"]),
    (r#"{"min_base_quality":20}"#, &["-Q", "20"], &["-q", "20"]),
];

/// `samtools depth -q` never counts reads without bases, `samtools coverage -Q` does, and so do we.
const WITHOUT_BASES: [&str; 1] = ["xx#minimal.bam"];

/// The block that ends every BGZF file.
const END_BLOCK_BYTES: usize = 28;

#[test]
fn align_qc_agrees_with_samtools() -> Result<()> {
    let mut bench = Bench::new()?;
    let (mut compared, mut refused) = (0, 0);
    let mut wrong = Vec::new();
    for file in bench.files()? {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let theirs = flagstat(&file)?;
        let found = match bench.import(&file)? {
            Err(reason) if theirs.is_some() => vec![format!("not imported: {reason}")],
            Err(_) => {
                refused += 1;
                Vec::new()
            }
            Ok(id) => {
                if let Some(theirs) = theirs {
                    compared += 1;
                    bench.differences(&file, &id, &theirs)?
                } else {
                    refused += 1;
                    bench.refused_by_all(&id, "")?
                }
            }
        };
        wrong.extend(found.into_iter().map(|what| format!("{name}: {what}")));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(compared >= 37 && refused >= 1, "only {compared} files were compared and {refused} refused");
    bench.finish()
}

/// samtools gives numbers for a file without its end-of-file block, with a warning that nobody
/// may see. Of all files that it gives numbers for, these are the ones that we refuse.
#[test]
fn damaged_alignments_are_refused_with_their_place() -> Result<()> {
    let mut bench = Bench::new()?;
    let files = bench.files()?;
    let whole = files.iter().find(|file| file.ends_with("mpileup/mpileup.1.bam")).context("no such file")?;
    let whole = fs::read(whole)?;
    let end = whole.len() - END_BLOCK_BYTES;
    let mut flipped = whole.clone();
    let middle = flipped.get_mut(end / 2).context("an empty file")?;
    *middle ^= 0x10;
    let cases: [(&str, &[u8], bool, &str); 4] = [
        ("no_end.bam", whole.get(..end).unwrap_or_default(), true, "end-of-file block is missing"),
        ("cut.bam", whole.get(..end - 40).unwrap_or_default(), false, "ends within a BGZF block"),
        ("cut_at_start.bam", whole.get(..300).unwrap_or_default(), false, "ends within a BGZF block"),
        ("flipped.bam", &flipped, false, "a BGZF block"),
    ];
    let mut wrong = Vec::new();
    for (name, bytes, counted_by_samtools, reason) in cases {
        let file = bench.scratch.path().join(name);
        fs::write(&file, bytes)?;
        assert_eq!(flagstat(&file)?.is_some(), counted_by_samtools, "samtools of {name}");
        match bench.import(&file)? {
            Ok(id) => wrong.extend(bench.refused_by_all(&id, reason)?),
            Err(reason) => wrong.push(format!("{name} was not imported: {reason}")),
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    bench.finish()
}

/// A host, a client, and room for files.
struct Bench {
    lab: World,
    client: StdioClient,
    scratch: tempfile::TempDir,
}

impl Bench {
    fn new() -> Result<Self> {
        let mut lab = World::new()?;
        lab.allow("align-qc", &world::toolpack("align-qc")?)?;
        lab.start()?;
        let client = lab.client()?;
        Ok(Self { lab, client, scratch: tempfile::tempdir()? })
    }

    fn finish(self) -> Result<()> {
        self.client.close()?;
        self.lab.finish()
    }

    /// Every BAM of the packages; Debian compresses some once more.
    fn files(&self) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for package in cache::BAM_PACKAGES {
            collect(cache::fetched(&cache::debian(package)?)?, &mut files)?;
        }
        files.sort();
        for file in &mut files {
            if file.extension().is_some_and(|extension| extension == "gz") {
                let plain = self.scratch.path().join(file.file_stem().context("no name")?);
                let mut decoder = MultiGzDecoder::new(fs::File::open(&*file)?);
                std::io::copy(&mut decoder, &mut fs::File::create(&plain)?)?;
                *file = plain;
            }
        }
        Ok(files)
    }

    /// An artifact of a file, or why there is none.
    fn import(&mut self, file: &Path) -> Result<Result<String, String>> {
        let name = self.lab.bring(file)?;
        let arguments = json!({"root": "data", "path": name, "type_hint": "BAM"});
        let import = self.client.call("artifact_import", arguments)?;
        if import.is_error {
            return Ok(Err(import.text()));
        }
        let id = import.structured["artifacts"][0]["artifact_id"].as_str().context("no artifact")?;
        Ok(Ok(id.to_owned()))
    }

    fn call(&mut self, tool: &str, id: &str, params: &str) -> Result<ToolReply> {
        let mut arguments: Value = serde_json::from_str(params)?;
        arguments["alignments"] = json!(id);
        arguments["wait_seconds"] = json!(600);
        let reply = self.client.call(tool, arguments)?;
        ensure!(reply.status() == "succeeded" || reply.is_error, "neither: {}", reply.structured);
        Ok(reply)
    }

    /// What a tool that must succeed answers, or what it says instead.
    fn ours(&mut self, tool: &str, id: &str, params: &str) -> Result<Result<ToolReply, String>> {
        let reply = self.call(tool, id, params)?;
        Ok(if reply.is_error { Err(format!("{tool} {params}: {}", reply.text())) } else { Ok(reply) })
    }

    /// Every tool must refuse the input, for this reason.
    fn refused_by_all(&mut self, id: &str, reason: &str) -> Result<Vec<String>> {
        let mut wrong = Vec::new();
        for tool in ["bam_flagstat", "bam_index_stats", "bam_depth", "bam_validate"] {
            let reply = self.call(tool, id, "{}")?;
            let code = reply.structured["failure"]["code"].as_str().unwrap_or_default();
            let typed = ["input_damaged", "invalid_input"].contains(&code);
            if !reply.is_error || !typed || !reply.text().contains(reason) {
                wrong.push(format!("{tool} does not refuse it with its reason: {}", reply.text()));
            }
        }
        Ok(wrong)
    }

    fn differences(&mut self, file: &Path, id: &str, flagstat: &Value) -> Result<Vec<String>> {
        let mut wrong = Vec::new();
        match self.ours("bam_flagstat", id, "{}")? {
            Ok(reply) => wrong.extend(flagstat_differences(flagstat, &reply.structured["result"])),
            Err(reason) => wrong.push(reason),
        }
        let sorted = self.scratch.path().join("sorted.bam");
        let sort = [OsStr::new("sort"), "--no-PG".as_ref(), "-o".as_ref(), sorted.as_ref(), file.as_ref()];
        ensure!(samtools(sort)?.status.success(), "samtools cannot sort {}", file.display());
        match self.ours("bam_index_stats", id, "{}")? {
            Ok(reply) => {
                let ours = self.text(&reply, "table")?;
                let mut theirs = samtools([OsStr::new("idxstats"), file.as_ref()])?;
                if !theirs.status.success() {
                    theirs = samtools([OsStr::new("idxstats"), sorted.as_ref()])?;
                }
                let theirs = String::from_utf8(theirs.stdout)?;
                if theirs != ours {
                    wrong.push(format!("idxstats\n{theirs}bam_index_stats\n{ours}"));
                }
            }
            Err(reason) => wrong.push(reason),
        }
        for filter in FILTERS {
            wrong.extend(self.depth_differences(file, &sorted, id, filter)?);
        }
        let validated = self.ours("bam_validate", id, "{}")?;
        let total = flagstat["QC-passed reads"]["total"].as_u64().unwrap_or_default()
            + flagstat["QC-failed reads"]["total"].as_u64().unwrap_or_default();
        match validated {
            Ok(reply) if reply.structured["result"]["records"] == total => {}
            Ok(reply) => wrong.push(format!("bam_validate: {}", reply.text())),
            Err(reason) => wrong.push(reason),
        }
        Ok(wrong)
    }

    fn depth_differences(
        &mut self,
        file: &Path,
        sorted: &Path,
        id: &str,
        filter: Filter,
    ) -> Result<Vec<String>> {
        let (params, coverage_flags, depth_flags) = filter;
        let reply = match self.ours("bam_depth", id, params)? {
            Ok(reply) => reply,
            Err(reason) => return Ok(vec![reason]),
        };
        let ours = by_name(&self.text(&reply, "references")?, 1, 0);
        let flags = coverage_flags.iter().map(OsStr::new);
        let theirs = samtools(std::iter::once(OsStr::new("coverage")).chain(flags).chain([sorted.as_ref()]))?;
        let theirs = by_name(&String::from_utf8(theirs.stdout)?, 1, 0);
        let mut wrong = Vec::new();
        if ours.len() != theirs.len() {
            wrong.push(format!("{} references, {} in coverage", ours.len(), theirs.len()));
        }
        for (name, row) in &theirs {
            // length, reads, covered bases, percent, mean: the same, as samtools prints them.
            let [_, _, length, reads, covered, percent, mean, ..] = row.as_slice() else {
                continue;
            };
            let expected: Vec<f64> =
                [length, reads, covered, percent, mean].iter().map(|text| number(text)).collect();
            let found =
                ours.get(name).map(|row| row.iter().skip(1).map(|text| number(text)).collect::<Vec<_>>());
            let agrees = found.as_ref().is_some_and(|found| {
                expected.iter().zip(found).all(|(a, b)| (a - b).abs() <= 1e-5 * a.abs())
            });
            if !agrees {
                wrong.push(format!("coverage {params} {name}: {expected:?}, ours {found:?}"));
            }
        }
        let name = file.file_name().and_then(OsStr::to_str).unwrap_or_default();
        if params.contains("min_base_quality") && WITHOUT_BASES.contains(&name) {
            return Ok(wrong);
        }
        wrong.extend(self.position_differences(sorted, &reply, depth_flags)?);
        Ok(wrong)
    }

    /// Sums and greatest depth of every window, from `samtools depth`'s positions.
    fn position_differences(&self, sorted: &Path, reply: &ToolReply, flags: &[&str]) -> Result<Vec<String>> {
        let flags = flags.iter().map(OsStr::new);
        let theirs = samtools(std::iter::once(OsStr::new("depth")).chain(flags).chain([sorted.as_ref()]))?;
        let size = reply.structured["result"]["window_bases"].as_u64().context("no window")?;
        let windows = self.text(reply, "windows")?;
        let lengths = by_name(&self.text(reply, "references")?, 1, 0);
        let mut sums: BTreeMap<(String, u64), (u64, u64, u64)> = BTreeMap::new();
        let mut past_end = 0;
        for line in String::from_utf8(theirs.stdout)?.lines() {
            let [name, position, depth] = line.split('\t').collect::<Vec<_>>()[..] else { continue };
            let (position, depth): (u64, u64) = (position.parse()?, depth.parse()?);
            // Theirs goes on past the end of a reference; ours says how much lies there.
            if (position as f64)
                > lengths.get(name).and_then(|row| row.get(1)).map_or(0.0, |text| number(text))
            {
                past_end += depth;
                continue;
            }
            let sum = sums.entry((name.to_owned(), (position - 1) / size * size)).or_default();
            *sum = (sum.0 + depth, sum.1 + u64::from(depth > 0), sum.2.max(depth));
        }
        let mut wrong = Vec::new();
        for line in windows.lines().skip(1) {
            let [name, start, end, mean, covered, most] = line.split('\t').collect::<Vec<_>>()[..] else {
                wrong.push(format!("a window is {line:?}"));
                continue;
            };
            let key = (name.to_owned(), start.parse()?);
            let (sum, positions, max) = sums.remove(&key).unwrap_or_default();
            let expected = sum as f64 / (number(end) - number(start));
            let agrees = (expected - number(mean)).abs() <= 1e-5 * expected
                && covered.parse() == Ok(positions)
                && most.parse() == Ok(max);
            if !agrees {
                wrong.push(format!("depth {key:?}: {expected} {positions} {max}, ours {line:?}"));
            }
        }
        if !sums.is_empty() || reply.structured["result"]["bases_past_end"] != past_end {
            wrong.push(format!("{} windows are not ours, or not {past_end} bases past the end", sums.len()));
        }
        Ok(wrong)
    }

    /// A run's output, as text.
    fn text(&self, reply: &ToolReply, role: &str) -> Result<String> {
        let id = reply.output(role).with_context(|| format!("no output {role}"))?;
        let name = format!("{id}.txt");
        let path = self.lab.out().join(&name);
        if !path.exists() {
            self.lab.cli(&["artifact", "export", id, &name])?.ok()?;
        }
        Ok(fs::read_to_string(path)?)
    }
}

/// All `.bam` and `.bam.gz` below a folder.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_lowercase();
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), files)?;
        } else if name.ends_with(".bam") || name.ends_with(".bam.gz") {
            files.push(entry.path());
        }
    }
    Ok(())
}

fn samtools<'a>(arguments: impl IntoIterator<Item = &'a OsStr>) -> Result<Output> {
    let program = cache::samtools();
    Ok(Command::new(cache::fetched(&program)?).args(arguments).output()?)
}

/// What `samtools flagstat` says; nothing if it says that the file is bad.
fn flagstat(file: &Path) -> Result<Option<Value>> {
    let output = samtools([OsStr::new("flagstat"), "-O".as_ref(), "json".as_ref(), file.as_ref()])?;
    if !output.status.success() {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&output.stdout)?))
}

fn flagstat_differences(theirs: &Value, ours: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for (their_side, our_side) in [("QC-passed reads", "passed"), ("QC-failed reads", "failed")] {
        let (theirs, ours) = (&theirs[their_side], &ours[our_side]);
        for (their, our) in FLAGSTAT {
            if theirs[their].as_u64().is_none() || theirs[their] != ours[our] {
                found.push(format!("{their_side} {their} {}, {our} {}", theirs[their], ours[our]));
            }
        }
        for (their, our) in SHARES {
            // samtools prints two decimals, and null where there is nothing to be a share of.
            let (share, ours) = (theirs[their].as_f64().unwrap_or_default(), ours[our].as_f64());
            if ours.is_none_or(|ours| (ours - share).abs() > 0.005_001) {
                found.push(format!("{their_side} {their} {share}, {our} {ours:?}"));
            }
        }
    }
    found
}

/// The rows of a table after its header, by the name in a column.
fn by_name(table: &str, header_lines: usize, column: usize) -> BTreeMap<String, Vec<String>> {
    let rows = table.lines().skip(header_lines).map(|line| line.split('\t').map(str::to_owned).collect());
    rows.filter_map(|row: Vec<String>| row.get(column).cloned().map(|name| (name, row))).collect()
}

/// A number; what is none equals nothing.
fn number(text: &str) -> f64 {
    text.parse().unwrap_or(f64::NAN)
}
