//! A disk that is full, and a host that is out of descriptors. Each test of a disk runs once more
//! as a process with mounts of its own, so that what it mounts is gone with it.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use helix_tests::{StdioClient, ToolReply, World, wait, world};
use serde_json::{Value, json};

const DISK_BYTES: u64 = 24 * 1024 * 1024;

/// Steps in which the room that is left shrinks.
const STEP_BYTES: u64 = 64 * 1024;

/// Says that this process has its mounts to itself.
const INSIDE: &str = "HELIX_TESTS_OWN_MOUNTS";

/// Ways to mounts of one's own: as root, as a user whose kernel allows it, as one who may be root.
const WAYS: [&[&str]; 3] = [&["unshare", "-m"], &["unshare", "-rm"], &["sudo", "-n", "unshare", "-m"]];

/// Runs the test in a mount namespace of its own; `true` in the process that is there already.
/// Where none can be had it fails: a test that did not run has not passed.
fn has_own_mounts(test: &str) -> Result<bool> {
    if std::env::var_os(INSIDE).is_some() {
        return Ok(true);
    }
    let works = |way: &&&[&str]| run(way, &["true"]).is_ok_and(|output| output.status.success());
    let way = WAYS.iter().find(works).context("no mount namespace can be had here: run as root")?;
    let own = std::env::current_exe()?;
    let own = own.to_str().context("a path that is no text")?;
    let output = run(way, &["env", &format!("{INSIDE}=1"), own, "--exact", test, "--nocapture"])?;
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && said.contains("1 passed"), "in a mount namespace: {said}");
    Ok(false)
}

fn run(way: &[&str], command: &[&str]) -> Result<Output> {
    let (program, flags) = way.split_first().context("no way")?;
    Command::new(program).args(flags).args(command).output().with_context(|| format!("cannot run {program}"))
}

