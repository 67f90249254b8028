//! Removes a tree that somebody hostile built: as deep, as wide and as oddly named as they liked.
//! Each folder is moved up beside the others before it is emptied, so that no path gets long, no
//! descriptors pile up and nothing recurses.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::artifacts::Folder;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Removes `path` and all in it. `aside` is a folder of ours on the same file system; what a crash
/// leaves in it goes with the next sweep. Nothing there is no error.
pub(super) fn sweep(aside: &Folder, path: &Path) -> Result<(), Errno> {
    let bin = Bin::open(aside)?;
    match bin.take(CWD, path) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error),
    }
    bin.empty()
}

/// Where folders wait to be emptied.
struct Bin(OwnedFd);

const NAME: &str = ".swept";

impl Bin {
    fn open(aside: &Folder) -> Result<Self, Errno> {
        match rustix::fs::mkdirat(aside.as_fd(), NAME, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        rustix::fs::openat(aside.as_fd(), NAME, FOLDER, Mode::empty()).map(Self)
    }

    /// Moves a folder in here, under a name of its own.
    fn take(&self, from: impl AsFd, name: impl rustix::path::Arg + Copy) -> Result<(), Errno> {
        let free = crate::artifacts::random_hex().map_err(|_error| Errno::IO)?;
        rustix::fs::renameat_with(from, name, &self.0, &*free, RenameFlags::NOREPLACE)
    }

    fn empty(&self) -> Result<(), Errno> {
        loop {
            let names = names(&self.0)?;
            if names.is_empty() {
                return Ok(());
            }
            for name in names {
                self.empty_one(&name)?;
            }
        }
    }

    /// Two sweeps may be at it at once: what the other has removed is no error.
    fn empty_one(&self, name: &CString) -> Result<(), Errno> {
        let folder = match rustix::fs::openat(&self.0, name, FOLDER, Mode::empty()) {
            // A folder that was closed even to its owner.
            Err(Errno::ACCESS) => {
                rustix::fs::chmodat(&self.0, name, Mode::RWXU, AtFlags::empty())?;
                rustix::fs::openat(&self.0, name, FOLDER, Mode::empty())?
            }
            Err(Errno::NOENT) => return Ok(()),
            opened => opened?,
        };
        // One that may not be written cannot lose what is in it. Somebody else's is refused below.
        if let Err(error) = rustix::fs::fchmod(&folder, Mode::RWXU) {
            tracing::debug!(%error, "a step's folder belongs to somebody else");
        }
        for inside in names(&folder)? {
            self.remove(&folder, &inside)?;
        }
        gone(rustix::fs::unlinkat(&self.0, name, AtFlags::REMOVEDIR))
    }

    fn remove(&self, folder: &OwnedFd, name: &CString) -> Result<(), Errno> {
        let facts = match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(()),
            facts => facts?,
        };
        if FileType::from_raw_mode(facts.st_mode) != FileType::Directory {
            return gone(rustix::fs::unlinkat(folder, name, AtFlags::empty()));
        }
        match rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            done => return gone(done),
        }
        // A folder that changes its parent is written to.
        match self.take(folder, name) {
            Err(Errno::ACCESS) => {
                rustix::fs::chmodat(folder, name, Mode::RWXU, AtFlags::empty())?;
                self.take(folder, name)
            }
            done => gone(done),
        }
    }
}

fn gone(done: Result<(), Errno>) -> Result<(), Errno> {
    match done {
        Err(Errno::NOENT) => Ok(()),
        done => done,
    }
}

fn names(folder: &OwnedFd) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        if entry.file_name() != c"." && entry.file_name() != c".." {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}
