//! What the host keeps for itself, and no door may lead to: the home with the ledger, the keys and
//! the socket, the policy file, and the store. Through an export root that holds the policy a caller
//! could write itself a policy; through an import root that holds the store it could read what other
//! projects keep.
//!
//! Places are compared by their real paths, and by device and inode, which a hard link and a mount
//! have in common with what they stand for. What lies below a folder that is mounted elsewhere is
//! recognised by neither.

use std::fs::Metadata;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::ArtifactError;
use super::error::io;

/// Folders of the home that hold data alone: `helixmcp init` makes them for roots.
const OPEN: [&str; 2] = ["import", "exports"];

/// Files of the home that somebody might link to from elsewhere.
const FILES: [&str; 5] =
    ["ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm", "keys/cache.key", "host.log"];

/// Folders of the home that somebody might mount elsewhere.
const FOLDERS: [&str; 3] = ["keys", "toolpacks", "cache"];

/// Folders of a store.
const SHELVES: [&str; 3] = ["objects", "incoming", "steps"];

/// The places of one home, by their real paths.
#[derive(Clone, Debug)]
pub struct Private {
    home: PathBuf,
    policy_file: PathBuf,
    stores: Vec<PathBuf>,
}

impl Private {
    /// `stores` are the folders that hold objects, the home itself where policy names none.
    #[must_use]
    pub fn new<'a>(home: &Path, policy_file: &Path, stores: impl IntoIterator<Item = &'a Path>) -> Self {
        Self {
            home: real(home),
            policy_file: real(policy_file),
            stores: stores.into_iter().map(real).collect(),
        }
    }

    /// Why a folder may be no root, as the end of a sentence about it; `None` if it may.
    #[must_use]
    pub fn objection(&self, folder: &Path) -> Option<String> {
        self.objection_to_real(&real(folder))
    }

    fn objection_to_real(&self, folder: &Path) -> Option<String> {
        let stores = self.stores.iter().map(|store| ("the store", store));
        let all =
            [("the home", &self.home), ("the policy file", &self.policy_file)].into_iter().chain(stores);
        for (what, place) in all {
            if place.starts_with(folder) {
                return Some(format!("holds {what} {}", place.display()));
            }
        }
        let is_open = OPEN.iter().any(|name| folder.starts_with(self.home.join(name)));
        if folder.starts_with(&self.home) && !is_open {
            return Some(format!("lies in the home {}", self.home.display()));
        }
        // A store that the home lies in is no reason against the home's own open folders.
        let closed = |store: &&PathBuf| !(is_open && self.home.starts_with(store));
        let within = self.stores.iter().filter(closed).find(|store| folder.starts_with(store));
        within.map(|store| format!("lies in the store {}", store.display()))
    }

    /// Whether an open folder is one of ours, or leads to one, by where it lies now.
    ///
    /// # Errors
    /// [`ArtifactError::Io`] when nobody can say.
    pub(super) fn reaches(&self, folder: impl AsFd) -> Result<bool, ArtifactError> {
        let folder = folder.as_fd();
        let link = format!("/proc/self/fd/{}", folder.as_raw_fd());
        let lies = std::fs::read_link(link).map_err(io("find out where a folder lies"))?;
        if self.objection_to_real(&lies).is_some() {
            return Ok(true);
        }
        let facts = rustix::fs::fstat(folder).map_err(io("look at a folder"))?;
        let own = FOLDERS.iter().map(|name| self.home.join(name)).chain([self.home.clone()]);
        let shelves = SHELVES.iter().flat_map(|name| self.stores.iter().map(move |store| store.join(name)));
        Ok(is_one_of((facts.st_dev, facts.st_ino), own.chain(shelves).chain(self.stores.iter().cloned())))
    }

    /// Whether an open file is one of ours under another name.
    ///
    /// # Errors
    /// [`ArtifactError::Io`].
    pub(super) fn holds(&self, file: impl AsFd) -> Result<bool, ArtifactError> {
        let facts = rustix::fs::fstat(file).map_err(io("look at the file"))?;
        let own = FILES.iter().map(|name| self.home.join(name)).chain([self.policy_file.clone()]);
        Ok(is_one_of((facts.st_dev, facts.st_ino), own))
    }
}

