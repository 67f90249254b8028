//! A host that ends at any named point of its work, and a store whose every operation fails once:
//! afterwards nothing is half there, and the same calls give what they give undisturbed.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use helix_tests::{StdioClient, ToolReply, World, world};
use helixmcp::faults::{OPERATIONS, POINTS};
use serde_json::{Value, json};

/// More often than any point is passed in the story; that it is not reached is asserted.
const HITS_MAX: u64 = 40;

/// Homes at once.
const AT_ONCE: usize = 2;

/// What the story gives: of each request, what has to be the same every time.
type Told = Vec<Value>;

#[test]
fn a_host_that_ends_at_any_point_leaves_all_or_nothing() -> Result<()> {
    let undisturbed = Undisturbed::tell()?;
    let cases = at_once(&POINTS, |point| {
        for hit in 1..=HITS_MAX {
            let crashed = undisturbed.crash_at(point, hit).with_context(|| format!("{point}, hit {hit}"))?;
            if !crashed {
                ensure!(hit > 1, "{point} is never reached");
                return Ok(hit - 1);
            }
        }
        bail!("{point} is reached more than {HITS_MAX} times")
    })?;
    assert!(cases >= 2 * u64::try_from(POINTS.len())?, "only {cases} crashes in all");
    Ok(())
}

#[test]
fn an_operation_of_the_disk_that_fails_costs_one_call() -> Result<()> {
    let undisturbed = Undisturbed::tell()?;
    let cases = at_once(&OPERATIONS, |operation| {
        for hit in 1..=HITS_MAX {
            let met = undisturbed.fail_at(operation, hit).with_context(|| format!("{operation}, {hit}"))?;
            if !met {
                ensure!(hit > 1, "{operation} is never done");
                return Ok(hit - 1);
            }
        }
        bail!("{operation} is done more than {HITS_MAX} times")
    })?;
    assert!(cases >= 2 * u64::try_from(OPERATIONS.len())?, "only {cases} failures in all");
    Ok(())
}

/// F13: a disk that turned read-only refuses what is new and still shows what is there.
#[test]
fn a_disk_that_turns_read_only_refuses_and_is_still_read() -> Result<()> {
    let undisturbed = Undisturbed::tell()?;
    let mut world = undisturbed.home()?;
    world.start()?;
    let mut client = world.client()?;
    story(&mut client)?;
    world.kill_host()?;

    world.fault = Some("fail=create:1+:EROFS".to_owned());
    world.start_host()?;
    let mut client = world.client()?;
    let note = client.call("artifact_import", json!({"text": "more\n", "type_hint": "TEXT"}));
    ensure!(note.as_ref().is_err() || note.as_ref().is_ok_and(|reply| reply.is_error), "{note:?}");
    let fresh = client.call("hello", json!({"name": "somebody new"}))?;
    assert_eq!(fresh.structured["failure"]["class"], "fault", "{}", fresh.structured);
    let again = client.call("hello", json!({"name": "Ada"}))?;
    assert!(again.replayed() && again.status() == "succeeded", "{}", again.structured);
    client.close()?;

    world.kill_host()?;
    world.fault = None;
    world.start_host()?;
    let mut client = world.client()?;
    let fresh = client.call("hello", json!({"name": "somebody new"}))?;
    assert_eq!(fresh.status(), "succeeded", "{}", fresh.structured);
    client.close()?;
    world.finish()
}

/// F18: a clock that jumps back a year moves no event and stops no run.
#[test]
fn a_clock_that_jumps_back_changes_no_order() -> Result<()> {
    let undisturbed = Undisturbed::tell()?;
    let mut world = undisturbed.home()?;
    world.start()?;
    let mut client = world.client()?;
    let first = client.call("hello", json!({"name": "before"}))?;
    world.kill_host()?;

    world.fault = Some("clock=-31536000000".to_owned());
    world.start_host()?;
    let mut client = world.client()?;
    let after = client.call("hello", json!({"name": "after"}))?;
    assert_eq!(after.status(), "succeeded", "{}", after.structured);
    let again = client.call("hello", json!({"name": "before", "retry": true}))?;
    assert_eq!((again.status(), again.run_id()), ("succeeded", first.run_id()), "{}", again.structured);
    let waited = client.call("run_wait", json!({"run_id": after.run_id(), "wait_seconds": 1}))?;
    assert_eq!(waited.status(), "succeeded", "{}", waited.structured);

    let record = client.call("run_get", json!({"run_id": first.run_id(), "events": true}))?;
    let events = record.structured["events"].as_array().context("no events")?.clone();
    let order: Vec<u64> = events.iter().filter_map(|event| event["seq"].as_u64()).collect();
    assert_eq!(order, (0..u64::try_from(order.len())?).collect::<Vec<_>>());
    let kinds: Vec<&str> = events.iter().filter_map(|event| event["kind"].as_str()).collect();
    assert_eq!(kinds.last(), Some(&"attempt_succeeded"), "{kinds:?}");
    let times: Vec<&str> = events.iter().filter_map(|event| event["at"].as_str()).collect();
    assert!(times.first() > times.last(), "the clock did not jump: {times:?}");
    client.close()?;
    world.finish()
}

/// What the story gives when nothing happens, and a home to compile for all others.
struct Undisturbed {
    told: Told,
    compiled: World,
}

impl Undisturbed {
    fn tell() -> Result<Self> {
        let mut compiled = bare_home()?;
        compiled.start()?;
        let mut client = compiled.client()?;
        let told = story(&mut client)?;
        client.close()?;
        compiled.fsck()?;
        Ok(Self { told, compiled })
    }

