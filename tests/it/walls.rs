//! The walls around a runner: tried from behind them, looked at from outside, and missed where a
//! kernel lacks one.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use helix_tests::world::binary;
use helix_tests::{World, wait};
use helixmcp::sandbox::client::probe::{Tried, probe};
use helixmcp::sandbox::protocol::Standing;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use serde_json::{Value, json};

use crate::crash::{begun, busiest_runner, patient};
use crate::guests;
use crate::stage::{Stage, text};

const SOON: Duration = Duration::from_secs(30);

/// All walls, tried once for all tests of this file.
fn tried(wall: &str) -> Result<&'static Tried> {
    static ALL: OnceLock<Vec<Tried>> = OnceLock::new();
    if ALL.get().is_none() {
        let found = runtime()?.block_on(probe(&binary()?, &[]))?;
        // Two tests at once may have tried: both saw the same.
        ALL.get_or_init(|| found);
    }
    let all = ALL.get().context("nothing was tried")?;
    all.iter().find(|tried| tried.wall == wall).with_context(|| format!("{wall} was not tried"))
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// What was seen of each attempt; every one of them was refused.
fn refused(tried: &Tried) -> Result<BTreeMap<&'static str, String>> {
    ensure!(tried.holds(), "{tried:?}");
    Ok(tried.attempts.iter().map(|(name, _, seen)| (*name, seen.clone())).collect())
}

fn ended(seen: &BTreeMap<&'static str, String>, names: &[&str], signal: &str) {
    for name in names {
        let seen = seen.get(name).map_or("not tried", String::as_str);
        assert_eq!(seen, format!("the runner was ended by {signal}"), "{name}");
    }
}

fn answered(seen: &BTreeMap<&'static str, String>, names: &[&str], error: &str) {
    for name in names {
        let seen = seen.get(name).map_or("not tried", String::as_str);
        assert!(seen.contains(error), "{name}: {seen}");
    }
}

#[test]
fn i3_landlock_alone_keeps_a_runner_from_files_ports_and_processes() -> Result<()> {
    let seen = refused(tried("landlock")?)?;
    answered(&seen, &["open_file", "write_file", "list_folder", "execute"], "Permission denied");
    answered(&seen, &["trace_parent"], "not permitted");
    let Standing::Holds(reach) = &tried("landlock")?.standing else { unreachable!() };
    // Everything that this kernel's Landlock says of its reach was tried as well.
    let reach = reach.split("; not ").next().unwrap_or_default();
    if reach.contains("TCP") {
        answered(&seen, &["bind_tcp", "connect_tcp"], "Permission denied");
    }
    if reach.contains("signals") {
        answered(&seen, &["signal_parent", "connect_abstract"], "not permitted");
    }
    Ok(())
}

#[test]
fn i3_seccomp_alone_keeps_a_runner_from_files_sockets_and_processes() -> Result<()> {
    let seen = refused(tried("seccomp")?)?;
    let deadly = [
        "unix_socket",
        "internet_socket",
        "bind_tcp",
        "execute",
        "fork",
        "signal_parent",
        "trace_parent",
        "io_uring",
        "change_root",
    ];
    ended(&seen, &deadly, "SIGSYS");
    answered(
        &seen,
        &["open_file", "list_folder", "share_memory", "grow_memory_down", "new_code"],
        "not implemented",
    );
    assert_eq!(seen.len(), 14, "{seen:?}");
    Ok(())
}

#[test]
fn i9_a_runner_writes_and_allocates_no_more_than_its_limits() -> Result<()> {
    let seen = refused(tried("limits")?)?;
    ended(&seen, &["write_beyond"], "SIGXFSZ");
    answered(&seen, &["allocate_beyond"], "memory allocation failed");
    Ok(())
}

#[test]
fn i3_a_runner_has_no_privileges_and_no_environment() -> Result<()> {
    answered(&refused(tried("privileges")?)?, &["change_root"], "not permitted");
    answered(&refused(tried("environment")?)?, &["read"], "has 0 variables");
    Ok(())
}

/// Where a cgroup can be had, it is tried; where not, it is said to be missing and why.
#[test]
fn i9_a_cgroup_holds_memory_and_threads_or_is_said_to_be_missing() -> Result<()> {
    let tried_without = tried("cgroup")?;
    let Standing::Missing(why) = &tried_without.standing else { unreachable!() };
    assert!(why.contains("[limits.host] cgroups"), "{why}");

    let Some(cgroups) = Cgroups::of_this_process() else {
        // No controller that this user may divide: the host must say so of these folders too.
        let folder = tempfile::tempdir()?;
        let all = runtime()?.block_on(probe(&binary()?, &[folder.path().to_owned()]))?;
        let tried = all.iter().find(|tried| tried.wall == "cgroup").context("not tried")?;
        assert!(
            matches!(&tried.standing, Standing::Missing(why) if why.contains("limits memory")),
            "{tried:?}"
        );
        return Ok(());
    };
    let all = runtime()?.block_on(probe(&binary()?, &cgroups.0))?;
    let seen = refused(all.iter().find(|tried| tried.wall == "cgroup").context("not tried")?)?;
    ended(&seen, &["use_memory"], "SIGKILL");
    answered(&seen, &["start_threads"], "temporarily unavailable");
    Ok(())
}

