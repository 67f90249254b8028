//! The doors between the store and the operator's folders: only beneath a root, only regular
//! files, no symlink in any part. `openat2` does it in one step, so that nothing can be exchanged
//! between a check and its use; where the kernel has no `openat2`, the doors stay closed.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use helix_ids::ArtifactType;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use serde::Serialize;

use super::error::io;
use super::{ArtifactError, Private};

/// Longest relative path, as Linux has it.
const PATH_BYTES_MAX: usize = 4096;

/// Longest part of a path, as every file system has it.
const PART_BYTES_MAX: usize = 255;

/// Most entries of one folder that are listed: a larger folder is refused, not cut in silence.
const ENTRIES_MAX: usize = 20_000;

/// A rename elsewhere makes `openat2` ask to be called again.
const AGAIN_MAX: usize = 8;

pub(super) const IMPORT_DENIED: &str = "import_path_denied";
pub(super) const EXPORT_DENIED: &str = "export_path_denied";

/// An operator's root, and what it must not lead to.
#[derive(Clone, Debug)]
pub struct Door {
    root: PathBuf,
    private: Private,
}

impl Door {
    #[must_use]
    pub fn new(root: &Path, private: Private) -> Self {
        Self { root: root.to_owned(), private }
    }

    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The root is the operator's own word: symlinks in *its* path are theirs to make. Where they
    /// lead is asked each time, for a policy that was good may have become bad since.
    pub(super) fn open(&self) -> Result<OwnedFd, ArtifactError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let what = "open the root; the operator has to look at it";
        let opened = rustix::fs::open(&self.root, flags, Mode::empty()).map_err(io(what))?;
        if self.private.reaches(&opened)? {
            let message = "this root leads to what the host keeps for itself".to_owned();
            return Err(ArtifactError::Path { code: "root_private", message });
        }
        Ok(opened)
    }

    /// A folder beneath the root.
    pub(super) fn folder(
        &self,
        root: &OwnedFd,
        relative: &str,
        code: &'static str,
    ) -> Result<OwnedFd, ArtifactError> {
        let folder = resolve(root, relative, OFlags::RDONLY | OFlags::DIRECTORY)
            .map_err(|error| denied(code, error))?;
        if self.private.reaches(&folder)? {
            return Err(denied(code, Errno::ACCESS));
        }
        Ok(folder)
    }
}

/// One entry of an import root, as `artifact_browse` shows it.
#[derive(Clone, Debug, Serialize)]
pub struct RootEntry {
    pub path: String,
    pub is_dir: bool,
    pub size_bytes: u64,
    /// By the name alone; the import looks at the bytes.
    pub guessed_type: Option<ArtifactType>,
}

/// Opens a regular file beneath an import root: relative path, no symlink in any part, no
/// special files, opened by `openat2`. The file's identity is checked again by the reader.
///
/// # Errors
/// [`ArtifactError::Path`] with code `import_path_denied`; the same for missing and forbidden
/// files outside, so that nothing can be probed. `root_private` where the root itself leads to what
/// is ours.
pub fn open_beneath(door: &Door, relative: &str) -> Result<File, ArtifactError> {
    check_path(relative, IMPORT_DENIED)?;
    let root = door.open()?;
    let opened = resolve(&root, relative, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)
        .map_err(|error| denied(IMPORT_DENIED, error))?;
    let facts = rustix::fs::fstat(&opened).map_err(io("look at the file"))?;
    let is_file = FileType::from_raw_mode(facts.st_mode) == FileType::RegularFile;
    if !is_file || !is_owner_trusted(&root, facts.st_uid)? || door.private.holds(&opened)? {
        return Err(denied(IMPORT_DENIED, Errno::ACCESS));
    }
    Ok(File::from(opened))
}

