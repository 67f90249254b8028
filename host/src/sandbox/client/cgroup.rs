//! The wall that the host builds: a cgroup of its own for each runner at work, where the operator
//! gave the host a folder to divide (`[limits.host] cgroups`). Limits of a process cannot count
//! threads for root, nor memory that the kernel uses for a process; a cgroup does.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::super::protocol::{HOST_BYTES, Request};

/// Begins the name of every cgroup that a host makes; the runner's process id ends it.
const PREFIX: &str = "helixmcp-";

/// Threads of a runner beside those that decode ahead, of which an open reader has one.
const THREADS: u64 = 32;

/// What one runner may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    pub memory_bytes: u64,
    pub threads: u64,
}

impl Room {
    /// What a request can need at most: the limits of the process speak first.
    pub fn of(request: &Request) -> Self {
        let (guest_bytes, handles) = match request {
            // What was planned may run in the same process.
            Request::Describe { limits }
            | Request::Plan { then: Some(limits), .. }
            | Request::Plan { limits, then: None, .. }
            | Request::Run { limits, .. } => {
                (limits.memory_bytes.saturating_add(limits.stack_bytes), limits.handles)
            }
            Request::Inspect { limits } | Request::Compile { limits } => (limits.memory_bytes, 0),
            Request::Check { .. } | Request::Head { .. } | Request::Probe { .. } => (0, 0),
        };
        Self {
            memory_bytes: guest_bytes.saturating_add(HOST_BYTES),
            threads: handles.saturating_add(THREADS),
        }
    }
}

/// One runner's cgroup: one folder in each hierarchy. [`Cgroup::remove`] once the runner is gone.
#[derive(Debug)]
pub struct Cgroup(Vec<PathBuf>);

impl Cgroup {
    /// Puts a runner into a cgroup of its own below each of `parents`. With cgroup v2 that is one
    /// folder, with v1 one for memory and one for pids.
    ///
    /// # Errors
    /// Together the folders do not limit both memory and threads, or one cannot be written.
    pub fn enclose(parents: &[PathBuf], runner: u32, room: Room) -> io::Result<Self> {
        let mut made = Self(Vec::new());
        match made.enclose_within(parents, runner, room) {
            Ok(()) => Ok(made),
            Err(error) => {
                made.remove();
                Err(error)
            }
        }
    }

    fn enclose_within(&mut self, parents: &[PathBuf], runner: u32, room: Room) -> io::Result<()> {
        self.limit(parents, runner, room)?;
        // In it only once its limits stand.
        self.0.iter().try_for_each(|folder| write(&folder.join("cgroup.procs"), u64::from(runner)))
    }

    fn limit(&mut self, parents: &[PathBuf], runner: u32, room: Room) -> io::Result<()> {
        if parents.is_empty() {
            return Err(io::Error::other("the policy gives no folder for them ([limits.host] cgroups)"));
        }
        let (mut memory, mut threads) = (false, false);
        for parent in parents {
            let folder = parent.join(format!("{PREFIX}{runner}"));
            match fs::create_dir(&folder) {
                // Of an earlier process with this number: it is gone, and so nobody is in there.
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(of(parent, error)),
                Ok(()) | Err(_) => {}
            }
            self.0.push(folder.clone());
            memory |= set(&folder, &["memory.max", "memory.limit_in_bytes"], room.memory_bytes)?;
            // Memory on a disk is memory; a kernel without swap has nothing to write here.
            set(&folder, &["memory.swap.max"], 0)?;
            set(&folder, &["memory.memsw.limit_in_bytes"], room.memory_bytes)?;
            threads |= set(&folder, &["pids.max"], room.threads)?;
        }
        if !(memory && threads) {
            let what = if memory { "threads (pids)" } else { "memory" };
            return Err(io::Error::other(format!("no folder that the policy gives limits {what}")));
        }
        Ok(())
    }

    /// Takes the folders away. One that is still in use stays, for [`sweep`].
    pub fn remove(self) {
        self.0.iter().for_each(|folder| drop(fs::remove_dir(folder)));
    }
}

/// Whether a runner could be enclosed. Nobody is: no process has the number 0.
///
/// # Errors
/// Why not.
pub fn trial(parents: &[PathBuf]) -> io::Result<()> {
    let room = Room { memory_bytes: HOST_BYTES, threads: THREADS };
    let mut made = Cgroup(Vec::new());
    let limited = made.limit(parents, 0, room);
    made.remove();
    limited
}

/// Makes folders ready to be divided, and takes away what hosts left that were killed.
pub fn sweep(parents: &[PathBuf]) {
    for parent in parents {
        // Controllers of cgroup v2 reach children only where the parent says so; where it does not
        // let us, `enclose` says what is missing.
        for controller in ["+memory", "+pids"] {
            drop(write_text(&parent.join("cgroup.subtree_control"), controller));
        }
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(PREFIX) {
                // A cgroup with a process in it cannot be removed, so a runner at work keeps its own.
                drop(fs::remove_dir(entry.path()));
            }
        }
    }
}

/// Writes a limit into the first of these files that there is; whether there was one.
fn set(folder: &Path, names: &[&str], value: u64) -> io::Result<bool> {
    match names.iter().map(|name| folder.join(name)).find(|path| path.exists()) {
        Some(path) => write(&path, value).map(|()| true),
        None => Ok(false),
    }
}

fn write(path: &Path, value: u64) -> io::Result<()> {
    write_text(path, &value.to_string()).map_err(|error| of(path, error))
}

/// Opens what is there and makes nothing.
fn write_text(path: &Path, text: &str) -> io::Result<()> {
    File::options().write(true).open(path)?.write_all(text.as_bytes())
}

fn of(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::super::super::protocol::GuestLimits;
    use super::*;

    const ROOM: Room = Room { memory_bytes: 1 << 20, threads: 8 };

    #[test]
    fn folders_that_do_not_limit_both_are_refused() {
        let parent = tempfile::tempdir().unwrap();
        // An ordinary folder: nothing in it is a limit, so nothing was written.
        let error = Cgroup::enclose(&[parent.path().to_path_buf()], 7, ROOM).unwrap_err();
        assert!(error.to_string().contains("limits memory"), "{error}");
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0, "the folder stayed");
        assert!(Cgroup::enclose(&[], 7, ROOM).is_err());
    }

    #[test]
    fn i9_room_grows_with_the_limits_and_never_overflows() {
        let head = Room::of(&Request::Head { max_bytes: u64::MAX });
        assert_eq!(head, Room { memory_bytes: HOST_BYTES, threads: THREADS });
        let described = |memory_bytes, handles| {
            let limits = GuestLimits { memory_bytes, handles, ..super::super::METADATA_LIMITS };
            Room::of(&Request::Describe { limits })
        };
        let (small, large) = (described(1 << 20, 1), described(1 << 30, 100));
        assert_eq!(large.memory_bytes - small.memory_bytes, (1 << 30) - (1 << 20));
        assert_eq!((small.threads, large.threads), (THREADS + 1, THREADS + 100));
        let most = described(u64::MAX, u64::MAX);
        assert_eq!(most, Room { memory_bytes: u64::MAX, threads: u64::MAX });
    }
}
