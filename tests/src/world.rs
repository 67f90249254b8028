//! A world for one test: a home, folders to read from and write to, a host of its own, and a look
//! afterwards at what must not have changed.

mod built;
mod host;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use helix_ids::Digest;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::StdioClient;
use crate::policy::PolicyText;
use crate::redact;
use crate::vitals::{GROWTH_BYTES_MAX, IDLE_RUNNERS_MAX, Vitals};

pub use built::{binary, target, toolpack};
pub use host::end_processes_of;

/// One test's world. [`World::finish`] looks at what must hold after every test.
pub struct World {
    dir: TempDir,
    pub policy: PolicyText,
    /// A fault that the next host is to meet, as `host/src/faults.rs` reads it.
    pub fault: Option<String>,
    /// How many descriptors the next host may have open.
    pub descriptors_max: Option<u32>,
    /// By how much the host's memory may grow; more only where callers may fill its pools.
    pub growth_bytes_max: u64,
    host: Option<Child>,
    canary: BTreeMap<PathBuf, (u64, SystemTime)>,
    before: Option<Vitals>,
    log_level: Option<String>,
}

/// What a command of the CLI did.
#[derive(Clone, Debug)]
pub struct CliOutput {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl CliOutput {
    /// stdout as JSON.
    ///
    /// # Errors
    /// It is none.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.stdout)
            .with_context(|| format!("not JSON: {}\nstderr: {}", self.stdout, self.stderr))
    }

    /// Itself, if the command ended well.
    ///
    /// # Errors
    /// It did not; all that it printed.
    pub fn ok(self) -> Result<Self> {
        ensure!(self.code == Some(0), "exit code {:?}\n{}\n{}", self.code, self.stdout, self.stderr);
        Ok(self)
    }
}

