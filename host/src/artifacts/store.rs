//! The content-addressed store: bytes once, under `objects/ab/cd/<64 hex>`, read-only. A reader
//! sees the whole of an object or none of it, also after a crash.

use std::fs::File;
use std::io::{self as std_io, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use helix_ids::{Digest, DigestWriter};
use rustix::fs::Mode;
use rustix::io::Errno;

use super::ArtifactError;
use super::error::io;
use super::folder::{Folder, temporary_name};
use crate::ledger::Seal;

/// Bytes moved at once: large enough that the calls do not count, small enough for the cache.
const CHUNK_BYTES: usize = 512 * 1024;

/// Stack of a thread that only syncs.
const SYNC_STACK_BYTES: usize = 64 * 1024;

/// How often `progress` is told.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// How many bytes may be written before the free space is looked at again.
const FLOOR_EVERY_BYTES: u64 = 64 * 1024 * 1024;

/// The store of one home.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    objects: Folder,
    incoming: Arc<Folder>,
    /// Work is refused while less is free, so that the ledger can always write.
    floor_bytes: AtomicU64,
}

/// What was stored: bytes that hash to `digest`, synced and visible whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub digest: Digest,
    pub size_bytes: u64,
    pub seal: Seal,
}

/// An output that is being written: a file that nobody sees until it is kept. Removed when it is
/// dropped.
#[derive(Debug)]
pub struct Incoming {
    file: File,
    /// `None` once it is an object.
    name: Option<String>,
    folder: Arc<Folder>,
}

impl Incoming {
    /// A second descriptor of the same file, to hand to a runner.
    ///
    /// # Errors
    /// [`ArtifactError::Io`].
    pub fn writer(&self) -> Result<File, ArtifactError> {
        self.file.try_clone().map_err(io("hand out an output's file"))
    }

    /// Bytes that were written so far.
    ///
    /// # Errors
    /// [`ArtifactError::Io`].
    pub fn size_bytes(&self) -> Result<u64, ArtifactError> {
        let facts = rustix::fs::fstat(&self.file).map_err(io("look at an output"))?;
        Ok(u64::try_from(facts.st_size).unwrap_or(0))
    }

    /// A descriptor of its own, to read the bytes from their start.
    ///
    /// # Errors
    /// [`ArtifactError::Io`].
    pub fn reader(&self) -> Result<File, ArtifactError> {
        let name = self.name.as_deref().unwrap_or_default();
        let gone = || io("read an output")(Errno::NOENT);
        self.folder.open_file(name).map_err(io("read an output"))?.ok_or_else(gone)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Some(name) = self.name.take()
            && let Err(error) = self.folder.remove(&name)
        {
            tracing::warn!(%error, name, "a temporary file stays until the next start");
        }
    }
}

impl Store {
    /// Opens (and makes) `objects/` and `incoming/` under `root`, and sweeps `incoming/`. Only the
    /// host that owns the home may: to sweep is to end what another host is writing.
    ///
    /// # Errors
    /// [`ArtifactError::Path`] with `store_unsafe` when a folder is a symlink, is not ours, or
    /// others may write into it.
    pub fn open(root: &Path, free_space_floor_bytes: u64) -> Result<Self, ArtifactError> {
        let folder = Folder::make_private(root)?;
        let store = Self {
            root: root.to_owned(),
            objects: folder.make_within("objects")?,
            incoming: Arc::new(folder.make_within("incoming")?),
            floor_bytes: AtomicU64::new(free_space_floor_bytes),
        };
        for name in store.leftovers()? {
            store.incoming.remove(&name).map_err(io("sweep `incoming`"))?;
        }
        crash_point!("store_swept");
        Ok(store)
    }

