//! Components that are refused for their language, their imports or their exports before a caller
//! sees a tool of theirs.

use anyhow::{Context, Result};
use serde_json::json;

use super::attack::{each, harmless, refused};
use crate::guests;
use crate::stage::Stage;

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
fn imports_wasi_rest() -> Result<()> {
    let offenders = ["wasi:sockets/network@0.2.0", "wasi:cli/environment@0.2.0", "wasi:io/streams@0.2.0"];
    refused("imports_wasi_rest", "import_not_allowed", &offenders)
}

#[test]
fn uses_tail_calls() -> Result<()> {
    refused("uses_tail_calls", "feature_not_allowed", &["tail calls"])
}

#[test]
fn uses_function_references() -> Result<()> {
    refused("uses_function_references", "feature_not_allowed", &["function references"])
}

#[test]
fn uses_custom_page_sizes() -> Result<()> {
    refused("uses_custom_page_sizes", "feature_not_allowed", &["custom page sizes"])
}

#[test]
fn uses_external_references() -> Result<()> {
    refused("uses_external_references", "feature_not_allowed", &["external references"])
}

#[test]
fn uses_wide_arithmetic() -> Result<()> {
    refused("uses_wide_arithmetic", "feature_not_allowed", &["wide arithmetic"])
}

#[test]
fn uses_futures() -> Result<()> {
    refused("uses_futures", "feature_not_allowed", &["futures"])
}

#[test]
fn uses_error_context() -> Result<()> {
    refused("uses_error_context", "feature_not_allowed", &["error-context"])
}

#[test]
fn uses_async_callback() -> Result<()> {
    refused("uses_async_callback", "feature_not_allowed", &["async"])
}

#[test]
fn uses_utf16() -> Result<()> {
    refused("uses_utf16", "feature_not_allowed", &["UTF-16"])
}

#[test]
fn export_missing() -> Result<()> {
    refused("export_missing", "export_missing", &["run"])
}

#[test]
fn export_wrong_type() -> Result<()> {
    refused("export_wrong_type", "interface_mismatch", &["run"])
}

#[test]
fn export_types_named_so() -> Result<()> {
    refused("export_types_named_so", "interface_mismatch", &[])
}

#[test]
fn interface_twice() -> Result<()> {
    refused("interface_twice", "malformed_component", &["helix:toolpack/log@1.0.0"])
}

#[test]
fn export_more() -> Result<()> {
    harmless("export_more")
}

#[test]
fn check_level_unknown() -> Result<()> {
    refused("check_level_unknown", "describe_failed", &[])
}

/// The component model reads every number but 0 as yes.
#[test]
fn bool_of_seven() -> Result<()> {
    each("bool_of_seven", |stage, _attack, refusal| {
        assert!(refusal.is_none(), "it is refused");
        let tools = stage.client.tools()?;
        let tool = tools.iter().find(|tool| tool["name"] == "attack").context("it is not offered")?;
        assert_eq!(tool["annotations"]["readOnlyHint"], json!(true));
        Ok(())
    })
}
