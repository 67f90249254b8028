//! The host's doors: roots that would lead to what it keeps for itself, exports that would fill a
//! disk or leave half a file, and commands that go by another policy than the host.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use helix_tests::{World, wait};
use serde_json::{Value, json};

use crate::guests;
use crate::stage::{Stage, failure, imported};

const SOON: Duration = Duration::from_secs(60);

fn root(kind: &str, path: &Path) -> String {
    let more = if kind == "export" { "overwrite = true\n" } else { "" };
    format!("\n[[{kind}_root]]\nname = \"wide\"\npath = {path:?}\nprojects = \"all\"\n{more}")
}

/// `policy check`, `doctor` and the host refuse a root, by its line, and say what to write.
fn not_a_root(kind: &str, prepare: impl Fn(&mut World) -> Result<PathBuf>) -> Result<()> {
    let mut world = World::new()?;
    let path = prepare(&mut world)?;
    let more = root(kind, &path);
    world.policy.raw(&more);
    world.write_policy()?;

    let checked = world.cli(&["policy", "check"])?;
    assert_eq!(checked.code, Some(1), "{}{}", checked.stdout, checked.stderr);
    let text = world.policy.render();
    let before = text.split(&more).next().unwrap_or_default();
    let line = before.matches('\n').count() + 2;
    let named = format!("policy.toml:{line}:1: root_private: `path` of [[{kind}_root]] wide:");
    assert!(checked.stdout.contains(&named), "`{named}` is not in: {}", checked.stdout);
    let own = if kind == "import" { "home/import" } else { "home/exports" };
    let instead = world.path().join(own);
    assert!(checked.stdout.contains(&format!("such as {}", instead.display())), "{}", checked.stdout);

    let doctor = world.cli(&["doctor"])?;
    assert!(doctor.stdout.contains("root_private"), "doctor says nothing: {}", doctor.stdout);
    assert!(world.start_host().is_err(), "the host took {kind} root {}", path.display());
    assert!(world.log().contains("root_private"), "it does not say why: {}", world.log());
    Ok(())
}

#[test]
fn a_root_that_holds_or_lies_in_the_home_is_refused() -> Result<()> {
    for kind in ["import", "export"] {
        not_a_root(kind, |world| Ok(world.home()))?;
        not_a_root(kind, |world| Ok(world.path().to_owned()))?;
        not_a_root(kind, |world| Ok(world.home().join("toolpacks")))?;
        not_a_root(kind, |world| Ok(world.home().join("objects/not/there/yet")))?;
        not_a_root(kind, |world| {
            let link = world.path().join("link");
            symlink(world.home(), &link)?;
            Ok(link)
        })?;
    }
    Ok(())
}

#[test]
fn a_root_that_holds_or_lies_in_the_store_is_refused() -> Result<()> {
    let with_store = |world: &mut World, root: &str| {
        let store = world.path().join("disk/store");
        fs::create_dir_all(world.path().join("disk"))?;
        world.policy.raw(&format!("\n[store]\nroot = {store:?}\n"));
        // A link, so that the text alone does not show it.
        symlink(world.path().join(root), world.path().join("link"))?;
        Ok(world.path().join("link"))
    };
    for kind in ["import", "export"] {
        for root in ["disk", "disk/store", "disk/store/objects"] {
            not_a_root(kind, |world| {
                fs::create_dir_all(world.path().join(root))?;
                with_store(world, root)
            })?;
        }
    }
    Ok(())
}

/// The folder of a policy that lies outside the home is no root either.
#[test]
fn a_root_that_holds_the_policy_is_refused() -> Result<()> {
    let world = World::new()?;
    let etc = world.path().join("etc");
    fs::create_dir(&etc)?;
    let policy = etc.join("policy.toml").display().to_string();
    fs::write(&policy, format!("{}{}", world.policy.render(), root("export", &etc)))?;
    for command in [vec!["policy", "check"], vec!["host"]] {
        let refused = world.cli(&[&["--policy", &policy][..], &command].concat())?;
        assert_ne!(refused.code, Some(0), "{command:?}: {}", refused.stdout);
        let said = format!("{}{}", refused.stdout, refused.stderr);
        assert!(
            said.contains("root_private") && said.contains("holds the policy file"),
            "{command:?}: {said}"
        );
    }
    Ok(())
}