fn mount(arguments: &[&str], at: &Path) -> Result<()> {
    let output = Command::new("mount").args(arguments).arg(at).output()?;
    ensure!(output.status.success(), "mount: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// A home that is a disk of its own, with as small a floor of free space as there can be.
fn on_a_small_disk(compiled: Option<&World>) -> Result<World> {
    let mut world = World::new()?;
    mount(&["-t", "tmpfs", "-o", &format!("size={DISK_BYTES},mode=0700"), "tmpfs"], &world.home())?;
    fs::create_dir(world.home().join("toolpacks"))?;
    world.policy.limit("host", "free_space_floor", "\"4KiB\"");
    world.allow("hello", &world::toolpack("hello")?)?;
    if let Some(compiled) = compiled {
        world.take_cache(compiled)?;
    }
    Ok(world)
}

fn fill(world: &World, leave_bytes: u64) -> Result<()> {
    let mut filler = fs::File::create(world.home().join("filler"))?;
    let free = free_bytes(&world.home())?;
    let chunk = vec![0; usize::try_from(STEP_BYTES)? / 16];
    let mut left = free.saturating_sub(leave_bytes);
    while left >= chunk.len() as u64 {
        filler.write_all(&chunk)?;
        left -= chunk.len() as u64;
    }
    Ok(())
}

fn free_bytes(folder: &Path) -> Result<u64> {
    let output = Command::new("stat").args(["-f", "-c", "%a %S"]).arg(folder).output()?;
    let text = String::from_utf8(output.stdout)?;
    let (blocks, size) = text.trim().split_once(' ').context("stat")?;
    Ok(blocks.parse::<u64>()? * size.parse::<u64>()?)
}

/// F11: wherever room ends, what is new is refused by name, what is there is read, and once there
/// is room the same host goes on.
#[test]
fn a_full_disk_refuses_what_is_new_and_heals_without_a_restart() -> Result<()> {
    if !has_own_mounts("disk::a_full_disk_refuses_what_is_new_and_heals_without_a_restart")? {
        return Ok(());
    }
    let mut world = on_a_small_disk(None)?;
    world.start()?;
    let mut client = world.client()?;
    let kept = client.call("artifact_import", json!({"text": "kept\n", "type_hint": "TEXT"}))?;
    let kept = kept.structured["artifacts"][0]["artifact_id"].clone();
    let first = client.call("hello", json!({"name": "Ada"}))?;
    assert_eq!(first.status(), "succeeded", "{}", first.structured);

    let mut refused = 0;
    for step in 0..12 {
        fill(&world, step * STEP_BYTES)?;
        let text = format!("{step} {}\n", "x".repeat(100_000));
        let import = || json!({"text": text, "type_hint": "TEXT"});
        let greet = || json!({"name": format!("step {step}")});
        let imported = told(client.call("artifact_import", import()))?;
        let greeted = told(client.call("hello", greet()))?;
        refused += usize::from(imported.is_some()) + usize::from(greeted.is_some());
        for code in [imported, greeted].into_iter().flatten() {
            ensure!(code == "store_full", "{step}: {code}\n{}", world.log());
        }
        reads_go_on(&mut client, &kept).with_context(|| format!("step {step}"))?;

        fs::remove_file(world.home().join("filler"))?;
        let imported = client.call("artifact_import", import())?;
        ensure!(!imported.is_error, "{step}: {}", imported.text());
        let greeted = client.call("hello", greet())?;
        ensure!(greeted.status() == "succeeded", "{step}: {}", greeted.structured);
    }
    assert!(refused >= 8, "the disk was full {refused} times");
    client.close()?;
    world.finish()
}

/// The reason code of a refusal, `None` for what was done.
fn told(reply: Result<ToolReply>) -> Result<Option<String>> {
    let reply = match reply {
        Ok(reply) => reply,
        Err(error) => return Ok(Some(format!("{error:#}"))),
    };
    let failure = &reply.structured["failure"]["code"];
    let code = failure.as_str().or_else(|| reply.structured["code"].as_str()).map(str::to_owned);
    let is_refused = reply.is_error || reply.status() == "failed";
    Ok(is_refused.then(|| code.unwrap_or_else(|| reply.text())))
}

fn reads_go_on(client: &mut StdioClient, kept: &Value) -> Result<()> {
    let found = client.call("artifact_get", json!({"artifact_id": kept}))?;
    ensure!(!found.is_error, "{}", found.text());
    let list = client.call("run_list", json!({}))?;
    ensure!(!list.is_error, "{}", list.text());
    let again = client.call("hello", json!({"name": "Ada"}))?;
    ensure!(again.replayed() && again.status() == "succeeded", "{}", again.structured);
    Ok(())
}

/// F13: a host does not start on a disk that is read-only, says why, and changes nothing.
#[test]
fn a_host_does_not_start_on_a_read_only_disk() -> Result<()> {
    if !has_own_mounts("disk::a_host_does_not_start_on_a_read_only_disk")? {
        return Ok(());
    }
    let mut world = on_a_small_disk(None)?;
    world.start()?;
    let mut client = world.client()?;
    client.call("hello", json!({"name": "Ada"}))?;
    client.close()?;
    world.kill_host()?;

    let home = world.home();
    mount(&["-o", "remount,ro"], &home)?;
    ensure!(!world.try_start_host()?, "a host started where it cannot write");
    let log = world.log();
    ensure!(log.contains("Read-only file system") || log.contains("readonly"), "{log}");
    mount(&["-o", "remount,rw"], &home)?;
    world.start_host()?;
    let mut client = world.client()?;
    let again = client.call("hello", json!({"name": "Ada"}))?;
    assert!(again.replayed(), "{}", again.structured);
    client.close()?;
    world.finish()
}

/// A mount has no link in its path; the home, and a folder of the store, are known by what they are.
#[test]
fn a_home_that_is_mounted_as_a_root_is_closed() -> Result<()> {
    if !has_own_mounts("disk::a_home_that_is_mounted_as_a_root_is_closed")? {
        return Ok(());
    }
    let mut world = World::new()?;
    world.start()?;
    let mut client = world.client()?;
    let kept = client.call("artifact_import", json!({"text": "mine\n"}))?;
    let id = kept.structured["artifacts"][0]["artifact_id"].as_str().context("no artifact")?.to_owned();
    for folder in ["home", "home/keys", "home/objects"] {
        let folder = world.path().join(folder).display().to_string();
        mount(&["--bind", &folder], &world.data())?;
        mount(&["--bind", &folder], &world.out())?;
        for (tool, arguments) in [
            ("artifact_browse", json!({"root": "data"})),
            ("artifact_import", json!({"root": "data", "path": "policy.toml"})),
            ("artifact_export", json!({"root": "out", "artifact_id": id, "name": "exported.txt"})),
        ] {
            let reply = client.call(tool, arguments)?;
            assert_eq!(reply.structured["failure"]["code"], "root_private", "{tool}: {}", reply.structured);
        }
        assert!(!Path::new(&folder).join("exported.txt").exists());
        for root in [world.data(), world.out()] {
            ensure!(Command::new("umount").arg(root).status()?.success(), "it cannot be unmounted");
        }
    }
    let reply = client.call("artifact_browse", json!({"root": "data"}))?;
    assert!(!reply.is_error, "{}", reply.text());
    client.close()?;
    world.finish()
}

/// F14: more connections than descriptors. Those that are there are served, and once some have
/// left, others come in.
#[test]
fn a_host_without_descriptors_serves_again_once_some_are_free() -> Result<()> {
    let mut world = World::new()?;
    world.allow("hello", &world::toolpack("hello")?)?;
    world.start()?;
    world.kill_host()?;
    world.descriptors_max = Some(64);
    world.start_host()?;
    let mut first = world.client()?;

    let socket = world.home().join("host.sock");
    let crowd: Vec<_> =
        (0..80).filter_map(|_| std::os::unix::net::UnixStream::connect(&socket).ok()).collect();
    ensure!(crowd.len() >= 64, "only {} connections", crowd.len());
    wait::until(std::time::Duration::from_secs(30), || {
        world.log().contains("could not be accepted").then_some(())
    })
    .context("the host never ran out of descriptors")?;
    // Whatever it needs a descriptor for is refused or failed by name; it answers.
    let starved = first.call("hello", json!({"name": "in a crowd"}));
    let told = starved.as_ref().map_or_else(ToString::to_string, |reply| reply.structured.to_string());
    ensure!(!told.contains("closed its output"), "the host hung up: {told}");

    drop(crowd);
    let greeted = wait::until(std::time::Duration::from_secs(30), || {
        let reply = first.call("hello", json!({"name": "alone again", "retry": true})).ok()?;
        (reply.status() == "succeeded").then_some(())
    });
    greeted.with_context(|| format!("the host does not recover:\n{}", world.log()))?;
    let mut second = world.client()?;
    let reply = second.call("hello", json!({"name": "second"})).with_context(|| world.log())?;
    assert_eq!(reply.status(), "succeeded");
    first.close()?;
    second.close()?;
    world.finish()
}
