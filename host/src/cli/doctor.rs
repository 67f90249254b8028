//! `helixmcp doctor`: what works here, what does not, and which command would fix it.

mod walls;

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustix::fs::{CWD, MemfdFlags, Mode, OFlags, ResolveFlags, SealFlags};
use serde::Serialize;

use super::attach;
use super::home::Home;
use super::output::{self, EXIT_BAD};
use super::settings::Settings;
use crate::call::roots;
use crate::policy::Policy;

/// Free space below which nothing new is stored, where no policy says otherwise.
const FREE_SPACE_FLOOR_BYTES: u64 = 5_000_000_000;

/// File systems on which SQLite's locks cannot be trusted, by their magic number.
const NETWORK_FILE_SYSTEMS: &[(u64, &str)] = &[
    (0x6969, "NFS"),
    (0xFF53_4D42, "CIFS"),
    (0xFE53_4D42, "SMB"),
    (0x0BD0_0BD0, "Lustre"),
    (0x0102_1997, "9p"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Works,
    /// Works, but look at it; or only some need it.
    Note,
    Broken,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    verdict: Verdict,
    detail: String,
    /// The command that would fix it.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

impl Finding {
    fn works(what: &'static str, detail: impl Into<String>) -> Self {
        Self { what, verdict: Verdict::Works, detail: detail.into(), fix: None }
    }

    fn note(what: &'static str, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { what, verdict: Verdict::Note, detail: detail.into(), fix: Some(fix.into()) }
    }

    fn broken(what: &'static str, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { what, verdict: Verdict::Broken, detail: detail.into(), fix: Some(fix.into()) }
    }
}

/// Looks at everything. What it starts are runners that try their own walls.
///
/// # Errors
/// When nobody reads.
pub async fn run(settings: &Settings, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let mut findings = vec![openat2(), seals(), user()];
    findings.extend(home(settings));
    findings.extend(policy(settings));
    findings.extend(walls::walls(read_policy(settings).as_ref()).await);
    findings.push(host(settings).await);
    findings.extend(for_authors(settings));
    let broken = findings.iter().any(|finding| finding.verdict == Verdict::Broken);
    if settings.json {
        output::json(out, &findings)?;
    } else {
        print(&findings, out)?;
    }
    Ok(ExitCode::from(if broken { EXIT_BAD } else { 0 }))
}

fn print(findings: &[Finding], out: &mut dyn Write) -> std::io::Result<()> {
    for Finding { what, verdict, detail, fix } in findings {
        let mark = match verdict {
            Verdict::Works => "ok  ",
            Verdict::Note => "note",
            Verdict::Broken => "BAD ",
        };
        writeln!(
            out,
            "{mark}  {what:<12} {}",
            output::visible(detail).replace('\n', "\n                    ")
        )?;
        if let Some(fix) = fix {
            writeln!(out, "      {:<12} fix: {}", "", output::visible(fix))?;
        }
    }
    Ok(())
}

/// Imports and exports open files in a way that no link can lead astray.
fn openat2() -> Finding {
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(CWD, ".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), how) {
        Ok(_) => Finding::works("openat2", "imports cannot be led astray by links"),
        Err(error) => Finding::broken(
            "openat2",
            format!("{error}: imports and exports will be refused"),
            "use Linux 5.6 or newer; in a container, allow the system call openat2",
        ),
    }
}

/// A component goes to its runner in memory that nobody can change any more.
fn seals() -> Finding {
    let sealed = rustix::fs::memfd_create("doctor", MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC)
        .and_then(|memory| rustix::fs::fcntl_add_seals(memory, SealFlags::WRITE | SealFlags::SEAL));
    match sealed {
        Ok(()) => Finding::works("memfd", "memory can be sealed"),
        Err(error) => Finding::broken(
            "memfd",
            format!("memory cannot be sealed: {error}"),
            "use Linux 3.17 or newer with memfd",
        ),
    }
}

fn user() -> Finding {
    let uid = rustix::process::geteuid();
    if uid.is_root() {
        Finding::note(
            "user",
            "you are root; runners keep the uid and drop every capability",
            "run helixmcp as an ordinary user",
        )
    } else {
        Finding::works("user", format!("uid {}", uid.as_raw()))
    }
}

fn home(settings: &Settings) -> Vec<Finding> {
    let shown = settings.home.display();
    let home = match Home::open(&settings.home) {
        Ok(Some(home)) => home,
        Ok(None) => return vec![Finding::broken("home", format!("{shown} is not there"), "helixmcp init")],
        Err(error) => {
            return vec![Finding::broken(
                "home",
                format!("{error:#}"),
                format!("chmod 700 {shown}, or give --home"),
            )];
        }
    };
    let mode = fs::metadata(home.path()).map_or(0, |metadata| metadata.mode() & 0o777);
    let mut findings = vec![if mode & 0o077 == 0 {
        Finding::works("home", shown.to_string())
    } else {
        Finding::note(
            "home",
            format!("{shown} can be read by others (mode {mode:o})"),
            format!("chmod 700 {shown}"),
        )
    }];
    findings.extend(file_system(&home, settings));
    findings
}

fn file_system(home: &Home, settings: &Settings) -> Vec<Finding> {
    let Ok(system) = rustix::fs::statfs(home.path()) else { return Vec::new() };
    let mut findings = Vec::new();
    let magic = u64::try_from(system.f_type).unwrap_or(0) & 0xFFFF_FFFF;
    if let Some((_, name)) = NETWORK_FILE_SYSTEMS.iter().find(|(known, _)| *known == magic) {
        findings.push(Finding::broken(
            "ledger",
            format!("the home lies on {name}, where SQLite's locks cannot be trusted"),
            "give --home a folder on a local disk; [store] root may stay where it is",
        ));
    }
    let floor =
        read_policy(settings).map_or(FREE_SPACE_FLOOR_BYTES, |policy| policy.host.free_space_floor_bytes);
    let block = u64::try_from(system.f_bsize).unwrap_or(4096);
    let free = system.f_bavail.saturating_mul(block);
    let detail = format!("{} free; nothing new is stored below {}", output::size(free), output::size(floor));
    findings.push(if free >= floor {
        Finding::works("disk", detail)
    } else {
        Finding::broken(
            "disk",
            detail,
            "free some space, or lower free_space_floor under [limits.host] in the policy",
        )
    });
    findings
}

fn read_policy(settings: &Settings) -> Option<Policy> {
    Policy::from_toml(&fs::read_to_string(&settings.policy_file).ok()?).ok()
}

fn policy(settings: &Settings) -> Vec<Finding> {
    let shown = settings.policy_file.display();
    let text = match fs::read_to_string(&settings.policy_file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return vec![Finding::broken(
                "policy",
                format!("{shown} is not there, so nothing is allowed"),
                "helixmcp init",
            )];
        }
        Err(error) => {
            return vec![Finding::broken(
                "policy",
                format!("{shown}: {error}"),
                format!("make {shown} readable"),
            )];
        }
    };
    let policy = match Policy::from_toml(&text) {
        Ok(policy) => policy,
        Err(error) => {
            return vec![Finding::broken(
                "policy",
                format!("{shown}:\n{error}"),
                format!("helixmcp policy check {shown}"),
            )];
        }
    };
    let private = roots::private(&policy, &settings.home, &settings.policy_file, None);
    if !private.is_empty() {
        let lines: Vec<String> = private.iter().map(ToString::to_string).collect();
        return vec![Finding::broken(
            "policy",
            format!("{shown}:\n{}", lines.join("\n")),
            format!("correct the roots in {shown}, then helixmcp policy check"),
        )];
    }
    let (components, projects) = (policy.components().len(), policy.projects());
    let detail = format!("{shown}: {components} components, {} projects", projects.len());
    let mut findings = vec![if components == 0 {
        Finding::note(
            "policy",
            format!("{detail}; no tool is offered yet"),
            "helixmcp policy allow TOOLPACK.wasm",
        )
    } else {
        Finding::works("policy", detail)
    }];
    let mut roots: Vec<(String, PathBuf)> = projects
        .iter()
        .flat_map(|project| policy.import_roots(project))
        .map(|root| (root.name.to_string(), root.path.clone()))
        .collect();
    roots.sort();
    roots.dedup();
    findings.extend(roots.iter().filter_map(|(name, path)| import_root(name, path)));
    findings
}

fn import_root(name: &str, path: &Path) -> Option<Finding> {
    match fs::read_dir(path) {
        Ok(_) => None,
        Err(error) => {
            let detail = format!("import root {name}: {}: {error}", path.display());
            Some(Finding::note(
                "import root",
                detail,
                format!("mkdir -p {0}, or correct the policy", path.display()),
            ))
        }
    }
}

async fn host(settings: &Settings) -> Finding {
    let Ok(Some(home)) = Home::open(&settings.home) else {
        return Finding::works("host", "none runs; a client starts one");
    };
    let client = match attach::running(&home).await {
        Ok(Some(client)) => client,
        Ok(None) => return Finding::works("host", "none runs; a client starts one"),
        Err(error) => {
            return Finding::broken(
                "host",
                format!("{error:#}"),
                format!("rm {}", settings.home.join("host.sock").display()),
            );
        }
    };
    let status = match client.status().await {
        Ok(status) => status,
        Err(error) => {
            return Finding::broken(
                "host",
                format!("it runs and does not say how it is: {error}"),
                "see host.log in the home",
            );
        }
    };
    client.close().await;
    if !attach::is_same_policy(&status, settings) {
        return Finding::note(
            "host",
            format!(
                "pid {} obeys {}, and this command goes by {}",
                status.pid,
                status.policy_file,
                settings.policy_file.display()
            ),
            format!("name that file with --policy, or stop the host with `kill {}`", status.pid),
        );
    }
    let detail = format!(
        "version {}, pid {}, {} tools, {} runs under way, {} clients attached",
        status.version, status.pid, status.tools, status.open_runs, status.attachments
    );
    if let Some(problem) = status.policy_problem {
        return Finding::broken(
            "host",
            format!("{detail}; it still obeys an older policy:\n{problem}"),
            format!("helixmcp policy check {}", settings.policy_file.display()),
        );
    }
    if !status.waits_for_restart.is_empty() {
        let keys = status.waits_for_restart.join(", ");
        return Finding::note(
            "host",
            format!("{detail}; it started with another {keys}"),
            format!("kill {}; the next client starts it again", status.pid),
        );
    }
    if status.version != env!("CARGO_PKG_VERSION") {
        return Finding::note(
            "host",
            format!("{detail}; this is {}", env!("CARGO_PKG_VERSION")),
            format!("kill {}", status.pid),
        );
    }
    Finding::works("host", detail)
}

/// What only those need who write toolpacks or compare results.
fn for_authors(settings: &Settings) -> Vec<Finding> {
    let cargo = match program(settings, "cargo") {
        Some(path) => Finding::works("cargo", path.display().to_string()),
        None => Finding::note(
            "cargo",
            "not found; only authors of toolpacks need it",
            "install Rust: https://rustup.rs",
        ),
    };
    let target = match wasm_target(settings) {
        Some(path) => Finding::works("wasm target", path.display().to_string()),
        None => Finding::note(
            "wasm target",
            "not found; only authors of toolpacks need it",
            "rustup target add wasm32-unknown-unknown",
        ),
    };
    let seqkit = match program(settings, "seqkit") {
        Some(path) => Finding::works("seqkit", path.display().to_string()),
        None => Finding::note(
            "seqkit",
            "not found; only the tests that compare with it need it",
            "apt-get install seqkit",
        ),
    };
    vec![cargo, target, seqkit]
}

fn program(settings: &Settings, name: &str) -> Option<PathBuf> {
    let folders = settings.path.as_deref()?;
    std::env::split_paths(folders).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// The target's libraries, beside a compiler on the path or in one of rustup's toolchains.
fn wasm_target(settings: &Settings) -> Option<PathBuf> {
    let rustc = program(settings, "rustc")?;
    let bin = rustc.canonicalize().unwrap_or_else(|_gone| rustc.clone());
    let beside = bin.parent().and_then(Path::parent).map(Path::to_owned);
    // rustup's `rustc` is a proxy in ~/.cargo/bin; its toolchains lie in ~/.rustup.
    let rustup = rustc
        .parent()
        .and_then(Path::parent)
        .and_then(Path::parent)
        .map(|home| home.join(".rustup/toolchains"));
    let toolchains = rustup.and_then(|folder| fs::read_dir(folder).ok()).into_iter().flatten().flatten();
    let candidates = beside.into_iter().chain(toolchains.map(|entry| entry.path()));
    candidates.map(|root| root.join("lib/rustlib/wasm32-unknown-unknown")).find(|path| path.is_dir())
}
