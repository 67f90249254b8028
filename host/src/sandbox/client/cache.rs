//! Compiled components on disk. An entry is used only if its authentication code is right: a
//! compiled component is native code, so a planted file would be an open door.

use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use helix_ids::Digest;
use hmac::{Hmac, KeyInit, Mac};
use rustix::fs::{MemfdFlags, SealFlags, Timespec, Timestamps, UTIME_NOW};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::sandbox::protocol::{CompileLimits, Inspection};

/// How a file of the cache ends that holds a compiled form, and one that holds what was found in a
/// component.
const FORM: &str = "cwasm";
const SEEN: &str = "seen";

/// Bytes of an authentication code.
const MAC_BYTES: usize = 32;

/// Compiled code is about three times its component, and up to nine times a very small one. More
/// than this is no honest compiler's work (invariant I-9).
const CODE_PER_COMPONENT_MAX: u64 = 16;

/// Code that any component may have: thousands of functions that do nothing take a few bytes each
/// in a component, and some hundred compiled.
const CODE_BYTES_MORE: u64 = 32 << 20;

/// Entries that are kept, about a megabyte each. Far more than a policy lists: an entry is for one
/// component under one policy's limits and one engine, and old ones are never asked for again.
const ENTRIES_MAX: usize = 64;

/// Largest note of what was found in a component: names of its imports and exports, and counts.
const SEEN_BYTES_MAX: u64 = 1 << 20;

/// After so long a file that is no entry is what a crash left of a write.
const DRAFT_LIFE: Duration = Duration::from_secs(60 * 60);

/// The folder of compiled components.
pub struct Cache {
    folder: PathBuf,
    key: [u8; 32],
}

/// What was found in a component when it was loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    pub inspection: Inspection,
    /// Of the text of its manifest, which kept every rule.
    pub manifest: Digest,
}

/// What a compiled form depends on. Limits are part of it, so that a component which a tighter
/// policy would refuse is looked at again.
#[derive(Clone)]
pub struct Key {
    digest: Digest,
    /// What policy lets a component have.
    component_bytes_max: u64,
}

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
        Self { digest: Digest::of(text.as_bytes()), component_bytes_max: *component_bytes }
    }

    /// Most bytes of the compiled form of a component of this size, by its runner's word, which counts
    /// up to what policy allows.
    fn code_bytes_max(&self, component_bytes: u64) -> u64 {
        let component_bytes = component_bytes.min(self.component_bytes_max);
        component_bytes.saturating_mul(CODE_PER_COMPONENT_MAX).saturating_add(CODE_BYTES_MORE)
    }

    /// The key of what was found in the component when it lay in the file that this seal is of. An
    /// entry under it is never taken for a compiled form: its authentication code is another's.
    pub fn of_file(&self, seal: &str) -> Self {
        let text = format!("helixmcp seen 1\n{}\n{seal}\n", self.digest);
        Self { digest: Digest::of(text.as_bytes()), ..*self }
    }
}

impl Cache {
    pub fn new(folder: PathBuf, key: [u8; 32]) -> Self {
        Self { folder, key }
    }

    /// The compiled form in a sealed file. Whatever is wrong with an entry makes it a miss.
    pub fn get(&self, key: &Key) -> Option<(Inspection, OwnedFd)> {
        // What stands before the code is small beside the bytes that any may have more.
        let most = key.code_bytes_max(u64::MAX).saturating_add(CODE_BYTES_MORE);
        let entry = read(&self.path(key, FORM), most)?;
        let content = self.authentic(key, &entry)?;
        let (length, content) = content.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (inspection, code) = content.split_at_checked(length)?;
        Some((serde_json::from_slice(inspection).ok()?, sealed(code).ok()?))
    }

    /// What was found in the component of a sealed file.
    pub fn seen(&self, key: &Key) -> Option<Seen> {
        let entry = read(&self.path(key, SEEN), SEEN_BYTES_MAX)?;
        serde_json::from_slice(self.authentic(key, &entry)?).ok()
    }

