//! Bytes on disk: a content-addressed store, the import and export doors, and what formats are.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use helix_ids::{ArtifactType, Digest};
use serde::Serialize;

use crate::ledger::Seal;

/// The store of one home.
#[derive(Debug)]
pub struct Store {
    _private: (),
}

/// What was stored: bytes that hash to `digest`, synced and visible whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub digest: Digest,
    pub size_bytes: u64,
    pub seal: Seal,
}

#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    #[error("the bytes of {digest} are gone")]
    Missing { digest: Digest },
    #[error("{digest} is damaged: its bytes hash to {actual}")]
    Damaged { digest: Digest, actual: Digest },
    #[error("more than {limit_bytes} bytes")]
    TooLarge { limit_bytes: u64 },
    #[error("the store is full: less than {floor_bytes} bytes are free")]
    Full { floor_bytes: u64 },
    #[error("the bytes hash to {actual}, not {expected}")]
    Unexpected { expected: Digest, actual: Digest },
    /// A path that the door does not let through; `code` is lower snake_case.
    #[error("{message}")]
    Path { code: &'static str, message: String },
    #[error("the file changed while it was read")]
    Changed,
    #[error("cancelled")]
    Cancelled,
    #[error("cannot {what}")]
    Io { what: String, #[source] source: std::io::Error },
}

/// An output that is being written: a file that nobody sees until it is kept.
#[derive(Debug)]
pub struct Incoming {
    _private: (),
}

impl Incoming {
    /// A second descriptor of the same file, to hand to a runner.
    ///
    /// # Errors
    /// [`ArtifactError::Io`].
    pub fn writer(&self) -> Result<File, ArtifactError> {
        unimplemented!()
    }

    pub fn reader(&self) -> Result<File, ArtifactError> {
        unimplemented!()
    }
}

/// One entry of an import root, as `artifact_browse` shows it.
#[derive(Clone, Debug, Serialize)]
pub struct RootEntry {
    pub path: String,
    pub is_dir: bool,
    pub size_bytes: u64,
    pub guessed_type: Option<ArtifactType>,
}

impl Store {
    /// Opens (and makes) `objects/` and `incoming/` under `root`, and sweeps `incoming/`.
    ///
    /// # Errors
    /// When `root` is a symlink, is not ours, or others may write into it.
    pub fn open(_root: &Path, _free_space_floor_bytes: u64) -> Result<Self, ArtifactError> {
        unimplemented!()
    }

    /// Stores what `reader` yields. Storing the same bytes twice keeps one copy. `progress` gets
    /// the bytes so far, about ten times a second.
    ///
    /// # Errors
    /// [`ArtifactError::TooLarge`] once the limit is passed, before anything becomes visible.
    pub fn put(
        &self,
        _reader: &mut dyn Read,
        _limit_bytes: u64,
        _progress: &mut dyn FnMut(u64),
    ) -> Result<Stored, ArtifactError> {
        unimplemented!()
    }

    /// A file for an output.
    ///
    /// # Errors
    /// [`ArtifactError::Full`], [`ArtifactError::Io`].
    pub fn incoming(&self) -> Result<Incoming, ArtifactError> {
        unimplemented!()
    }

    /// Hashes an output and makes it an object, or finds that it was one already.
    ///
    /// # Errors
    /// [`ArtifactError::Io`].
    pub fn keep(&self, _incoming: Incoming) -> Result<Stored, ArtifactError> {
        unimplemented!()
    }

    /// Opens an object for reading, proved: by its seal when it still fits, else by a full hash
    /// (and then the new seal is returned to be remembered).
    ///
    /// # Errors
    /// [`ArtifactError::Missing`], [`ArtifactError::Damaged`].
    pub fn open_object(&self, _digest: &Digest, _seal: Option<&Seal>) -> Result<(File, Seal), ArtifactError> {
        unimplemented!()
    }

    /// Whether the object's file is there, of this size. No proof of its bytes.
    pub fn has(&self, _digest: &Digest, _size_bytes: u64) -> bool {
        unimplemented!()
    }

    /// Refuses while less than the floor is free.
    ///
    /// # Errors
    /// [`ArtifactError::Full`].
    pub fn admit(&self) -> Result<(), ArtifactError> {
        unimplemented!()
    }

    /// Where the objects lie; for `doctor` and `fsck`.
    pub fn root(&self) -> PathBuf {
        unimplemented!()
    }
}

/// The type that these first bytes (up to 64 KiB) and this file name speak for.
pub fn sniff(_head: &[u8], _name: &str) -> ArtifactType {
    unimplemented!()
}

/// Whether these first bytes can be of this type: a hint that the bytes contradict is refused.
pub fn agrees(_head: &[u8], _artifact_type: ArtifactType) -> bool {
    unimplemented!()
}

/// Opens a regular file beneath an import root: relative path, no symlink in any part, no
/// special files, opened by `openat2`. The file's identity is checked again by the reader.
///
/// # Errors
/// [`ArtifactError::Path`] with code `import_path_denied`; the same for missing and forbidden
/// files outside, so that nothing can be probed.
pub fn open_beneath(_root: &Path, _relative: &str) -> Result<File, ArtifactError> {
    unimplemented!()
}

/// Lists a folder beneath an import root, sorted by name.
///
/// # Errors
/// As [`open_beneath`].
pub fn list_beneath(_root: &Path, _relative: &str) -> Result<Vec<RootEntry>, ArtifactError> {
    unimplemented!()
}

/// Writes `file` as a new named file beneath an export root (temporary, sync, rename).
///
/// # Errors
/// [`ArtifactError::Path`] with `export_path_denied` or `export_exists`.
pub fn export_beneath(
    _root: &Path,
    _relative: &str,
    _file: &mut File,
    _overwrite: bool,
) -> Result<PathBuf, ArtifactError> {
    unimplemented!()
}
