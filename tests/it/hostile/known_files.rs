//! Components of which a host knows from their files' seals that it has read them before.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use helix_ids::Digest;
use serde_json::json;

use crate::guests;
use crate::stage::Stage;
use helix_tests::wait;

/// How long a host may take until it relies on a file's seal: the file has to be some seconds old.
const KNOWN_WITHIN: Duration = Duration::from_secs(60);

/// A host that has read no component: it knows each of them from an earlier start.
fn known() -> Result<(Stage, PathBuf)> {
    let mut stage = Stage::honest()?;
    let noted = wait::until(KNOWN_WITHIN, || {
        stage.world.kill_host().and_then(|()| stage.world.start_host()).ok()?;
        (!notes(&stage).ok()?.is_empty()).then_some(())
    });
    noted.context("nothing was noted of a component")?;
    restart(&mut stage)?;
    let digest = Digest::of(&guests::honest("echo")?);
    let place = stage.world.home().join("toolpacks").join(format!("{}.wasm", digest.to_hex()));
    Ok((stage, place))
}

fn restart(stage: &mut Stage) -> Result<()> {
    stage.world.kill_host()?;
    stage.world.start_host()?;
    stage.client = stage.world.client()?;
    Ok(())
}

/// What is noted of components in the cache.
fn notes(stage: &Stage) -> Result<Vec<PathBuf>> {
    let mut notes = Vec::new();
    for entry in fs::read_dir(stage.world.home().join("cache"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "seen") {
            notes.push(path);
        }
    }
    Ok(notes)
}

/// Writes other bytes of the same number into the same file, and sets its time back.
fn change_unseen(place: &Path) -> Result<Vec<u8>> {
    let good = fs::read(place)?;
    let before = fs::metadata(place)?;
    let mut bad = good.clone();
    let last = bad.last_mut().context("an empty component")?;
    *last ^= 1;
    put(place, &bad, before.modified()?)?;
    let after = fs::metadata(place)?;
    ensure!(after.len() == before.len() && after.modified()? == before.modified()?, "it shows");
    Ok(good)
}

fn put(place: &Path, bytes: &[u8], modified: std::time::SystemTime) -> Result<()> {
    fs::write(place, bytes)?;
    File::options().write(true).open(place)?.set_modified(modified)?;
    Ok(())
}

/// I-2. Changed after the host's start, with the same size and time: the call is refused, and works
/// again once the bytes are the right ones.
#[test]
fn i2_a_component_changed_behind_a_running_host_is_not_run() -> Result<()> {
    let (mut stage, place) = known()?;
    let good = change_unseen(&place)?;
    let reply = stage.client.call("echo", json!({"text": "changed"}));
    assert!(!reply.as_ref().is_ok_and(|reply| reply.status() == "succeeded"), "it ran: {reply:?}");
    assert!(stage.world.log().contains("holds other bytes"), "{}", stage.world.log());
    fs::write(&place, good)?;
    stage.finish()
}

/// I-2. Changed while no host ran, with the same size and time: it is read again, and refused.
#[test]
fn i2_a_component_changed_between_two_hosts_is_refused() -> Result<()> {
    let (mut stage, place) = known()?;
    let good = change_unseen(&place)?;
    restart(&mut stage)?;
    let refusal = stage.refusal(Digest::of(&good))?.context("it is offered")?;
    assert_eq!(refusal.code, "component_not_allowed");
    fs::write(&place, good)?;
    restart(&mut stage)?;
    stage.finish()
}

/// A note that was cut or changed is no note: the component is read, and offered as ever.
#[test]
fn a_note_of_a_component_that_was_changed_is_no_note() -> Result<()> {
    let (mut stage, _place) = known()?;
    for note in notes(&stage)? {
        let mut bytes = fs::read(&note)?;
        let middle = bytes.len() / 2;
        *bytes.get_mut(middle).context("an empty note")? ^= 1;
        fs::write(&note, bytes)?;
    }
    let changed: Vec<_> = notes(&stage)?.iter().map(fs::read).collect::<Result<_, _>>()?;
    restart(&mut stage)?;
    let after: Vec<_> = notes(&stage)?.iter().map(fs::read).collect::<Result<_, _>>()?;
    assert!(changed != after, "a changed note was taken");
    stage.finish()
}

/// What a note said and a first use proved wrong is not said again.
#[test]
fn a_note_that_proved_wrong_is_forgotten() -> Result<()> {
    let (mut stage, place) = known()?;
    change_unseen(&place)?;
    ensure!(notes(&stage)?.len() == 1, "not the one note: {:?}", notes(&stage)?);
    let reply = stage.client.call("echo", json!({"text": "changed"}));
    assert!(!reply.as_ref().is_ok_and(|reply| reply.status() == "succeeded"), "it ran: {reply:?}");
    assert_eq!(notes(&stage)?, Vec::<PathBuf>::new());
    restart(&mut stage)?;
    let offered = stage.tool_names()?;
    assert!(!offered.contains(&"echo".to_owned()), "{offered:?}");
    stage.client.close()?;
    stage.world.finish()
}
