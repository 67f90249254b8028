//! The policy as a file: read safely, read again when it changes, and never half believed.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::sleep;

use super::roots;
use crate::policy::{Policy, PolicyError};

/// Largest policy file that is read.
const POLICY_BYTES_MAX: u64 = 1024 * 1024;

/// How long a changed file has to be still before it is read: half a policy may be a valid one,
/// without the denials that stand at its end.
const STILL: Duration = Duration::from_millis(50);

/// How often that is waited for. A file that is replaced without a pause is whole each time.
const STILL_TRIES_MAX: u32 = 10;

/// What a host without a policy file obeys: it allows nothing.
const NO_POLICY: &str = "version = 1\nname = \"none\"\n";

/// Why a policy file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyFileError {
    #[error("cannot read `{path}`")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("`{path}` {reason}")]
    Unsafe { path: PathBuf, reason: &'static str },
    #[error("`{path}` is refused")]
    Refused {
        path: PathBuf,
        #[source]
        source: PolicyError,
    },
}

/// The policy in force and where it comes from.
#[derive(Debug)]
pub struct PolicyFile {
    path: PathBuf,
    home: PathBuf,
    /// A store stays where it was when the host started, whatever a later policy says.
    store_in_use: Option<PathBuf>,
    current: RwLock<Arc<Policy>>,
    seen: Mutex<Option<Stamp>>,
    problem: Mutex<Option<String>>,
}

/// By what a changed file is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    mtime_ns: (i64, i64),
    ctime_ns: (i64, i64),
}

impl PolicyFile {
    /// Reads the policy for the first time. A file that is not there means that nothing is
    /// allowed; one that is there must be good, and no root of it may lead to what `home` holds.
    ///
    /// # Errors
    /// [`PolicyFileError`].
    pub fn open(path: &Path, home: &Path) -> Result<Self, PolicyFileError> {
        let (policy, stamp) = match read(path)? {
            Some((text, stamp)) => (parse(path, &text)?, Some(stamp)),
            None => (parse(path, NO_POLICY)?, None),
        };
        let policy = with_good_roots(policy, path, home, None)?;
        Ok(Self {
            path: path.to_owned(),
            home: home.to_owned(),
            store_in_use: policy.store_root().map(Path::to_owned),
            current: RwLock::new(Arc::new(policy)),
            seen: Mutex::new(stamp),
            problem: Mutex::new(None),
        })
    }

    /// The policy that lies there, for one who only reads it; where its roots lead is not asked.
    ///
    /// # Errors
    /// [`PolicyFileError`].
    pub fn look(path: &Path) -> Result<Policy, PolicyFileError> {
        parse(path, &read(path)?.map_or_else(|| NO_POLICY.to_owned(), |(text, _stamp)| text))
    }

    /// The policy in force.
    pub fn current(&self) -> Arc<Policy> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether there is a file at all.
    pub fn exists(&self) -> bool {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Where the file lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is wrong with the newest file, while an older one is in force.
    pub fn problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until a file that changed is no longer being written.
    pub async fn settle(&self) {
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        still(seen, || stamp_of(&self.path).unwrap_or_default()).await;
    }

    /// Reads the file again if it changed; says whether another policy is in force now. A bad
    /// or missing file keeps the old policy in force.
    ///
    /// # Errors
    /// [`PolicyFileError`].
    pub fn reload(&self) -> Result<bool, PolicyFileError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // What is wrong may lie outside the file, such as where a root leads, and be mended there.
        let changed = match stamp_of(&self.path) {
            Ok(stamp) => stamp != *seen || self.problem().is_some(),
            Err(_unreadable) => true,
        };
        if !changed {
            return Ok(false);
        }
        let outcome = read(&self.path).and_then(|found| {
            let (text, stamp) = found.ok_or_else(|| PolicyFileError::Unsafe {
                path: self.path.clone(),
                reason: "is gone; the policy that was read before stays in force",
            })?;
            *seen = Some(stamp);
            let policy = parse(&self.path, &text)?;
            with_good_roots(policy, &self.path, &self.home, self.store_in_use.as_deref())
        });
        let mut problem = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(policy) => {
                let before = self.current();
                let is_other = before.file_digest() != policy.file_digest();
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(policy);
                *problem = None;
                Ok(is_other)
            }
            Err(error) => {
                *problem = Some(chain(&error));
                Err(error)
            }
        }
    }
}

/// Looks until what is seen is what was seen before; says how often it looked.
async fn still<T: PartialEq>(mut last: T, mut look: impl FnMut() -> T) -> u32 {
    for looked in 1..=STILL_TRIES_MAX {
        let now = look();
        if now == last {
            return looked;
        }
        last = now;
        sleep(STILL).await;
    }
    STILL_TRIES_MAX
}

/// An error and its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |cause| cause.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn parse(path: &Path, text: &str) -> Result<Policy, PolicyFileError> {
    Policy::from_toml(text).map_err(|source| PolicyFileError::Refused { path: path.to_owned(), source })
}

fn with_good_roots(
    policy: Policy,
    path: &Path,
    home: &Path,
    store_in_use: Option<&Path>,
) -> Result<Policy, PolicyFileError> {
    match roots::private(&policy, home, path, store_in_use) {
        problems if problems.is_empty() => Ok(policy),
        problems => Err(PolicyFileError::Refused { path: path.to_owned(), source: PolicyError(problems) }),
    }
}

fn stamp_of(path: &Path) -> io::Result<Option<Stamp>> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(Stamp::of(&metadata))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Stamp {
    fn of(metadata: &std::fs::Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            size: metadata.size(),
            mtime_ns: (metadata.mtime(), metadata.mtime_nsec()),
            ctime_ns: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Reads the file if it is there and if nobody but its owner, who is us or root, can write it.
fn read(path: &Path) -> Result<Option<(String, Stamp)>, PolicyFileError> {
    let failed = |source| PolicyFileError::Read { path: path.to_owned(), source };
    let refused = |reason| Err(PolicyFileError::Unsafe { path: path.to_owned(), reason });
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).unwrap_or(0);
    let file = match File::options().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            return refused("is a symlink; a policy file must be a regular file");
        }
        Err(error) => return Err(failed(error)),
    };
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return refused("is no regular file");
    }
    if metadata.mode() & 0o022 != 0 {
        return refused("can be written by others; `chmod go-w` it");
    }
    let ours = rustix::process::geteuid().as_raw();
    if metadata.uid() != ours && metadata.uid() != 0 {
        return refused("belongs to another user");
    }
    if metadata.len() > POLICY_BYTES_MAX {
        return refused("is larger than 1 MiB");
    }
    let mut text = String::new();
    file.take(POLICY_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
    Ok(Some((text, Stamp::of(&metadata))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_read_once_it_is_still() {
        assert_eq!(still(1, || 1).await, 1, "one that did not change is not waited for");
        let mut sizes = [2, 3, 3, 4].into_iter();
        assert_eq!(still(1, || sizes.next().unwrap()).await, 3);
        let mut size = 0;
        let never = || {
            size += 1;
            size
        };
        assert_eq!(still(0, never).await, STILL_TRIES_MAX, "one that never rests is read in the end");
    }
}
