//! The door out: an artifact's bytes become a named file beneath an export root, whole or not at
//! all, and never at the cost of the disk's last bytes.

use std::collections::HashSet;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use tokio_util::sync::CancellationToken;

use super::ArtifactError;
use super::door::{Door, EXPORT_DENIED, check_path, denied};
use super::error::io;
use super::folder::random_hex;

/// Bytes moved at once.
const CHUNK_BYTES: usize = 512 * 1024;

/// How many bytes may be written before the free space is looked at again.
const FLOOR_EVERY_BYTES: u64 = 64 * 1024 * 1024;

/// What an export is called until it is whole: this, 32 hex digits, and [`PART_END`]. No caller
/// can name a file so, for it begins with a dot.
const PART_START: &str = ".helixmcp-export-";
const PART_END: &str = ".part";

/// How often a part is begun anew that somebody swept away.
const TRIES_MAX: usize = 8;

/// How many names of a folder are looked at for parts that a killed host left.
const SWEPT_NAMES_MAX: usize = 1_000_000;

/// How many folders are remembered as looked through.
const SWEPT_FOLDERS_MAX: usize = 10_000;

/// An artifact on its way out.
#[derive(Debug)]
pub struct Export {
    pub file: File,
    /// The file's name beneath the root.
    pub relative: String,
    /// Replaces a file of that name.
    pub overwrite: bool,
    /// So much stays free where it goes.
    pub floor_bytes: u64,
    /// Fires when nobody waits for it any more.
    pub gone: CancellationToken,
    pub swept: Arc<Swept>,
}

/// Folders that were looked through for what killed hosts left, by device and inode: once each,
/// for a folder may be large.
#[derive(Debug, Default)]
pub struct Swept(Mutex<HashSet<(u64, u64)>>);

impl Swept {
    fn is_first(&self, folder: &OwnedFd) -> bool {
        let Ok(facts) = rustix::fs::fstat(folder) else { return false };
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= SWEPT_FOLDERS_MAX {
            seen.clear();
        }
        seen.insert((facts.st_dev, facts.st_ino))
    }
}

/// Writes a new named file beneath an export root (temporary, sync, rename). Makes no folder. `record`
/// writes down that the bytes go out: when they are whole, and before they can be found.
///
/// # Errors
/// [`ArtifactError::Path`] with `export_path_denied`, `export_exists` or `root_private`;
/// [`ArtifactError::Full`], [`ArtifactError::Cancelled`]; what `record` fails with.
pub fn export_beneath(
    door: &Door,
    export: &mut Export,
    record: impl FnOnce() -> Result<(), ArtifactError>,
) -> Result<PathBuf, ArtifactError> {
    check_path(&export.relative, EXPORT_DENIED)?;
    check_plain(&export.relative)?;
    let (folder, name) = export.relative.rsplit_once('/').unwrap_or((".", &export.relative));
    let folder = door.folder(&door.open()?, folder, EXPORT_DENIED)?;
    let name = name.to_owned();
    let size_bytes = export.file.metadata().map_err(io("read the artifact"))?.len();
    admit(&folder, size_bytes, export.floor_bytes)?;
    if export.swept.is_first(&folder) {
        sweep(&folder);
    }

    let (part, target) = begin(&folder)?;
    let done = fill(export, target, &folder).and_then(|_still_locked| {
        // Looked up first, so that a refusal is no export in the record.
        let is_there = rustix::fs::statat(&folder, &name, AtFlags::SYMLINK_NOFOLLOW).is_ok();
        if is_there && !export.overwrite {
            return Err(exists());
        }
        record()?;
        give_name(&folder, &part, &name, export.overwrite)
    });
    // A rename took the part's name away; whatever failed before, it is still there.
    if done.is_err()
        && let Err(error) = rustix::fs::unlinkat(&folder, &part, AtFlags::empty())
        && error != Errno::NOENT
    {
        tracing::warn!(%error, part, "a part of an export stays until the next export into its folder");
    }
    done.map(|()| door.root().join(&export.relative))
}

/// Whoever runs a program over `*` must not hand it an option, nor meet a file that is not listed.
fn check_plain(relative: &str) -> Result<(), ArtifactError> {
    if relative.split('/').any(|part| part.starts_with(['.', '-'])) {
        let message = "the path may have no part that begins with a dot or a dash".to_owned();
        return Err(ArtifactError::Path { code: EXPORT_DENIED, message });
    }
    Ok(())
}

/// Refuses what would leave less than the floor.
fn admit(folder: &OwnedFd, more_bytes: u64, floor_bytes: u64) -> Result<(), ArtifactError> {
    let facts: Result<_, Errno> = faulty!("free_space", rustix::fs::fstatvfs(folder));
    let facts = facts.map_err(io("ask for the free space"))?;
    let free = facts.f_bavail.saturating_mul(facts.f_frsize);
    if free < floor_bytes.saturating_add(more_bytes) {
        return Err(ArtifactError::Full { floor_bytes });
    }
    Ok(())
}