/// What `init` makes is allowed, and it makes nothing that a host would refuse.
#[test]
fn what_init_makes_are_good_roots() -> Result<()> {
    let mut world = World::new()?;
    let above = world.path().display().to_string();
    let refused = world.cli(&["init", "--import-root", &above])?;
    assert_eq!(refused.code, Some(2), "{}{}", refused.stdout, refused.stderr);
    assert!(refused.stderr.contains("holds the home"), "{}", refused.stderr);
    assert!(!world.home().join("policy.toml").exists());

    world.cli(&["init"])?.ok()?;
    world.cli(&["policy", "check"])?.ok()?;
    world.start_host()?;
    let mut client = world.client()?;
    fs::write(world.home().join("import/a.txt"), "a\n")?;
    let id = imported(&client.call("artifact_import", json!({"path": "a.txt"}))?)?;
    let out = client.call("artifact_export", json!({"artifact_id": id}))?;
    assert!(!out.is_error, "{}", out.text());
    assert_eq!(fs::read_to_string(world.home().join("exports/a.txt"))?, "a\n");
    client.close()?;
    world.finish()
}

/// A root that was good when the policy was read, and is a link to the home now.
#[test]
fn a_root_that_became_a_link_to_the_home_is_closed() -> Result<()> {
    let mut stage = Stage::prepared(|world| {
        let wide = world.path().join("wide");
        fs::create_dir(&wide)?;
        world.policy.raw(&root("import", &wide)).raw(&root("export", &wide));
        Ok(())
    })?;
    let id = stage.import_text("version = 1\nname = \"mine\"\n")?;
    let (wide, home) = (stage.world.path().join("wide"), stage.world.home());
    let policy = fs::read_to_string(home.join("policy.toml"))?;
    for target in [home.clone(), home.join("keys"), stage.world.path().to_owned()] {
        if wide.symlink_metadata()?.is_symlink() {
            fs::remove_file(&wide)?;
        } else {
            fs::remove_dir(&wide)?;
        }
        symlink(&target, &wide)?;
        for (tool, arguments) in [
            ("artifact_browse", json!({"root": "wide"})),
            ("artifact_import", json!({"root": "wide", "path": "policy.toml"})),
            ("artifact_import", json!({"root": "wide", "path": "cache.key"})),
            ("artifact_import", json!({"root": "wide", "path": "home/policy.toml"})),
            (
                "artifact_export",
                json!({"root": "wide", "artifact_id": id, "name": "policy.toml", "overwrite": true}),
            ),
        ] {
            let reply = stage.client.call(tool, arguments)?;
            assert_eq!(failure(&reply), "denied/root_private", "{tool}: {}", reply.structured);
            let said = reply.structured.to_string();
            assert!(!said.contains(&*home.to_string_lossy()), "{tool} tells a path: {said}");
        }
    }
    assert_eq!(fs::read_to_string(home.join("policy.toml"))?, policy);
    stage.finish()
}

/// A second name of a file of ours is still ours.
#[test]
fn a_link_to_the_policy_or_the_ledger_is_no_file_to_import() -> Result<()> {
    let mut stage = Stage::honest()?;
    let (home, data) = (stage.world.home(), stage.world.data());
    for (number, file) in ["policy.toml", "ledger.sqlite", "keys/cache.key"].into_iter().enumerate() {
        let name = format!("linked-{number}.txt");
        fs::hard_link(home.join(file), data.join(&name))?;
        let reply = stage.client.call("artifact_import", json!({"root": "data", "path": name}))?;
        assert_eq!(failure(&reply), "denied/import_path_denied", "{file}: {}", reply.structured);
        fs::remove_file(data.join(&name))?;
    }
    stage.finish()
}

