//! `cargo xtask demo`: the main job on real reads, through the door that an assistant uses.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use helix_tests::{StdioClient, ToolReply, cache};
use serde_json::{Value, json};

use crate::{build, fetch, machine, say};

/// The reads that are looked at: simulated Illumina pairs of phage lambda, real Nanopore reads.
const READS: [&str; 2] = ["reads_1.fq.gz", "nanopore.fq.gz"];

/// Shows it.
///
/// # Errors
/// Something did not go as it must.
pub fn run() -> Result<()> {
    let start = Instant::now();
    say::heading("what is needed");
    machine::check_rust()?;
    let binary = build::host()?;
    build::toolpacks(&binary)?;
    fetch::demo_reads()?;

    let scene = Scene::set(binary)?;
    say::heading("an operator's part: a home, a policy, one toolpack allowed by its digest");
    scene.prepare()?;

    say::heading("an assistant's part: an MCP client over stdio");
    let report = Assistant::attach(&scene)?.work()?;
    scene.stop();

    say::heading("done");
    say::line(&format!("  the whole demo took {}", say::seconds(start)));
    say::line(&format!("  open the report in a browser: {}", report.display()));
    Ok(())
}

/// The folders of the demo, made anew each time.
struct Scene {
    binary: PathBuf,
    home: PathBuf,
    reads: PathBuf,
}

impl Scene {
    fn set(binary: PathBuf) -> Result<Self> {
        let folder = build::target_dir()?.join("demo");
        let scene = Self { binary, home: folder.join("home"), reads: folder.join("reads") };
        if folder.exists() {
            scene.stop();
            fs::remove_dir_all(&folder).context("cannot remove the last demo")?;
        }
        fs::create_dir_all(&scene.reads)?;
        let [lambda, nanopore] = READS;
        fs::copy(cache::lambda_reads()?.join(lambda), scene.reads.join(lambda))?;
        fs::copy(cache::seqkit_reads()?.join(nanopore), scene.reads.join(nanopore))?;
        Ok(scene)
    }

    fn prepare(&self) -> Result<()> {
        self.shell(&["init", "--import-root", &self.reads.to_string_lossy()], 4)?;
        let toolpack = build::target_dir()?.join("toolpacks/reads-qc.wasm");
        self.shell(&["policy", "allow", &toolpack.to_string_lossy(), "--yes"], 13)
    }

    /// Runs a command and shows it with the first lines of what it said.
    fn shell(&self, words: &[&str], lines: usize) -> Result<()> {
        let mut command = self.command();
        command.args(words);
        say::line(&format!("\n  $ helixmcp {}", words.join(" ")));
        let said = say::quiet(&mut command)?;
        for line in said.lines().take(lines) {
            say::line(&format!("    {}", clipped(line)));
        }
        let more = said.lines().count().saturating_sub(lines);
        if more > 0 {
            say::line(&format!("    … {more} lines more"));
        }
        Ok(())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("--home").arg(&self.home);
        command
    }

    /// Ends the host that the demo's client started in the background.
    fn stop(&self) {
        helix_tests::world::end_processes_of(&self.home);
    }
}

/// The demo as a client sees it.
struct Assistant {
    client: StdioClient,
}

impl Assistant {
    fn attach(scene: &Scene) -> Result<Self> {
        let mut command = scene.command();
        command.arg("serve");
        let client = StdioClient::start(command)?;
        let server = &client.server["serverInfo"];
        say::line(&format!("\n  connected to {} {}", plain(&server["name"]), plain(&server["version"])));
        Ok(Self { client })
    }

