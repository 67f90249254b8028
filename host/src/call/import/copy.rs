//! One pass over the bytes: type, size and sameness are checked on the way into the store, so
//! that nothing becomes visible that is refused.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::PathBuf;
use std::sync::Arc;

use helix_ids::{ArtifactType, Digest, DigestWriter};

use super::order::Wanted;
use crate::artifacts::{self, ArtifactError, Store, Stored};

/// What the sniffers look at.
const HEAD_BYTES: usize = 64 * 1024;

/// How much may come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) file_max: u64,
    pub(super) quota_left: u64,
}

/// Where bytes are read from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    Inline(Arc<str>),
    Beneath(PathBuf, String),
}

#[derive(Debug)]
pub(super) struct Copied {
    pub(super) stored: Stored,
    pub(super) artifact_type: ArtifactType,
}

/// Why the bytes did not come in.
#[derive(Debug)]
pub(super) enum Refusal {
    Type { hint: ArtifactType, sniffed: ArtifactType },
    Store(ArtifactError),
}

/// Copies a source into the store. `progress` gets the bytes so far and in all.
pub(super) fn copy(
    store: &Store,
    source: &Source,
    wanted: &Wanted,
    room: Room,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Copied, Refusal> {
    store.admit().map_err(Refusal::Store)?;
    let limit_bytes = room.file_max.min(room.quota_left);
    match source {
        Source::Inline(text) => copy_text(store, text.as_bytes(), wanted, limit_bytes),
        Source::Beneath(root, path) => {
            let file = artifacts::open_beneath(root, path).map_err(Refusal::Store)?;
            copy_file(store, &file, path, wanted, limit_bytes, progress)
        }
    }
}

fn copy_text(store: &Store, text: &[u8], wanted: &Wanted, limit_bytes: u64) -> Result<Copied, Refusal> {
    let name = wanted.label.as_ref().map_or("", |label| label.as_str());
    let head = text.get(..HEAD_BYTES).unwrap_or(text);
    let artifact_type = admit_type(head, name, wanted.hint)?;
    expect(wanted.checksum, Digest::of(text)).map_err(Refusal::Store)?;
    let stored = store.put(&mut &*text, limit_bytes, &mut |_done| {}).map_err(Refusal::Store)?;
    Ok(Copied { stored, artifact_type })
}

fn copy_file(
    store: &Store,
    file: &File,
    path: &str,
    wanted: &Wanted,
    limit_bytes: u64,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Copied, Refusal> {
    let before = Stamp::of(file).map_err(unreadable)?;
    // A sparse file claims what it likes; the store counts again while it copies.
    if before.size_bytes > limit_bytes {
        return Err(Refusal::Store(ArtifactError::TooLarge { limit_bytes }));
    }
    let artifact_type = admit_type(&head_of(file).map_err(unreadable)?, path, wanted.hint)?;
    let total = before.size_bytes;
    let mut watched = Watched { file, before, hasher: None, expected: wanted.checksum, refusal: None };
    if wanted.checksum.is_some() {
        watched.hasher = Some(DigestWriter::new(io::sink()));
    }
    let stored = store.put(&mut watched, limit_bytes, &mut |done| progress(done, total));
    match (stored, watched.refusal) {
        (Ok(stored), _) => Ok(Copied { stored, artifact_type }),
        (Err(_), Some(refusal)) => Err(Refusal::Store(refusal)),
        (Err(error), None) => Err(Refusal::Store(error)),
    }
}

/// The type of the bytes; a hint that they contradict is refused, one that they allow decides.
fn admit_type(head: &[u8], name: &str, hint: Option<ArtifactType>) -> Result<ArtifactType, Refusal> {
    match hint {
        Some(hint) if artifacts::agrees(head, hint) => Ok(hint),
        Some(hint) => Err(Refusal::Type { hint, sniffed: artifacts::sniff(head, name) }),
        None => Ok(artifacts::sniff(head, name)),
    }
}

fn unreadable(source: io::Error) -> Refusal {
    Refusal::Store(ArtifactError::Io { what: "read the file".to_owned(), source })
}

fn expect(expected: Option<Digest>, actual: Digest) -> Result<(), ArtifactError> {
    match expected {
        Some(expected) if expected != actual => Err(ArtifactError::Unexpected { expected, actual }),
        Some(_) | None => Ok(()),
    }
}

/// The first bytes, without moving the file's position.
fn head_of(file: &File) -> io::Result<Vec<u8>> {
    let mut head = vec![0; HEAD_BYTES];
    let mut filled = 0;
    while let Some(rest) = head.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    head.truncate(filled);
    Ok(head)
}

/// What the file system says of a file; a write by anybody changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size_bytes: u64,
    mtime: (i64, i64),
    ctime: (i64, i64),
}

impl Stamp {
    fn of(file: &File) -> io::Result<Self> {
        let meta = file.metadata()?;
        Ok(Self {
            device: meta.dev(),
            inode: meta.ino(),
            size_bytes: meta.size(),
            mtime: (meta.mtime(), meta.mtime_nsec()),
            ctime: (meta.ctime(), meta.ctime_nsec()),
        })
    }
}

/// A file whose end is only reached if it is still the file that was begun, with the checksum
/// that was expected. Else the last read fails, so that the store keeps nothing.
struct Watched<'a> {
    file: &'a File,
    before: Stamp,
    /// Only when a checksum is expected: the store hashes too, but says so when it is too late.
    hasher: Option<DigestWriter<io::Sink>>,
    expected: Option<Digest>,
    refusal: Option<ArtifactError>,
}

