//! How an attack is tried: a world in which an honest guest works, the attack beside it, and a look
//! afterwards at what must hold ([`Stage::finish`]).

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use helix_tests::{ToolReply, World};
use serde_json::{Value, json};

use crate::guests::{self, Guest};
use crate::stage::{Refusal, Stage, failure};

/// Limits that an attack meets soon, unless its file names others.
const LIMITS: [(&str, &str); 4] = [
    ("guest.fuel", "2_000_000_000"),
    ("guest.memory", "\"32MiB\""),
    ("guest.host_calls", "100_000"),
    ("guest.log_bytes", "\"1MiB\""),
];

/// The name of the toolpack that an attack's file becomes.
pub fn toolpack(name: &str) -> String {
    name.replace('_', "-")
}

/// A world whose host runs, and where no attack is yet.
pub fn quiet(limits: &[(String, String)]) -> Result<Stage> {
    Stage::prepared(|world| {
        limit(world, limits);
        Ok(())
    })
}

fn limit(world: &mut World, own: &[(String, String)]) {
    let mut limits: BTreeMap<&str, &str> = LIMITS.into();
    limits.extend(own.iter().map(|(key, value)| (key.as_str(), value.as_str())));
    for (key, value) in limits {
        if let Some((table, key)) = key.split_once('.') {
            world.policy.limit(table, key, value);
        }
    }
}

/// A world with one attack in it, which passes inspection.
pub fn staged(name: &str) -> Result<Stage> {
    staged_with(name, &[])
}

/// The same under other limits than its file's.
pub fn staged_with(name: &str, limits: &[(&str, &str)]) -> Result<Stage> {
    let attack = guests::attacks(name)?.into_iter().next().context("a file of no attack")?;
    let mut own: BTreeMap<String, String> = attack.limits.into_iter().collect();
    own.extend(limits.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    Stage::prepared(|world| {
        limit(world, &own.into_iter().collect::<Vec<_>>());
        world.allow(&toolpack(name), &attack.component)?;
        Ok(())
    })
}

/// Each variant of an attack is refused with this code, in words that name the offender, while the
/// host runs; nothing of it is offered, and nothing has run.
#[track_caller]
pub fn refused(name: &str, code: &str, says: &[&str]) -> Result<()> {
    each(name, |stage, attack, refusal| {
        let refusal = refusal.with_context(|| format!("{name} {} was not refused", attack.variant))?;
        assert_eq!(refusal.code, code, "{} {}", attack.variant, refusal.message);
        for words in says {
            assert!(refusal.message.contains(words), "`{words}` is not in: {}", refusal.message);
        }
        let tools = stage.tool_names()?;
        assert!(!tools.contains(&"attack".to_owned()), "its tool is offered: {tools:?}");
        assert_eq!(stage.runs()?, Vec::<String>::new());
        Ok(())
    })
}

/// Each variant of an attack is offered after all, harms nobody, and its tool works.
#[track_caller]
pub fn harmless(name: &str) -> Result<()> {
    each(name, |stage, attack, refusal| {
        let refusal = refusal.map(|refusal| refusal.message);
        assert_eq!(refusal, None, "{name} {}", attack.variant);
        let reply = stage.client.call("attack", json!({}))?;
        assert_eq!(reply.status(), "succeeded", "{name} {}: {}", attack.variant, reply.text());
        Ok(())
    })
}

/// Lets a running host meet each variant of an attack, one after the other.
pub fn each(
    name: &str,
    mut look: impl FnMut(&mut Stage, &Guest, Option<Refusal>) -> Result<()>,
) -> Result<()> {
    let attacks = guests::attacks(name)?;
    let limits = attacks.first().context("a file of no attack")?.limits.clone();
    let mut stage = quiet(&limits)?;
    let policy = stage.world.policy.clone();
    for attack in &attacks {
        stage.world.policy = policy.clone();
        let refusal = stage.allow(&toolpack(name), &attack.component)?;
        look(&mut stage, attack, refusal)?;
    }
    stage.finish()
}

/// Calls the attack without an input: it fails in this way, makes nothing, and harms nobody.
#[track_caller]
pub fn fails(name: &str, how: &str) -> Result<ToolReply> {
    failed(staged(name)?, json!({}), how)
}

/// The same with one input linked.
#[track_caller]
pub fn fails_with_input(name: &str, how: &str) -> Result<ToolReply> {
    let mut stage = staged(name)?;
    let arguments = json!({"data": stage.import_text("some text\n")?});
    failed(stage, arguments, how)
}

#[track_caller]
fn failed(mut stage: Stage, arguments: Value, how: &str) -> Result<ToolReply> {
    let reply = stage.client.call("attack", arguments)?;
    left_nothing(&mut stage, &reply, how)?;
    assert_eq!(stage.artifacts_made()?, 0, "it left an artifact");
    stage.finish()?;
    Ok(reply)
}

/// The call failed in this way, and no attempt of its run kept an output.
#[track_caller]
pub fn left_nothing(stage: &mut Stage, reply: &ToolReply, how: &str) -> Result<()> {
    assert!(reply.is_error, "it did not fail: {}", reply.structured);
    assert_eq!(failure(reply), how, "{}", reply.text());
    let runs = stage.runs()?;
    assert!(runs.iter().all(|run| run != "attack succeeded"), "{runs:?}");
    // What is refused by its plan becomes no run.
    if !reply.run_id().is_empty() {
        let run = stage.client.call("run_get", json!({"run_id": reply.run_id()}))?.structured;
        for attempt in run["attempts"].as_array().context("no attempts")? {
            assert_eq!(attempt["outputs"], json!([]), "it left an output");
        }
    }
    Ok(())
}