    fn home(&self) -> Result<World> {
        let world = bare_home()?;
        world.take_cache(&self.compiled)?;
        Ok(world)
    }

    /// Whether the host ended there. If so, a new one has to make good.
    fn crash_at(&self, point: &str, hit: u64) -> Result<bool> {
        let mut world = self.home()?;
        world.write_policy()?;
        if matches!(point, "taken_over" | "carried_on") {
            // There is something to take over only after a host that left it.
            ensure!(!tells(&mut world, "crash=attempt_running:1")?, "the first host did not end");
        }
        if tells(&mut world, &format!("crash={point}:{hit}"))? {
            return Ok(false);
        }
        self.made_good(world)?;
        Ok(true)
    }

    /// The next host finds nothing half there, and the story comes out as if nothing had been.
    fn made_good(&self, mut world: World) -> Result<()> {
        world.fault = None;
        let left = world.temporaries()?;
        world.start_host()?;
        ensure!(left.is_disjoint(&world.temporaries()?), "half-written files outlive a start: {left:?}");
        world.cli(&["fsck"])?.ok()?;
        let mut client = world.client()?;
        let told = story(&mut client)?;
        ensure!(told == self.told, "undisturbed: {:#?}\nafter the fault: {told:#?}", self.told);
        client.close()?;
        world.finish()
    }

    /// Whether the operation was done so often. If so, it failed, somebody was told, and the same
    /// host has to make good.
    fn fail_at(&self, operation: &str, hit: u64) -> Result<bool> {
        let mut world = self.home()?;
        world.write_policy()?;
        // What a host before left: it is removed at the start.
        let incoming = world.home().join("incoming");
        fs::create_dir(&incoming)?;
        fs::write(incoming.join("half"), "half an artifact")?;
        world.fault = Some(format!("fail={operation}:{hit}:EIO"));
        if !world.try_start_host()? {
            let log = world.log();
            ensure!(log.contains("made to fail") && log.contains("cannot"), "{log}");
            self.made_good(world)?;
            return Ok(true);
        }
        let mut client = world.client()?;
        let first = story(&mut client);
        let met = world.log().contains("made to fail");
        match &first {
            Ok(told) => ensure!(*told == self.told, "nobody was told: {told:#?}"),
            Err(_) => ensure!(met, "{first:?}"),
        }
        if met {
            let again = story(&mut client).context("the same host, asked again")?;
            ensure!(again == self.told, "undisturbed: {:#?}\nasked again: {again:#?}", self.told);
        }
        client.close()?;
        world.finish()?;
        Ok(met)
    }
}

/// Tells the story to a host that is to end on the way. Whether it came to the end of it.
fn tells(world: &mut World, fault: &str) -> Result<bool> {
    world.fault = Some(fault.to_owned());
    if !world.try_start_host()? {
        return Ok(false);
    }
    let told = world.client().and_then(|mut client| story(&mut client));
    if told.is_ok() && world.host_alive() {
        world.kill_host()?;
        return Ok(true);
    }
    // The client may see the end of the connection before the process is gone.
    let gone =
        helix_tests::wait::until(std::time::Duration::from_secs(20), || (!world.host_alive()).then_some(()));
    ensure!(gone.is_some(), "the host lives, and the story broke off: {told:?}");
    world.forget_host();
    Ok(false)
}

fn bare_home() -> Result<World> {
    let mut world = World::new()?;
    for name in ["hello", "reads-qc"] {
        world.allow(name, &world::toolpack(name)?)?;
    }
    for (name, base) in [("one.fastq", "ACGT"), ("two.fastq", "TTGC")] {
        let read = |number| format!("@r{number}\n{}\n+\n{}\n", base.repeat(20), "I".repeat(80));
        fs::write(world.data().join(name), (0..50).map(read).collect::<String>())?;
    }
    Ok(world)
}

/// Two imports, a short run, and one with two outputs whose id is told before it ends.
fn story(client: &mut StdioClient) -> Result<Told> {
    let mut told = Vec::new();
    let mut reads = Vec::new();
    for path in ["one.fastq", "two.fastq"] {
        let reply = client.call("artifact_import", json!({"root": "data", "path": path}))?;
        ensure!(!reply.is_error, "{}", reply.text());
        let artifact = &reply.structured["artifacts"][0];
        reads.push(artifact["artifact_id"].clone());
        told.push(json!([artifact["artifact_id"], artifact["label"], artifact["checksum_sha256"]]));
    }
    told.push(answer(&client.call("hello", json!({"name": "Ada"}))?)?);
    let arguments = json!({"reads": reads, "min_length": 10, "wait_seconds": 0});
    let started = client.call("fastq_filter", arguments)?;
    ensure!(!started.run_id().is_empty(), "no run: {}", started.structured);
    let arguments = json!({"run_id": started.run_id(), "wait_seconds": 60});
    told.push(answer(&client.call("run_wait", arguments)?)?);
    Ok(told)
}

fn answer(reply: &ToolReply) -> Result<Value> {
    ensure!(reply.status() == "succeeded", "{}", reply.structured);
    Ok(json!([reply.run_id(), reply.structured["outputs"], reply.structured["result"]]))
}

/// Does each by name, some at once, and adds up what they counted.
fn at_once(names: &[&'static str], work: impl Fn(&str) -> Result<u64> + Sync) -> Result<u64> {
    let next = AtomicUsize::new(0);
    let ended = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let done = work(name);
                    ended.lock().unwrap_or_else(PoisonError::into_inner).push(done);
                }
            });
        }
    });
    let ended = ended.into_inner().unwrap_or_else(PoisonError::into_inner);
    ensure!(ended.len() == names.len(), "somebody panicked");
    ended.into_iter().sum()
}
