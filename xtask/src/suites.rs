//! `cargo xtask test`: every suite there is, one after the other, and what came of each.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::{bench, build, fetch, licences, machine, say};

/// The tests that load a host for a minute, in a suite of their own.
const LOAD: [&str; 2] = ["load::thirty_two_clients", "load::a_flood_of_one_client"];

/// What the quick run leaves out of the integration tests, besides what has suites of its own: it
/// takes minutes, or needs a program that the quick run does not fetch (seqkit, samtools).
const QUICKLY_SKIPPED: [&str; 4] =
    ["author::", "share::a_run_outlives", "gzip_and_seqkit_agree", "samtools_agrees_on_what_is_whole"];

/// What a suite counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    passed: usize,
    failed: usize,
}

/// A suite's end, for the table.
struct Row {
    name: &'static str,
    count: Count,
    /// Why it could not run to its end; counts as one failure.
    broken: Option<String>,
    took: String,
}

/// Runs the suites.
///
/// # Errors
/// Something failed or could not run; which, is in the table above.
pub fn run(quick: bool) -> Result<()> {
    let start = Instant::now();
    let mut rows = Vec::new();
    let mut suite = |name: &'static str, work: &dyn Fn() -> Result<Count>| {
        say::heading(name);
        rows.push(finished(name, Instant::now(), work));
    };
    suite("preparation", &|| prepare(quick));
    suite("format", &format_check);
    suite("lints", &lints);
    suite("licences, sources, bans", &dependencies);
    suite("unit tests", &unit_tests);
    // These have suites of their own below, of which the quick run has the attacks alone.
    let mut others =
        vec!["--skip", "clients::", "--skip", "oracle::", "--skip", "oracle_bam::", "--skip", "hostile::"];
    others.extend(LOAD.iter().flat_map(|test| ["--skip", test]));
    others.extend(["--skip", "faults::", "--skip", "disk::", "--skip", "kills::", "--skip", "docker::"]);
    if quick {
        others.extend(QUICKLY_SKIPPED.iter().flat_map(|test| ["--skip", test]));
    }
    suite("integration tests", &|| integration(&others));
    // Named one by one: whoever reads the log sees which attacks were tried.
    suite("hostile guests and requests", &|| {
        let mut command = integration_command()?;
        command.arg("hostile::");
        counted(&mut command, &|line| {
            let name = line.strip_prefix("test hostile::")?.split_once(" ... ")?;
            Some(format!("  {:<6} {}", name.1, name.0))
        })
    });
    if !quick {
        suite("faults, full disks and kills", &|| integration(&["faults::", "disk::", "kills::"]));
        suite("benchmarks, on small inputs", &|| Ok(Count { passed: bench::smoke()?, failed: 0 }));
        suite("example toolpacks", &toolpack_tests);
        suite("oracle: seqkit", &|| integration(&["oracle::"]));
        suite("oracle: samtools", &|| integration(&["oracle_bam::"]));
        suite("load: one minute, and a flood", &|| integration(&LOAD));
        suite("clients that others wrote", &|| integration(&["clients::"]));
    }
    say::heading("summary");
    let mut total = Count::default();
    for row in &rows {
        say::line(&format!(
            "  {:<30} {:>5} passed {:>4} failed   {:>9}",
            row.name, row.count.passed, row.count.failed, row.took
        ));
        if let Some(reason) = &row.broken {
            say::line(&format!("    did not run to its end: {}", reason.lines().next().unwrap_or("")));
        }
        total.passed += row.count.passed;
        total.failed += row.count.failed;
    }
    say::line(&format!("  in {}", say::seconds(start)));
    if quick {
        say::line(
            "  not run: faults, kills, full disks, load, oracles, benchmarks, toolpacks, clients of others,",
        );
        say::line(&format!("           {}", QUICKLY_SKIPPED.join(", ")));
    }
    say::line(&format!("\n{} passed, {} failed", total.passed, total.failed));
    if total.failed > 0 {
        bail!("not everything passed");
    }
    Ok(())
}

fn finished(name: &'static str, start: Instant, work: &dyn Fn() -> Result<Count>) -> Row {
    let (count, broken) = match work() {
        Ok(count) if count == Count::default() => {
            (Count { passed: 0, failed: 1 }, Some("it ran no test".to_owned()))
        }
        Ok(count) => (count, None),
        Err(error) => {
            say::line(&format!("{error:#}"));
            (Count { passed: 0, failed: 1 }, Some(format!("{error:#}")))
        }
    };
    Row { name, count, broken, took: say::seconds(start) }
}

/// Builds what tests start and fetches what they read.
fn prepare(quick: bool) -> Result<Count> {
    machine::check_rust()?;
    let binary = build::host()?;
    build::toolpacks(&binary)?;
    fetch::demo_reads()?;
    if !quick {
        build::faulty_host()?;
        fetch::oracle()?;
        fetch::clients()?;
    }
    Ok(Count { passed: 1, failed: 0 })
}

fn format_check() -> Result<Count> {
    say::quiet(build::cargo()?.args(["fmt", "--all", "--check"]))?;
    say::quiet(in_toolpacks()?.args(["fmt", "--all", "--check"]))?;
    Ok(Count { passed: 2, failed: 0 })
}

