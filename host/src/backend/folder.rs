//! Where a step's files lie: `steps/<run>/<attempt>/<step>-<name>/<try>/` with `out/`, which alone
//! the container can write, and `meta/`, which it cannot see. Both are new for each try.
//!
//! What a container leaves is hostile: it is opened beneath `out/` without following a link, and
//! nothing that is no plain file is taken.

#![expect(clippy::disallowed_methods, reason = "a step's folder is made, noted in and removed here")]

mod size;
mod sweep;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use helix_ids::{Digest, RelName};
use rustix::fs::{FileType, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;

use super::error::{io, of_store};
use super::{BackendError, Labels, Order};
use crate::artifacts::{ArtifactError, Folder, Left, Store, Stored};

pub(super) use size::{Size, size_of};

/// In `meta/`: somebody wanted this step to end.
const KILLED: &str = "killed";

/// In `meta/`: which captures have become objects.
const KEPT: &str = "kept";

/// The folder `steps/` of a store.
#[derive(Debug)]
pub(super) struct Steps {
    path: PathBuf,
    folder: Folder,
}

/// The folder of one try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StepFolder {
    path: PathBuf,
}

/// As whom a container writes: never root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Writer {
    pub uid: u32,
    pub gid: u32,
}

impl Steps {
    pub(super) fn open(store_root: &Path) -> Result<Self, BackendError> {
        let root = Folder::make_private(store_root).map_err(of_store("open the store"))?;
        let folder = root.make_within("steps").map_err(of_store("make `steps`"))?;
        Ok(Self { path: store_root.join("steps"), folder })
    }

    /// Where this try's folder is, or would be.
    pub(super) fn of(&self, order: &Order) -> StepFolder {
        let labels = &order.labels;
        let step = format!("{}-{}", labels.step, order.name);
        StepFolder { path: self.of_attempt(labels).join(step).join(labels.try_.to_string()) }
    }

    /// A new folder for this try. What an earlier submission left, which came to no container, goes.
    pub(super) fn begin(&self, order: &Order, writer: Writer) -> Result<StepFolder, BackendError> {
        let step = self.of(order);
        self.remove(&step)?;
        let mut folder = None;
        for part in self.parts(&step) {
            let above = folder.as_ref().unwrap_or(&self.folder);
            folder = Some(above.begin_within(&part).map_err(of_store("make a step's folder"))?.0);
        }
        for name in ["out", "meta"] {
            let folder = folder.as_ref().unwrap_or(&self.folder);
            folder.begin_within(name).map_err(of_store("make a step's folder"))?;
        }
        open_to(&step.out(), writer)?;
        Ok(step)
    }

    /// The folder of a try, by its labels alone; `None` if there is none.
    pub(super) fn find(&self, labels: &Labels) -> Result<Option<StepFolder>, BackendError> {
        let attempt = self.of_attempt(labels);
        let steps = match fs::read_dir(&attempt) {
            Ok(steps) => steps,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io("list a run's steps")(error)),
        };
        let begins = format!("{}-", labels.step);
        for step in steps {
            let step = step.map_err(io("list a run's steps"))?;
            let path = step.path().join(labels.try_.to_string());
            if step.file_name().to_string_lossy().starts_with(&begins) && path.is_dir() {
                return Ok(Some(StepFolder { path }));
            }
        }
        Ok(None)
    }

    /// Removes the folder of a try, and those above it that are empty then.
    pub(super) fn remove(&self, step: &StepFolder) -> Result<(), BackendError> {
        sweep::sweep(&self.folder, &step.path).map_err(io("remove a step's folder"))?;
        for above in step.path.ancestors().skip(1).take_while(|above| *above != self.path) {
            match fs::remove_dir(above) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty => break,
                Err(error) => return Err(io("remove a run's folder")(error)),
            }
        }
        Ok(())
    }

    fn of_attempt(&self, labels: &Labels) -> PathBuf {
        self.path.join(labels.run.to_string()).join(labels.attempt.to_string())
    }

    fn parts(&self, step: &StepFolder) -> Vec<String> {
        let inside = step.path.strip_prefix(&self.path).unwrap_or(&step.path);
        inside.iter().map(|part| part.to_string_lossy().into_owned()).collect()
    }
}

impl StepFolder {
    /// What the container sees as `/work/out`.
    pub(super) fn out(&self) -> PathBuf {
        self.path.join("out")
    }

    /// Notes that the step is to end, before anybody is told so: whoever asks later how it ended has
    /// to know.
    pub(super) fn note_killed(&self) -> Result<(), BackendError> {
        let note = File::create(self.path.join("meta").join(KILLED));
        note.and_then(|file| file.sync_all()).map_err(io("note that a step is to end"))
    }

    pub(super) fn was_killed(&self) -> bool {
        self.path.join("meta").join(KILLED).exists()
    }
}

/// Lets the step's user write into `out/`, and nobody else who is not the host. Where the host may
/// not give a folder away, it is open to all, inside folders that only the host can enter.
fn open_to(out: &Path, writer: Writer) -> Result<(), BackendError> {
    let opened = open_folder(out).map_err(io("open `out`"))?;
    let own = rustix::process::geteuid().as_raw();
    let mode = if own == writer.uid {
        Mode::RWXU
    } else {
        let (uid, gid) = (Uid::from_raw(writer.uid), Gid::from_raw(writer.gid));
        match rustix::fs::fchown(&opened, Some(uid), Some(gid)) {
            Ok(()) => Mode::RWXU,
            Err(Errno::PERM) => Mode::RWXU | Mode::RWXG | Mode::RWXO,
            Err(error) => return Err(io("give `out` to a step's user")(error)),
        }
    };
    rustix::fs::fchmod(&opened, mode).map_err(io("open `out` to a step's user"))
}

