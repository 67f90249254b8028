//! What docs/toolpack-author.md tells, done as it tells it: from nothing to a tool that answers.

use anyhow::Result;
use helix_tests::{World, world};
use serde_json::json;

#[test]
fn an_author_goes_from_new_to_an_answer() -> Result<()> {
    let lab = World::new()?;
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
        command.env("CARGO_TARGET_DIR", world::target()?.join("toolpacks-target").join("author"));
        let output = command.output()?;
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "helixmcp {}: {said}", words.join(" "));
        assert!(said.contains(says), "helixmcp {} does not say `{says}`: {said}", words.join(" "));
    }
    let component = folder.join("hello.wasm");
    lab.cli(&["policy", "allow", &component.to_string_lossy(), "--yes"])?.ok()?;

    let told = lab.cli(&["run", "hello", "name=Ada"])?.ok()?;
    assert!(told.stdout.contains("Ada"), "{}", told.stdout);
    let mut client = lab.client()?;
    let again = client.call("hello", json!({"name": "Ada"}))?;
    assert_eq!(again.status(), "succeeded", "{}", again.text());
    assert!(again.replayed(), "the shell and the assistant have different records");
    client.close()?;
    lab.finish()
}
