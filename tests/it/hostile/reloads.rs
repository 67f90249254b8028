//! A policy file that changes under a running host: half written, replaced, removed, flapping, and
//! in the middle of a call.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use helix_tests::{PolicyText, vitals, wait};
use serde_json::json;

use crate::stage::{Stage, failure};

const SOON: Duration = Duration::from_secs(60);

/// What the host says when it goes on with the policy that it has.
const STAYS: &str = "the policy that was read before stays in force";

/// Puts a file in place as an editor does that is careful.
fn replace(policy: &Path, text: &[u8]) -> Result<()> {
    let draft = policy.with_extension("draft");
    fs::write(&draft, text)?;
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o600))?;
    fs::rename(draft, policy).context("cannot replace the policy")
}

fn policy_of(stage: &Stage) -> PathBuf {
    stage.world.home().join("policy.toml")
}

/// Breaks the policy of a running host: it says so, goes on with the old one, offers what it
/// offered, and takes the next good one. A host that starts with the broken one refuses.
fn broken(break_it: impl Fn(&Path, &str) -> Result<()>, says: &str) -> Result<()> {
    let mut stage = Stage::honest()?;
    let policy = policy_of(&stage);
    let good = stage.world.policy.render();
    break_it(&policy, &good)?;
    wait::until(SOON, || stage.world.log().contains(STAYS).then_some(())).context("it says nothing")?;
    assert!(stage.world.log().contains(says), "`{says}` is not in: {}", stage.world.log());
    stage.world.signal_host("HUP")?;
    stage.honest_call()?;
    assert!(stage.tool_names()?.contains(&"echo".to_owned()), "it is no longer offered");
    let fresh = stage.client.call("echo", json!({"text": "a new run under the old policy"}))?;
    assert_eq!(fresh.status(), "succeeded", "{}", fresh.structured);
    let times = stage.world.log().matches(STAYS).count();
    assert!(times <= 3, "it says it {times} times");

    // The next good one counts.
    if policy.symlink_metadata().is_ok() {
        fs::remove_file(&policy)?;
    }
    replace(&policy, PolicyText::default().render().as_bytes())?;
    wait::until(SOON, || (!stage.tool_names().ok()?.contains(&"echo".to_owned())).then_some(()))
        .context("the next good policy was not taken")?;
    stage.client.close()?;
    stage.world.finish()
}

#[test]
fn a_policy_cut_in_the_middle_is_not_taken() -> Result<()> {
    broken(
        |policy, good| {
            let (half, _) = good.split_once("name = \"default\"").context("no project")?;
            Ok(fs::write(policy, format!("{half}nam"))?)
        },
        "policy.toml",
    )
}

#[test]
fn a_policy_replaced_by_a_link_is_not_taken() -> Result<()> {
    broken(
        |policy, good| {
            let elsewhere = policy.with_file_name("elsewhere.toml");
            replace(&elsewhere, good.as_bytes())?;
            fs::remove_file(policy)?;
            Ok(symlink(elsewhere, policy)?)
        },
        "is a symlink",
    )
}

/// A root through which a caller could write itself a policy.
#[test]
fn a_policy_whose_root_leads_to_the_home_is_not_taken() -> Result<()> {
    broken(
        |policy, good| {
            let home = policy.parent().context("no home")?;
            let root = format!("\n[[export_root]]\nname = \"wide\"\npath = {home:?}\nprojects = \"all\"\n");
            replace(policy, format!("{good}{root}").as_bytes())
        },
        "root_private",
    )
}

#[test]
fn a_policy_that_is_removed_stays_in_force() -> Result<()> {
    broken(|policy, _good| Ok(fs::remove_file(policy)?), "is gone")
}

#[test]
fn a_policy_that_became_a_folder_is_not_taken() -> Result<()> {
    let mut stage = Stage::honest()?;
    let policy = policy_of(&stage);
    fs::remove_file(&policy)?;
    fs::create_dir(&policy)?;
    wait::until(SOON, || stage.world.log().contains(STAYS).then_some(())).context("it says nothing")?;
    stage.honest_call()?;
    fs::remove_dir(&policy)?;
    stage.world.write_policy()?;
    stage.finish()
}

