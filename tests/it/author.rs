//! What docs/toolpack-author.md tells, done as it tells it: from nothing to a tool that answers.

use std::fs;

use anyhow::{Context, Result};
use helix_tests::{World, world};
use serde_json::json;

use crate::stage::text;

#[test]
fn an_author_goes_from_new_to_an_answer() -> Result<()> {
    let mut lab = World::new()?;
    lab.write_policy()?;
    lab.cli(&["toolpack", "new", "hello"])?.ok()?;
    let folder = lab.path().join("hello");
    assert!(folder.join("Cargo.toml").is_file(), "no crate was made");

    for (words, says) in [
        (&["toolpack", "build"][..], "hello"),
        (&["toolpack", "check"], "hello"),
        (&["toolpack", "test"], "fuel"),
        (&["toolpack", "inspect", "hello.wasm"], "sha256:"),
    ] {
        let mut command = lab.command(words)?;
        // The author's own toolchain and registry cache, as in any shell of theirs.
        command.envs(std::env::vars_os()).current_dir(&folder);
        command.env("CARGO_TARGET_DIR", world::target()?.join("toolpacks-target"));
        let output = command.output()?;
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "helixmcp {}: {said}", words.join(" "));
        assert!(said.contains(says), "helixmcp {} does not say `{says}`: {said}", words.join(" "));
    }
    let component = fs::read_dir(&folder)?.flatten().map(|entry| entry.path());
    let component = component.filter(|path| path.extension().is_some_and(|extension| extension == "wasm"));
    let component = component.last().context("no component was built")?;
    lab.cli(&["policy", "allow", &component.to_string_lossy(), "--yes"])?.ok()?;

    lab.start_host()?;
    let mut client = lab.client()?;
    let info = client.call("host_info", json!({}))?;
    let toolpack = &info.structured["toolpacks"][0];
    assert_eq!(toolpack["name"], "hello", "{}", info.structured);
    let tool = text(&toolpack["tools"][0]);
    let reply = client.call(&tool, json!({}))?;
    assert!(!reply.structured.is_null(), "{}", reply.text());
    client.close()?;
    lab.finish()
}