/// The host puts a runner at work into its cgroup, and takes it away after.
#[test]
fn a_runner_at_work_is_in_a_cgroup_of_its_own() -> Result<()> {
    let Some(cgroups) = Cgroups::of_this_process() else {
        let mut stage = requiring("[\"seccomp\", \"cgroup\"]")?;
        assert_eq!(refusals(&mut stage)?, ["wall_missing"], "no folder, no cgroup, no run");
        return stage.close();
    };
    let component = guests::honest("patient")?;
    let folders: Vec<String> = cgroups.0.iter().map(|folder| folder.display().to_string()).collect();
    let mut stage = Stage::prepared(|world| {
        world.allow("patient", &component)?;
        world.policy.limit("host", "cgroups", &format!("{folders:?}"));
        world.policy.limit("host", "require", "[\"seccomp\", \"cgroup\"]");
        Ok(())
    })?;
    let run = begun(&mut stage, 900_000)?;
    let pid = busiest_runner(&stage)?;
    for folder in &cgroups.0 {
        let inside = fs::read_to_string(folder.join(format!("helixmcp-{pid}/cgroup.procs")))?;
        assert_eq!(inside.trim(), pid, "{}", folder.display());
    }
    stage.client.call("run_cancel", json!({"run_id": run, "reason": "a test"}))?;
    let gone =
        || cgroups.0.iter().all(|folder| !folder.join(format!("helixmcp-{pid}")).exists()).then_some(());
    wait::until(SOON, gone).context("the cgroup stayed")?;
    stage.finish()
}

/// A world whose policy requires these walls.
fn requiring(walls: &str) -> Result<Stage> {
    Stage::prepared(|world| {
        world.policy.limit("host", "require", walls);
        Ok(())
    })
}

/// Why toolpacks are not offered.
fn refusals(stage: &mut Stage) -> Result<Vec<String>> {
    let info = stage.client.call("host_info", json!({}))?;
    let rows = info.structured["refused"].as_array().context("host_info says nothing of refusals")?;
    Ok(rows.iter().map(|row| text(&row["code"])).collect())
}

/// From outside: what the kernel says of a runner while a guest runs in it.
#[test]
fn the_kernel_says_the_same_of_a_runner_at_work() -> Result<()> {
    let mut stage = patient()?;
    let run = begun(&mut stage, 900_000)?;
    let pid = busiest_runner(&stage)?;
    let process = Path::new("/proc").join(&pid);
    let status = fields(&fs::read_to_string(process.join("status"))?);
    assert_eq!(status["NoNewPrivs"], "1");
    assert_eq!(status["Seccomp"], "2");
    // What ends it, what is left, and what loading needed.
    assert_eq!(status["Seccomp_filters"], "3");
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(status[set], "0000000000000000", "{set}");
    }
    let limits = fs::read_to_string(process.join("limits"))?;
    let limit = |name: &str| -> Option<String> {
        let row = limits.lines().find(|line| line.starts_with(name))?;
        Some(row.split_whitespace().rev().nth(1).unwrap_or_default().to_owned())
    };
    // The default of limits.guest.output_bytes: 64 GiB.
    assert!(limits.contains("68719476736"), "{limits}");
    assert_eq!(limit("Max core file size").as_deref(), Some("0"));
    assert_eq!(fs::read(process.join("environ"))?, b"");
    for entry in fs::read_dir(process.join("fd"))? {
        let target = fs::read_link(entry?.path())?.display().to_string();
        let allowed = ["socket:", "/memfd:", "/dev/null"];
        assert!(allowed.iter().any(|start| target.starts_with(start)), "a runner holds {target}");
    }
    stage.client.call("run_cancel", json!({"run_id": run, "reason": "a test"}))?;
    stage.finish()
}

fn fields(status: &str) -> BTreeMap<String, String> {
    let rows = status.lines().filter_map(|line| line.split_once(':'));
    rows.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}

#[test]
fn a_wall_that_is_required_and_missing_closes_every_tool() -> Result<()> {
    let mut stage = requiring("[\"seccomp\", \"cgroup\"]")?;
    assert_eq!(refusals(&mut stage)?, ["wall_missing"]);
    assert!(!stage.tool_names()?.contains(&"echo".to_owned()), "a tool is offered without its wall");
    // What needs no runner goes on, and a policy without the wall opens the tools again.
    stage.import_text("still served\n")?;
    stage.world.policy.limit("caller", "queued", "63");
    let text = stage.world.policy.render().replace(", \"cgroup\"", "");
    stage.world.put_policy(&text)?;
    wait::until(SOON, || stage.tool_names().ok()?.contains(&"echo".to_owned()).then_some(()))
        .context("the tools stay closed")?;
    stage.honest_call()?;
    // And with it they close again, while the host runs.
    stage.world.write_policy()?;
    wait::until(SOON, || (!stage.tool_names().ok()?.contains(&"echo".to_owned())).then_some(()))
        .context("the tools stay open")?;
    stage.close()
}

