//! Compiled components on disk. An entry is used only if its authentication code is right: a
//! compiled component is native code, so a planted file would be an open door.

use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::PathBuf;

use helix_ids::Digest;
use hmac::{Hmac, KeyInit, Mac};
use rustix::fs::{MemfdFlags, SealFlags};
use sha2::Sha256;

use crate::sandbox::protocol::{CompileLimits, Inspection};

/// Bytes of an authentication code.
const MAC_BYTES: usize = 32;

/// Largest entry. Compiled code is about three times its component.
const ENTRY_BYTES_MAX: u64 = 1 << 30;

/// The folder of compiled components.
pub struct Cache {
    folder: PathBuf,
    key: [u8; 32],
}

/// What a compiled form depends on. Limits are part of it, so that a component which a tighter
/// policy would refuse is looked at again.
#[derive(Clone)]
pub struct Key(Digest);

impl Key {
    pub fn new(component: &Digest, engine: &str, limits: &CompileLimits) -> Self {
        let CompileLimits {
            component_bytes,
            body_bytes,
            functions,
            instances,
            imports,
            memory_bytes,
            cpu,
            guest_memory_bytes,
        } = limits;
        let text = format!(
            "helixmcp compiled 1\n{component}\n{engine}\n{component_bytes} {body_bytes} {functions} {instances} \
             {imports} {memory_bytes} {} {guest_memory_bytes}\n{}\n",
            cpu.as_millis(),
            env!("CARGO_PKG_VERSION"),
        );
        Self(Digest::of(text.as_bytes()))
    }
}

impl Cache {
    pub fn new(folder: PathBuf, key: [u8; 32]) -> Self {
        Self { folder, key }
    }

    /// The compiled form in a sealed file. Whatever is wrong with an entry makes it a miss.
    pub fn get(&self, key: &Key) -> Option<(Inspection, OwnedFd)> {
        let file = File::open(self.path(key)).ok()?;
        let length = file.metadata().ok().filter(|metadata| metadata.is_file())?.len();
        let mut entry = Vec::with_capacity(usize::try_from(length.min(ENTRY_BYTES_MAX)).ok()?);
        file.take(ENTRY_BYTES_MAX).read_to_end(&mut entry).ok()?;
        let (mac, content) = entry.split_first_chunk::<MAC_BYTES>()?;
        // Compared in constant time, though whoever writes here can only guess anyway.
        self.mac(key, content).verify_slice(mac).ok()?;
        let (length, content) = content.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (inspection, code) = content.split_at_checked(length)?;
        Some((serde_json::from_slice(inspection).ok()?, sealed(code).ok()?))
    }

    /// Keeps what a runner compiled, and gives it back sealed.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn put(&self, key: &Key, inspection: &Inspection, code: OwnedFd) -> io::Result<OwnedFd> {
        let inspection = serde_json::to_vec(inspection)?;
        let code = File::from(code);
        let length = code.metadata()?.len();
        if length > ENTRY_BYTES_MAX {
            return Err(io::Error::other("the compiled form is larger than the cache takes"));
        }
        let mut content = Vec::new();
        content.extend_from_slice(&u32::try_from(inspection.len()).map_err(io::Error::other)?.to_le_bytes());
        content.extend_from_slice(&inspection);
        let start = content.len();
        content.resize(start + usize::try_from(length).map_err(io::Error::other)?, 0);
        let bytes = content.get_mut(start..).unwrap_or_default();
        code.read_exact_at(bytes, 0)?;
        // A copy of what was read: the runner still holds the file that it wrote.
        let sealed = sealed(bytes)?;
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let mut entry = tempfile::NamedTempFile::new_in(&self.folder)?;
        entry.write_all(&self.mac(key, &content).finalize().into_bytes())?;
        entry.write_all(&content)?;
        // No sync: after a crash a torn entry is a miss like any other.
        entry.persist(self.path(key)).map_err(|error| error.error)?;
        Ok(sealed)
    }

    fn path(&self, Key(digest): &Key) -> PathBuf {
        self.folder.join(format!("{}.cwasm", digest.to_hex()))
    }

    fn mac(&self, Key(digest): &Key, content: &[u8]) -> Hmac<Sha256> {
        // HMAC fills a short key up with zeros to its block; so filled up it has the fixed size.
        let mut block = [0; 64];
        let (start, _zeros) = block.split_at_mut(self.key.len());
        start.copy_from_slice(&self.key);
        let mut mac = Hmac::<Sha256>::new(&block.into());
        mac.update(digest.as_bytes());
        mac.update(content);
        mac
    }
}

/// A file in memory, for a runner to write into.
pub fn empty() -> io::Result<OwnedFd> {
    Ok(rustix::fs::memfd_create("helixmcp", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?)
}

/// A file in memory that nobody can change any more.
pub fn sealed(bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(empty()?);
    file.write_all(bytes)?;
    let all = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&file, all)?;
    Ok(file.into())
}
