//! Paths that would leave an import or export root, and files that are no files.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
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
        "C:\\x",
        "\\\\srv\\x",
        "-rf",
        "~/secret.txt",
        "a\0b",
        "a/",
        ".",
    ] {
        let code = if has_a_label(path) { "import_path_denied" } else { "label_invalid" };
        not_importable(&mut stage, path, code)?;
    }
    stage.honest_call()?;
    stage.finish()
}

/// Whether a path's last part is fit to be shown; one that is not is refused before it is opened.
fn has_a_label(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.parse::<helix_ids::Label>().is_ok()
}

/// What is there and what is not look alike from outside.
#[test]
fn a_refused_path_says_nothing_of_what_lies_there() -> Result<()> {
    let mut stage = Stage::honest()?;
    let (data, outside) = (stage.world.data(), stage.world.outside());
    symlink(outside.join("secret.txt"), data.join("to_a_file"))?;
    symlink(outside.join("nothing.txt"), data.join("to_nothing"))?;
    symlink(&outside, data.join("folder"))?;
    let mut said = BTreeSet::new();
    for path in
        ["missing", "to_a_file", "to_nothing", "folder/secret.txt", "folder/nothing.txt", "to_a_file/x"]
    {
        let reply = stage.client.call("artifact_import", json!({"root": "data", "path": path}))?;
        said.insert(reply.structured["failure"]["message"].to_string());
    }
    assert_eq!(said.len(), 1, "{said:?}");
    stage.finish()
}

/// Devices never end.
#[test]
fn devices_are_not_read() -> Result<()> {
    let mut stage = Stage::prepared(|world| {
        world.policy.import_root("dev", "/dev").import_root("proc", "/proc");
        Ok(())
    })?;
    for (root, path) in
        [("dev", "zero"), ("dev", "stdin"), ("proc", "self/fd/0"), ("proc", "self/root/etc/passwd")]
    {
        let start = Instant::now();
        let reply = stage.client.call("artifact_import", json!({"root": root, "path": path}))?;
        assert!(failure(&reply).ends_with("/import_path_denied"), "{path}: {}", reply.structured);
        assert!(start.elapsed() < AT_ONCE, "{path} took {:?}", start.elapsed());
    }
    stage.honest_call()?;
    stage.finish()
}

/// A file that somebody else owns, or that nobody may read, does not come in under our name.
#[test]
fn a_file_that_is_not_ours_to_read_is_refused() -> Result<()> {
    let mut stage = Stage::honest()?;
    let file = stage.world.data().join("theirs.txt");
    fs::write(&file, "not for guests\n")?;
    fs::hard_link(&file, stage.world.data().join("linked.txt"))?;
    // Whoever may read everything may also give a file away.
    if std::os::unix::fs::chown(&file, Some(4242), None).is_err() {
        fs::set_permissions(&file, fs::Permissions::from_mode(0o000))?;
    }
    for path in ["theirs.txt", "linked.txt"] {
        not_importable(&mut stage, path, "import_path_denied")?;
    }
    stage.honest_call()?;
    stage.finish()
}

/// A file that says it is larger than anything is refused by its word, not by reading it.
#[test]
fn a_sparse_giant_is_refused_at_once() -> Result<()> {
    let mut stage = Stage::prepared(|world| {
        let limited = world.path().join("limited");
        fs::create_dir(&limited)?;
        world.policy.raw(&format!(
            "\n[[import_root]]\nname = \"limited\"\npath = {limited:?}\nprojects = \"all\"\nmax_file = \"1MiB\"\n"
        ));
        Ok(())
    })?;
    for (root, folder, code) in [
        ("limited", stage.world.path().join("limited"), "denied/import_too_large"),
        ("data", stage.world.data(), "busy/store_quota"),
    ] {
        fs::File::create(folder.join("giant"))?.set_len(5 << 40)?;
        let start = Instant::now();
        let reply = stage.client.call("artifact_import", json!({"root": root, "path": "giant"}))?;
        assert_eq!(failure(&reply), code, "{}", reply.structured);
        assert!(start.elapsed() < AT_ONCE, "it took {:?}", start.elapsed());
    }
    stage.honest_call()?;
    stage.finish()
}

/// What comes in is one file as it was at one moment, or nothing.
#[test]
fn a_file_that_grows_while_it_is_read_is_refused() -> Result<()> {
    let mut stage = Stage::honest()?;
    let path = stage.world.data().join("growing.txt");
    fs::write(&path, vec![b'a'; 64 << 20])?;
    let enough = Arc::new(AtomicBool::new(false));
    let writing = {
        let (path, enough) = (path.clone(), Arc::clone(&enough));
        std::thread::spawn(move || -> std::io::Result<()> {
            let mut file = fs::OpenOptions::new().append(true).open(path)?;
            while !enough.load(Ordering::SeqCst) {
                file.write_all(b"more\n")?;
            }
            Ok(())
        })
    };
    let reply = stage.client.call("artifact_import", json!({"root": "data", "path": "growing.txt"}));
    enough.store(true, Ordering::SeqCst);
    writing.join().map_err(|_panic| anyhow!("the writer panicked"))??;
    let reply = reply?;
    assert!(failure(&reply).ends_with("/import_file_changed"), "{}", reply.structured);
    fs::remove_file(path)?;
    stage.honest_call()?;
    stage.finish()
}