    fn work(mut self) -> Result<PathBuf> {
        let names: Vec<String> = self.client.tools()?.iter().map(|tool| plain(&tool["name"])).collect();
        say::line(&format!("  tools: {}", names.join(", ")));

        self.ask("artifact_browse", json!({"root": "data"}))?;
        let lambda = self.import(READS[0])?;
        let nanopore = self.import(READS[1])?;

        let first = self.ask("fastq_stats", json!({"reads": [lambda]}))?;
        self.ask("fastq_stats", json!({"reads": [nanopore]}))?;

        say::line("\n  -- the same call once more: the stored answer, and no guest runs");
        let second = self.ask("fastq_stats", json!({"reads": [lambda]}))?;
        ensure!(second.replayed(), "the second call was not replayed");
        ensure!(first.run_id() == second.run_id(), "the same call got another run id");

        say::line("\n  -- a param changed: another run, and the ledger says in which field they differ");
        let mild = self.ask("fastq_filter", json!({"reads": [nanopore], "min_mean_quality": 10}))?;
        let strict = self.ask("fastq_filter", json!({"reads": [nanopore], "min_mean_quality": 12}))?;
        ensure!(mild.run_id() != strict.run_id(), "another call got the same run id");
        let explained = self.ask("run_explain", json!({"a": mild.run_id(), "b": strict.run_id()}))?;
        ensure!(
            explained.structured["first"].to_string().contains("min_mean_quality"),
            "the explanation does not name the field that differs"
        );

        let report = first.output("report").context("the call made no HTML report")?;
        let exported = self.ask("artifact_export", json!({"artifact_id": report, "root": "results"}))?;
        let path = PathBuf::from(plain(&exported.structured["path"]));
        ensure!(path.is_file(), "nothing lies at {}", path.display());
        Ok(path)
    }

    fn import(&mut self, path: &str) -> Result<String> {
        let reply = self.ask("artifact_import", json!({"root": "data", "path": path}))?;
        Ok(plain(&reply.structured["artifacts"][0]["artifact_id"]))
    }

    /// Calls a tool and shows question and answer.
    fn ask(&mut self, tool: &str, arguments: Value) -> Result<ToolReply> {
        let start = Instant::now();
        let shown = arguments.to_string();
        let reply = self.client.call(tool, arguments)?;
        let took = start.elapsed().as_millis();
        let replayed = if reply.replayed() { ", replayed" } else { "" };
        say::line(&format!("\n  > {tool} {shown}   ({took} ms{replayed})"));
        for line in told(tool, &reply) {
            say::line(&format!("    {}", clipped(&line)));
        }
        ensure!(!reply.is_error, "{tool} failed: {}", reply.text());
        Ok(reply)
    }
}

/// What is worth a person's while of an answer; a client sees all of it.
fn told(tool: &str, reply: &ToolReply) -> Vec<String> {
    let answer = &reply.structured;
    let rows = |list: &Value, row: &dyn Fn(&Value) -> String| -> Vec<String> {
        list.as_array().into_iter().flatten().map(row).collect()
    };
    match tool {
        "artifact_browse" => rows(&answer["entries"], &|entry| {
            let of = |field: &str| plain(&entry[field]);
            format!("{}  {}  {} bytes", of("path"), of("guessed_type"), of("size_bytes"))
        }),
        "artifact_import" => rows(&answer["artifacts"], &|artifact| {
            let of = |field: &str| plain(&artifact[field]);
            format!(
                "{}  {}  {} bytes  {}",
                of("artifact_id"),
                of("type"),
                of("size_bytes"),
                of("checksum_sha256")
            )
        }),
        "run_explain" => vec![plain(&answer["summary"])],
        "artifact_export" => vec![plain(&answer["path"])],
        _ => {
            let mut lines = vec![format!("{}  {}", reply.run_id(), reply.status())];
            lines.extend(answer["summary"].as_str().map(str::to_owned));
            lines.extend(rows(&answer["outputs"], &|output| {
                let of = |field: &str| plain(&output[field]);
                format!(
                    "{:<10} {}  {}  {} bytes",
                    of("role"),
                    of("artifact_id"),
                    of("label"),
                    of("size_bytes")
                )
            }));
            lines
        }
    }
}

/// As much of a line as a terminal shows.
fn clipped(line: &str) -> String {
    const WIDTH: usize = 140;
    if line.chars().count() <= WIDTH {
        return line.to_owned();
    }
    line.chars().take(WIDTH).chain(['…']).collect()
}

/// A JSON text without its quotes; other values as JSON.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
