//! A file of somebody else's, read once from start to end, which must not change meanwhile.

use std::fmt;
use std::fs::File;
use std::io::{self as std_io, Read};

use super::ArtifactError;
use super::store::seal_of;
use crate::ledger::Seal;

/// Reads an imported file, counts its bytes, and refuses one that changed while it was read.
pub struct ImportSource {
    file: File,
    before: Seal,
    read_bytes: u64,
    stop: Box<dyn Fn() -> bool + Send>,
}

impl ImportSource {
    /// Takes a file from [`super::open_beneath`]. One that is too large by its own word is refused
    /// before a byte is read.
    ///
    /// # Errors
    /// [`ArtifactError::TooLarge`], [`ArtifactError::Io`].
    pub fn new(file: File, limit_bytes: u64) -> Result<Self, ArtifactError> {
        let before = seal_of(&file)?;
        if before.size_bytes > limit_bytes {
            return Err(ArtifactError::TooLarge { limit_bytes });
        }
        // The kernel reads further ahead; where it does not know the advice, it reads as it would.
        if let Err(error) = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Sequential) {
            tracing::debug!(%error, "no read-ahead");
        }
        Ok(Self { file, before, read_bytes: 0, stop: Box::new(|| false) })
    }

    /// Asks `stop` before each read; once it says yes, the import ends as
    /// [`ArtifactError::Cancelled`] and nothing becomes visible.
    #[must_use]
    pub fn stop_when(self, stop: impl Fn() -> bool + Send + 'static) -> Self {
        Self { stop: Box::new(stop), ..self }
    }

    /// Bytes that the file has.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.before.size_bytes
    }

    /// At the end: same file, same size, same times, and as many bytes as it has.
    fn check_end(&self) -> std_io::Result<()> {
        let now = seal_of(&self.file).map_err(std_io::Error::other)?;
        if now != self.before || self.read_bytes != self.before.size_bytes {
            return Err(std_io::Error::other(ChangedWhileRead));
        }
        Ok(())
    }
}

impl fmt::Debug for ImportSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImportSource").field("before", &self.before).finish_non_exhaustive()
    }
}

impl Read for ImportSource {
    fn read(&mut self, buffer: &mut [u8]) -> std_io::Result<usize> {
        if (self.stop)() {
            return Err(std_io::Error::other(Stopped));
        }
        let bytes = self.file.read(buffer)?;
        self.read_bytes += bytes as u64;
        if self.read_bytes > self.before.size_bytes {
            return Err(std_io::Error::other(ChangedWhileRead));
        }
        if bytes == 0 && !buffer.is_empty() {
            self.check_end()?;
        }
        Ok(bytes)
    }
}

/// Passes through `io::Error`, which is all that a `Read` may say.
#[derive(Debug, thiserror::Error)]
#[error("the file changed while it was read")]
struct ChangedWhileRead;

/// The same, for one who no longer wants the file.
#[derive(Debug, thiserror::Error)]
#[error("cancelled")]
struct Stopped;

/// Gives a reader's `io::Error` its own meaning back.
pub(super) fn read_failed(error: std_io::Error) -> ArtifactError {
    match error.get_ref() {
        Some(inner) if inner.is::<ChangedWhileRead>() => ArtifactError::Changed,
        Some(inner) if inner.is::<Stopped>() => ArtifactError::Cancelled,
        Some(_) | None => super::error::io("read what is to be stored")(error),
    }
}