    /// Opens a store that is there, without sweeping or making anything; for one who is not the
    /// host.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn look(root: &Path) -> Result<Self, ArtifactError> {
        let folder = Folder::open_private(root)?;
        Ok(Self {
            root: root.to_owned(),
            objects: folder.open_within("objects")?,
            incoming: Arc::new(folder.open_within("incoming")?),
            floor_bytes: AtomicU64::new(0),
        })
    }

    /// Stores what `reader` yields. Storing the same bytes twice keeps one copy. `progress` gets
    /// the bytes so far, about ten times a second.
    ///
    /// # Errors
    /// [`ArtifactError::TooLarge`] once the limit is passed, before anything becomes visible.
    pub fn put(
        &self,
        reader: &mut dyn Read,
        limit_bytes: u64,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Stored, ArtifactError> {
        self.put_expecting(reader, None, limit_bytes, progress)
    }

    /// As [`Self::put`]; bytes that do not hash to `expected` never become visible.
    ///
    /// # Errors
    /// As [`Self::put`], and [`ArtifactError::Unexpected`].
    pub fn put_expecting(
        &self,
        reader: &mut dyn Read,
        expected: Option<Digest>,
        limit_bytes: u64,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Stored, ArtifactError> {
        let mut incoming = self.incoming()?;
        let (digest, size_bytes) = self.copy_hashing(reader, &mut incoming.file, limit_bytes, progress)?;
        crash_point!("object_written");
        if let Some(expected) = expected
            && expected != digest
        {
            return Err(ArtifactError::Unexpected { expected, actual: digest });
        }
        self.make_object(incoming, digest, size_bytes)
    }

    /// A file for an output.
    ///
    /// # Errors
    /// [`ArtifactError::Full`], [`ArtifactError::Io`].
    pub fn incoming(&self) -> Result<Incoming, ArtifactError> {
        self.admit()?;
        let name = temporary_name()?;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = self
            .incoming
            .create(&name, mode)
            .map_err(|error| self.write_failed("make a temporary file", error))?;
        Ok(Incoming { file, name: Some(name), folder: Arc::clone(&self.incoming) })
    }

    /// Hashes an output and makes it an object, or finds that it was one already. Whoever was
    /// handed the writer must be done: a later write would damage the object, and its seal.
    ///
    /// # Errors
    /// [`ArtifactError::Changed`] when it was written to meanwhile, [`ArtifactError::Io`].
    pub fn keep(&self, mut incoming: Incoming) -> Result<Stored, ArtifactError> {
        let (digest, seal) = prove(&mut incoming.file)?;
        self.make_object(incoming, digest, seal.size_bytes)
    }

    /// Opens an object for reading, proved (invariant I-5): by its seal when it still fits, else by
    /// a full hash (and then the new seal is returned to be remembered).
    ///
    /// # Errors
    /// [`ArtifactError::Missing`], [`ArtifactError::Damaged`].
    pub fn open_object(&self, digest: &Digest, seal: Option<&Seal>) -> Result<(File, Seal), ArtifactError> {
        let missing = || ArtifactError::Missing { digest: *digest };
        let name = digest.to_hex();
        let opened = self.find_shelf(&name).and_then(|shelf| shelf.open_file(&name));
        let mut file = match opened {
            Ok(Some(file)) => file,
            // A symlink or a folder in the place of an object was not put there by us.
            Ok(None) | Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => return Err(missing()),
            Err(error) => return Err(io(format!("open {digest}"))(error)),
        };
        let now = seal_of(&file)?;
        if seal == Some(&now) {
            return Ok((file, now));
        }
        let (actual, proved) = prove(&mut file)?;
        if actual != *digest {
            return Err(ArtifactError::Damaged { digest: *digest, actual });
        }
        Ok((file, proved))
    }

    /// Whether the object's file is there, of this size. No proof of its bytes.
    #[must_use]
    pub fn has(&self, digest: &Digest, size_bytes: u64) -> bool {
        let name = digest.to_hex();
        self.find_shelf(&name).is_ok_and(|shelf| shelf.size_of(&name) == Some(size_bytes))
    }

    /// Refuses while less than the floor is free.
    ///
    /// # Errors
    /// [`ArtifactError::Full`].
    pub fn admit(&self) -> Result<(), ArtifactError> {
        let free = self.incoming.free_bytes().map_err(io("ask for the free space"))?;
        let floor_bytes = self.floor_bytes.load(Ordering::SeqCst);
        if free < floor_bytes { Err(ArtifactError::Full { floor_bytes }) } else { Ok(()) }
    }

    /// Another floor of free space, from the next look on: also for what is being written.
    pub fn keep_free(&self, floor_bytes: u64) {
        self.floor_bytes.store(floor_bytes, Ordering::SeqCst);
    }

    /// Where the objects lie; for `doctor` and `fsck`.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.root.clone()
    }

    /// Names of files that are not whole. No host has any that it did not just begin.
    ///
    /// # Errors
    /// [`ArtifactError::Io`].
    pub fn leftovers(&self) -> Result<Vec<String>, ArtifactError> {
        self.incoming.names().map_err(io("list `incoming`"))
    }

    /// Digests of all objects that lie here, whoever names them.
    ///
    /// # Errors
    /// [`ArtifactError::Io`].
    pub fn stored(&self) -> Result<Vec<Digest>, ArtifactError> {
        let list = |folder: &Folder| folder.names().map_err(io("list the objects"));
        let mut found = Vec::new();
        for first in list(&self.objects)? {
            let first = self.objects.open_within(&first)?;
            for second in list(&first)? {
                let names = list(&first.open_within(&second)?)?;
                found.extend(names.iter().filter_map(|name| format!("sha256:{name}").parse::<Digest>().ok()));
            }
        }
        Ok(found)
    }

    fn copy_hashing(
        &self,
        reader: &mut dyn Read,
        file: &mut File,
        limit_bytes: u64,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(Digest, u64), ArtifactError> {
        let mut writer = DigestWriter::new(file);
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut told = Instant::now();
        let mut admitted_bytes = 0;
        loop {
            let filled = fill(reader, &mut chunk)?;
            let Some(bytes) = chunk.get(..filled).filter(|bytes| !bytes.is_empty()) else { break };
            if writer.bytes().saturating_add(bytes.len() as u64) > limit_bytes {
                return Err(ArtifactError::TooLarge { limit_bytes });
            }
            let written: std_io::Result<()> = faulty!("write", writer.write_all(bytes));
            written.map_err(|error| self.write_failed("write to the store", error))?;
            if writer.bytes() - admitted_bytes >= FLOOR_EVERY_BYTES {
                self.admit()?;
                admitted_bytes = writer.bytes();
            }
            if told.elapsed() >= PROGRESS_EVERY {
                told = Instant::now();
                progress(writer.bytes());
            }
        }
        progress(writer.bytes());
        let (_file, digest, bytes) = writer.finish();
        Ok((digest, bytes))
    }

    /// Synced file in a folder whose own name is synced, then the file's name, then the folder: the
    /// order in which a crash loses nothing that was acknowledged and shows nothing that is not whole.
    fn make_object(
        &self,
        mut incoming: Incoming,
        digest: Digest,
        size_bytes: u64,
    ) -> Result<Stored, ArtifactError> {
        let what = || format!("store {digest}");
        let read_only = Mode::RUSR | Mode::RGRP | Mode::ROTH;
        let changed: Result<(), Errno> = faulty!("chmod", rustix::fs::fchmod(&incoming.file, read_only));
        changed.map_err(io(what()))?;
        let hex = digest.to_hex();
        let shelf = self.open_shelf(&hex)?;
        let (synced, shelf_synced) =
            shelf.sync_names_beside(|| -> std_io::Result<()> { faulty!("sync", incoming.file.sync_all()) });
        synced.map_err(|error| self.write_failed(&what(), error))?;
        shelf_synced?;
        crash_point!("object_synced");

        let Some(name) = incoming.name.clone() else { return Err(ArtifactError::Changed) };
        match shelf.inner.adopt(&incoming.folder, &name, &hex) {
            Ok(()) => incoming.name = None,
            Err(Errno::EXIST) => match self.open_object(&digest, None) {
                Ok((file, seal)) => {
                    // Whoever put it here may have ended before it had synced what is promised now.
                    file.sync_all().map_err(|error| self.write_failed(&what(), error))?;
                    shelf.inner.sync()?;
                    return Ok(Stored { digest, size_bytes, seal });
                }
                // Ours is proved and theirs is not: this is how a damaged object is healed.
                Err(ArtifactError::Damaged { .. }) => {
                    tracing::warn!(%digest, "a damaged object is replaced by whole bytes");
                    shelf.inner.adopt_replacing(&incoming.folder, &name, &hex).map_err(io(what()))?;
                    incoming.name = None;
                }
                Err(other) => return Err(other),
            },
            Err(error) => return Err(self.write_failed(&what(), error)),
        }
        crash_point!("object_renamed");
        shelf.inner.sync()?;
        crash_point!("object_shelved");
        let seal = seal_of(&incoming.file)?;
        if seal.size_bytes != size_bytes {
            return Err(ArtifactError::Changed);
        }
        Ok(Stored { digest, size_bytes, seal })
    }

    /// `objects/ab/cd`, made if need be.
    fn open_shelf(&self, hex: &str) -> Result<Shelf<'_>, ArtifactError> {
        let (first, second) = shelf_names(hex);
        let (outer, outer_is_new) = self.objects.begin_within(first)?;
        let (inner, inner_is_new) = outer.begin_within(second)?;
        Ok(Shelf {
            inner,
            outer: inner_is_new.then_some(outer),
            objects: outer_is_new.then_some(&self.objects),
        })
    }

    fn find_shelf(&self, hex: &str) -> Result<Folder, Errno> {
        let (first, second) = shelf_names(hex);
        self.objects.find_within(first)?.find_within(second)
    }

    /// No space and no quota left are the same news: the store is full.
    fn write_failed(&self, what: &str, error: impl Into<std_io::Error>) -> ArtifactError {
        let error = error.into();
        match error.kind() {
            std_io::ErrorKind::StorageFull | std_io::ErrorKind::QuotaExceeded => {
                ArtifactError::Full { floor_bytes: self.floor_bytes.load(Ordering::SeqCst) }
            }
            _ => io(what)(error),
        }
    }
}