/// Why a capture cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    #[error("the step made no `{name}`")]
    NotMade { name: RelName },
    /// Something is there that is no plain file of its own, or that is reached through a link.
    #[error("`{name}` is {what}")]
    Unfit { name: RelName, what: &'static str },
    #[error("`{name}` is larger than {max_bytes} bytes")]
    TooLarge { name: RelName, max_bytes: u64 },
    #[error("cannot take `{name}`")]
    Io {
        name: RelName,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot store `{name}`")]
    Store {
        name: RelName,
        #[source]
        source: ArtifactError,
    },
}

/// A file that a step made, opened.
#[derive(Debug)]
pub struct Captured {
    pub file: File,
    pub size_bytes: u64,
    parent: OwnedFd,
    leaf: String,
}

/// Opens a capture beneath `out`, which has to be the folder of a step that has ended: no link on the
/// way, a regular file under this name alone, at most `max_bytes`.
///
/// # Errors
/// [`CaptureError`].
pub fn captured(out: &Path, name: &RelName, max_bytes: u64) -> Result<Captured, CaptureError> {
    let unfit = |what| CaptureError::Unfit { name: name.clone(), what };
    let refused = |error| match error {
        Errno::NOENT | Errno::NOTDIR => CaptureError::NotMade { name: name.clone() },
        Errno::LOOP => unfit("a symbolic link, or beneath one"),
        Errno::XDEV => unfit("on another file system, or outside"),
        other => CaptureError::Io { name: name.clone(), source: other.into() },
    };
    let (above, leaf) = name.as_str().rsplit_once('/').unwrap_or((".", name.as_str()));
    let out = open_folder(out).map_err(refused)?;
    let parent = beneath(&out, above, OFlags::RDONLY | OFlags::DIRECTORY).map_err(refused)?;
    // Looked at before it is opened: to open a pipe or a device can do something.
    let looked = beneath(&parent, leaf, OFlags::PATH).map_err(refused)?;
    let facts = rustix::fs::fstat(&looked).map_err(refused)?;
    match FileType::from_raw_mode(facts.st_mode) {
        FileType::RegularFile => {}
        FileType::Symlink => return Err(unfit("a symbolic link, or beneath one")),
        FileType::Directory => return Err(unfit("a folder")),
        _ => return Err(unfit("no regular file")),
    }
    if facts.st_nlink != 1 {
        return Err(unfit("a file with more names than one"));
    }
    let size_bytes = u64::try_from(facts.st_size).unwrap_or(u64::MAX);
    if size_bytes > max_bytes {
        return Err(CaptureError::TooLarge { name: name.clone(), max_bytes });
    }
    let file = beneath(&parent, leaf, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY);
    let file = File::from(file.map_err(refused)?);
    let opened = rustix::fs::fstat(&file).map_err(refused)?;
    if (opened.st_dev, opened.st_ino) != (facts.st_dev, facts.st_ino) {
        return Err(unfit("another file than a moment ago"));
    }
    Ok(Captured { file, size_bytes, parent, leaf: leaf.to_owned() })
}

/// Makes a capture an object of the store, moved there where it can be. May be asked again, also by
/// a host that starts after one that ended meanwhile: what was moved is noted in `meta/` before.
///
/// # Errors
/// [`CaptureError`].
pub fn harvest(store: &Store, out: &Path, name: &RelName, max_bytes: u64) -> Result<Stored, CaptureError> {
    let notes = out.with_file_name("meta").join(KEPT);
    let failed = |source| CaptureError::Io { name: name.clone(), source };
    let stored = |source| CaptureError::Store { name: name.clone(), source };
    let taken = match captured(out, name, max_bytes) {
        Err(CaptureError::NotMade { .. }) => {
            let gone = || CaptureError::NotMade { name: name.clone() };
            let (digest, size_bytes) = noted(&notes, name).ok_or_else(gone)?;
            let (_file, seal) = store.open_object(&digest, None).map_err(stored)?;
            return Ok(Stored { digest, size_bytes, seal });
        }
        taken => taken?,
    };
    let mut note = |digest: &Digest, size_bytes: u64| {
        let mut file = OpenOptions::new().append(true).create(true).open(&notes)?;
        file.write_all(format!("{digest} {size_bytes} {name}\n").as_bytes())?;
        file.sync_all()
    };
    // The notes' own name has to be there after a crash, as well as what stands in them.
    let meta = out.with_file_name("meta");
    File::open(meta).and_then(|folder| folder.sync_all()).map_err(failed)?;
    let left = Left { folder: taken.parent, name: taken.leaf, file: taken.file };
    store.adopt(left, max_bytes, &mut note).map_err(stored)
}

/// The last that was noted of a capture.
fn noted(notes: &Path, name: &RelName) -> Option<(Digest, u64)> {
    let text = fs::read_to_string(notes).ok()?;
    let parse = |line: &str| {
        let mut words = line.splitn(3, ' ');
        let (digest, size) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        (words.next()? == name.as_str()).then_some((digest, size))
    };
    text.lines().filter_map(parse).next_back()
}

/// One step down at most from an open folder, or deeper, never through a link and never out.
fn beneath(folder: &OwnedFd, name: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let within = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat2(folder.as_fd(), name, flags, Mode::empty(), within)
}

fn open_folder(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
}

#[cfg(test)]
mod tests;