impl Watched<'_> {
    fn end(&mut self) -> io::Result<()> {
        let same = Stamp::of(self.file)? == self.before;
        let digest = self.hasher.take().map(|hasher| hasher.finish().1);
        let expected = digest.map_or(Ok(()), |digest| expect(self.expected, digest));
        let verdict = if same { expected } else { Err(ArtifactError::Changed) };
        verdict.map_err(|refusal| {
            self.refusal = Some(refusal);
            io::Error::other("refused at the end")
        })
    }
}

impl Read for Watched<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buf)?;
        if let (Some(hasher), Some(bytes)) = (&mut self.hasher, buf.get(..read)) {
            hasher.write_all(bytes)?;
        }
        if read == 0 && !buf.is_empty() {
            self.end()?;
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Seek as _;

    use super::*;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        file
    }

    fn watched(file: &File, expected: Option<Digest>) -> Watched<'_> {
        let hasher = expected.map(|_| DigestWriter::new(io::sink()));
        Watched { file, before: Stamp::of(file).unwrap(), hasher, expected, refusal: None }
    }

    #[test]
    fn i5_a_file_that_changes_while_it_is_read_is_refused() {
        let file = file(b"@r\nA\n+\nI\n");
        let mut reader = watched(&file, None);
        let mut bytes = [0; 4];
        reader.read_exact(&mut bytes).unwrap();
        (&file).write_all_at(b"X", 0).unwrap();
        file.set_len(20).unwrap();
        assert!(reader.read_to_end(&mut Vec::new()).is_err());
        assert!(matches!(reader.refusal, Some(ArtifactError::Changed)));
    }

    #[test]
    fn i5_another_checksum_is_refused_before_the_end_is_reached() {
        let bytes = b"ACGT".repeat(50_000);
        let file = file(&bytes);
        let mut read = Vec::new();
        watched(&file, Some(Digest::of(&bytes))).read_to_end(&mut read).unwrap();
        assert_eq!(read, bytes);

        (&file).rewind().unwrap();
        let mut reader = watched(&file, Some(Digest::of(b"other")));
        assert!(reader.read_to_end(&mut Vec::new()).is_err());
        assert!(matches!(reader.refusal, Some(ArtifactError::Unexpected { .. })));
    }

    #[test]
    fn the_head_leaves_the_file_where_it_was() {
        let bytes = b"x".repeat(HEAD_BYTES + 10);
        let mut file = file(&bytes);
        assert_eq!(head_of(&file).unwrap().len(), HEAD_BYTES);
        assert_eq!(file.stream_position().unwrap(), 0);
        assert_eq!(head_of(&tempfile::tempfile().unwrap()).unwrap(), b"");
    }
}