/// On a kernel that lacks one, as a filter around everything that this test starts plays it.
fn on_a_kernel_without<T: Send>(call: libc::c_long, act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let rules = BTreeMap::from([(call, Vec::new())]);
    let absent = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let arch = std::env::consts::ARCH.try_into()?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, absent, arch)?;
    let filter: BpfProgram = filter.try_into()?;
    std::thread::scope(|scope| {
        let acting = move || {
            // It holds for this thread, and for every process that this thread starts.
            seccompiler::apply_filter(&filter)?;
            act()
        };
        let acted = scope.spawn(acting).join();
        acted.map_err(|_panic| anyhow::anyhow!("it panicked"))?
    })
}

/// What doctor finds of a wall, and its exit code.
fn doctor(world: &World, wall: &str) -> Result<(String, String, Option<i32>)> {
    let output = world.cli(&["doctor", "--json"])?;
    let findings: Value = output.json()?;
    let findings = findings.as_array().context("no findings")?;
    let found =
        findings.iter().find(|finding| finding["what"] == wall).context("doctor says nothing of it")?;
    Ok((text(&found["verdict"]), text(&found["detail"]), output.code))
}

#[test]
fn a_kernel_without_landlock_is_reported_and_policy_decides() -> Result<()> {
    on_a_kernel_without(libc::SYS_landlock_create_ruleset, || {
        // By default only what every Linux has is required: tools run, and doctor says what lacks.
        let mut stage = Stage::honest()?;
        stage.honest_call()?;
        let (verdict, detail, _code) = doctor(&stage.world, "landlock")?;
        assert_eq!(verdict, "note", "{detail}");
        assert!(detail.contains("this kernel has no Landlock"), "{detail}");
        assert_eq!(doctor(&stage.world, "seccomp")?.0, "works");
        stage.finish()?;

        let mut stage = requiring("[\"landlock\", \"seccomp\"]")?;
        assert_eq!(refusals(&mut stage)?, ["wall_missing"]);
        let (verdict, detail, code) = doctor(&stage.world, "landlock")?;
        assert_eq!((verdict.as_str(), code), ("broken", Some(1)), "{detail}");
        stage.close()
    })
}

#[test]
fn a_kernel_without_seccomp_runs_nothing_unless_policy_says_so() -> Result<()> {
    on_a_kernel_without(libc::SYS_seccomp, || {
        let mut stage = Stage::honest()?;
        assert_eq!(refusals(&mut stage)?, ["wall_missing"]);
        let (verdict, detail, code) = doctor(&stage.world, "seccomp")?;
        assert_eq!((verdict.as_str(), code), ("broken", Some(1)), "{detail}");
        stage.close()?;

        let mut stage = requiring("[]")?;
        stage.honest_call()?;
        assert_eq!(doctor(&stage.world, "seccomp")?.0, "note");
        stage.finish()
    })
}

#[test]
fn doctor_says_of_each_wall_what_was_refused() -> Result<()> {
    let world = World::new()?;
    world.write_policy()?;
    for (wall, word) in [
        ("landlock", "open_file"),
        ("seccomp", "unix_socket"),
        ("limits", "write_beyond"),
        ("privileges", "change_root"),
        ("environment", "read"),
    ] {
        let (verdict, detail, _code) = doctor(&world, wall)?;
        assert_eq!(verdict, "works", "{wall}: {detail}");
        assert!(detail.contains("refused: ") && detail.contains(word), "{wall}: {detail}");
    }
    assert_eq!(doctor(&world, "cgroup")?.0, "note");
    Ok(())
}

/// Folders below the cgroups of this process, to be divided; gone when this is dropped.
struct Cgroups(Vec<PathBuf>);

impl Cgroups {
    /// `None` where this user may not make any, as without root and without delegation.
    fn of_this_process() -> Option<Self> {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let mut made = Self(Vec::new());
        for line in own.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, path) = (parts.next()?, parts.next()?);
            let Some(name) =
                ["memory", "pids"].into_iter().find(|name| controllers.split(',').any(|c| c == *name))
            else {
                continue;
            };
            let parent = Path::new("/sys/fs/cgroup").join(name).join(path.trim_start_matches('/'));
            let folder = parent.join(format!("helix-tests-{}-{count}", std::process::id()));
            fs::create_dir(&folder).ok()?;
            made.0.push(folder);
        }
        (made.0.len() == 2).then_some(made)
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        for folder in &self.0 {
            let empty = || fs::remove_dir(folder).ok().or_else(|| (!folder.exists()).then_some(()));
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                drop(fs::remove_dir(entry.path()));
            }
            // The last process of it may not be reaped yet.
            wait::until(SOON, empty).unwrap_or_default();
        }
    }
}
