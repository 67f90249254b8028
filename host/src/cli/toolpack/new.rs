//! `toolpack new`: a crate that builds, with one tool and one case.

#![expect(clippy::disallowed_methods, reason = "a door: an author's files are written here")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use helix_ids::ToolpackName;
use serde_json::json;

use crate::cli::Settings;
use crate::cli::output::{self, Told};

/// What is written, with `{{name}}` (`my-tools`), `{{tool}}` (`my_tools`), `{{type}}` (`MyTools`)
/// and `{{sdk}}` to be filled in.
const FILES: &[(&str, &str)] = &[
    ("Cargo.toml", include_str!("template/Cargo.toml.txt")),
    ("src/lib.rs", include_str!("template/src/lib.rs.txt")),
    ("tests/first.toml", include_str!("template/tests/first.toml")),
    ("tests/lines.txt", include_str!("template/tests/lines.txt")),
    (".gitignore", "/target/\n/*.wasm\n"),
];

/// The versions with which the example toolpacks are tested, so that a new crate builds with
/// what is in cargo's cache already. Cargo drops what a crate does not use.
const LOCK: &str = include_str!("../../../../example-toolpacks/Cargo.lock");

/// Where this program's own SDK lay when it was built.
const BUILT_IN_SDK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../toolpack-sdk");

#[derive(Args, Clone, Debug)]
pub struct NewArgs {
    /// The toolpack's name, and the folder's: `[a-z][a-z0-9-]{0,39}`
    name: ToolpackName,
    /// The SDK's folder [default: where it lay when this program was built, else crates.io]
    #[arg(long, value_name = "DIR")]
    sdk: Option<PathBuf>,
}

/// # Errors
/// When the folder exists, or cannot be written.
pub fn run(args: &NewArgs, settings: &Settings, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let name = args.name.as_str();
    let folder = std::path::absolute(name)?;
    fs::create_dir(&folder)
        .map_err(|error| Told::arguments(format!("cannot make the folder {}: {error}", folder.display())))?;
    let sdk = sdk(args.sdk.as_deref())?;
    for (file, template) in FILES {
        let path = folder.join(file);
        fs::create_dir_all(path.parent().unwrap_or(&folder))?;
        fs::write(&path, filled(template, name, &sdk)).with_context(|| path.display().to_string())?;
    }
    fs::write(folder.join("Cargo.lock"), LOCK)?;

    if settings.json {
        output::json(out, &json!({ "folder": folder, "sdk": sdk }))?;
    } else {
        writeln!(out, "{}: a toolpack with one tool. Next:\n", folder.display())?;
        writeln!(out, "  cd {name}\n  cargo test               # the tool, natively")?;
        writeln!(out, "  helixmcp toolpack build  # {name}.wasm")?;
        writeln!(out, "  helixmcp toolpack check  # what an operator will see")?;
        writeln!(out, "  helixmcp toolpack test   # tests/*.toml, in the sandbox")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// How Cargo.toml names the SDK.
fn sdk(given: Option<&Path>) -> anyhow::Result<String> {
    let is_sdk = |folder: &Path| folder.join("Cargo.toml").is_file();
    if let Some(given) = given {
        if !is_sdk(given) {
            return Err(Told::arguments(format!("{} holds no crate", given.display())));
        }
        return Ok(path_dependency(given)?);
    }
    if is_sdk(Path::new(BUILT_IN_SDK)) {
        return Ok(path_dependency(Path::new(BUILT_IN_SDK))?);
    }
    Ok(format!("\"{}\"", env!("CARGO_PKG_VERSION")))
}

fn path_dependency(folder: &Path) -> std::io::Result<String> {
    let folder = fs::canonicalize(folder)?;
    Ok(format!("{{ path = {} }}", toml::Value::String(folder.to_string_lossy().into_owned())))
}

fn filled(template: &str, name: &str, sdk: &str) -> String {
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
    };
    let type_name: String = name.split('-').map(capital).collect();
    template
        .replace("{{name}}", name)
        .replace("{{tool}}", &name.replace('-', "_"))
        .replace("{{type}}", &type_name)
        .replace("{{sdk}}", sdk)
}

/// Where this program's own SDK lies, if it is still there.
pub(super) fn built_in_sdk() -> Option<PathBuf> {
    fs::canonicalize(BUILT_IN_SDK).ok()
}