/// Names that are too long, that say one thing and are another, or that are no text.
#[test]
fn names_of_files_are_data() -> Result<()> {
    let mut stage = Stage::honest()?;
    let data = stage.world.data();
    let long = "n".repeat(255);
    let names = [long.as_str(), "-rf", "caf\u{e9}.txt", "cafe\u{301}.txt", "a b;c|d$(e)`f`.txt", "..."];
    for name in names {
        fs::write(data.join(name), name)?;
    }
    for hidden in [OsStr::from_bytes(b"bad\xff.txt"), OsStr::new("new\nline"), OsStr::new("gpj.\u{202e}exe")]
    {
        fs::write(data.join(hidden), "hidden")?;
    }
    let listed = stage.client.call("artifact_browse", json!({"root": "data"}))?;
    let listed: BTreeSet<&str> = listed.structured["entries"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|row| row["path"].as_str())
        .collect();
    assert_eq!(listed, BTreeSet::from(names));
    let mut ids = BTreeSet::new();
    for name in names {
        ids.insert(imported(&stage.client.call("artifact_import", json!({"root": "data", "path": name}))?)?);
    }
    assert_eq!(ids.len(), names.len(), "two names that look alike became one file");
    for (path, code) in [
        ("n".repeat(256), "import_path_denied"),
        (vec!["folder"; 700].join("/"), "import_path_denied"),
        ("new\nline".to_owned(), "label_invalid"),
        ("gpj.\u{202e}exe".to_owned(), "label_invalid"),
    ] {
        let reply =
            stage.client.call("artifact_import", json!({"root": "data", "path": path, "label": "l"}))?;
        assert!(failure(&reply).ends_with("/import_path_denied"), "{path}: {}", reply.structured);
        let reply = stage.client.call("artifact_import", json!({"root": "data", "path": path}))?;
        assert!(
            failure(&reply).ends_with(code) || failure(&reply).ends_with("/label_invalid"),
            "{}",
            reply.structured
        );
    }
    stage.honest_call()?;
    stage.finish()
}

/// A project's roots are its own.
#[test]
fn another_projects_root_is_not_there() -> Result<()> {
    let mut stage = Stage::prepared(|world| {
        world.policy.raw("\n[[project]]\nname = \"other\"\ncomponents = \"all\"\n");
        Ok(())
    })?;
    fs::write(stage.world.data().join("mine.txt"), "mine\n")?;
    let import = |project: &str, root: &str| json!({"project_id": project, "root": root, "path": "mine.txt"});
    let foreign = stage.client.call("artifact_import", import("other", "data"))?;
    assert_eq!(failure(&foreign), "denied/import_root_unknown");
    let nowhere = stage.client.call("artifact_import", import("other", "nowhere"))?;
    let said = |reply: &helix_tests::ToolReply| reply.structured["failure"]["message"].to_string();
    assert_eq!(said(&foreign).replace("data", "R"), said(&nowhere).replace("nowhere", "R"));
    let mine = stage.client.call("artifact_import", import("default", "data"))?;
    assert!(!mine.is_error, "{}", mine.structured);
    stage.client.close()?;
    stage.world.finish()
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
    not_importable(&mut stage, "link/", "label_invalid")?;
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

/// A store into which others could write is no place for what nobody may change.
#[test]
fn a_store_that_others_may_write_is_refused() -> Result<()> {
    let others_may_write = |folder: &Path| fs::set_permissions(folder, fs::Permissions::from_mode(0o777));
    let is_a_link = |folder: &Path| {
        fs::rename(folder, folder.with_extension("elsewhere"))?;
        symlink(folder.with_extension("elsewhere"), folder)
    };
    let is_a_file = |folder: &Path| {
        fs::remove_dir_all(folder)?;
        fs::write(folder, "no folder")
    };
    type Break = dyn Fn(&Path) -> std::io::Result<()>;
    let ways: [&Break; 3] = [&others_may_write, &is_a_link, &is_a_file];
    for name in ["objects", "incoming"] {
        for (way, break_it) in ways.iter().enumerate() {
            let mut world = helix_tests::World::new()?;
            world.start()?;
            world.kill_host()?;
            break_it(&world.home().join(name))?;
            assert!(world.start_host().is_err(), "the host took {name}, way {way}");
            assert!(world.log().contains("store"), "it does not say why: {}", world.log());
        }
    }
    Ok(())
}
