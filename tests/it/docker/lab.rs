//! A store, a backend, and orders for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use helix_ids::{Digest, RelName, RunId};
use helixmcp::artifacts::Store;
use helixmcp::backend::{Backend, Finished, Labels, Order, Pull, Settings};

const MIB: u64 = 1024 * 1024;

/// A store of its own, and a home of its own on the engine. What is left there goes at the end.
pub struct Lab {
    pub backend: Backend,
    pub store: Store,
    pub home: String,
    root: PathBuf,
    settings: Settings,
    _keep: tempfile::TempDir,
}

/// Where the engine listens.
pub fn engine() -> Result<String> {
    told("HELIX_TEST_DOCKER", "unix:///run/docker.sock")
}

/// An image with busybox and `/tmp`, by its digest.
pub fn image() -> Result<String> {
    told("HELIX_TEST_IMAGE", "registry.example/busybox@sha256:…")
}

fn told(name: &str, example: &str) -> Result<String> {
    std::env::var(name).with_context(|| {
        format!("this test needs a container engine: `cargo xtask test` starts one; or set {name}={example}")
    })
}

impl Lab {
    pub async fn open() -> Result<Self> {
        Self::behind(&engine()?).await
    }

    /// With an engine at another place. The image is fetched if it is not there.
    pub async fn behind(endpoint: &str) -> Result<Self> {
        let keep = tempfile::tempdir()?;
        let root = keep.path().join("store");
        let store = Store::open(&root, 0)?;
        let settings =
            Settings { endpoint: endpoint.to_owned(), runtime: "runc".to_owned(), pull: Pull::Missing };
        let backend = Backend::connect(settings.clone(), &root).await?;
        let home = Digest::of(keep.path().to_string_lossy().as_bytes()).to_hex();
        let home = home.get(..32).context("a digest has 64 digits")?.to_owned();
        Ok(Self { backend, store, home, root, settings, _keep: keep })
    }

    /// The backend as a host sees it that starts after another has ended.
    pub async fn again(&self) -> Result<Backend> {
        self.pulling(self.settings.pull).await
    }

    /// The same under another rule for images.
    pub async fn pulling(&self, pull: Pull) -> Result<Backend> {
        Ok(Backend::connect(Settings { pull, ..self.settings.clone() }, &self.root).await?)
    }

    pub fn labels(&self, step: u32) -> Labels {
        let run = RunId::from_digest(&Digest::of(b"run"));
        Labels { home: self.home.clone(), run, attempt: 1, step, try_: 1 }
    }

    /// The first step of the run: a script for busybox's shell.
    pub fn order(&self, script: &str) -> Result<Order> {
        Ok(Order {
            labels: self.labels(0),
            name: "script".parse()?,
            image: image()?.parse()?,
            platform: "linux/amd64".to_owned(),
            user: "65534:65534".parse()?,
            argv: ["sh", "-c", script].map(str::to_owned).to_vec(),
            environment: Vec::new(),
            mounts: Vec::new(),
            captures: Vec::new(),
            cpus: 1,
            memory_bytes: 64 * MIB,
            wall: Duration::from_secs(60),
            pids: 64,
            scratch_bytes: 4 * MIB,
            stdout_bytes: MIB,
            out_bytes: 64 * MIB,
        })
    }

    pub async fn run(&self, order: &Order) -> Result<Finished> {
        let id = self.backend.submit(order).await?;
        Ok(self.backend.wait(order, &id).await?)
    }

    /// Runs a script and answers with what it said; it has to end well.
    pub async fn say(&self, script: &str) -> Result<String> {
        let order = self.order(script)?;
        let done = self.run(&order).await?;
        let said = text(&done.stdout);
        assert_eq!(
            done.ended,
            helixmcp::backend::StepEnded::Exited { code: 0 },
            "{said}{}",
            text(&done.stderr)
        );
        self.backend.clear(&order.labels).await?;
        Ok(said)
    }

    /// Stores bytes, and answers with where they lie.
    pub fn object(&self, bytes: &[u8]) -> Result<(Digest, PathBuf)> {
        let stored = self.store.put(&mut &*bytes, u64::MAX, &mut |_bytes| {})?;
        Ok((stored.digest, self.store.object_path(&stored.digest)))
    }

    /// Everything in `steps/` that has a name of its own.
    pub fn folders(&self) -> Result<Vec<PathBuf>> {
        let entries = fs::read_dir(self.root.join("steps"))?;
        let all: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
        Ok(all.into_iter().filter(|path| !path.ends_with(".swept")).collect())
    }

    /// Neither container nor folder of this home is there.
    pub async fn is_clear(&self) -> Result<bool> {
        Ok(self.backend.of_home(&self.home).await?.is_empty() && self.folders()?.is_empty())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let (settings, root, home) = (self.settings.clone(), self.root.clone(), self.home.clone());
        let clear = async move {
            // A proxy of the test may have gone; the engine is where it was.
            let settings = Settings { endpoint: engine()?, ..settings };
            let backend = Backend::connect(settings, &root).await?;
            for (labels, _id) in backend.of_home(&home).await? {
                backend.clear(&labels).await?;
            }
            anyhow::Ok(())
        };
        let cleared = std::thread::spawn(|| tokio::runtime::Runtime::new()?.block_on(clear)).join();
        assert!(matches!(cleared, Ok(Ok(()))) || std::thread::panicking(), "{cleared:?}");
    }
}

pub fn name(text: &str) -> Result<RelName> {
    text.parse().with_context(|| text.to_owned())
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Waits until a file of a running step has so many lines.
pub async fn lines(path: &Path, count: usize) -> Result<()> {
    let there = async {
        while fs::read_to_string(path).map_or(0, |text| text.lines().count()) < count {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), there).await.with_context(|| path.display().to_string())
}
