//! `helixmcp init`: a home, its keys, a commented policy, and what to do next.

#![expect(clippy::disallowed_methods, reason = "a door: the first policy file is written here")]

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::client_config;
use super::home::Home;
use super::output::Told;
use super::settings::Settings;
use super::{output, policy as policy_commands};
use crate::call::roots;
use crate::policy::{Policy, edit};

/// The one project of a new policy.
const PROJECT: &str = "default";

#[derive(Args, Clone, Debug)]
pub struct InitArgs {
    /// A folder that tools may be given files from; without it, `import` in the home
    #[arg(long, value_name = "DIR")]
    import_root: Option<PathBuf>,
}

/// Makes what is missing and leaves what is there.
///
/// # Errors
/// When the home cannot be ours, or something cannot be written.
pub fn run(args: &InitArgs, settings: &Settings, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let home = Home::open_or_make(&settings.home)?;
    for folder in ["toolpacks", "cache"] {
        home.folder(folder)?;
    }
    home.cache_key()?;
    let import_root = import_root(args, &home)?;
    let export_root = home.folder("exports")?;
    let made = write_policy(settings, &import_root, &export_root)?;
    let entry = client_config::common_entry(settings)?;
    if settings.json {
        let done = json!({
            "home": home.path(), "policy": settings.policy_file, "policy_made": made,
            "import_root": made.then_some(&import_root), "client": entry,
        });
        output::json(out, &done)?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(out, "home    {}", home.path().display())?;
    if made {
        writeln!(
            out,
            "policy  {} (new; its comments say what each line allows)",
            settings.policy_file.display()
        )?;
        writeln!(
            out,
            "data    {} (tools may be given files from here, and from nowhere else)",
            import_root.display()
        )?;
        writeln!(out, "results {} (artifacts may be exported into it)", export_root.display())?;
    } else {
        writeln!(out, "policy  {} (was there, and is as it was)", settings.policy_file.display())?;
    }
    writeln!(out, "\nFor an MCP client (helixmcp client config --help names more of them):\n")?;
    output::json(out, &entry)?;
    writeln!(out, "\nNext: helixmcp policy allow TOOLPACK.wasm, then helixmcp doctor.")?;
    Ok(ExitCode::SUCCESS)
}

/// The folder that was named, which must be there; else our own, which is made.
fn import_root(args: &InitArgs, home: &Home) -> anyhow::Result<PathBuf> {
    args.import_root.as_deref().map_or_else(|| home.folder("import"), policy_commands::folder)
}

/// Writes the starter; `false` if there is a policy already, which is then checked.
fn write_policy(settings: &Settings, import_root: &Path, export_root: &Path) -> anyhow::Result<bool> {
    let path = &settings.policy_file;
    let text = edit::starter(&PROJECT.parse()?, Some(import_root), Some(export_root));
    // What we write must be what we would accept: a quote in a path would show here.
    let ours =
        Policy::from_toml(&text).with_context(|| format!("no policy can name {}", import_root.display()))?;
    good_roots(&ours, settings)?;
    if let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match opened {
        Ok(mut file) => {
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let old = std::fs::read_to_string(path)?;
            let old = Policy::from_toml(&old)
                .with_context(|| format!("{} is there and is refused", path.display()))?;
            good_roots(&old, settings).with_context(|| format!("{} is refused", path.display()))?;
            Ok(false)
        }
        Err(error) => Err(error).with_context(|| format!("cannot write {}", path.display())),
    }
}

/// As the host would see it.
fn good_roots(policy: &Policy, settings: &Settings) -> anyhow::Result<()> {
    match roots::private(policy, &settings.home, &settings.policy_file, None).as_slice() {
        [] => Ok(()),
        problems => {
            let messages: Vec<&str> = problems.iter().map(|found| found.message.as_str()).collect();
            Err(Told::arguments(messages.join("\n")))
        }
    }
}
