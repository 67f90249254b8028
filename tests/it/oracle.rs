//! `fastq_stats` against `seqkit stats -a`, field by field, on every FASTQ that others ship.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use helix_tests::{StdioClient, ToolReply, World, cache, world};
use serde_json::{Value, json};

/// Files that seqkit gives numbers for and we refuse, each with what is wrong with it. needletail
/// ships most of them as errors. An exit code of 0 is no evidence of a good file: seqkit counts
/// what it has read before the damage.
const REFUSED_BY_US: [(&str, &str); 15] = [
    ("error_diff_ids.fastq", "the + line names another read"),
    ("error_double_seq.fastq", "two sequence lines where the next record begins"),
    ("error_qual_del.fastq", "DEL among the qualities"),
    ("error_qual_escape.fastq", "ESC among the qualities"),
    ("error_qual_null.fastq", "NUL among the qualities"),
    ("error_qual_space.fastq", "a space among the qualities"),
    ("error_qual_tab.fastq", "a tab among the qualities"),
    ("error_qual_unit_sep.fastq", "a control character among the qualities"),
    ("error_qual_vtab.fastq", "a vertical tab among the qualities"),
    ("error_spaces.fastq", "spaces within the sequence"),
    ("error_tabs.fastq", "tabs within the sequence"),
    ("error_trunc_at_seq.fastq", "ends within a record"),
    ("error_trunc_in_seq.fastq", "ends within a record"),
    ("error_trunc_in_title.fastq", "ends within a record"),
    ("random_tsv.fq", "a table"),
];

/// seqkit's column, our field, and how many decimals seqkit prints.
const FIELDS: [(&str, &str, i32); 13] = [
    ("num_seqs", "reads", 0),
    ("sum_len", "bases", 0),
    ("min_len", "length_min", 0),
    ("avg_len", "length_mean", 1),
    ("max_len", "length_max", 0),
    ("Q1", "length_q1", 1),
    ("Q2", "length_median", 1),
    ("Q3", "length_q3", 1),
    ("sum_gap", "gaps", 0),
    ("N50", "n50", 0),
    ("Q20(%)", "q20_percent", 2),
    ("Q30(%)", "q30_percent", 2),
    ("GC(%)", "gc_percent", 2),
];

#[test]
fn fastq_stats_agrees_with_seqkit() -> Result<()> {
    let mut lab = World::new()?;
    lab.allow("reads-qc", &world::toolpack("reads-qc")?)?;
    lab.start()?;
    let mut client = lab.client()?;

    let mut compared = 0;
    let mut wrong = Vec::new();
    for file in files()? {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let theirs = seqkit(&file)?;
        let ours = ours(&lab, &mut client, &file)?;
        match (theirs, ours) {
            (Some(theirs), Ok(total)) => {
                compared += 1;
                wrong.extend(differences(&theirs, &total).into_iter().map(|what| format!("{name}: {what}")));
            }
            (Some(_), Err(reason)) => {
                if !REFUSED_BY_US.iter().any(|(known, _)| *known == name) {
                    wrong.push(format!("{name}: seqkit reads it, we say: {reason}"));
                }
            }
            // What the oracle cannot read proves nothing of what we make of it.
            (None, _) => {}
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(compared >= 40, "only {compared} files were compared");
    client.close()?;
    lab.finish()
}

/// Every FASTQ of bowtie2-examples, seqkit-examples and needletail.
fn files() -> Result<Vec<PathBuf>> {
    let specimens = cache::needletail_specimens()?;
    let mut files = Vec::new();
    let folders = [
        cache::lambda_reads()?,
        cache::seqkit_reads()?,
        specimens.join("FASTQ"),
        specimens.with_file_name("data"),
    ];
    for folder in folders {
        for entry in fs::read_dir(cache::fetched(&folder)?)? {
            let path = entry?.path();
            let name = path.to_string_lossy().to_lowercase();
            let plain = name.trim_end_matches(".gz");
            if plain.ends_with(".fq") || plain.ends_with(".fastq") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// What seqkit says, by column; nothing if it says the file is bad.
fn seqkit(file: &Path) -> Result<Option<BTreeMap<String, String>>> {
    let program = cache::seqkit()?;
    let output = Command::new(cache::fetched(&program)?).args(["stats", "-a", "-T"]).arg(file).output()?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    let complains = !output.status.success() || String::from_utf8_lossy(&output.stderr).contains("[ERRO]");
    let mut lines = stdout.lines();
    let (Some(header), Some(row)) = (lines.next(), lines.next()) else { return Ok(None) };
    let row: BTreeMap<String, String> =
        header.split('\t').map(str::to_owned).zip(row.split('\t').map(str::to_owned)).collect();
    Ok((!complains && row.get("format").is_some_and(|format| format == "FASTQ")).then_some(row))
}

/// Our totals, or why there are none.
fn ours(lab: &World, client: &mut StdioClient, file: &Path) -> Result<Result<Value, String>> {
    let name = lab.bring(file)?;
    let hint = if name.ends_with(".gz") { "FASTQ_GZ" } else { "FASTQ" };
    let import = client.call("artifact_import", json!({"root": "data", "path": name, "type_hint": hint}))?;
    if import.is_error {
        return Ok(Err(import.text()));
    }
    let id = import.structured["artifacts"][0]["artifact_id"].as_str().context("no artifact")?.to_owned();
    let reply: ToolReply = client.call("fastq_stats", json!({"reads": [id], "wait_seconds": 600}))?;
    ensure!(reply.status() == "succeeded" || reply.is_error, "neither: {}", reply.structured);
    if reply.is_error {
        return Ok(Err(reply.text()));
    }
    Ok(Ok(reply.structured["result"]["total"].clone()))
}

fn differences(theirs: &BTreeMap<String, String>, ours: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let one_length = theirs.get("min_len") == theirs.get("max_len");
    for (column, field, decimals) in FIELDS {
        let Some(their) = theirs.get(column).and_then(|value| value.parse::<f64>().ok()) else {
            found.push(format!("seqkit has no {column}"));
            continue;
        };
        // seqkit 2.3 halves the outer quartiles of reads that are all of one length.
        let halved = one_length && ["Q1", "Q3"].contains(&column);
        let their = if halved { their * 2.0 } else { their };
        let Some(our) = ours[field].as_f64() else {
            found.push(format!("we have no {field}"));
            continue;
        };
        // Half of the last digit that seqkit prints.
        let tolerance = 0.5 * 10_f64.powi(-decimals) + 1e-9;
        let tolerance = if halved { 0.1 } else { tolerance };
        let tolerance = if decimals == 0 { 0.0 } else { tolerance };
        if (their - our).abs() > tolerance {
            found.push(format!("{column} {their}, {field} {our}"));
        }
    }
    found
}
