//! F24: runners that are killed, crash, hang or talk nonsense. The request ends by name, and the
//! next one is served.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use helix_tests::world;
use helixmcp::sandbox::Sandbox;
use helixmcp::sandbox::client::{LoadError, SandboxSettings};
use helixmcp::sandbox::protocol::{CompileLimits, Event, Standing, Walls};

use crate::guests;

const MIB: u64 = 1024 * 1024;

/// Well above the 34 seconds that a hanging inspection may take under these limits.
const ENDS_WITHIN: Duration = Duration::from_secs(100);

/// Waits for the request, of which one byte is enough, and leaves a mark that it came.
const LISTEN: &str = "/bin/dd bs=1 count=1 of=/dev/null 2>/dev/null; : > \"$0.asked\"";

/// Says what a runner says first: its frame's length, no descriptors, and the words of the protocol
/// itself, so that they cannot become old.
fn hello() -> Result<String> {
    let walls = Walls {
        landlock: Standing::Missing("a test".to_owned()),
        seccomp: Standing::Holds("a test".to_owned()),
    };
    let words = serde_json::to_string(&Event::Hello { engine: "x".to_owned(), walls })?;
    // One byte of length is written.
    let length = u8::try_from(words.len())?;
    Ok(format!("printf '\\{length:03o}\\000\\000\\000\\000\\000\\000\\000{words}' >&0"))
}

fn limits() -> CompileLimits {
    CompileLimits {
        component_bytes: 8 * MIB,
        body_bytes: 128 * 1024,
        functions: 50_000,
        instances: 32,
        imports: 64,
        memory_bytes: 1536 * MIB,
        cpu: Duration::from_secs(1),
        guest_memory_bytes: 256 * MIB,
    }
}

struct Bench {
    folder: tempfile::TempDir,
    sandbox: Sandbox,
}

impl Bench {
    /// One runner behaves like this, all others are honest.
    fn new(behaviour: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let runner_exe = folder.path().join("runner.sh");
        let mark = folder.path().join("mark");
        let binary = world::binary()?;
        // With `-C`, writing a file that is there fails: one runner has it.
        let script = format!(
            "#!/bin/sh\nset -C\nif ( : > {} ) 2>/dev/null; then\n{behaviour}\nexit 0\nfi\nexec {} runner\n",
            mark.display(),
            binary.display()
        );
        fs::write(&runner_exe, script)?;
        fs::set_permissions(&runner_exe, fs::Permissions::from_mode(0o700))?;
        let sandbox = Sandbox::new(settings(&folder, runner_exe));
        Ok(Self { folder, sandbox })
    }

    async fn inspect(&self) -> Result<std::result::Result<(), LoadError>> {
        let component = guests::honest("echo")?;
        let began = Instant::now();
        let looked = tokio::time::timeout(ENDS_WITHIN, self.sandbox.inspect(&component, &limits())).await;
        let looked = looked.with_context(|| format!("no end after {:?}", began.elapsed()))?;
        Ok(looked.map(drop))
    }

    /// Whether the one runner came as far as its request: it was believed until then.
    fn was_asked(&self) -> bool {
        self.folder.path().join("runner.sh.asked").exists()
    }

    /// What the one runner makes of a request. Two are started ahead, and either may be the one.
    async fn misbehaved(&self) -> Result<LoadError> {
        for _ in 0..2 {
            if let Err(error) = self.inspect().await? {
                return Ok(error);
            }
        }
        bail!("it did not show")
    }
}

fn settings(folder: &tempfile::TempDir, runner_exe: PathBuf) -> SandboxSettings {
    SandboxSettings { cache_dir: folder.path().join("cache"), key: [7; 32], runners_max: 4, runner_exe }
}

/// What a fault says.
fn fault(error: LoadError) -> Result<String> {
    match error {
        LoadError::Fault { message } => Ok(message),
        LoadError::Refused { .. } => bail!("no fault: {error:?}"),
    }
}

