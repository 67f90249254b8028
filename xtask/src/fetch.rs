//! Test data and peers, fetched once into the user's cache by the ordinary clients.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use helix_tests::cache;
use serde_json::Value;

use crate::{machine, say};

/// The official Python SDK that the client tests drive.
const PYTHON_SDK: &str = "mcp==2.3.0";
/// The official Inspector, and the Node.js that it needs.
const INSPECTOR: &str = "@modelcontextprotocol/inspector@2.12.0";
const NODE: &str = "node@22";
/// A crate whose sources hold good and broken FASTQ.
const SPECIMENS: (&str, &str) = ("needletail", "0.7.4");

/// The reads of the demo.
///
/// # Errors
/// They cannot be fetched.
pub fn demo_reads() -> Result<()> {
    debian("bowtie2-examples")?;
    debian("seqkit-examples")
}

/// What the oracle tests read, and the oracles.
///
/// # Errors
/// Something cannot be fetched.
pub fn oracle() -> Result<()> {
    demo_reads()?;
    debian("seqkit")?;
    specimens()?;
    alignments()
}

/// Alignments that others ship, and samtools.
///
/// # Errors
/// Something cannot be fetched or installed.
pub fn alignments() -> Result<()> {
    for package in cache::BAM_PACKAGES {
        debian(package)?;
    }
    machine::apt_install("the samtools oracle", &["samtools"], &cache::samtools())
}

/// Clients that others wrote.
///
/// # Errors
/// One cannot be installed.
pub fn clients() -> Result<()> {
    python_sdk()?;
    inspector()
}

/// Unpacks a Debian package into the cache; needs no root.
///
/// # Errors
/// It cannot be fetched.
pub fn debian(package: &str) -> Result<()> {
    let folder = cache::debian(package)?;
    if is_complete(&folder, package) {
        return Ok(());
    }
    say::step(&format!("fetch Debian's {package}"), || {
        let scratch = scratch(&folder)?;
        let download =
            || say::quiet(Command::new("apt-get").args(["download", package]).current_dir(&scratch));
        if download().is_err() {
            machine::apt_update()?;
            download()?;
        }
        let archive = fs::read_dir(&scratch)?
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|extension| extension == "deb"));
        let archive = archive.with_context(|| format!("apt-get downloaded nothing for {package}"))?;
        let tree = scratch.join("tree");
        say::quiet(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(&tree))?;
        keep(&tree, &folder, package)
    })
}

/// Copies the specimens out of a crate's sources, which cargo fetches as a dependency of nothing.
fn specimens() -> Result<()> {
    let (name, version) = SPECIMENS;
    let folder = cache::crate_sources(&format!("{name}-{version}"))?;
    if is_complete(&folder, version) {
        return Ok(());
    }
    say::step(&format!("fetch the specimens of the crate {name} {version}"), || {
        let scratch = scratch(&folder)?;
        fs::create_dir_all(scratch.join("src"))?;
        fs::write(scratch.join("src/lib.rs"), "")?;
        let manifest = scratch.join("Cargo.toml");
        fs::write(
            &manifest,
            format!(
                "[package]\nname = \"specimens\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n\
                 [dependencies.{name}]\nversion = \"={version}\"\ndefault-features = false\n"
            ),
        )?;
        let mut command = Command::new("cargo");
        command.args(["metadata", "--format-version", "1", "--manifest-path"]).arg(&manifest);
        let metadata: Value = serde_json::from_str(&say::quiet(&mut command)?)?;
        let packages = metadata["packages"].as_array().context("no packages")?;
        let source = packages.iter().find(|package| package["name"] == name);
        let source = source.and_then(|package| package["manifest_path"].as_str());
        let source = Path::new(source.context("the crate was not resolved")?).with_file_name("tests");
        let tree = scratch.join("tree");
        fs::create_dir_all(&tree)?;
        say::quiet(Command::new("cp").arg("-r").arg(&source).arg(&tree))?;
        keep(&tree, &folder, version)
    })
}

fn python_sdk() -> Result<()> {
    let python = cache::python()?;
    let folder = python.ancestors().nth(2).context("no folder for Python")?.to_owned();
    if is_complete(&folder, PYTHON_SDK) {
        return Ok(());
    }
    say::step(&format!("install {PYTHON_SDK} into a virtual environment"), || {
        virtual_environment("the Python client test", &folder)?;
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", PYTHON_SDK]);
        say::quiet(&mut pip)?;
        complete(&folder, PYTHON_SDK)
    })
}

/// A Python with pip, for fetching and unpacking wheels.
///
/// # Errors
/// It cannot be made.
pub fn pip() -> Result<PathBuf> {
    let folder = cache::dir()?.join("pip");
    if !is_complete(&folder, "pip") {
        virtual_environment("fetching Python packages", &folder)?;
        complete(&folder, "pip")?;
    }
    Ok(folder.join("bin/python"))
}

fn virtual_environment(why: &str, folder: &Path) -> Result<()> {
    let system = machine::program("python3").unwrap_or_else(|| PathBuf::from("/usr/bin/python3"));
    machine::apt_install(why, &["python3", "python3-venv"], &system)?;
    let venv = || say::quiet(Command::new(&system).args(["-m", "venv", "--clear"]).arg(folder));
    if venv().is_err() {
        // Debian ships python3 without what a virtual environment needs.
        machine::apt_install_now(why, &["python3-venv"])?;
        venv()?;
    }
    Ok(())
}

fn inspector() -> Result<()> {
    let folder = cache::node()?;
    let mark = format!("{INSPECTOR} {NODE}");
    if is_complete(&folder, &mark) {
        return Ok(());
    }
    let npm = machine::program("npm").unwrap_or_else(|| PathBuf::from("/usr/bin/npm"));
    machine::apt_install("the Inspector test", &["nodejs", "npm"], &npm)?;
    say::step(&format!("install {INSPECTOR} with {NODE}"), || {
        fs::create_dir_all(&folder)?;
        let mut command = Command::new(&npm);
        command.args(["install", "--no-audit", "--no-fund", "--prefix"]).arg(&folder).args([NODE, INSPECTOR]);
        say::quiet(&mut command)?;
        let node = folder.join("node_modules/node/bin/node");
        ensure!(node.exists(), "npm installed no Node.js at {}", node.display());
        complete(&folder, &mark)
    })
}

/// A folder beside the one to be filled, empty.
fn scratch(folder: &Path) -> Result<PathBuf> {
    let mut name = folder.as_os_str().to_owned();
    name.push(".scratch");
    let scratch = PathBuf::from(name);
    if scratch.exists() {
        fs::remove_dir_all(&scratch)?;
    }
    fs::create_dir_all(&scratch).with_context(|| format!("cannot make {}", scratch.display()))?;
    Ok(scratch)
}

/// Puts a whole tree in place and removes what it was made in.
fn keep(tree: &Path, folder: &Path, mark: &str) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::rename(tree, folder)?;
    if let Some(scratch) = tree.parent() {
        fs::remove_dir_all(scratch)?;
    }
    complete(folder, mark)
}

fn complete(folder: &Path, mark: &str) -> Result<()> {
    fs::write(folder.join(".complete"), mark).context("cannot mark what was fetched")
}

fn is_complete(folder: &Path, mark: &str) -> bool {
    fs::read_to_string(folder.join(".complete")).is_ok_and(|found| found == mark)
}
