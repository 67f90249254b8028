//! Runs a tool natively: `native TOOL PARAMS OUT_DIR FILE`. For comparing with other programs and
//! for profiling; a host runs the component instead.

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use align_qc::{BamDepth, BamFlagstat, BamIndexStats, BamValidate};
use helix_toolpack::prelude::*;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [tool, params, folder, file] = arguments.as_slice() else {
        return Err("usage: native TOOL PARAMS OUT_DIR FILE".into());
    };
    let bench = Bench::new().input("alignments", "BAM", std::fs::read(file)?);

    let start = Instant::now();
    let done = match tool.as_str() {
        BamFlagstat::NAME => bench.run::<BamFlagstat>(params),
        BamIndexStats::NAME => bench.run::<BamIndexStats>(params),
        BamDepth::NAME => bench.run::<BamDepth>(params),
        BamValidate::NAME => bench.run::<BamValidate>(params),
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
