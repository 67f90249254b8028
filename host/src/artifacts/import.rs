//! A file of somebody else's, read once from start to end, which must not change meanwhile.

use std::fs::File;
use std::io::{self as std_io, Read};

use super::ArtifactError;
use super::store::seal_of;
use crate::ledger::Seal;

/// Reads an imported file, counts its bytes, and refuses one that changed while it was read.
#[derive(Debug)]
pub struct ImportSource {
    file: File,
    before: Seal,
    read_bytes: u64,
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
        Ok(Self { file, before, read_bytes: 0 })
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

impl Read for ImportSource {
    fn read(&mut self, buffer: &mut [u8]) -> std_io::Result<usize> {
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

/// Gives a reader's `io::Error` its own meaning back.
pub(super) fn read_failed(error: std_io::Error) -> ArtifactError {
    let is_changed = error.get_ref().is_some_and(|inner| inner.is::<ChangedWhileRead>());
    if is_changed { ArtifactError::Changed } else { super::error::io("read what is to be stored")(error) }
}