    /// Keeps what was found in the component of a sealed file.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn keep_seen(&self, key: &Key, seen: &Seen) -> io::Result<()> {
        let content = serde_json::to_vec(seen)?;
        self.write(key, SEEN, &content)?;
        self.remove_unused();
        Ok(())
    }

    /// Forgets what was found in a component. What cannot be removed is found out again.
    #[expect(clippy::disallowed_methods, reason = "the cache's files are its own")]
    pub fn forget_seen(&self, key: &Key) {
        if let Err(error) = std::fs::remove_file(self.path(key, SEEN)) {
            tracing::debug!(%error, "a note stays in the cache");
        }
    }

    /// An entry's content, if we made it for this key.
    fn authentic<'a>(&self, key: &Key, entry: &'a [u8]) -> Option<&'a [u8]> {
        let (mac, content) = entry.split_first_chunk::<MAC_BYTES>()?;
        // Compared in constant time, though whoever writes here can only guess anyway.
        self.mac(key, content).verify_slice(mac).ok()?;
        Some(content)
    }

    fn write(&self, key: &Key, kind: &str, content: &[u8]) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let mut entry = tempfile::NamedTempFile::new_in(&self.folder)?;
        entry.write_all(&self.mac(key, content).finalize().into_bytes())?;
        entry.write_all(content)?;
        // No sync: after a crash a torn entry is a miss like any other.
        entry.persist(self.path(key, kind)).map_err(|error| error.error)?;
        Ok(())
    }

    /// Keeps what a runner compiled, and gives it back sealed.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn put(&self, key: &Key, inspection: &Inspection, code: OwnedFd) -> io::Result<OwnedFd> {
        let code_bytes_max = key.code_bytes_max(inspection.size_bytes);
        let inspection = serde_json::to_vec(inspection)?;
        let code = File::from(code);
        let length = code.metadata()?.len();
        if length > code_bytes_max {
            return Err(io::Error::other("the compiled form is larger than its component explains"));
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
        self.write(key, FORM, &content)?;
        self.remove_unused();
        Ok(sealed)
    }

    /// Keeps the entries that were used last. What cannot be removed is tried again with the next.
    #[expect(clippy::disallowed_methods, reason = "the cache's files are its own")]
    fn remove_unused(&self) {
        let mut entries: Vec<(SystemTime, PathBuf)> = Vec::new();
        let mut seen = Vec::new();
        let mut drafts = Vec::new();
        for file in std::fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let Ok(used) = file.metadata().and_then(|metadata| metadata.modified()) else { continue };
            let path = file.path();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some(FORM) => entries.push((used, path)),
                Some(SEEN) => seen.push((used, path)),
                Some(_) | None => drafts.push((used, path)),
            }
        }
        entries.sort_unstable_by(|one, other| other.cmp(one));
        seen.sort_unstable_by(|one, other| other.cmp(one));
        // One was written just now: its time is the time.
        let Some(now) = entries.first().max(seen.first()).map(|(used, _)| *used) else { return };
        let is_old = |used: &SystemTime| now.duration_since(*used).is_ok_and(|age| age > DRAFT_LIFE);
        let old = drafts.into_iter().filter(|(used, _)| is_old(used));
        for (_, path) in
            old.chain(entries.into_iter().skip(ENTRIES_MAX)).chain(seen.into_iter().skip(ENTRIES_MAX))
        {
            if let Err(error) = std::fs::remove_file(&path) {
                tracing::debug!(%error, path = %path.display(), "an unused entry stays in the cache");
            }
        }
    }

    fn path(&self, Key { digest, .. }: &Key, kind: &str) -> PathBuf {
        self.folder.join(format!("{}.{kind}", digest.to_hex()))
    }

    fn mac(&self, Key { digest, .. }: &Key, content: &[u8]) -> Hmac<Sha256> {
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

/// The bytes of an entry, which is marked as used.
fn read(path: &Path, bytes_max: u64) -> Option<Vec<u8>> {
    let file = File::open(path).ok()?;
    let length = file.metadata().ok().filter(|metadata| metadata.is_file())?.len();
    used_now(&file);
    let mut entry = Vec::with_capacity(usize::try_from(length.min(bytes_max)).ok()?);
    file.take(bytes_max).read_to_end(&mut entry).ok()?;
    Some(entry)
}

/// Marks an entry as used. Where that cannot be, it only looks older than it is.
fn used_now(file: &File) {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let _looks_older =
        rustix::fs::futimens(file, &Timestamps { last_access: now, last_modification: now }).is_err();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> CompileLimits {
        CompileLimits {
            component_bytes: 1,
            body_bytes: 1,
            functions: 1,
            instances: 1,
            imports: 1,
            memory_bytes: 1,
            cpu: Duration::from_secs(1),
            guest_memory_bytes: 1,
        }
    }

    fn inspection(size_bytes: u64) -> Inspection {
        serde_json::from_value(serde_json::json!({
            "size_bytes": size_bytes, "imports": [], "exports": [], "functions": 1, "largest_body_bytes": 1,
            "core_modules": 1, "memories_min_bytes": 1,
        }))
        .unwrap()
    }

    fn put(cache: &Cache, component: usize) -> Key {
        let key = Key::new(&Digest::of(&component.to_le_bytes()), "engine", &limits());
        let code = File::from(empty().unwrap());
        code.write_all_at(b"code", 0).unwrap();
        cache.put(&key, &inspection(1), code.into()).unwrap();
        key
    }

    #[test]
    fn i9_a_compiled_form_is_no_larger_than_its_component_explains() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().join("cache"), [7; 32]);
        let limits = CompileLimits { component_bytes: 1 << 20, ..limits() };
        let key = Key::new(&Digest::of(b"component"), "engine", &limits);
        // A hole takes no memory, and is refused before it is read.
        let keeps = |component_bytes: u64, code_bytes: u64| {
            let code = File::from(empty().unwrap());
            code.set_len(code_bytes).unwrap();
            cache.put(&key, &inspection(component_bytes), code.into()).is_ok()
        };
        assert!(keeps(1 << 16, 16 << 16));
        assert!(!keeps(1 << 16, (16 << 16) + CODE_BYTES_MORE + 1));
        assert!(
            !keeps(u64::MAX, (16 << 20) + CODE_BYTES_MORE + 1),
            "the runner's word is taken for any size"
        );
        assert!(cache.get(&key).is_some());
    }

    fn age(path: &std::path::Path, seconds: u64) {
        let file = File::options().write(true).open(path).unwrap();
        let before = file.metadata().unwrap().modified().unwrap() - Duration::from_secs(seconds);
        file.set_modified(before).unwrap();
    }

    #[test]
    fn what_was_seen_is_of_one_file_and_one_key() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().join("cache"), [7; 32]);
        let form = put(&cache, 1);
        let (inspection, _code) = cache.get(&form).unwrap();
        let seen = Seen { inspection, manifest: Digest::of(b"manifest") };
        let key = form.of_file("1 2 3");
        cache.keep_seen(&key, &seen).unwrap();
        assert_eq!(cache.seen(&key), Some(seen));
        assert_eq!(cache.seen(&form.of_file("1 2 4")), None);
        let other = Cache::new(folder.path().join("cache"), [8; 32]);
        assert_eq!(other.seen(&key), None);

        // One kind of entry is never taken for the other, wherever it is put.
        std::fs::copy(cache.path(&form, FORM), cache.path(&key, FORM)).unwrap();
        assert!(cache.get(&key).is_none());
        std::fs::copy(cache.path(&key, SEEN), cache.path(&form, SEEN)).unwrap();
        assert_eq!(cache.seen(&form), None);

        let good = std::fs::read(cache.path(&key, SEEN)).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(cache.path(&key, SEEN), &bad).unwrap();
            assert_eq!(cache.seen(&key), None, "byte {at}");
            std::fs::write(cache.path(&key, SEEN), &good[..at]).unwrap();
            assert_eq!(cache.seen(&key), None, "cut at {at}");
        }
    }

    #[test]
    fn i9_what_is_used_stays_and_the_cache_has_an_end() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().join("cache"), [7; 32]);
        let keys: Vec<Key> = (0..ENTRIES_MAX).map(|component| put(&cache, component)).collect();
        for (key, seconds) in keys.iter().zip((1..).step_by(10)) {
            age(&cache.path(key, FORM), 10_000 - seconds);
        }
        // The oldest is used; the one after it is then the one that was not for longest.
        assert!(cache.get(&keys[0]).is_some());
        for draft in [".tmp-old", ".tmp-new"] {
            File::create(folder.path().join("cache").join(draft)).unwrap();
        }
        age(&folder.path().join("cache/.tmp-old"), 2 * DRAFT_LIFE.as_secs());
        put(&cache, ENTRIES_MAX);

        assert!(cache.get(&keys[0]).is_some());
        assert!(cache.get(&keys[1]).is_none());
        assert!(keys[2..].iter().all(|key| cache.get(key).is_some()));
        let left = |name: &str| folder.path().join("cache").join(name).exists();
        assert!(!left(".tmp-old") && left(".tmp-new"));
    }
}