fn lints() -> Result<Count> {
    let clippy = ["clippy", "--release", "--locked", "--all-targets", "--workspace", "--", "-D", "warnings"];
    say::loud(build::cargo()?.args(clippy))?;
    say::loud(in_toolpacks()?.args(clippy))?;
    // Without its feature nobody looks at what is behind it.
    let faulty = ["--workspace", "--features", "helixmcp/faults", "--bin", "helixmcp-faults"];
    let mut command = build::cargo()?;
    command.args(["clippy", "--release", "--locked"]).args(faulty).args(["--", "-D", "warnings"]);
    say::loud(&mut command)?;
    Ok(Count { passed: 3, failed: 0 })
}

fn dependencies() -> Result<Count> {
    let packages = licences::check()?;
    say::line(&format!("  {packages} packages"));
    Ok(Count { passed: 1, failed: 0 })
}

fn unit_tests() -> Result<Count> {
    quietly_counted(build::cargo()?.args([
        "test",
        "--release",
        "--locked",
        "--no-fail-fast",
        "--workspace",
        "--exclude",
        "helix-tests",
    ]))
    .and_then(|first| {
        let own = quietly_counted(build::cargo()?.args([
            "test",
            "--release",
            "--locked",
            "--package",
            "helix-tests",
            "--lib",
        ]))?;
        Ok(first.plus(own))
    })
}

fn integration(filters: &[&str]) -> Result<Count> {
    quietly_counted(integration_command()?.args(filters))
}

fn integration_command() -> Result<Command> {
    let mut command = build::cargo()?;
    command.args(["test", "--release", "--locked", "--package", "helix-tests", "--test", "it", "--"]);
    Ok(command)
}

/// Their pure parts natively, then their cases in the sandbox.
fn toolpack_tests() -> Result<Count> {
    let natively = quietly_counted(in_toolpacks()?.args([
        "test",
        "--release",
        "--locked",
        "--no-fail-fast",
        "--workspace",
    ]))?;
    let mut sandboxed = Count::default();
    for name in build::toolpack_names()? {
        let mut command = Command::new(build::release_dir()?.join("helixmcp"));
        command.args(["toolpack", "test"]).arg(build::root()?.join("example-toolpacks").join(&name));
        command.arg("--component").arg(build::target_dir()?.join("toolpacks").join(format!("{name}.wasm")));
        say::line(&say::quiet(&mut command)?);
        sandboxed.passed += 1;
    }
    Ok(natively.plus(sandboxed))
}

/// Cargo in the toolpacks' own workspace, with a target folder of its own.
fn in_toolpacks() -> Result<Command> {
    let mut command = build::cargo()?;
    command.current_dir(build::root()?.join("example-toolpacks"));
    command.env("CARGO_TARGET_DIR", build::target_dir()?.join("toolpacks-target").join("native"));
    Ok(command)
}

impl Count {
    fn plus(self, other: Self) -> Self {
        Self { passed: self.passed + other.passed, failed: self.failed + other.failed }
    }
}

fn quietly_counted(command: &mut Command) -> Result<Count> {
    counted(command, &|_line| None)
}

/// Runs `cargo test` and counts what the test binaries say of themselves; prints what `show` makes
/// of a line.
fn counted(command: &mut Command, show: &dyn Fn(&str) -> Option<String>) -> Result<Count> {
    let name = say::shown(command);
    say::line(&format!("  {name}"));
    // A failed test tells what was expected and what came; where it panicked is in its name.
    command.env("RUST_BACKTRACE", "0");
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context(name.clone())?;
    let stdout = child.stdout.take().context("no stdout")?;
    let mut count = Count::default();
    let mut output = String::new();
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        if let Some(more) = parse_result(&line) {
            count = count.plus(more);
        }
        if let Some(shown) = show(&line) {
            say::line(&shown);
        }
        output.push_str(&line);
        output.push('\n');
    }
    let status = child.wait()?;
    if count.failed > 0 {
        say::line(&failures(&output));
    } else if !status.success() {
        bail!("`{name}` failed ({status})\n{}", say::tail(&output));
    }
    Ok(count)
}

/// Reads `test result: ok. 12 passed; 0 failed; 0 ignored; …`. An ignored test did not run, and
/// what did not run has failed.
fn parse_result(line: &str) -> Option<Count> {
    let numbers = line.strip_prefix("test result: ")?.split_once(". ")?.1;
    let mut count = Count::default();
    for part in numbers.split("; ") {
        let (number, word) = part.split_once(' ')?;
        match word {
            "passed" => count.passed += number.parse::<usize>().ok()?,
            "failed" | "ignored" => count.failed += number.parse::<usize>().ok()?,
            _ => {}
        }
    }
    Some(count)
}

/// The part of a test binary's output that tells what went wrong.
fn failures(output: &str) -> String {
    let start = output.find("\nfailures:\n").unwrap_or(0);
    output.split_at(start).1.to_owned()
}

#[cfg(test)]
mod tests {
    use super::{Count, parse_result};

    #[test]
    fn an_ignored_test_counts_as_failed() {
        let line =
            "test result: ok. 12 passed; 1 failed; 2 ignored; 0 measured; 3 filtered out; finished in 0.1s";
        assert_eq!(parse_result(line), Some(Count { passed: 12, failed: 3 }));
        assert_eq!(parse_result("test a ... ok"), None);
    }
}