/// Lists a folder beneath an import root, sorted by name; `""` is the root itself. What
/// [`open_beneath`] would refuse by its kind or name is left out.
///
/// # Errors
/// As [`open_beneath`]; `import_folder_too_large` for a folder with very many entries.
pub fn list_beneath(door: &Door, relative: &str) -> Result<Vec<RootEntry>, ArtifactError> {
    let root = door.open()?;
    let inside = !relative.is_empty() && relative != ".";
    if inside {
        check_path(relative, IMPORT_DENIED)?;
    }
    let shown = if inside { relative } else { "." };
    let folder = door.folder(&root, shown, IMPORT_DENIED)?;
    let mut entries = Vec::new();
    for entry in rustix::fs::Dir::read_from(&folder).map_err(io("list the folder"))? {
        let entry = entry.map_err(io("list the folder"))?;
        let Some(name) = entry.file_name().to_str().ok().filter(|name| check_part(name).is_ok()) else {
            continue;
        };
        let Ok(facts) = rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        let kind = FileType::from_raw_mode(facts.st_mode);
        let is_dir = kind == FileType::Directory;
        if !is_dir && kind != FileType::RegularFile {
            continue;
        }
        if entries.len() == ENTRIES_MAX {
            let message = format!("the folder has more than {ENTRIES_MAX} entries; name the file itself");
            return Err(ArtifactError::Path { code: "import_folder_too_large", message });
        }
        entries.push(RootEntry {
            path: if inside { format!("{relative}/{name}") } else { name.to_owned() },
            is_dir,
            size_bytes: if is_dir { 0 } else { u64::try_from(facts.st_size).unwrap_or(0) },
            guessed_type: (!is_dir).then(|| super::sniff::by_name(name)).flatten(),
        });
    }
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(entries)
}

fn resolve(root: &OwnedFd, relative: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let open = || rustix::fs::openat2(root.as_fd(), relative, flags, Mode::empty(), within);
    let mut opened = open();
    for _ in 1..AGAIN_MAX {
        if !matches!(opened, Err(Errno::AGAIN | Errno::INTR)) {
            break;
        }
        opened = open();
    }
    opened
}

/// Missing, forbidden, outside, special: one answer, so that nobody can probe what is there. Only
/// faults of ours are told apart.
pub(super) fn denied(code: &'static str, error: Errno) -> ArtifactError {
    match error {
        Errno::NOSYS => {
            let message = "this kernel has no openat2 (Linux 5.6), so nothing is opened beneath a root";
            ArtifactError::Path { code, message: message.to_owned() }
        }
        Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::IO => io("open beneath a root")(error),
        Errno::NOSPC | Errno::DQUOT | Errno::ROFS if code == EXPORT_DENIED => {
            io("write beneath a root")(error)
        }
        _ => {
            let message = if code == EXPORT_DENIED {
                "no file can be written there: the folder has to be there, beneath the export root, \
                 with no symbolic link on the way"
            } else {
                "no such file can be imported: it has to be a regular file beneath the import root, \
                 readable, yours or the root's owner's, with no symbolic link on the way"
            };
            ArtifactError::Path { code, message: message.to_owned() }
        }
    }
}

/// A hard link in a shared folder shows a foreign file under a name of ours; so a file has to be
/// ours, or of whoever owns the import root.
fn is_owner_trusted(root: &OwnedFd, uid: u32) -> Result<bool, ArtifactError> {
    let owner = rustix::fs::fstat(root).map_err(io("look at the root"))?.st_uid;
    Ok([rustix::process::geteuid().as_raw(), owner].contains(&uid))
}

/// The rule of paths, in words that name it: a caller's own text is no secret.
pub(super) fn check_path(relative: &str, code: &'static str) -> Result<(), ArtifactError> {
    let refused = |rule: &str| ArtifactError::Path { code, message: format!("the path {rule}") };
    if relative.is_empty() || relative.len() > PATH_BYTES_MAX {
        return Err(refused("has to be 1 to 4096 bytes long"));
    }
    if relative.starts_with('/') {
        return Err(refused("has to be relative to the root"));
    }
    relative.split('/').try_for_each(check_part).map_err(refused)
}

fn check_part(part: &str) -> Result<(), &'static str> {
    if part.is_empty() || part == "." || part == ".." {
        return Err("may have no empty, `.` or `..` part");
    }
    if part.len() > PART_BYTES_MAX {
        return Err("may have no part longer than 255 bytes");
    }
    if part.contains('\\') || part.chars().any(helix_ids::name::is_invisible) {
        return Err("may hold no backslash, control, bidirectional or invisible character");
    }
    Ok(())
}
