//! Paths that would leave an import or export root, and files that are no files.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;

use crate::stage::{Stage, failure, imported};

/// Opening something that never answers would hang; a refusal does not.
const AT_ONCE: Duration = Duration::from_secs(10);

/// An import of this path is refused at once, says nothing of what lies there, and stores nothing.
#[track_caller]
fn not_importable(stage: &mut Stage, path: &str, code: &str) -> Result<()> {
    let start = Instant::now();
    let reply = stage.client.call("artifact_import", json!({"root": "data", "path": path}))?;

    assert!(reply.is_error, "{path} was imported");
    assert!(failure(&reply).ends_with(&format!("/{code}")), "{path}: {}", reply.structured);
    assert!(start.elapsed() < AT_ONCE, "{path} took {:?}", start.elapsed());
    assert!(!reply.text().contains("not for guests"), "{path}: its content came through");
    let list = stage.client.call("artifact_list", json!({}))?;
    assert_eq!(list.structured["artifacts"], json!([]), "{path}");
    Ok(())
}

#[test]
fn paths_out_of_a_root_are_refused() -> Result<()> {
    let mut stage = Stage::honest()?;
    fs::create_dir(stage.world.data().join("a"))?;
    for path in [
        "../outside/secret.txt",
        "a/../../outside/secret.txt",
        "/etc/passwd",
        "file:///etc/passwd",
        "a/./secret.txt",
        "a//secret.txt",
    ] {
        not_importable(&mut stage, path, "import_path_denied")?;
    }
    stage.honest_call()?;
    stage.finish()
}

/// Links are not followed, wherever they stand and wherever they point.
#[test]
fn links_are_not_followed() -> Result<()> {
    let mut stage = Stage::honest()?;
    let (data, outside) = (stage.world.data(), stage.world.outside());
    fs::write(data.join("inside.txt"), "inside\n")?;
    symlink(outside.join("secret.txt"), data.join("link"))?;
    symlink(&outside, data.join("folder"))?;
    symlink("link", data.join("chain"))?;
    symlink("inside.txt", data.join("harmless"))?;
    symlink("/proc/self/fd/0", data.join("magic"))?;
    symlink("nowhere", data.join("dangling"))?;
    for path in ["link", "folder/secret.txt", "chain", "harmless", "magic", "dangling"] {
        not_importable(&mut stage, path, "import_path_denied")?;
    }
    stage.honest_call()?;
    stage.finish()
}

#[test]
fn what_is_no_regular_file_is_refused_at_once() -> Result<()> {
    let mut stage = Stage::honest()?;
    let data = stage.world.data();
    fs::create_dir(data.join("folder"))?;
    let _socket = UnixListener::bind(data.join("socket"))?;
    ensure!(Command::new("mkfifo").arg(data.join("fifo")).status()?.success(), "no FIFO could be made");
    for path in ["folder", "socket", "fifo"] {
        not_importable(&mut stage, path, "import_path_denied")?;
    }
    stage.honest_call()?;
    stage.finish()
}

/// An export lands in its root under a plain name or nowhere.
#[test]
fn exports_stay_in_their_root() -> Result<()> {
    let mut stage = Stage::honest()?;
    let id = stage.import_text("mine\n")?;
    for name in ["../escape.txt", "/tmp/escape.txt", "a/b.txt", "..", "\u{202e}txt"] {
        let reply =
            stage.client.call("artifact_export", json!({"artifact_id": id, "root": "out", "name": name}))?;
        assert!(reply.is_error, "{name:?} was written: {}", reply.structured);
    }
    assert_eq!(fs::read_dir(stage.world.out())?.count(), 0);
    assert!(!stage.world.path().join("escape.txt").exists());

    let reply = stage
        .client
        .call("artifact_export", json!({"artifact_id": id, "root": "out", "name": "mine.txt"}))?;
    assert!(!reply.is_error, "{}", reply.text());
    assert_eq!(fs::read_to_string(stage.world.out().join("mine.txt"))?, "mine\n");
    stage.finish()
}

/// What a file says it is and what it is.
#[test]
fn a_type_that_the_bytes_deny_is_refused() -> Result<()> {
    let mut stage = Stage::honest()?;
    fs::write(stage.world.data().join("reads.fastq"), b"\x7fELF\x02\x01\x01\x00 and so on")?;
    let arguments = json!({"root": "data", "path": "reads.fastq", "type_hint": "FASTQ"});
    let reply = stage.client.call("artifact_import", arguments)?;

    assert!(reply.is_error, "{}", reply.structured);
    assert!(failure(&reply).ends_with("/type_mismatch"), "{}", reply.structured);
    stage.honest_call()?;
    stage.finish()
}

#[test]
fn a_wrong_checksum_is_refused() -> Result<()> {
    let mut stage = Stage::honest()?;
    fs::write(stage.world.data().join("a.txt"), "a\n")?;
    let wrong = format!("sha256:{}", "0".repeat(64));
    let arguments = json!({"root": "data", "path": "a.txt", "checksum_sha256": wrong});
    let reply = stage.client.call("artifact_import", arguments)?;

    assert!(failure(&reply).ends_with("/checksum_mismatch"), "{}", reply.structured);
    let right = stage.client.call("artifact_import", json!({"root": "data", "path": "a.txt"}))?;
    imported(&right)?;
    stage.finish()
}