fn is_one_of(identity: (u64, u64), mut places: impl Iterator<Item = PathBuf>) -> bool {
    let of = |metadata: Metadata| (metadata.dev(), metadata.ino());
    places.any(|place| std::fs::metadata(place).is_ok_and(|metadata| of(metadata) == identity))
}

/// Where a path leads, all links followed; of what is not there yet, as far as it is.
#[must_use]
pub fn real(path: &Path) -> PathBuf {
    for there in path.ancestors() {
        if let Ok(found) = there.canonicalize() {
            let rest = path.strip_prefix(there).unwrap_or(Path::new(""));
            return if rest.as_os_str().is_empty() { found } else { found.join(rest) };
        }
    }
    path.to_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn lab() -> (tempfile::TempDir, PathBuf) {
        let keep = tempfile::tempdir().unwrap();
        let path = keep.path().canonicalize().unwrap();
        for folder in
            ["me/home/import", "me/home/exports/deep", "me/home/keys", "me/data", "store/objects", "etc"]
        {
            fs::create_dir_all(path.join(folder)).unwrap();
        }
        fs::write(path.join("etc/policy.toml"), "").unwrap();
        (keep, path)
    }

    fn private(path: &Path) -> Private {
        Private::new(&path.join("me/home"), &path.join("etc/policy.toml"), [&*path.join("store")])
    }

    #[test]
    fn no_root_holds_or_lies_in_what_is_private() {
        let (_keep, path) = lab();
        symlink("me/home", path.join("link")).unwrap();
        symlink(path.join("store/objects"), path.join("me/home/import/inward")).unwrap();
        symlink(path.join("me/data"), path.join("me/home/keys/outward")).unwrap();
        let private = private(&path);
        for (root, says) in [
            ("", "holds the home"),
            ("me", "holds the home"),
            ("me/home", "holds the home"),
            ("link", "holds the home"),
            ("link/keys", "lies in the home"),
            ("me/home/keys", "lies in the home"),
            ("me/home/not-there-yet", "lies in the home"),
            ("me/home/imports", "lies in the home"),
            ("me/home/import/inward", "lies in the store"),
            ("etc", "holds the policy file"),
            ("etc/policy.toml", "holds the policy file"),
            ("store", "holds the store"),
            ("store/objects", "lies in the store"),
            ("store/objects/ab/cd", "lies in the store"),
        ] {
            let objection = private.objection(&path.join(root)).unwrap_or_default();
            assert!(objection.starts_with(says), "{root}: {objection:?}");
        }
        for root in [
            "me/data",
            "me/not-there-yet",
            "me/home-of-data",
            "me/home/import",
            "me/home/import/deep",
            "me/home/exports/deep",
            "me/home/keys/outward",
            "storehouse",
        ] {
            assert_eq!(private.objection(&path.join(root)), None, "{root}");
        }
    }

    #[test]
    fn a_store_around_the_home_leaves_its_open_folders_open() {
        let (_keep, path) = lab();
        let home = path.join("me/home");
        for store in [path.join("me"), home.clone()] {
            let private = Private::new(&home, &home.join("policy.toml"), [&*store]);
            assert_eq!(private.objection(&home.join("import")), None);
            assert!(private.objection(&home.join("objects")).is_some());
        }
        let inside = home.join("import/store");
        let private = Private::new(&home, &home.join("policy.toml"), [&*inside]);
        assert!(private.objection(&home.join("import")).is_some());
        assert!(private.objection(&inside.join("objects")).is_some());
    }

    #[test]
    fn a_folder_and_a_file_are_known_by_what_they_are() {
        let (_keep, path) = lab();
        let private = private(&path);
        let open = |name: &str| fs::File::open(path.join(name)).unwrap();
        for (name, expected) in [
            ("me/home", true),
            ("me", true),
            ("store/objects", true),
            ("me/data", false),
            ("me/home/import", false),
        ] {
            assert_eq!(private.reaches(open(name)).unwrap(), expected, "{name}");
        }
        fs::hard_link(path.join("etc/policy.toml"), path.join("me/data/linked")).unwrap();
        fs::write(path.join("me/data/own"), "").unwrap();
        assert!(private.holds(open("me/data/linked")).unwrap());
        assert!(!private.holds(open("me/data/own")).unwrap());
    }
}
