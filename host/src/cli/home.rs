//! The home as a folder: who may own it, the lock of the one host, its socket and its keys.

#![expect(
    clippy::disallowed_methods,
    reason = "a door: the home, its lock, its socket and its keys are made here"
)]

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, ensure};
use rustix::fs::{FlockOperation, OFlags};
use tokio::net::{UnixListener, UnixStream};

use super::output::Told;

/// Longest path that fits into a socket's address.
const SOCKET_PATH_MAX: usize = 107;

const SOCKET: &str = "host.sock";

/// A folder that is ours alone.
#[derive(Debug)]
pub struct Home {
    path: PathBuf,
    /// Held open, so that the folder which was checked is the one that is used.
    folder: File,
}

/// The one host's hold on a home; released when the process ends, however it ends.
#[derive(Debug)]
pub struct HomeLock {
    _file: File,
}

/// The bound socket, or why there is none.
#[derive(Debug)]
pub enum Locked {
    Ours(HomeLock),
    /// Another host owns the home.
    Theirs,
}

impl Home {
    /// Opens a home; `None` if there is none.
    ///
    /// # Errors
    /// When it is a symlink, is somebody else's, or others may write into it.
    pub fn open(path: &Path) -> anyhow::Result<Option<Self>> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let flags = i32::try_from(flags.bits())?;
        let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
        let folder = match opened {
            Ok(folder) => folder,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                let is_link = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
                ensure!(!is_link, "the home {} is a symlink: name the folder itself", path.display());
                let message =
                    format!("cannot open the home {}: {error}; --home names another", path.display());
                return Err(Told::arguments(message));
            }
        };
        check(path, &folder)?;
        Ok(Some(Self { path: path.to_owned(), folder }))
    }

    /// Opens a home, and makes it first if there is none.
    ///
    /// # Errors
    /// As [`Home::open`], and when it cannot be made.
    pub fn open_or_make(path: &Path) -> anyhow::Result<Self> {
        if let Some(home) = Self::open(path)? {
            return Ok(home);
        }
        let cannot = |error: io::Error| {
            let message = format!("cannot make the home {}: {error}; --home names another", path.display());
            Told::arguments(message)
        };
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(cannot)?;
        }
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => {}
            // Somebody was faster; whether it is good is checked below.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(cannot(error)),
        }
        Self::open(path)?.ok_or_else(|| cannot(io::ErrorKind::NotFound.into()))
    }

    /// Makes a folder in the home, ours alone.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.path.join(name);
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(path),
            Err(error) => Err(error).with_context(|| format!("cannot make {}", path.display())),
        }
    }

    /// Takes the home for this process, if no other has it.
    ///
    /// # Errors
    /// When the lock file cannot be opened.
    pub fn lock(&self) -> anyhow::Result<Locked> {
        let path = self.path.join("host.lock");
        let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::CLOEXEC).bits())?;
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(flags)
            .open(&path);
        let file = file.with_context(|| format!("cannot open {}", path.display()))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Locked::Ours(HomeLock { _file: file })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(Locked::Theirs),
            Err(error) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
        }
    }

    /// Listens on the home's socket. Only who holds the lock may: what lies there is stale then.
    ///
    /// # Errors
    /// When it cannot be bound.
    pub fn listen(&self, _lock: &HomeLock) -> anyhow::Result<UnixListener> {
        self.remove_socket(_lock)?;
        let path = self.socket();
        let bound =
            UnixListener::bind(&path).with_context(|| format!("cannot listen on {}", path.display()))?;
        // The folder is ours alone already; this holds where it is opened up later.
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        Ok(bound)
    }

    /// Removes the socket, so that nobody else comes.
    ///
    /// # Errors
    /// When something that is no socket lies there, or it cannot be removed.
    pub fn remove_socket(&self, _lock: &HomeLock) -> anyhow::Result<()> {
        let path = self.socket();
        match fs::symlink_metadata(&path) {
            Ok(metadata) => {
                ensure!(
                    metadata.file_type().is_socket(),
                    "{} is in the way: it is no socket",
                    path.display()
                );
                fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error).with_context(|| format!("cannot look at {}", path.display())),
        }
    }

    /// Connects to the host; `None` if none listens.
    ///
    /// # Errors
    /// Any other reason why not.
    pub async fn connect(&self) -> anyhow::Result<Option<UnixStream>> {
        match UnixStream::connect(self.socket()).await {
            Ok(stream) => Ok(Some(stream)),
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) =>
            {
                Ok(None)
            }
            Err(error) => {
                Err(error).with_context(|| format!("cannot connect to the host of {}", self.path.display()))
            }
        }
    }

    /// A socket's address holds 107 bytes; a longer path is reached through the open folder.
    fn socket(&self) -> PathBuf {
        let path = self.path.join(SOCKET);
        if path.as_os_str().len() <= SOCKET_PATH_MAX {
            return path;
        }
        PathBuf::from(format!("/proc/self/fd/{}", self.folder.as_raw_fd())).join(SOCKET)
    }

    /// The key that authenticates compiled components in the cache; made when first needed.
    ///
    /// # Errors
    /// When it cannot be read or made.
    pub fn cache_key(&self) -> anyhow::Result<[u8; 32]> {
        let path = self.folder("keys")?.join("cache.key");
        if let Some(key) = read_key(&path)? {
            return Ok(key);
        }
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|error| anyhow!("no random bytes: {error}"))?;
        let mut file = tempfile::NamedTempFile::new_in(self.folder("keys")?)?;
        file.write_all(&key)?;
        file.as_file().sync_all()?;
        // Two that start at once: the first key stays, and both use it.
        let _lost_the_race = file.persist_noclobber(&path).is_err();
        read_key(&path)?.with_context(|| format!("cannot write {}", path.display()))
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn check(path: &Path, folder: &File) -> anyhow::Result<()> {
    let metadata = folder.metadata()?;
    let (owner, me) = (metadata.uid(), rustix::process::geteuid().as_raw());
    ensure!(owner == me, "the home {} belongs to uid {owner}, not to you (uid {me})", path.display());
    let mode = metadata.mode() & 0o777;
    ensure!(
        mode & 0o022 == 0,
        "others may write into the home {} (mode {mode:o}): chmod 700 {}",
        path.display(),
        path.display()
    );
    Ok(())
}

