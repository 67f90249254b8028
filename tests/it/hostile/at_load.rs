//! Components that are refused before a caller sees a tool of theirs.

use anyhow::{Context, Result};

use crate::guests;
use crate::stage::Stage;

/// A component that is refused with this code, in words that name the offender; beside it an
/// honest one is offered and works.
#[track_caller]
fn refused(name: &str, code: &str, says: &[&str]) -> Result<()> {
    let component = guests::hostile(name)?;
    let toolpack = name.replace('_', "-");
    let mut digest = None;
    let mut stage = Stage::prepared(|world| {
        digest = Some(world.allow(&toolpack, &component)?);
        Ok(())
    })?;
    let refusal = stage.refusal(digest.context("no digest")?)?.context("it was not refused")?;

    assert_eq!(refusal.code, code, "{}", refusal.message);
    for words in says {
        assert!(refusal.message.contains(words), "`{words}` is not in: {}", refusal.message);
    }
    let tools = stage.tool_names()?;
    assert!(!tools.contains(&"attack".to_owned()), "its tool is offered: {tools:?}");
    assert_eq!(stage.runs()?, Vec::<String>::new());
    stage.honest_call()?;
    stage.finish()
}

/// I-2. It would not even parse, and nothing says so: nothing has looked.
#[test]
fn not_allowlisted() -> Result<()> {
    let component = guests::hostile("not_allowlisted")?;
    let mut digest = None;
    let mut stage = Stage::prepared(|world| {
        digest = Some(world.place(&component)?);
        Ok(())
    })?;
    let refusal = stage.refusal(digest.context("no digest")?)?;

    assert!(refusal.is_none_or(|refusal| refusal.code == "component_not_allowed"));
    assert_eq!(stage.tool_names()?.iter().filter(|name| *name == "attack").count(), 0);
    assert!(!stage.world.log().contains("malformed"), "it was parsed");
    stage.honest_call()?;
    stage.finish()
}

/// I-3.
#[test]
fn imports_wasi_filesystem() -> Result<()> {
    refused(
        "imports_wasi_filesystem",
        "import_not_allowed",
        &["wasi:filesystem/preopens@0.2.0", "helix:toolpack/artifacts@1.0.0"],
    )
}

/// I-3. Every offender is named, not only the first.
#[test]
fn imports_wasi_clocks() -> Result<()> {
    refused(
        "imports_wasi_clocks",
        "import_not_allowed",
        &["wasi:clocks/monotonic-clock@0.2.0", "wasi:random/random@0.2.0"],
    )
}

#[test]
fn imports_unknown() -> Result<()> {
    refused("imports_unknown", "import_not_allowed", &["foo:bar/baz"])
}

#[test]
fn imports_wrong_version() -> Result<()> {
    refused("imports_wrong_version", "import_not_allowed", &["helix:toolpack/log@1.1.0"])
}

#[test]
fn imports_wrong_type() -> Result<()> {
    refused("imports_wrong_type", "interface_mismatch", &["log"])
}

#[test]
fn uses_gc() -> Result<()> {
    refused("uses_gc", "feature_not_allowed", &["gc"])
}

#[test]
fn uses_async() -> Result<()> {
    refused("uses_async", "feature_not_allowed", &["async"])
}

#[test]
fn uses_threads() -> Result<()> {
    refused("uses_threads", "feature_not_allowed", &["threads"])
}

#[test]
fn uses_memory64() -> Result<()> {
    refused("uses_memory64", "feature_not_allowed", &["memory64"])
}

#[test]
fn uses_multi_memory() -> Result<()> {
    refused("uses_multi_memory", "feature_not_allowed", &["multi"])
}

#[test]
fn uses_exceptions() -> Result<()> {
    refused("uses_exceptions", "feature_not_allowed", &["exceptions"])
}

#[test]
fn uses_relaxed_simd() -> Result<()> {
    refused("uses_relaxed_simd", "feature_not_allowed", &["relaxed"])
}

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
fn description_invisible() -> Result<()> {
    refused("description_invisible", "manifest_text", &["description"])
}

#[test]
fn tool_name_reserved() -> Result<()> {
    refused("tool_name_reserved", "tool_name_reserved", &["artifact_import"])
}

#[test]
fn tool_name_confusable() -> Result<()> {
    refused("tool_name_confusable", "manifest_name", &[])
}

#[test]
fn schema_remote_ref() -> Result<()> {
    refused("schema_remote_ref", "schema_ref", &["$ref"])
}

#[test]
fn schema_backtracking() -> Result<()> {
    refused("schema_backtracking", "schema_pattern", &[])
}
