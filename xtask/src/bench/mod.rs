//! `cargo xtask bench`: what HelixMCP costs, each row against something that does the same with
//! less. It prints ratios; no test fails on a time. What came of it stands in docs/performance.md.

mod calls;
mod fastq;
mod flagstat;
mod import;
mod ledger;
mod measure;
mod peers;
mod start;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::{build, fetch, machine, say};
use measure::Paired;

#[derive(Args)]
pub struct Arguments {
    /// Which; all of them if none is named.
    names: Vec<Name>,
    /// One JSON array instead of lines for people.
    #[arg(long)]
    json: bool,
    /// On small inputs, to see that each works; the figures mean nothing.
    #[arg(long)]
    small: bool,
    /// With what was built before, as it is.
    #[arg(long)]
    no_build: bool,
}

/// The rows of docs/performance.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Name {
    CallReplay,
    CallFresh,
    ColdStart,
    Idle,
    Runner,
    Import,
    Fastq,
    FastqMemory,
    Flagstat,
    Ledger,
}

/// How much work a row does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// For figures.
    Full,
    /// To see that it works.
    Small,
}

impl Size {
    /// One of the two.
    fn of<T>(self, full: T, small: T) -> T {
        match self {
            Self::Full => full,
            Self::Small => small,
        }
    }
}

/// A row's result.
#[derive(Clone, Debug)]
pub struct Row {
    name: String,
    /// What is compared, or what was measured where nothing is.
    measured: f64,
    /// The unit of `measured` and `reach`: `×` for a ratio.
    unit: &'static str,
    reach: f64,
    /// Ratio of processor time, where there are two sides.
    cpu: Option<f64>,
    /// The absolute figures, for the line below.
    figures: String,
}

impl Row {
    /// A row that sets us against somebody.
    fn ratio(name: &str, paired: &Paired, reach: f64, figures: String) -> Self {
        let (measured, cpu) = (paired.wall_ratio(), Some(paired.cpu_ratio()));
        Self { name: name.to_owned(), measured, unit: "×", reach, cpu, figures }
    }

    /// A row that is a number of its own.
    fn number(name: &str, measured: f64, unit: &'static str, reach: f64, figures: String) -> Self {
        Self { name: name.to_owned(), measured, unit, reach, cpu: None, figures }
    }

    fn is_reached(&self) -> bool {
        self.measured <= self.reach
    }

    fn show(&self) {
        let Self { name, measured, unit, reach, cpu, figures } = self;
        let verdict = if self.is_reached() { "reached" } else { "NOT reached" };
        let cpu = cpu.map(|cpu| format!(", processor {cpu:.2} ×")).unwrap_or_default();
        say::line(&format!(
            "  {name:<24} {measured:>8.2} {unit:<3} of at most {reach} {unit}: {verdict}{cpu}"
        ));
        say::line(&format!("    {figures}"));
    }

    fn to_json(&self) -> Value {
        let Self { name, measured, unit, reach, cpu, figures } = self;
        json!({
            "name": name, "measured": measured, "unit": unit, "reach": reach, "reached": self.is_reached(),
            "cpu_ratio": cpu, "figures": figures,
        })
    }
}

/// Builds what is needed, runs the rows and prints them.
///
/// # Errors
/// A row could not be measured. One that misses its reach is no error.
pub fn run(arguments: &Arguments) -> Result<()> {
    let names = if arguments.names.is_empty() { Name::value_variants() } else { &arguments.names };
    prepare(names, arguments.no_build)?;
    let size = if arguments.small { Size::Small } else { Size::Full };
    let mut rows = Vec::new();
    let mut broken = Vec::new();
    for name in names {
        match measure(*name, size) {
            Ok(measured) => {
                if !arguments.json {
                    measured.iter().for_each(Row::show);
                }
                rows.extend(measured);
            }
            Err(error) => {
                say::line(&format!("  {name:?} could not be measured: {error:#}"));
                broken.push(format!("{name:?}"));
            }
        }
    }
    if arguments.json {
        say::line(&Value::from(rows.iter().map(Row::to_json).collect::<Vec<_>>()).to_string());
    }
    if broken.is_empty() { Ok(()) } else { bail!("not measured: {}", broken.join(", ")) }
}

/// Runs every row on small inputs and says how many worked.
///
/// # Errors
/// One does not work.
pub fn smoke() -> Result<usize> {
    run(&Arguments { names: Vec::new(), json: false, small: true, no_build: false })?;
    Ok(Name::value_variants().len())
}

fn prepare(names: &[Name], no_build: bool) -> Result<()> {
    if !no_build {
        machine::check_rust()?;
        let binary = build::host()?;
        build::toolpacks(&binary)?;
        peers::build()?;
    }
    if names.iter().any(|name| matches!(name, Name::Fastq | Name::FastqMemory)) {
        fetch::demo_reads()?;
        fetch::oracle()?;
    }
    if names.contains(&Name::Flagstat) {
        flagstat::prepare()?;
    }
    Ok(())
}

fn measure(name: Name, size: Size) -> Result<Vec<Row>> {
    match name {
        Name::CallReplay => calls::replay(size),
        Name::CallFresh => calls::fresh(size),
        Name::ColdStart => start::cold(size),
        Name::Idle => start::idle(size),
        Name::Runner => start::runner(size),
        Name::Import => import::measure(size),
        Name::Fastq => fastq::measure(size),
        Name::FastqMemory => fastq::memory(size),
        Name::Flagstat => flagstat::measure(size),
        Name::Ledger => ledger::measure(size),
    }
}

/// Microseconds or milliseconds, for a figure.
fn shown(time: std::time::Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 1e-3 {
        format!("{:.0} µs", seconds * 1e6)
    } else if seconds < 1.0 {
        format!("{:.2} ms", seconds * 1e3)
    } else {
        format!("{seconds:.2} s")
    }
}

fn mib(bytes: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "no memory has 2^53 bytes")]
    let bytes = bytes as f64;
    bytes / (1024.0 * 1024.0)
}
