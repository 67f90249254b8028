//! Quality control of sequencing reads, in one pass over the bytes.

mod fastq;
mod filter;
mod lanes;
mod report;
mod stats;

use helix_toolpack::prelude::*;

pub use fastq::{Chunks, Damage, Records, Visitor};
pub use filter::FastqFilter;
pub use stats::{FastqStats, Summary, Tally};

export_toolpack! {
    name: "reads-qc",
    version: env!("CARGO_PKG_VERSION"),
    description: "Quality control of sequencing reads: statistics with plots, and filtering.",
    licence: "Apache-2.0",
    homepage: "",
    tools: [FastqStats, FastqFilter],
}

/// What both tools stand on.
fn software() -> Vec<Software> {
    vec![
        Software::new("reads-qc", env!("CARGO_PKG_VERSION")).licence("Apache-2.0"),
        Software::new("SeqKit", "2.3")
            .doi("10.1371/journal.pone.0163962")
            .url("https://bioinf.shenwei.me/seqkit/")
            .licence("MIT"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_keeps_within_its_budgets() {
        let manifest = Pack::manifest();
        for tool in &manifest.tools {
            assert!(tool.description.len() <= 1024, "{}: {}", tool.name, tool.description.len());
            assert!(tool.params_schema.len() <= 2048, "{}: {}", tool.name, tool.params_schema);
        }
        let names: Vec<&str> = manifest.tools.iter().map(|tool| tool.name.as_str()).collect();
        assert_eq!(names, ["fastq_stats", "fastq_filter"]);
    }
}
