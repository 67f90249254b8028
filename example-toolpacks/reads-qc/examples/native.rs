//! Runs a tool natively: `native TOOL PARAMS OUT_DIR FILE…`. For comparing with other programs and
//! for profiling; a host runs the component instead.

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use helix_toolpack::prelude::*;
use reads_qc::{FastqFilter, FastqStats};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [tool, params, folder, files @ ..] = arguments.as_slice() else {
        return Err("usage: native TOOL PARAMS OUT_DIR FILE…".into());
    };
    let mut bench = Bench::new();
    for file in files {
        bench = bench.input("reads", "FASTQ", std::fs::read(file)?);
    }

    let start = Instant::now();
    let done = match tool.as_str() {
        FastqStats::NAME => bench.run::<FastqStats>(params),
        FastqFilter::NAME => bench.run::<FastqFilter>(params),
        other => return Err(format!("no tool {other}").into()),
    }?;
    let seconds = start.elapsed().as_secs_f64();

    for ((role, key), bytes) in &done.outputs {
        std::fs::write(Path::new(folder).join(format!("{role}.{key}")), bytes)?;
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", done.result)?;
    writeln!(std::io::stderr(), "{seconds:.3} s\n{}", done.summary)?;
    Ok(())
}