impl World {
    /// A home with an import root `data`, an export root `out` and no toolpack. Nothing runs yet.
    ///
    /// # Errors
    /// The folders cannot be made.
    pub fn new() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("helix-").tempdir().context("no temporary folder")?;
        let mut private = fs::DirBuilder::new();
        private.mode(0o700);
        for name in ["home", "home/toolpacks", "data", "out", "user"] {
            private.create(dir.path().join(name))?;
        }
        fs::create_dir_all(dir.path().join("outside/deep"))?;
        fs::write(dir.path().join("outside/secret.txt"), "not for guests\n")?;
        fs::write(dir.path().join("outside/deep/reads.fq"), "@r\nACGT\n+\nIIII\n")?;
        let canary = snapshot(&dir.path().join("outside"))?;
        let mut policy = PolicyText::default();
        policy.import_root("data", dir.path().join("data")).export_root("out", dir.path().join("out"));
        // Whoever waits for a state asks more often than an assistant does.
        policy.limit("caller", "requests_per_minute", "100000");
        Ok(Self {
            dir,
            policy,
            fault: None,
            descriptors_max: None,
            growth_bytes_max: GROWTH_BYTES_MAX,
            host: None,
            canary,
            before: None,
            log_level: None,
        })
    }

    /// How chatty hosts of this world are that are started from now on.
    pub fn log_level(&mut self, filter: &str) {
        self.log_level = Some(filter.to_owned());
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// The import root.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The export root.
    pub fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    /// Names of what is half written in the store; none before its first host.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn temporaries(&self) -> Result<BTreeSet<String>> {
        let folder = self.home().join("incoming");
        let mut names = BTreeSet::new();
        if folder.exists() {
            for entry in fs::read_dir(folder)? {
                names.insert(entry?.file_name().to_string_lossy().into_owned());
            }
        }
        Ok(names)
    }

    /// What nobody may read or change.
    pub fn outside(&self) -> PathBuf {
        self.dir.path().join("outside")
    }

    /// Puts a component into the home and allows it, without looking at it as `policy allow` would.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn allow(&mut self, name: &str, component: &[u8]) -> Result<Digest> {
        let digest = self.place(component)?;
        self.policy.component(name, &digest.to_string());
        Ok(digest)
    }

    /// Puts a component into the home and does not allow it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn place(&self, component: &[u8]) -> Result<Digest> {
        let digest = Digest::of(component);
        let hex = digest.to_string().replace("sha256:", "");
        fs::write(self.home().join("toolpacks").join(format!("{hex}.wasm")), component)?;
        Ok(digest)
    }

    /// Copies a file into the import root.
    ///
    /// # Errors
    /// It cannot be copied.
    pub fn bring(&self, file: &Path) -> Result<String> {
        let name = file.file_name().context("no file name")?.to_string_lossy().into_owned();
        fs::copy(file, self.data().join(&name)).with_context(|| format!("cannot copy {}", file.display()))?;
        Ok(name)
    }

    /// Writes the policy file as it now is.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_policy(&self) -> Result<()> {
        self.put_policy(&self.policy.render())
    }

    /// Puts this text in the policy file's place, as a careful editor does.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn put_policy(&self, text: &str) -> Result<()> {
        let path = self.home().join("policy.toml");
        let draft = self.home().join("policy.toml.draft");
        fs::write(&draft, text)?;
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o600))?;
        fs::rename(&draft, &path).context("cannot write the policy")
    }

    /// Takes the compiled toolpacks of another world, so that they need not be compiled again.
    ///
    /// # Errors
    /// They cannot be copied.
    pub fn take_cache(&self, of: &Self) -> Result<()> {
        for folder in ["cache", "keys"] {
            let (from, to) = (of.home().join(folder), self.home().join(folder));
            fs::DirBuilder::new().mode(0o700).create(&to)?;
            for entry in fs::read_dir(&from).with_context(|| from.display().to_string())? {
                let entry = entry?;
                fs::copy(entry.path(), to.join(entry.file_name()))?;
            }
        }
        Ok(())
    }

    /// Leaves the world's folder where it is, to be looked at.
    pub fn keep(&mut self) -> &Path {
        self.dir.disable_cleanup(true);
        self.dir.path()
    }

    /// A new assistant, attached to this home.
    ///
    /// # Errors
    /// It cannot attach.
    pub fn client(&self) -> Result<StdioClient> {
        StdioClient::start(self.serve()?).with_context(|| self.log())
    }

    /// What an MCP client starts.
    ///
    /// # Errors
    /// The binary has not been built.
    pub fn serve(&self) -> Result<Command> {
        // As in the foreground: whoever runs the tests in the background has it ignored.
        let mut command = self.command_of(Path::new("env"), &["--default-signal=INT"]);
        command.arg(binary()?).arg("--home").arg(self.home()).arg("serve");
        command.stderr(Stdio::null());
        Ok(command)
    }

    /// `helixmcp --home HOME ARGS`, in an environment with nothing of the tester's.
    ///
    /// # Errors
    /// The binary has not been built.
    pub fn command(&self, args: &[&str]) -> Result<Command> {
        let mut command = self.command_of(&binary()?, &[]);
        command.arg("--home").arg(self.home()).args(args);
        Ok(command)
    }

    fn command_of(&self, program: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(std::env::vars_os().filter(|(name, _)| name == "PATH"));
        command.env("HOME", self.dir.path().join("user"));
        command.args(args).current_dir(self.dir.path());
        command
    }

    /// Runs a command of the CLI to its end.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn cli(&self, args: &[&str]) -> Result<CliOutput> {
        let output = self.command(args)?.stdin(Stdio::null()).output()?;
        Ok(CliOutput {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Imports a file of the import root and gives its artifact id.
    ///
    /// # Errors
    /// The import was refused.
    pub fn import(&self, client: &mut StdioClient, path: &str) -> Result<String> {
        let reply = client.call("artifact_import", json!({"root": "data", "path": path}))?;
        ensure!(!reply.is_error, "import of {path} was refused: {}", reply.text());
        let id = reply.structured["artifacts"][0]["artifact_id"].as_str();
        Ok(id.with_context(|| format!("no artifact_id in {}", reply.structured))?.to_owned())
    }

    /// The host's log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// A value with what changes from run to run hidden.
    pub fn redacted(&self, value: &Value) -> Value {
        let here = self.dir.path().to_string_lossy().into_owned();
        redact::redacted(value, &[(&here, "[world]")])
    }

    /// `fsck`, deep.
    ///
    /// # Errors
    /// It found something.
    pub fn fsck(&self) -> Result<()> {
        self.cli(&["fsck", "--deep"])?.ok().map(drop).context("fsck found something")
    }

    /// Remembers what the host holds now, for [`World::finish`] to compare.
    ///
    /// # Errors
    /// No host is running.
    pub fn look(&mut self) -> Result<&Vitals> {
        let pid = self.host_pid().context("no host is running")?;
        Ok(self.before.insert(Vitals::of(pid)?))
    }

    /// What holds after every test: the host lives if it was started, nothing outside the home
    /// has changed, and the home is consistent. A host that was looked at before has no more
    /// descriptors and runners than then, no zombies, and never had much more memory.
    ///
    /// # Errors
    /// One of these does not hold.
    pub fn finish(mut self) -> Result<()> {
        ensure!(self.host.is_none() || self.host_alive(), "the host died:\n{}", self.log());
        ensure!(!self.log().contains("panicked at"), "something panicked:\n{}", self.log());
        let now = snapshot(&self.outside())?;
        ensure!(now == self.canary, "files outside the home have changed");
        // One that was killed and started again is another.
        let before = self.before.take().filter(|before| Some(before.pid()) == self.host_pid());
        let growth = self.growth_bytes_max;
        before.map_or(Ok(()), |before| before.back_to(IDLE_RUNNERS_MAX, growth))?;
        self.fsck()
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("host.log")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(mut host) = self.host.take() {
            drop(host.kill());
            drop(host.wait());
        }
        end_processes_of(&self.home());
        if std::thread::panicking() {
            drop(std::io::Write::write_all(&mut std::io::stderr(), self.log().as_bytes()));
        }
    }
}

/// Every file below a folder with its size and time.
fn snapshot(folder: &Path) -> Result<BTreeMap<PathBuf, (u64, SystemTime)>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = fs::symlink_metadata(entry.path())?;
        found.insert(entry.path(), (metadata.len(), metadata.modified()?));
        if metadata.is_dir() {
            found.extend(snapshot(&entry.path())?);
        }
    }
    Ok(found)
}