/// A new part that is locked for as long as it is open, so that nobody takes it for a leftover.
fn begin(folder: &OwnedFd) -> Result<(String, File), ArtifactError> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o644);
    for _ in 0..TRIES_MAX {
        let part = format!("{PART_START}{}{PART_END}", random_hex()?);
        let target =
            rustix::fs::openat(folder, &part, flags, mode).map_err(|error| denied(EXPORT_DENIED, error))?;
        // Where nothing can be locked nobody else can lock it either, and so it is left alone. Where
        // somebody has it already, they sweep at this very moment, and it will be gone.
        let locked = rustix::fs::flock(&target, FlockOperation::NonBlockingLockExclusive);
        let is_swept = locked == Err(Errno::WOULDBLOCK);
        if !is_swept && rustix::fs::fstat(&target).is_ok_and(|facts| facts.st_nlink > 0) {
            return Ok((part, File::from(target)));
        }
    }
    Err(io("begin the export")(Errno::BUSY))
}

/// Copies the bytes and syncs them; the file comes back, because its lock is held through it.
fn fill(export: &mut Export, mut target: File, folder: &OwnedFd) -> Result<File, ArtifactError> {
    let floor_bytes = export.floor_bytes;
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => ArtifactError::Full { floor_bytes },
        _ => io("write the export")(error),
    };
    export.file.seek(SeekFrom::Start(0)).map_err(io("read the artifact"))?;
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut unlooked_bytes = 0;
    loop {
        if export.gone.is_cancelled() {
            return Err(ArtifactError::Cancelled);
        }
        let read = match export.file.read(&mut chunk) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            read => read.map_err(io("read the artifact"))?,
        };
        let Some(bytes) = chunk.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        let written: std::io::Result<()> = faulty!("write", target.write_all(bytes));
        written.map_err(failed)?;
        unlooked_bytes += read as u64;
        if unlooked_bytes >= FLOOR_EVERY_BYTES {
            admit(folder, 0, floor_bytes)?;
            unlooked_bytes = 0;
        }
    }
    target.sync_all().map_err(failed)?;
    Ok(target)
}

fn give_name(folder: &OwnedFd, part: &str, name: &str, overwrite: bool) -> Result<(), ArtifactError> {
    let flags = if overwrite { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
    let named = match rustix::fs::renameat_with(folder, part, folder, name, flags) {
        // A file system without NOREPLACE: a link to a free name is the same promise.
        Err(Errno::INVAL | Errno::NOSYS) => rustix::fs::linkat(folder, part, folder, name, AtFlags::empty())
            .and_then(|()| rustix::fs::unlinkat(folder, part, AtFlags::empty())),
        done => done,
    };
    named.map_err(|error| match error {
        Errno::EXIST => exists(),
        other => denied(EXPORT_DENIED, other),
    })?;
    rustix::fs::fsync(folder).map_err(io("sync the export's folder"))
}

fn exists() -> ArtifactError {
    let message = "a file of this name is there already, and this export root does not overwrite".to_owned();
    ArtifactError::Path { code: "export_exists", message }
}

/// Removes the parts that killed hosts left in a folder. What fails here stays, and harms nobody.
fn sweep(folder: &OwnedFd) {
    let Ok(entries) = rustix::fs::Dir::read_from(folder) else { return };
    for entry in entries.take(SWEPT_NAMES_MAX).flatten() {
        if let Ok(name) = entry.file_name().to_str()
            && is_part(name)
            && let Err(error) = remove_left(folder, name)
        {
            tracing::debug!(%error, name, "a part of an export is left alone");
        }
    }
}

fn is_part(name: &str) -> bool {
    let middle = name.strip_prefix(PART_START).and_then(|rest| rest.strip_suffix(PART_END));
    middle.is_some_and(|hex| {
        hex.len() == 32 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// Only a regular file of our user with one name, which nobody holds locked: whoever writes a part
/// holds its lock, also a host of another home.
fn remove_left(folder: &OwnedFd, name: &str) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let part = rustix::fs::openat(folder, name, flags, Mode::empty())?;
    rustix::fs::flock(part.as_fd(), FlockOperation::NonBlockingLockExclusive)?;
    let (ours, named) =
        (rustix::fs::fstat(&part)?, rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?);
    let is_left = FileType::from_raw_mode(ours.st_mode) == FileType::RegularFile
        && ours.st_uid == rustix::process::geteuid().as_raw()
        && ours.st_nlink == 1
        && (ours.st_dev, ours.st_ino) == (named.st_dev, named.st_ino);
    if is_left { rustix::fs::unlinkat(folder, name, AtFlags::empty()) } else { Err(Errno::PERM) }
}