/// A program that is run over `*` in the export root takes no file for an option, and misses none.
#[test]
fn exports_have_plain_names() -> Result<()> {
    let mut stage = Stage::honest()?;
    fs::create_dir(stage.world.out().join(".ssh"))?;
    let labelled = json!({"text": "mine\n", "label": "-rf"});
    let id = imported(&stage.client.call("artifact_import", labelled)?)?;
    for name in [Some("-rf"), Some("--help"), Some(".profile"), Some(".ssh/keys"), Some("..."), None] {
        let arguments = match name {
            Some(name) => json!({"artifact_id": id, "root": "out", "name": name}),
            None => json!({"artifact_id": id, "root": "out"}),
        };
        let reply = stage.client.call("artifact_export", arguments)?;
        assert_eq!(failure(&reply), "denied/export_path_denied", "{name:?}: {}", reply.structured);
        let said = reply.structured.to_string();
        assert!(said.contains("begins with a dot or a dash"), "{name:?}: {said}");
    }
    let plain = json!({"artifact_id": id, "root": "out", "name": "a-b.c"});
    let reply = stage.client.call("artifact_export", plain)?;
    assert!(!reply.is_error, "{}", reply.text());
    assert_eq!(listed(&stage.world.out())?, BTreeSet::from([".ssh".to_owned(), "a-b.c".to_owned()]));
    stage.finish()
}

fn listed(folder: &Path) -> Result<BTreeSet<String>> {
    let names = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    names.collect()
}

/// The disk that exports go to keeps the floor that policy names, which is read for each of them.
#[test]
fn an_export_leaves_the_floor_of_its_disk_free() -> Result<()> {
    let mut stage = Stage::honest()?;
    let id = stage.import_text("mine\n")?;
    let export = json!({"artifact_id": id, "root": "out", "name": "mine.txt"});
    stage.world.policy.limit("host", "free_space_floor", "\"1000TiB\"");
    stage.world.write_policy()?;
    let refused = wait::until(SOON, || {
        stage.world.reload().ok()?;
        let reply = stage.client.call("artifact_export", export.clone()).ok()?;
        fs::remove_file(stage.world.out().join("mine.txt")).is_err().then_some(reply)
    });
    let refused = refused.context("the floor does not hold")?;
    assert_eq!(failure(&refused), "busy/export_full", "{}", refused.structured);
    assert!(listed(&stage.world.out())?.is_empty());

    stage.world.policy.limit("host", "free_space_floor", "\"1MiB\"");
    stage.world.write_policy()?;
    let written = wait::until(SOON, || {
        stage.world.reload().ok()?;
        stage.client.call("artifact_export", export.clone()).ok().filter(|reply| !reply.is_error)
    });
    written.context("nothing is exported any more")?;
    stage.finish()
}

/// Parts of exports that are there.
fn parts(out: &Path) -> BTreeSet<String> {
    let all = listed(out).unwrap_or_default();
    all.into_iter().filter(|name| name.starts_with(".helixmcp-export-")).collect()
}

/// An export that is cancelled leaves nothing; of one whose host was killed, the next export into
/// that folder removes what was left.
#[test]
fn an_export_that_does_not_end_leaves_nothing() -> Result<()> {
    const BYTES: usize = 128 << 20;
    const TRIES: usize = 10;
    let mut stage = Stage::honest()?;
    stage.world.growth_bytes_max = 2 * helix_tests::vitals::GROWTH_BYTES_MAX;
    fs::write(stage.world.data().join("large.txt"), vec![b'a'; BYTES])?;
    let large =
        imported(&stage.client.call("artifact_import", json!({"root": "data", "path": "large.txt"}))?)?;
    let out = stage.world.out();

    let mut stopped = false;
    for _ in 0..TRIES {
        let arguments = json!({"artifact_id": large, "root": "out", "name": "large.txt"});
        let asked = stage.client.send_call("artifact_export", arguments)?;
        wait::until(SOON, || (!listed(&out).ok()?.is_empty()).then_some(())).context("nothing is written")?;
        stage.client.notify("notifications/cancelled", json!({"requestId": asked}))?;
        wait::until(SOON, || parts(&out).is_empty().then_some(())).context("a part is left")?;
        // One that was whole before the word came is there, and the next try may be faster.
        stopped = fs::remove_file(out.join("large.txt")).is_err();
        if stopped {
            break;
        }
    }
    ensure!(stopped, "no export was stopped");

    let mut left = BTreeSet::new();
    for number in 0..TRIES {
        let name = format!("large-{number}.txt");
        stage
            .client
            .send_call("artifact_export", json!({"artifact_id": large, "root": "out", "name": name}))?;
        wait::until(SOON, || (!parts(&out).is_empty() || out.join(&name).exists()).then_some(()))
            .context("nothing is written")?;
        stage.world.kill_host()?;
        left = parts(&out);
        stage.world.start_host()?;
        let gone = std::mem::replace(&mut stage.client, stage.world.client()?);
        gone.close()?;
        if !left.is_empty() {
            break;
        }
    }
    ensure!(!left.is_empty(), "no export was killed in the middle");
    fs::write(out.join(".helixmcp-export-mine"), "not a part")?;
    let id = stage.import_text("mine\n")?;
    let reply =
        stage.client.call("artifact_export", json!({"artifact_id": id, "root": "out", "name": "m"}))?;
    assert!(!reply.is_error, "{}", reply.text());
    assert_eq!(parts(&out), BTreeSet::from([".helixmcp-export-mine".to_owned()]));
    stage.honest_call()?;
    stage.client.close()?;
    stage.world.finish()
}