#[test]
fn a_policy_that_others_may_write_now_is_not_taken() -> Result<()> {
    broken(
        |policy, _good| Ok(fs::set_permissions(policy, fs::Permissions::from_mode(0o666))?),
        "can be written by others",
    )
}

#[test]
fn a_host_does_not_start_with_half_a_policy() -> Result<()> {
    let mut world = helix_tests::World::new()?;
    world.write_policy()?;
    let text = world.policy.render();
    let (half, _) = text.split_once("name = \"default\"").context("no project")?;
    fs::write(world.home().join("policy.toml"), half)?;
    assert!(world.start_host().is_err(), "the host took it");
    assert!(world.log().contains("policy.toml"), "{}", world.log());
    Ok(())
}

/// A hundred policies a second: every call is answered under one of them, no fault is told, and
/// what is offered in the end is what the last one says.
#[test]
fn a_policy_that_flaps_harms_no_call_and_the_last_one_counts() -> Result<()> {
    let mut stage = Stage::honest()?;
    let policy = policy_of(&stage);
    let (with, without) = (stage.world.policy.render(), PolicyText::default().render());
    let enough = Arc::new(AtomicBool::new(false));
    let flapping = {
        let (policy, enough, with, without) =
            (policy.clone(), Arc::clone(&enough), with.clone(), without.clone());
        std::thread::spawn(move || -> Result<u32> {
            let mut flaps = 0;
            while !enough.load(Ordering::SeqCst) {
                replace(&policy, if flaps % 2 == 0 { without.as_bytes() } else { with.as_bytes() })?;
                flaps += 1;
                std::thread::sleep(Duration::from_millis(10));
            }
            Ok(flaps)
        })
    };
    let (mut answered, mut refused) = (0_u32, 0_u32);
    for call in 0..150 {
        // Reading it again at once, from outside, while the host's own clock does so too.
        stage.world.signal_host("HUP")?;
        match stage.client.call("echo", json!({"text": format!("call {call}")})) {
            Ok(reply) if reply.status() == "succeeded" => answered += 1,
            Ok(reply) => {
                let known =
                    ["denied/component_not_allowed", "busy/policy_changed", "cancelled/run_cancelled"];
                ensure!(known.contains(&failure(&reply).as_str()), "{}", reply.structured);
                refused += 1;
            }
            Err(error) => {
                ensure!(error.to_string().starts_with("Unknown tool: echo"), "{error}");
                refused += 1;
            }
        }
    }
    enough.store(true, Ordering::SeqCst);
    let flaps = flapping.join().map_err(|_panic| anyhow!("the writer panicked"))??;
    ensure!(flaps > 20 && answered + refused == 150, "{flaps} flaps, {answered} answered, {refused} refused");

    for (last, is_offered) in [(&without, false), (&with, true), (&without, false), (&with, true)] {
        replace(&policy, last.as_bytes())?;
        let mut offered = || Some(stage.tool_names().ok()?.contains(&"echo".to_owned()));
        wait::until(SOON, || offered().filter(|now| *now == is_offered))
            .context("the last policy does not count")?;
    }
    stage.honest_call()?;
    stage.finish()
}

