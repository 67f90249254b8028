//! Policy files that an operator must not be able to mean.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use anyhow::Result;
use helix_tests::World;

/// `policy check` and the host refuse this file, and say where.
#[track_caller]
fn refused(more: &str, says: &str) -> Result<()> {
    let mut world = World::new()?;
    world.policy.raw(more);
    world.write_policy()?;
    let policy = world.home().join("policy.toml");

    let checked = world.cli(&["policy", "check", &policy.to_string_lossy()])?;
    assert_eq!(checked.code, Some(1), "{}{}", checked.stdout, checked.stderr);
    let said = format!("{}{}", checked.stdout, checked.stderr);
    assert!(said.contains(says), "`{says}` is not in: {said}");
    let place =
        said.split_once("policy.toml:").map(|(_, place)| place.starts_with(|c: char| c.is_ascii_digit()));
    assert_eq!(place, Some(true), "no line is named: {said}");
    assert!(world.start_host().is_err(), "the host took it");
    Ok(())
}

#[test]
fn an_unknown_key_is_refused() -> Result<()> {
    refused("\n[limits.guest]\nmemroy = \"1GiB\"\n", "memroy")
}

#[test]
fn a_limit_of_nothing_is_refused() -> Result<()> {
    refused("\n[limits.guest]\nmemory = 0\n", "size with its unit")
}

#[test]
fn a_limit_without_its_unit_is_refused() -> Result<()> {
    refused("\n[limits.guest]\nmemory = 1024\n", "size with its unit")
}

#[test]
fn a_value_of_another_kind_is_refused() -> Result<()> {
    refused("\n[limits.guest]\noutputs = \"many\"\n", "whole number")
}

#[test]
fn a_wildcard_digest_is_refused() -> Result<()> {
    refused("\n[[component]]\ndigest = \"*\"\nname = \"x\"\nserve = true\ntools = \"all\"\n", "digest")
}

#[test]
fn a_feature_that_is_not_built_is_refused_by_name() -> Result<()> {
    refused("\n[backend.docker]\nendpoint = \"unix:///var/run/docker.sock\"\n", "backend")
}

#[test]
fn a_duplicate_table_is_refused() -> Result<()> {
    refused("\n[store]\n[store]\n", "duplicate key")
}

#[test]
fn a_policy_that_others_may_write_is_refused() -> Result<()> {
    let mut world = World::new()?;
    world.write_policy()?;
    let policy = world.home().join("policy.toml");
    fs::set_permissions(&policy, fs::Permissions::from_mode(0o666))?;
    assert!(world.start_host().is_err(), "the host took it");
    assert!(world.log().contains("writ"), "it does not say why: {}", world.log());
    Ok(())
}

#[test]
fn a_policy_behind_a_link_is_refused() -> Result<()> {
    let mut world = World::new()?;
    world.write_policy()?;
    let policy = world.home().join("policy.toml");
    fs::rename(&policy, world.path().join("elsewhere.toml"))?;
    symlink(world.path().join("elsewhere.toml"), &policy)?;
    assert!(world.start_host().is_err(), "the host took it");
    Ok(())
}

#[test]
fn a_policy_of_ten_megabytes_is_refused() -> Result<()> {
    let mut world = World::new()?;
    world.policy.raw(&format!("# {}\n", "x".repeat(10_000_000)));
    world.write_policy()?;
    assert!(world.start_host().is_err(), "the host took it");
    Ok(())
}

#[test]
fn a_policy_that_is_not_text_is_refused() -> Result<()> {
    let mut world = World::new()?;
    world.write_policy()?;
    fs::write(world.home().join("policy.toml"), b"version = 1\nname = \"\xff\xfe\"\n")?;
    assert!(world.start_host().is_err(), "the host took it");
    Ok(())
}

/// No policy, no service: neither a default nor a guess.
#[test]
fn without_a_policy_nothing_is_offered() -> Result<()> {
    let mut world = World::new()?;
    if world.start_host().is_ok() {
        let mut client = world.client()?;
        let names: Vec<String> =
            client.tools()?.iter().filter_map(|tool| tool["name"].as_str().map(str::to_owned)).collect();
        assert!(!names.contains(&"echo".to_owned()), "{names:?}");
    }
    assert!(!world.home().join("policy.toml").exists(), "one was made up");
    Ok(())
}