/// A command that names another policy than the host obeys is told so, and nothing is run or
/// changed by it. The same file under another name is the same policy.
#[test]
fn a_command_that_names_another_policy_is_refused() -> Result<()> {
    let mut stage = Stage::honest()?;
    let world = &stage.world;
    let other = world.path().join("other.toml");
    fs::write(&other, world.policy.render())?;
    let (other, call) = (other.display().to_string(), ["run", "echo", "text=other", "--json"]);
    let named = world.cli(&[&["--policy", &other][..], &call].concat())?;
    let mut by_environment = world.command(&call)?;
    let by_environment = by_environment.env("HELIXMCP_POLICY", &other).stdin(Stdio::null()).output()?;
    let by_environment =
        (by_environment.status.code(), String::from_utf8_lossy(&by_environment.stderr).into_owned());
    let ours = world.home().join("policy.toml").display().to_string();
    for (code, said) in [(named.code, named.stderr), by_environment] {
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(&other) && said.contains(&format!("obeys {ours}")), "{said}");
    }
    let serve = world.command(&["--policy", &other, "serve"])?.stdin(Stdio::null()).output()?;
    assert_eq!(serve.status.code(), Some(2), "{}", String::from_utf8_lossy(&serve.stderr));
    assert!(serve.stdout.is_empty());
    let doctor = world.cli(&["--policy", &other, "doctor"])?;
    assert!(doctor.stdout.contains(&format!("obeys {ours}")), "{}", doctor.stdout);

    symlink(world.home(), world.path().join("same"))?;
    let same = world.path().join("same/policy.toml").display().to_string();
    world.cli(&[&["--policy", &same][..], &call].concat())?.ok()?;
    world.cli(&call)?.ok()?;
    assert_eq!(stage.runs()?, ["echo succeeded"]);
    stage.finish()
}

/// What would change a policy that the host does not obey changes nothing.
#[test]
fn a_policy_that_the_host_does_not_obey_is_not_widened() -> Result<()> {
    let world = World::new()?;
    world.write_policy()?;
    let elsewhere = world.path().join("elsewhere.toml").display().to_string();
    fs::write(&elsewhere, world.policy.render())?;
    let component = world.path().join("echo.wasm");
    fs::write(&component, guests::honest("echo")?)?;
    let mut host = world.command(&["--policy", &elsewhere, "host"])?;
    let log = fs::File::create(world.path().join("host.log"))?;
    let mut host = host.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?;
    let socket = world.home().join("host.sock");
    let listens = wait::until(SOON, || std::os::unix::net::UnixStream::connect(&socket).ok().map(drop));
    let allow = ["policy", "allow", "--yes", &*component.to_string_lossy()];
    let refused = world.cli(&allow)?;
    host.kill()?;
    host.wait()?;
    listens.context("the host does not listen")?;
    assert_eq!(refused.code, Some(2), "{}{}", refused.stdout, refused.stderr);
    assert!(refused.stderr.contains(&format!("obeys {elsewhere}")), "{}", refused.stderr);
    assert_eq!(fs::read_to_string(world.home().join("policy.toml"))?, world.policy.render());
    world.finish()
}