/// Where an object's name goes, and the folders above it that got a new name with it.
struct Shelf<'a> {
    inner: Folder,
    outer: Option<Folder>,
    objects: Option<&'a Folder>,
}

impl Shelf<'_> {
    /// Syncs a file with `sync_file` and, at once, the names of this shelf's own folders where they
    /// are new: on a file system with a journal they wait for the same commit, and one after the other
    /// each would have a flush of the disk to itself. Whether the file is whole is asked of it alone, so
    /// each has its own result.
    fn sync_names_beside<R>(&self, sync_file: impl FnOnce() -> R) -> (R, Result<(), ArtifactError>) {
        let above: Vec<&Folder> = [self.outer.as_ref(), self.objects].into_iter().flatten().collect();
        std::thread::scope(|scope| {
            let start = |folder| {
                let thread = std::thread::Builder::new().name("sync".into()).stack_size(SYNC_STACK_BYTES);
                (folder, thread.spawn_scoped(scope, move || Folder::sync(folder)))
            };
            let started: Vec<_> = above.into_iter().map(start).collect();
            let file = sync_file();
            let folders = started.into_iter().map(|(folder, thread)| {
                // Where there is no thread to be had it takes longer, and nothing else.
                let synced = thread.ok().and_then(|thread| thread.join().ok());
                synced.unwrap_or_else(|| folder.sync())
            });
            (file, folders.fold(Ok(()), Result::and))
        })
    }
}