fn read_key(path: &Path) -> anyhow::Result<Option<[u8; 32]>> {
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::CLOEXEC).bits())?;
    let mut file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let mut key = [0; 32];
    file.read_exact(&mut key)
        .with_context(|| format!("{} is damaged: delete it, and a new one is made", path.display()))?;
    Ok(Some(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_mode(mode: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("home");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        (folder, path)
    }

    #[test]
    fn a_home_that_others_may_write_into_is_refused() {
        for (mode, good) in [(0o700, true), (0o755, true), (0o770, false), (0o777, false), (0o702, false)] {
            let (_folder, path) = with_mode(mode);
            assert_eq!(Home::open(&path).is_ok(), good, "{mode:o}");
        }
    }

    #[test]
    fn a_symlink_is_no_home() {
        let (folder, path) = with_mode(0o700);
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let error = Home::open(&link).unwrap_err().to_string();
        assert!(error.contains("is a symlink"), "{error}");
    }

    #[test]
    fn a_new_home_is_ours_alone_and_its_key_stays() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open_or_make(&folder.path().join("a/b")).unwrap();
        assert_eq!(fs::metadata(home.path()).unwrap().mode() & 0o777, 0o700);
        let key = home.cache_key().unwrap();
        assert_eq!(home.cache_key().unwrap(), key);
        assert_ne!(key, [0; 32]);
        assert_eq!(fs::metadata(home.path().join("keys/cache.key")).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_home_has_one_owner_at_a_time() {
        let (_folder, path) = with_mode(0o700);
        let home = Home::open(&path).unwrap().unwrap();
        let first = home.lock().unwrap();
        assert!(matches!(first, Locked::Ours(_)));
        assert!(matches!(home.lock().unwrap(), Locked::Theirs));
        drop(first);
        assert!(matches!(home.lock().unwrap(), Locked::Ours(_)));
    }

    #[tokio::test]
    async fn a_long_path_and_a_stale_socket_are_no_obstacle() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["short".to_owned(), "x".repeat(120)] {
            let home = Home::open_or_make(&folder.path().join(name)).unwrap();
            let Locked::Ours(lock) = home.lock().unwrap() else { panic!("nobody else is here") };
            assert!(home.connect().await.unwrap().is_none());
            drop(home.listen(&lock).unwrap());
            assert!(home.connect().await.unwrap().is_none(), "stale");
            let listener = home.listen(&lock).unwrap();
            assert!(home.connect().await.unwrap().is_some());
            assert_eq!(fs::metadata(home.path().join(SOCKET)).unwrap().mode() & 0o777, 0o600);
            drop(listener);
        }
    }
}