/// A host in the background has nothing of whoever started it: no environment, no descriptor.
#[test]
fn a_host_in_the_background_keeps_nothing_of_its_starter() -> Result<()> {
    let mut world = World::new()?;
    world.allow("echo", &guests::honest("echo")?)?;
    world.write_policy()?;
    let secret = world.outside().join("secret.txt");
    let mut serve = Command::new("sh");
    serve.args(["-c", "exec 7<\"$1\" 8<\"$1\" \"$0\" --home \"$2\" serve"]);
    let mut serve = serve
        .arg(helix_tests::world::binary()?)
        .args([&secret, &world.home()])
        .env("SECRET_TOKEN", "not for hosts")
        .env("HELIXMCP_LOG", "info")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut stdin = serve.stdin.take().context("no stdin")?;
    writeln!(stdin, "{}", json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}))?;
    let status = wait::until(SOON, || {
        let mut raw = super::raw::Raw::greeted(&world).ok()?;
        raw.request(json!(2), "helixmcp/status", Value::Null).ok()?;
        raw.hear().ok()
    });
    let status = status.context("no host listens")?;
    let pid = status["result"]["pid"].as_u64().with_context(|| format!("no pid in {status}"))?;

    assert_eq!(fs::read(format!("/proc/{pid}/environ"))?, b"HELIXMCP_LOG=info\0");
    let starter: Vec<PathBuf> = open_files(u64::from(serve.id()))?;
    assert_eq!(starter.iter().filter(|path| **path == secret).count(), 2, "{starter:?}");
    let kept = open_files(pid)?;
    assert!(!kept.is_empty() && !kept.contains(&secret), "{kept:?}");

    let mut client = world.client()?;
    assert_eq!(client.call("echo", json!({"text": "a"}))?.status(), "succeeded");
    client.close()?;
    drop(stdin);
    serve.wait()?;
    world.finish()
}

fn open_files(pid: u64) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        // One that was closed between the two looks is not open.
        found.extend(fs::read_link(entry?.path()));
    }
    Ok(found)
}

fn files_in(folder: &Path) -> Result<usize> {
    let mut files = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        files += if entry.file_type()?.is_dir() { files_in(&entry.path())? } else { 1 };
    }
    Ok(files)
}

/// A root that policy takes away counts for the files that have not been opened yet.
#[test]
fn an_import_that_is_under_way_ends_with_its_root() -> Result<()> {
    const FILES: usize = 100;
    let mut stage = Stage::honest()?;
    let mut files = Vec::new();
    for file in 0..FILES {
        // Each of its own bytes, and large enough that all of them take longer than a policy's reload.
        let mut bytes = vec![b'.'; 4 << 20];
        bytes.extend_from_slice(file.to_string().as_bytes());
        fs::write(stage.world.data().join(format!("{file}.txt")), bytes)?;
        files.push(json!({"path": format!("{file}.txt")}));
    }
    let import = json!({"root": "data", "files": files, "wait_seconds": 0});
    let begun = stage.client.call("artifact_import", import.clone())?;
    assert_eq!(begun.structured["status"], "importing", "{}", begun.structured);
    let text = stage.world.policy.render().replace("name = \"data\"", "name = \"elsewhere\"");
    stage.world.put_policy(&text)?;
    stage.world.reload()?;
    let is_gone = || {
        let reply = stage.client.call("artifact_browse", json!({"root": "data"})).ok()?;
        reply.is_error.then_some(())
    };
    wait::until(SOON, is_gone).context("the root is still there")?;

    let seen = files_in(&stage.world.home().join("objects"))?;
    let is_idle = || stage.world.temporaries().ok().filter(BTreeSet::is_empty);
    wait::until(SOON, is_idle).context("it goes on")?;
    let after = files_in(&stage.world.home().join("objects"))?;
    assert!(after < FILES, "all files came in");
    assert!(after <= seen + 1, "{seen} were in when the root was gone, and {after} are now");
    stage.honest_call()?;
    stage.finish()
}
