//! Where fetched test data and peers (other people's clients and tools) lie. `cargo xtask` fills
//! it; tests only read it.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// `$XDG_CACHE_HOME/helixmcp-dev`, else `~/.cache/helixmcp-dev`.
///
/// # Errors
/// There is no home directory.
pub fn dir() -> Result<PathBuf> {
    let base = env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = match base {
        Some(base) => base,
        None => PathBuf::from(env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?)
            .join(".cache"),
    };
    Ok(base.join("helixmcp-dev"))
}

/// Where a Debian package's files were unpacked, as if under `/`.
///
/// # Errors
/// There is no home directory.
pub fn debian(package: &str) -> Result<PathBuf> {
    Ok(dir()?.join("debian").join(package))
}

/// Where a crate's sources were unpacked.
///
/// # Errors
/// There is no home directory.
pub fn crate_sources(name_and_version: &str) -> Result<PathBuf> {
    Ok(dir()?.join("crates").join(name_and_version))
}

/// The Python of the environment that holds the MCP SDK.
///
/// # Errors
/// There is no home directory.
pub fn python() -> Result<PathBuf> {
    Ok(dir()?.join("python").join("bin").join("python"))
}

/// The folder with the MCP Inspector and the Node.js that runs it.
///
/// # Errors
/// There is no home directory.
pub fn node() -> Result<PathBuf> {
    Ok(dir()?.join("node"))
}

/// A path that must have been fetched, or what to run to fetch it.
///
/// # Errors
/// It is not there.
pub fn fetched(path: &Path) -> Result<&Path> {
    ensure!(path.exists(), "{} is missing: run `cargo xtask test`, which fetches it", path.display());
    Ok(path)
}

/// Lambda phage reads, simulated: 10,000 pairs (Debian's bowtie2-examples).
///
/// # Errors
/// There is no home directory.
pub fn lambda_reads() -> Result<PathBuf> {
    Ok(debian("bowtie2-examples")?.join("usr/share/doc/bowtie2/examples/reads"))
}

/// Real Illumina and Nanopore reads (Debian's seqkit-examples).
///
/// # Errors
/// There is no home directory.
pub fn seqkit_reads() -> Result<PathBuf> {
    Ok(debian("seqkit-examples")?.join("usr/share/doc/seqkit-examples/tests"))
}

/// seqkit itself, the oracle.
///
/// # Errors
/// There is no home directory.
pub fn seqkit() -> Result<PathBuf> {
    Ok(debian("seqkit")?.join("usr/bin/seqkit"))
}

/// Debian packages that hold BAM files.
pub const BAM_PACKAGES: [&str; 5] =
    ["samtools-test", "htslib-test", "seqkit-examples", "vcfanno-examples", "bowtie2-examples"];

/// samtools, the oracle of alignments: installed, for it needs libraries.
#[must_use]
pub fn samtools() -> PathBuf {
    PathBuf::from("/usr/bin/samtools")
}

/// needletail's specimens: good and broken FASTQ and FASTA.
///
/// # Errors
/// There is no home directory.
pub fn needletail_specimens() -> Result<PathBuf> {
    Ok(crate_sources("needletail-0.7.4")?.join("tests/specimen"))
}
