//! The native code of a component: taken when it is loaded, or, where the component's file is
//! known to be what it was, when a guest of it first starts.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use helix_ids::Digest;
use tokio::sync::OnceCell;

use super::cache::{Key, Seen};
use super::{Compiled, GuestError, LoadError, Sandbox};
use crate::sandbox::protocol::{CompileLimits, Inspection};

/// Reads a component's bytes and proves that they hash to its digest, or says why not.
pub type ReadProved = Box<dyn Fn() -> Result<Vec<u8>, String> + Send + Sync>;

/// Sealed, authenticated native code, once it is here.
pub struct Code {
    loaded: OnceCell<Arc<OwnedFd>>,
    later: Option<Later>,
}

/// What it takes to load a component that nothing of was read yet.
struct Later {
    limits: CompileLimits,
    read: ReadProved,
}

impl Code {
    pub fn loaded(code: OwnedFd) -> Arc<Self> {
        Arc::new(Self { loaded: OnceCell::from(Arc::new(code)), later: None })
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Code").field("is_loaded", &self.loaded.initialized()).finish_non_exhaustive()
    }
}

impl Sandbox {
    /// What was found in a component when it was last loaded from the file that this seal is of, if
    /// it would be loaded no differently now: by this engine, under these limits. Nothing of it is
    /// read for that, so it says enough to offer a tool and nothing to run one.
    ///
    /// # Errors
    /// [`LoadError`]: runners do not start, or not behind the walls that policy requires.
    pub async fn seen(
        &self,
        component: &Digest,
        seal: &str,
        limits: &CompileLimits,
    ) -> Result<Option<Seen>, LoadError> {
        let engine = self.pool.engine().await.map_err(LoadError::lost)?;
        let key = Key::new(component, &engine, limits).of_file(seal);
        Ok(self.cache.seen(&key))
    }

    /// Keeps what [`Self::seen`] gives. Only for a file whose bytes were proved under this seal.
    pub async fn keep_seen(&self, component: &Digest, seal: &str, limits: &CompileLimits, seen: &Seen) {
        let Ok(engine) = self.pool.engine().await else { return };
        let key = Key::new(component, &engine, limits).of_file(seal);
        if let Err(error) = self.cache.keep_seen(&key, seen) {
            // Kept to spare a look: the component is read again at the next start.
            tracing::debug!(%error, "what was found in a component could not be kept");
        }
    }

    /// A component whose code is loaded when it is first needed, from bytes that are proved then.
    pub fn later(
        &self,
        digest: Digest,
        inspection: Inspection,
        limits: &CompileLimits,
        read: ReadProved,
    ) -> Compiled {
        let later = Later { limits: limits.clone(), read };
        Compiled { digest, inspection, code: Arc::new(Code { loaded: OnceCell::new(), later: Some(later) }) }
    }

    /// The code of a component. Calls that come at once wait for one of them to load it; one that
    /// fails leaves nothing behind, so the next tries again.
    pub(super) async fn code(&self, component: &Compiled) -> Result<Arc<OwnedFd>, GuestError> {
        let load = || self.load_now(&component.digest, &component.code);
        component.code.loaded.get_or_try_init(load).await.cloned()
    }

    async fn load_now(&self, digest: &Digest, code: &Arc<Code>) -> Result<Arc<OwnedFd>, GuestError> {
        let fault = |message: String| GuestError::Fault {
            message: format!("the component can no longer be loaded: {message}"),
        };
        let Some(Later { limits, .. }) = &code.later else {
            return Err(fault("nobody knows from where".to_owned()));
        };
        let source = Arc::clone(code);
        let read = move || source.later.as_ref().map_or(Ok(Vec::new()), |later| (later.read)());
        let bytes = tokio::task::spawn_blocking(read).await.map_err(|error| fault(error.to_string()))?;
        let bytes = bytes.map_err(fault)?;
        // Hashes the buffer that it compiles, so what was read is what is loaded (invariant I-2).
        let loaded = self.load(&bytes, limits).await.map_err(|error| fault(error.to_string()))?;
        if loaded.digest != *digest {
            return Err(fault(format!("its file holds other bytes: {}", loaded.digest)));
        }
        let Some(loaded) = loaded.code.loaded.get() else {
            return Err(fault("it has no code".to_owned()));
        };
        tracing::debug!(%digest, "a component was loaded at its first use");
        Ok(Arc::clone(loaded))
    }
}
