//! Components whose size or shape would cost the host more than their author: to parse, to compile,
//! to instantiate.

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::attack::{each, harmless, quiet, refused, toolpack};
use crate::guests;
use crate::neighbour::Neighbour;

#[test]
fn malformed_truncated() -> Result<()> {
    refused("malformed_truncated", "malformed_component", &[])
}

#[test]
fn custom_section_huge() -> Result<()> {
    refused("custom_section_huge", "component_too_large", &[])
}

#[test]
fn memory_minimum_huge() -> Result<()> {
    refused("memory_minimum_huge", "memory_min_exceeds", &[])
}

#[test]
fn table_minimum_huge() -> Result<()> {
    refused("table_minimum_huge", "table_min_exceeds", &[])
}

/// Instantiation is inside the limits too.
#[test]
fn loops_in_start() -> Result<()> {
    refused("loops_in_start", "describe_failed", &["fuel"])
}

#[test]
fn traps_in_describe() -> Result<()> {
    refused("traps_in_describe", "describe_failed", &[])
}

#[test]
fn loops_in_initialize() -> Result<()> {
    refused("loops_in_initialize", "describe_failed", &["fuel"])
}

/// Each instance alone is within its limit.
#[test]
fn grows_memories_together() -> Result<()> {
    refused("grows_memories_together", "describe_failed", &["bytes of memory"])
}

#[test]
fn data_past_memory() -> Result<()> {
    refused("data_past_memory", "describe_failed", &["out of bounds"])
}

#[test]
fn table_minima_add_up() -> Result<()> {
    refused("table_minima_add_up", "table_min_exceeds", &[])
}

/// The smallest is only a large type, and harms nobody; no size takes the host's memory.
#[test]
fn types_that_double() -> Result<()> {
    each("types_that_double", |stage, attack, refusal| {
        match (attack.variant.as_str(), refusal) {
            ("10", None) => {
                let reply = stage.client.call("attack", json!({}))?;
                assert_eq!(reply.status(), "succeeded", "{}", reply.text());
            }
            (_, Some(refusal)) if refusal.code == "malformed_component" => {}
            (depth, refusal) => bail!("depth {depth}: {:?}", refusal.map(|refusal| refusal.message)),
        }
        Ok(())
    })
}

#[test]
fn variants_that_multiply() -> Result<()> {
    refused("variants_that_multiply", "malformed_component", &[])
}

#[test]
fn components_nested() -> Result<()> {
    refused("components_nested", "component_too_complex", &["nested components"])
}

#[test]
fn modules_by_the_thousand() -> Result<()> {
    harmless("modules_by_the_thousand")
}

#[test]
fn instances_too_many() -> Result<()> {
    refused("instances_too_many", "component_too_complex", &["instances"])
}

#[test]
fn instances_that_multiply() -> Result<()> {
    refused("instances_that_multiply", "describe_failed", &["instance"])
}

#[test]
fn functions_too_many() -> Result<()> {
    refused("functions_too_many", "component_too_complex", &["functions"])
}

#[test]
fn function_huge() -> Result<()> {
    refused("function_huge", "component_too_complex", &["bytes in one function"])
}

#[test]
fn locals_many() -> Result<()> {
    harmless("locals_many")
}

#[test]
fn locals_too_many() -> Result<()> {
    refused("locals_too_many", "malformed_component", &["locals"])
}

#[test]
fn blocks_nested() -> Result<()> {
    harmless("blocks_nested")
}

#[test]
fn jump_table_huge() -> Result<()> {
    refused("jump_table_huge", "component_too_complex", &["bytes in one function"])
}

/// What is slow to compile is compiled beside all that goes on.
#[test]
fn functions_many() -> Result<()> {
    let component = guests::hostile("functions_many")?;
    let mut stage = quiet(&[])?;
    let neighbour = Neighbour::new(&stage.world)?;
    let refusal = neighbour
        .while_attacked("functions_many", 3, || stage.allow(&toolpack("functions_many"), &component))?;
    assert!(refusal.is_none(), "it is refused");
    let reply = stage.client.call("attack", json!({}))?;
    assert_eq!(reply.status(), "succeeded", "{}", reply.text());
    stage.finish()
}

/// The compiler has no budget of its own: the process that it runs in has.
#[test]
fn compiles_for_long() -> Result<()> {
    let attacks = guests::attacks("compiles_for_long")?;
    let attack = attacks.first().context("no attack")?;
    let mut stage = quiet(&attack.limits)?;
    let neighbour = Neighbour::new(&stage.world)?;
    let refusal = neighbour.while_attacked("compiles_for_long", 3, || {
        stage.allow(&toolpack("compiles_for_long"), &attack.component)
    })?;
    let refusal = refusal.context("it was not refused")?;
    assert_eq!(refusal.code, "compile_limit", "{}", refusal.message);
    stage.finish()
}

#[test]
fn custom_section_large() -> Result<()> {
    harmless("custom_section_large")
}

#[test]
fn custom_sections_many() -> Result<()> {
    refused("custom_sections_many", "component_too_complex", &["sections"])
}

#[test]
fn section_twice() -> Result<()> {
    refused("section_twice", "malformed_component", &[])
}

#[test]
fn trailing_bytes() -> Result<()> {
    refused("trailing_bytes", "malformed_component", &[])
}

/// A component that is cut is refused wherever it ends, and no place brings a runner down.
#[test]
fn truncated_anywhere() -> Result<()> {
    const PLACES: usize = 200;
    let whole = guests::hostile("truncated_anywhere")?;
    let mut stage = quiet(&[])?;
    let policy = stage.world.policy.clone();
    for half in 0..2 {
        stage.world.policy = policy.clone();
        let mut last = None;
        for place in (half..PLACES).step_by(2) {
            let cut = whole.get(..whole.len() * place / PLACES).context("a place past the end")?;
            last = Some(stage.world.allow(&format!("cut-{place}"), cut)?);
        }
        stage.world.write_policy()?;
        stage.settled(last.context("no place")?)?;
        let info = stage.client.call("host_info", json!({}))?;
        let refused = info.structured["refused"].as_array().context("nothing is refused")?;
        assert_eq!(refused.len(), PLACES / 2);
        for row in refused {
            let code = row["code"].as_str().unwrap_or_default();
            let codes = ["malformed_component", "not_a_component", "export_missing"];
            assert!(codes.contains(&code), "{row}");
        }
    }
    stage.finish()
}
