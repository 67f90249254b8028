//! Folders of ours, held open: what is done inside one is done by its descriptor, never by a path
//! that somebody could exchange meanwhile.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::ArtifactError;
use super::error::io;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// An open folder.
#[derive(Debug)]
pub(crate) struct Folder(OwnedFd);

impl Folder {
    /// Opens a folder of ours: its last part may be no symlink, it has to belong to us, and nobody
    /// else may write into it.
    pub(crate) fn open_private(path: &Path) -> Result<Self, ArtifactError> {
        let shown = path.display().to_string();
        let opened = rustix::fs::open(path, FOLDER, Mode::empty()).map_err(|error| refused(&shown, error))?;
        Self(opened).checked(&shown)
    }

    /// The same, made if it is not there.
    pub(crate) fn make_private(path: &Path) -> Result<Self, ArtifactError> {
        match rustix::fs::mkdir(path, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => Self::open_private(path),
            Err(error) => Err(io(format!("make `{}`", path.display()))(error)),
        }
    }

    /// A folder inside this one, held to the same rules.
    pub(crate) fn open_within(&self, name: &str) -> Result<Self, ArtifactError> {
        self.find_within(name).map_err(|error| refused(name, error))?.checked(name)
    }

    /// The same, made if it is not there.
    pub(crate) fn make_within(&self, name: &str) -> Result<Self, ArtifactError> {
        let (folder, is_new) = self.begin_within(name)?;
        if is_new {
            self.sync()?;
        }
        Ok(folder)
    }

    /// The same, and whether it is new. The new name itself has to survive a crash, or what is put
    /// inside is lost with it: before anybody is told, this folder is to be synced.
    pub(crate) fn begin_within(&self, name: &str) -> Result<(Self, bool), ArtifactError> {
        match self.find_within(name) {
            Err(Errno::NOENT) => {}
            found => return Ok((found.map_err(|error| refused(name, error))?.checked(name)?, false)),
        }
        let made: Result<(), Errno> = faulty!("mkdir", rustix::fs::mkdirat(&self.0, name, Mode::RWXU));
        match made {
            Ok(()) | Err(Errno::EXIST) => Ok((self.open_within(name)?, true)),
            Err(error) => Err(io(format!("make the store's `{name}`"))(error)),
        }
    }

    pub(crate) fn find_within(&self, name: &str) -> Result<Self, Errno> {
        rustix::fs::openat(&self.0, name, FOLDER, Mode::empty()).map(Self)
    }

    fn checked(self, shown: &str) -> Result<Self, ArtifactError> {
        let facts = rustix::fs::fstat(&self.0).map_err(io(format!("look at `{shown}`")))?;
        if facts.st_uid != rustix::process::geteuid().as_raw() {
            return Err(unsafe_place(shown, "belongs to somebody else"));
        }
        if facts.st_mode & 0o022 != 0 {
            return Err(unsafe_place(shown, "can be written by others; run `chmod go-w` on it"));
        }
        Ok(self)
    }

    /// A folder that was opened elsewhere.
    pub(super) fn from_open(folder: OwnedFd) -> Self {
        Self(folder)
    }

    /// Device and inode of what has this name.
    pub(super) fn identity_of(&self, name: &str) -> Result<(u64, u64), Errno> {
        let facts = rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok((facts.st_dev, facts.st_ino))
    }

    /// Makes a new file that nobody else has open.
    pub(super) fn create(&self, name: &str, mode: Mode) -> Result<File, Errno> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        faulty!("create", rustix::fs::openat(&self.0, name, flags, mode).map(File::from))
    }

    /// Opens a regular file for reading; anything else is `None`, at once.
    pub(super) fn open_file(&self, name: &str) -> Result<Option<File>, Errno> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened: Result<OwnedFd, Errno> =
            faulty!("open", rustix::fs::openat(&self.0, name, flags, Mode::empty()));
        let file = match opened {
            Ok(file) => file,
            Err(Errno::LOOP | Errno::NXIO) => return Ok(None),
            Err(error) => return Err(error),
        };
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
        Ok((kind == FileType::RegularFile).then(|| File::from(file)))
    }

    /// The size of a regular file.
    pub(super) fn size_of(&self, name: &str) -> Option<u64> {
        let facts = rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        let is_file = FileType::from_raw_mode(facts.st_mode) == FileType::RegularFile;
        is_file.then(|| u64::try_from(facts.st_size).ok()).flatten()
    }

    /// Moves a file here under a name that must be free.
    pub(super) fn adopt(&self, from: &Self, old: &str, new: &str) -> Result<(), Errno> {
        let noreplace = RenameFlags::NOREPLACE;
        let renamed: Result<(), Errno> =
            faulty!("rename", rustix::fs::renameat_with(&from.0, old, &self.0, new, noreplace));
        match renamed {
            // Some network file systems do not know NOREPLACE. A link to a free name is the same
            // promise, and the file is our own.
            Err(Errno::INVAL | Errno::NOSYS) => {
                rustix::fs::linkat(&from.0, old, &self.0, new, AtFlags::empty())?;
                from.remove(old)
            }
            done => done,
        }
    }

    /// Moves a file here in place of whatever file has the name.
    pub(super) fn adopt_replacing(&self, from: &Self, old: &str, new: &str) -> Result<(), Errno> {
        rustix::fs::renameat(&from.0, old, &self.0, new)
    }

    pub(super) fn remove(&self, name: &str) -> Result<(), Errno> {
        faulty!("remove", rustix::fs::unlinkat(&self.0, name, AtFlags::empty()))
    }

    pub(super) fn sync(&self) -> Result<(), ArtifactError> {
        let synced: Result<(), Errno> = faulty!("sync_folder", rustix::fs::fsync(&self.0));
        synced.map_err(io("sync a folder"))
    }

    /// Names of everything inside but `.` and `..`; those that are no UTF-8 are left out.
    pub(super) fn names(&self) -> Result<Vec<String>, Errno> {
        let mut names = Vec::new();
        let entries: Result<_, Errno> = faulty!("list", rustix::fs::Dir::read_from(&self.0));
        for entry in entries? {
            if let Ok(name) = entry?.file_name().to_str()
                && name != "."
                && name != ".."
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    pub(super) fn free_bytes(&self) -> Result<u64, Errno> {
        let facts: Result<_, Errno> = faulty!("free_space", rustix::fs::fstatvfs(&self.0));
        let facts = facts?;
        Ok(facts.f_bavail.saturating_mul(facts.f_frsize))
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn unsafe_place(shown: &str, why: &str) -> ArtifactError {
    ArtifactError::Path { code: "store_unsafe", message: format!("`{shown}` {why}") }
}

/// A symlink in the place of a folder is told as what it is.
fn refused(shown: &str, error: Errno) -> ArtifactError {
    match error {
        Errno::LOOP | Errno::NOTDIR => unsafe_place(shown, "is no folder, or a symbolic link"),
        other => io(format!("open `{shown}`"))(other),
    }
}

/// A name that nobody can guess, for a file that is not whole yet.
pub(super) fn temporary_name() -> Result<String, ArtifactError> {
    Ok(format!(".{}.part", random_hex()?))
}

/// 32 digits that nobody can guess.
pub(crate) fn random_hex() -> Result<String, ArtifactError> {
    let mut random = [0; 16];
    getrandom::fill(&mut random)
        .map_err(|error| io("draw a name")(std::io::Error::other(error.to_string())))?;
    Ok(hex::encode(random))
}
