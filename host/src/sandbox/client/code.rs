//! The native code of a component: taken when it is loaded, or, where the component's file is
//! known to be what it was, when a guest of it first starts.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};

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
    /// Why it cannot be had: nobody compiles it again before the catalogue was loaded anew.
    refused: OnceLock<String>,
}

/// What it takes to load a component that nothing of was read yet.
struct Later {
    seal: String,
    limits: CompileLimits,
    read: ReadProved,
}

impl Code {
    pub fn loaded(code: OwnedFd) -> Arc<Self> {
        Arc::new(Self { loaded: OnceCell::from(Arc::new(code)), later: None, refused: OnceLock::new() })
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

    /// A component whose code is loaded when it is first needed, from bytes that are proved then; the
    /// seal is of the note that it is offered by.
    pub fn later(
        &self,
        digest: Digest,
        seal: String,
        inspection: Inspection,
        limits: &CompileLimits,
        read: ReadProved,
    ) -> Compiled {
        let later = Some(Later { seal, limits: limits.clone(), read });
        let code = Code { loaded: OnceCell::new(), later, refused: OnceLock::new() };
        Compiled { digest, inspection, code: Arc::new(code) }
    }

    /// Loads a component that was not used yet, so that who needs it next need not wait for that.
    ///
    /// # Errors
    /// [`GuestError::Fault`].
    pub async fn ready(&self, component: &Compiled) -> Result<(), GuestError> {
        self.code(component).await.map(drop)
    }

    /// The code of a component. Calls that come at once wait for one of them to load it; one that
    /// fails leaves nothing behind, so the next tries again.
    pub(super) async fn code(&self, component: &Compiled) -> Result<Arc<OwnedFd>, GuestError> {
        let load = || self.load_now(&component.digest, &component.code);
        component.code.loaded.get_or_try_init(load).await.cloned()
    }

    async fn load_now(&self, digest: &Digest, code: &Arc<Code>) -> Result<Arc<OwnedFd>, GuestError> {
        let fault = |message: &str| GuestError::Fault {
            message: format!("the component can no longer be loaded: {message}"),
        };
        if let Some(reason) = code.refused.get() {
            return Err(fault(reason));
        }
        let Some(later) = &code.later else { return Err(fault("nobody knows from where")) };
        match self.prove(digest, code, later).await {
            Ok(loaded) => {
                tracing::debug!(%digest, "a component was loaded at its first use");
                Ok(loaded)
            }
            Err(reason) => {
                // What the note said does not hold, so the next start looks for itself.
                if let Ok(engine) = self.pool.engine().await {
                    self.cache.forget_seen(&Key::new(digest, &engine, &later.limits).of_file(&later.seal));
                }
                if let NotLoaded::Refused(reason) = &reason {
                    code.refused.set(reason.clone()).ok();
                }
                Err(fault(&reason.to_string()))
            }
        }
    }

    /// Reads, hashes, and compiles or takes from the cache, as a start without a note does.
    async fn prove(
        &self,
        digest: &Digest,
        code: &Arc<Code>,
        later: &Later,
    ) -> Result<Arc<OwnedFd>, NotLoaded> {
        let fault = |error: &dyn fmt::Display| NotLoaded::Fault(error.to_string());
        let source = Arc::clone(code);
        let read = move || source.later.as_ref().map_or(Ok(Vec::new()), |later| (later.read)());
        let bytes = tokio::task::spawn_blocking(read).await.map_err(|error| fault(&error))?;
        let bytes = bytes.map_err(|error| fault(&error))?;
        // Hashes the buffer that it compiles, so what was read is what is loaded (invariant I-2).
        let loaded = self.load(&bytes, &later.limits).await.map_err(|error| match error {
            LoadError::Refused { message, .. } => NotLoaded::Refused(message),
            LoadError::Fault { message } => NotLoaded::Fault(message),
        })?;
        if loaded.digest != *digest {
            return Err(fault(&format_args!("its file holds other bytes: {}", loaded.digest)));
        }
        loaded.code.loaded.get().cloned().ok_or_else(|| fault(&"it has no code"))
    }
}

/// Why a component's code is not there.
#[derive(Debug, thiserror::Error)]
enum NotLoaded {
    /// It would be refused again.
    #[error("{0}")]
    Refused(String),
    /// The next call may have more luck.
    #[error("{0}")]
    Fault(String),
}