/// A policy that is taken away while a toolpack plans: the run does not start.
#[test]
fn a_policy_that_changes_while_a_call_is_planned_is_asked_again() -> Result<()> {
    let mut stage = Stage::honest()?;
    stage.honest_call()?;
    let policy = policy_of(&stage);
    let host = stage.world.host_pid().context("no host")?;
    // The runner that will be asked for the plan is one of those that are warm: it is stopped, so
    // that the plan takes as long as the change of the policy does.
    let warm = wait::until(SOON, || runners(host).ok().filter(|warm| !warm.is_empty()))
        .context("no runner is warm")?;
    signal("STOP", &warm)?;
    let asked = stage.client.send_call("echo", json!({"text": "planned under the old policy"}))?;
    wait::until(SOON, || runners(host).ok().filter(|now| now.len() > warm.len()))
        .context("no plan was asked for")?;

    let mut other = stage.world.client()?;
    replace(&policy, PolicyText::default().render().as_bytes())?;
    stage.world.signal_host("HUP")?;
    let gone = wait::until(SOON, || {
        let offered = other.tools().ok()?;
        offered.iter().all(|tool| tool["name"] != "echo").then_some(())
    });
    signal("CONT", &warm)?;
    gone.context("the new policy was not taken")?;

    let reply = stage.client.reply(asked, SOON)?;
    assert_eq!(failure(&reply), "denied/component_not_allowed", "{}", reply.structured);
    let id = reply.structured["failure"]["denial_id"].as_str().unwrap_or_default();
    assert!(id.starts_with("den_"), "the denial is not recorded: {}", reply.structured);
    // With the policy back, there is the one run of before and no other.
    stage.world.write_policy()?;
    wait::until(SOON, || stage.tool_names().ok()?.contains(&"echo".to_owned()).then_some(()))
        .context("the policy is not back")?;
    assert_eq!(stage.runs()?, ["echo succeeded"]);
    other.close()?;
    stage.finish()
}

/// The floor of free space counts from the next look on; what takes a restart is said to take one,
/// in the log and by `doctor`, until policy says again what the host started with.
#[test]
fn what_a_changed_policy_does_at_once_and_what_takes_a_restart() -> Result<()> {
    const SAYS: &str = "the policy changed what takes a restart of the host";
    let mut stage = Stage::honest()?;
    let before = stage.world.policy.clone();
    let doctor = |stage: &Stage| stage.world.cli(&["doctor"]).map(|output| output.stdout);

    stage.world.policy.limit("host", "free_space_floor", "\"1000TiB\"");
    stage.world.write_policy()?;
    wait::until(SOON, || {
        let reply = stage.client.call("artifact_import", json!({"text": "new\n"})).ok()?;
        (failure(&reply) == "busy/store_full").then_some(())
    })
    .context("the new floor does not count")?;
    assert!(stage.client.call("artifact_list", json!({})).is_ok(), "reads do not go on");
    assert!(!stage.world.log().contains(SAYS), "{}", stage.world.log());
    assert!(!doctor(&stage)?.contains("it started with another"));

    stage.world.policy = before.clone();
    stage.world.policy.limit("host", "runners", "3");
    let elsewhere = stage.world.path().join("elsewhere");
    stage.world.policy.raw(&format!("\n[store]\nroot = \"{}\"\n", elsewhere.display()));
    stage.world.write_policy()?;
    wait::until(SOON, || {
        let log = stage.world.log();
        (log.contains(SAYS) && log.contains("limits.host.runners") && log.contains("store.root"))
            .then_some(())
    })
    .with_context(|| stage.world.log())?;
    let said = doctor(&stage)?;
    assert!(said.contains("it started with another limits.host.runners, store.root"), "{said}");
    assert!(!elsewhere.exists(), "a part of it counts already");
    let reply = stage.client.call("echo", json!({"text": "with room again"}))?;
    assert_eq!(reply.status(), "succeeded", "{}", reply.structured);

    stage.world.policy = before;
    stage.world.write_policy()?;
    wait::until(SOON, || (!doctor(&stage).ok()?.contains("it started with another")).then_some(()))
        .context("it still says so")?;
    stage.finish()
}

/// The host's children: runners that are warm, at work, or both.
fn runners(host: u32) -> Result<Vec<String>> {
    Ok(vitals::children(host)?.into_iter().map(|(pid, _)| pid.to_string()).collect())
}

fn signal(signal: &str, processes: &[String]) -> Result<()> {
    let sent = Command::new("kill").arg(format!("-{signal}")).args(processes).status()?;
    ensure!(sent.success(), "a runner could not be signalled");
    Ok(())
}
