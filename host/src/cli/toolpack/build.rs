//! `toolpack build`: cargo makes a core module, [`encode`](super::encode) a component of it.

#![expect(clippy::disallowed_methods, reason = "a door: cargo, rustc and rustup are started here")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::Context as _;
use clap::Args;
use helix_ids::Digest;
use serde_json::{Value, json};

use super::encode::encode;
use super::new::built_in_sdk;
use super::shelf::built_file;
use crate::cli::Settings;
use crate::cli::output::{self, EXIT_FAILED, Told};

const TARGET: &str = "wasm32-unknown-unknown";

/// What every toolpack is compiled with, whatever the author's own settings are.
const FEATURES: [&str; 2] = ["-C", "target-feature=+simd128"];

/// Between flags in `CARGO_ENCODED_RUSTFLAGS`.
const FLAG_SEPARATOR: &str = "\u{1f}";

#[derive(Args, Clone, Debug)]
pub struct BuildArgs {
    /// The crate's folder
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Where to put the component [default: NAME.wasm in the crate's folder]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// # Errors
/// When cargo fails, the target is missing, or the module is no toolpack.
pub fn run(args: &BuildArgs, settings: &Settings, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let folder = fs::canonicalize(&args.folder).with_context(|| args.folder.display().to_string())?;
    let file = match &args.out {
        Some(file) => file.clone(),
        None => built_file(&folder)?,
    };
    let module = compile_or_add_target(&folder)?;
    let module = fs::read(&module).with_context(|| format!("cannot read {}", module.display()))?;
    let component = encode(&module).map_err(|error| Told::error(EXIT_FAILED, format!("{error:#}")))?;
    fs::write(&file, &component).with_context(|| format!("cannot write {}", file.display()))?;

    let digest = Digest::of(&component);
    if settings.json {
        let size = component.len().to_string();
        output::json(out, &json!({ "component": file, "digest": digest, "size_bytes": size }))?;
    } else {
        let size = output::size(component.len().try_into().unwrap_or(u64::MAX));
        writeln!(out, "component  {}\nsize       {size}\ndigest     {digest}", file.display())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A target that cannot be told to be missing (a wrapper may bring its own) is added when a build
/// without it has failed.
fn compile_or_add_target(folder: &Path) -> anyhow::Result<PathBuf> {
    let failed = match compile(folder) {
        Ok(module) => return Ok(module),
        Err(error) => error,
    };
    if has_target() {
        return Err(failed);
    }
    let added = Command::new("rustup").args(["target", "add", TARGET]).stdout(Stdio::null()).status();
    if !added.is_ok_and(|status| status.success()) {
        let message = format!(
            "Rust has no target {TARGET} here, and it could not be added. Type\n\n    rustup target add {TARGET}\n"
        );
        return Err(Told::error(EXIT_FAILED, message));
    }
    compile(folder)
}

fn has_target() -> bool {
    let rustc = Command::new("rustc").args(["--print", "sysroot"]).output();
    let sysroot = rustc.ok().and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    Path::new(sysroot.trim()).join("lib/rustlib").join(TARGET).is_dir()
}

/// The core module that cargo makes of this crate.
fn compile(folder: &Path) -> anyhow::Result<PathBuf> {
    let manifest = folder.join("Cargo.toml");
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--lib", "--target", TARGET]);
    cargo.args(["--message-format", "json-render-diagnostics", "--manifest-path"]).arg(&manifest);
    cargo.current_dir(folder);
    // The one variable that beats every other way to set flags: the same source must give the
    // same component, whoever builds it.
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags(folder).join(FLAG_SEPARATOR));
    cargo.stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = cargo.output().context("cannot start cargo: is Rust installed? See https://rustup.rs")?;
    if !output.status.success() {
        return Err(Told::error(EXIT_FAILED, "cargo could not build the toolpack"));
    }
    module_of(&output.stdout, &manifest).ok_or_else(|| {
        let advice =
            "the crate makes no module: its Cargo.toml needs `[lib] crate-type = [\"cdylib\", \"rlib\"]`";
        Told::error(EXIT_FAILED, advice)
    })
}

/// Flags that make a component fast, and the same wherever the sources lie.
fn flags(folder: &Path) -> Vec<String> {
    let cargo_home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo_home = cargo_home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    let folders =
        [(cargo_home, "/cargo"), (built_in_sdk(), "/sdk"), (Some(folder.to_path_buf()), "/toolpack")];
    let renamed = folders.into_iter().filter_map(|(folder, name)| {
        folder.map(|folder| format!("--remap-path-prefix={}={name}", folder.display()))
    });
    FEATURES.into_iter().map(str::to_owned).chain(renamed).collect()
}

/// The file that cargo's messages name for this crate.
fn module_of(messages: &[u8], manifest: &Path) -> Option<PathBuf> {
    let messages = messages.split(|byte| *byte == b'\n');
    let mut messages = messages.filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    let artifact = messages.rfind(|message| {
        let is = |pointer: &str, text: &str| message.pointer(pointer).and_then(Value::as_str) == Some(text);
        is("/reason", "compiler-artifact") && is("/manifest_path", &manifest.to_string_lossy())
    })?;
    let files = artifact.get("filenames").and_then(Value::as_array)?;
    files
        .iter()
        .filter_map(Value::as_str)
        .map(PathBuf::from)
        .find(|file| file.extension().is_some_and(|e| e == "wasm"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_is_the_one_that_cargo_names_for_the_crate() {
        let messages = br#"{"reason":"compiler-artifact","manifest_path":"/sdk/Cargo.toml","filenames":["/t/libsdk.rlib"]}
{"reason":"compiler-artifact","manifest_path":"/my/Cargo.toml","filenames":["/t/my.wasm","/t/libmy.rlib"]}
{"reason":"build-finished","success":true}
"#;
        assert_eq!(module_of(messages, Path::new("/my/Cargo.toml")), Some(PathBuf::from("/t/my.wasm")));
        assert_eq!(module_of(messages, Path::new("/sdk/Cargo.toml")), None);
    }
}
