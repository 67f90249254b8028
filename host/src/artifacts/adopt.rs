//! Files that a container left behind become objects: moved, not copied, where that is safe.

use std::fs::File;
use std::io as std_io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use helix_ids::Digest;
use rustix::fs::{Gid, Mode, Uid};
use rustix::io::Errno;

use super::ArtifactError;
use super::error::io;
use super::folder::Folder;
use super::store::{Incoming, Store, Stored, prove};

/// A regular file with one name, in a folder that nobody writes into any more.
#[derive(Debug)]
pub struct Left {
    pub folder: OwnedFd,
    pub name: String,
    /// That file, open for reading.
    pub file: File,
}

impl Store {
    /// Makes a file an object. It is hashed once and moved; where it lies on another file system, or
    /// cannot be made our own, it is copied, and stays where it is. `note` hears the digest and the
    /// size when they are known, before the file can be gone from where it was.
    ///
    /// Whoever could write to the file must be gone: the name and the modes are taken from them here,
    /// an open descriptor would not be.
    ///
    /// # Errors
    /// [`ArtifactError::Changed`], [`ArtifactError::TooLarge`], [`ArtifactError::Full`],
    /// [`ArtifactError::Io`]; the file is where it was then.
    pub fn adopt(
        &self,
        left: Left,
        limit_bytes: u64,
        note: &mut dyn FnMut(&Digest, u64) -> std_io::Result<()>,
    ) -> Result<Stored, ArtifactError> {
        let Left { folder, name, mut file } = left;
        let facts = file.metadata().map_err(io("look at a capture"))?;
        if facts.size() > limit_bytes {
            return Err(ArtifactError::TooLarge { limit_bytes });
        }
        let here = rustix::fs::fstat(&self.objects).map_err(io("look at the objects"))?;
        if here.st_dev != facts.dev() || !make_ours(&file)? {
            let stored = self.put(&mut file, limit_bytes, &mut |_bytes| {})?;
            note(&stored.digest, stored.size_bytes).map_err(io("note a capture"))?;
            return Ok(stored);
        }
        let (digest, seal) = prove(&mut file)?;
        note(&digest, seal.size_bytes).map_err(io("note a capture"))?;
        let folder = Folder::from_open(folder);
        let named = folder.identity_of(&name).map_err(io("look at a capture"))?;
        if named != (seal.device, seal.inode) || seal.size_bytes > limit_bytes {
            return Err(ArtifactError::Changed);
        }
        let incoming = Incoming { file, name: Some(name), folder: Arc::new(folder), is_ours: false };
        self.make_object(incoming, digest, seal.size_bytes)
    }
}

/// Takes the file from its owner: ours, and read-only. `false` where we may not.
fn make_ours(file: &File) -> Result<bool, ArtifactError> {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    match rustix::fs::fchown(file, Some(Uid::from_raw(uid.as_raw())), Some(Gid::from_raw(gid.as_raw()))) {
        Ok(()) => {}
        Err(Errno::PERM) => return Ok(false),
        Err(error) => return Err(io("take over a capture")(error)),
    }
    let read_only = Mode::RUSR | Mode::RGRP | Mode::ROTH;
    rustix::fs::fchmod(file, read_only).map_err(io("take over a capture"))?;
    Ok(true)
}