#[tokio::test]
async fn a_runner_that_talks_nonsense_ends_its_request_and_no_other() -> Result<()> {
    let hello = hello()?;
    let cases = [
        ("garbage first", "printf 'no frame of ours, whatever it is' >&0; /bin/sleep 60".to_owned()),
        (
            "garbage after hello",
            format!("{hello}; {LISTEN}; printf 'no frame at all, no' >&0; /bin/sleep 60"),
        ),
        // 2^30 bytes are announced: nothing is allocated for them.
        (
            "a frame of 1 GiB",
            format!(
                "{hello}; {LISTEN}; printf '\\000\\000\\000\\100\\000\\000\\000\\000' >&0; /bin/sleep 60"
            ),
        ),
        (
            "no JSON",
            format!(
                "{hello}; {LISTEN}; printf '\\002\\000\\000\\000\\000\\000\\000\\000{{]' >&0; /bin/sleep 60"
            ),
        ),
        ("hello again", format!("{hello}; {LISTEN}; {hello}; /bin/sleep 60")),
        (
            "descriptors from a runner",
            format!(
                "{hello}; {LISTEN}; printf '\\002\\000\\000\\000\\001\\000\\000\\000{{}}' >&0; /bin/sleep 60"
            ),
        ),
    ];
    for (name, behaviour) in cases {
        let bench = Bench::new(&behaviour)?;
        let message = fault(bench.misbehaved().await.context(name)?).context(name)?;
        assert!(message.contains("out of turn"), "{name}: {message}");
        assert_eq!(
            bench.was_asked(),
            name != "garbage first",
            "{name}: it was not the nonsense that is meant"
        );
        assert!(bench.inspect().await?.is_ok(), "{name}: the next request is not served");
    }
    Ok(())
}

#[tokio::test]
async fn a_runner_that_dies_ends_its_request_and_no_other() -> Result<()> {
    let hello = hello()?;
    let cases = [
        ("leaves", format!("{hello}; {LISTEN}; exit 3"), None),
        ("is killed", format!("{hello}; {LISTEN}; kill -KILL $$"), Some("signal 9")),
        ("crashes", format!("{hello}; {LISTEN}; kill -SEGV $$"), Some("signal 11")),
        ("aborts", format!("{hello}; {LISTEN}; kill -ABRT $$"), Some("signal 6")),
    ];
    for (name, behaviour, signal) in cases {
        let bench = Bench::new(&behaviour)?;
        match (bench.misbehaved().await.context(name)?, signal) {
            // One that died of a signal while it looked at a component speaks against the component.
            (LoadError::Refused { code: "compile_limit", message }, Some(signal)) => {
                assert!(message.contains(signal), "{name}: {message}");
            }
            (LoadError::Fault { message }, None) => assert!(message.contains("lost"), "{name}: {message}"),
            other => bail!("{name}: {other:?}"),
        }
        assert!(bench.inspect().await?.is_ok(), "{name}: the next request is not served");
    }
    Ok(())
}

/// A binary whose runners never live (it was replaced, a library is missing): no request waits
/// for ever, and processes are not started without end.
#[tokio::test]
async fn runners_that_never_live_are_told_and_not_started_without_end() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (exe, count) = (folder.path().join("runner.sh"), folder.path().join("count"));
    fs::write(&exe, format!("#!/bin/sh\necho >> {}\nexit 1\n", count.display()))?;
    fs::set_permissions(&exe, fs::Permissions::from_mode(0o700))?;
    let sandbox = Sandbox::new(settings(&folder, exe));
    let component = guests::honest("echo")?;
    let looked = tokio::time::timeout(ENDS_WITHIN, sandbox.inspect(&component, &limits())).await;
    let error = looked.context("no end")?.err().context("nothing was wrong")?;
    let message = fault(error)?;
    assert!(message.contains("lost") || message.contains("started"), "{message}");
    let started = fs::read_to_string(&count)?.lines().count();
    ensure!((1..=20).contains(&started), "{started} runners were started for one request");
    Ok(())
}

#[tokio::test]
async fn a_runner_that_hangs_is_killed_when_its_time_is_over() -> Result<()> {
    let bench = Bench::new(&format!("{}; {LISTEN}; exec /bin/sleep 1000", hello()?))?;
    match bench.misbehaved().await? {
        LoadError::Refused { code: "compile_limit", message } => {
            assert!(message.contains("too long"), "{message}");
        }
        other => bail!("{other:?}"),
    }
    assert!(bench.inspect().await?.is_ok(), "the next request is not served");
    Ok(())
}