/// The first two pairs of the 64 hex digits.
fn shelf_names(hex: &str) -> (&str, &str) {
    (hex.get(..2).unwrap_or_default(), hex.get(2..4).unwrap_or_default())
}

/// Reads until `chunk` is full or the end: short reads would hash and write in crumbs.
fn fill(reader: &mut dyn Read, chunk: &mut [u8]) -> Result<usize, ArtifactError> {
    let mut filled = 0;
    while let Some(rest) = chunk.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(bytes) => filled += bytes,
            Err(error) if error.kind() == std_io::ErrorKind::Interrupted => {}
            Err(error) => return Err(super::import::read_failed(error)),
        }
    }
    Ok(filled)
}

/// Hashes the whole file and says under which seal; leaves it at its start.
fn prove(file: &mut File) -> Result<(Digest, Seal), ArtifactError> {
    let before = seal_of(file)?;
    file.seek(SeekFrom::Start(0)).map_err(io("read an object"))?;
    let mut hasher = DigestWriter::new(std_io::sink());
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let filled: std_io::Result<usize> = faulty!("read", Ok(fill(file, &mut chunk)?));
        let filled = filled.map_err(io("read an object"))?;
        let Some(bytes) = chunk.get(..filled).filter(|bytes| !bytes.is_empty()) else { break };
        hasher.write_all(bytes).map_err(io("hash an object"))?;
    }
    file.seek(SeekFrom::Start(0)).map_err(io("read an object"))?;
    let (_sink, digest, bytes) = hasher.finish();
    if seal_of(file)? != before || bytes != before.size_bytes {
        return Err(ArtifactError::Changed);
    }
    Ok((digest, before))
}

/// What the file system says of an open file now.
///
/// # Errors
/// [`ArtifactError::Io`].
pub fn seal_of(file: &File) -> Result<Seal, ArtifactError> {
    const NANOS: i128 = 1_000_000_000;
    let facts = file.metadata().map_err(io("look at a file"))?;
    Ok(Seal {
        device: facts.dev(),
        inode: facts.ino(),
        size_bytes: facts.size(),
        mtime_ns: i128::from(facts.mtime()) * NANOS + i128::from(facts.mtime_nsec()),
        ctime_ns: i128::from(facts.ctime()) * NANOS + i128::from(facts.ctime_nsec()),
    })
}
