//! One pass over the bytes: type, size, checksum and sameness are settled on the way into the
//! store, so that nothing becomes visible that is refused.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use helix_ids::ArtifactType;
use tokio_util::sync::CancellationToken;

use super::order::Wanted;
use crate::artifacts::{self, ArtifactError, Door, ImportSource, Store, Stored};

/// What the sniffers look at.
const HEAD_BYTES: usize = 64 * 1024;

/// Where bytes are read from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    Inline(Arc<str>),
    Beneath(Door, String),
}

/// What is about to come in: its size and type are known, and none of it is stored.
#[derive(Debug)]
pub(super) struct Opened {
    bytes: Bytes,
    artifact_type: ArtifactType,
}

#[derive(Debug)]
enum Bytes {
    Inline(Arc<str>),
    File(ImportSource),
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

impl Opened {
    /// Bytes that it has, by its own word; copying holds it to that.
    pub(super) fn size_bytes(&self) -> u64 {
        match &self.bytes {
            Bytes::Inline(text) => text.len() as u64,
            Bytes::File(file) => file.size_bytes(),
        }
    }
}

/// Opens a source of at most `file_max` bytes and looks at its head. A file is read until `stop`.
pub(super) fn open(
    source: &Source,
    wanted: &Wanted,
    file_max: u64,
    stop: &CancellationToken,
) -> Result<Opened, Refusal> {
    match source {
        Source::Inline(text) => {
            let name = wanted.label.as_ref().map_or("", |label| label.as_str());
            let head = text.as_bytes();
            let artifact_type = admit_type(head.get(..HEAD_BYTES).unwrap_or(head), name, wanted.hint)?;
            Ok(Opened { bytes: Bytes::Inline(text.clone()), artifact_type })
        }
        Source::Beneath(door, path) => {
            let file = artifacts::open_beneath(door, path).map_err(Refusal::Store)?;
            let head = head_of(&file).map_err(unreadable)?;
            let stop = stop.clone();
            let source = ImportSource::new(file, file_max).map_err(Refusal::Store)?;
            let source = source.stop_when(move || stop.is_cancelled());
            let artifact_type = admit_type(&head, path, wanted.hint)?;
            Ok(Opened { bytes: Bytes::File(source), artifact_type })
        }
    }
}

/// Copies what was opened into the store. `progress` gets the bytes so far and in all.
pub(super) fn copy(
    store: &Store,
    opened: Opened,
    wanted: &Wanted,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Copied, Refusal> {
    store.admit().map_err(Refusal::Store)?;
    let total = opened.size_bytes();
    let mut so_far = |done| progress(done, total);
    let Opened { bytes, artifact_type } = opened;
    let stored = match bytes {
        Bytes::Inline(text) => store.put_expecting(&mut text.as_bytes(), wanted.checksum, total, &mut so_far),
        Bytes::File(mut file) => store.put_expecting(&mut file, wanted.checksum, total, &mut so_far),
    };
    Ok(Copied { stored: stored.map_err(Refusal::Store)?, artifact_type })
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

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test writes the files that it imports")]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::{Path, PathBuf};

    use helix_ids::Digest;
    use tempfile::TempDir;

    use super::*;
    use crate::artifacts::Private;

    const READS: &str = "@r1\nACGT\n+\nIIII\n";
    const FILE_MAX: u64 = 1_000;

    struct Place {
        _keep: TempDir,
        root: PathBuf,
        store: Store,
    }

    fn place() -> Place {
        let keep = TempDir::new().unwrap();
        let (root, home) = (keep.path().join("root"), keep.path().join("home"));
        fs::create_dir(&root).unwrap();
        fs::write(root.join("r.fastq"), READS).unwrap();
        Place { root, store: Store::open(&home, 0).unwrap(), _keep: keep }
    }

    impl Place {
        fn import(&self, path: &str, wanted: &Wanted, file_max: u64) -> Result<Copied, Refusal> {
            let source = Source::Beneath(self.door(), path.to_owned());
            let opened = open(&source, wanted, file_max, &CancellationToken::new())?;
            copy(&self.store, opened, wanted, &mut |_done, _total| {})
        }

        fn door(&self) -> Door {
            let none = Path::new("/nonexistent");
            Door::new(&self.root, Private::new(none, none, []))
        }

        fn stores(&self, bytes: &str) -> bool {
            self.store.has(&Digest::of(bytes.as_bytes()), bytes.len() as u64)
        }
    }

    #[test]
    fn i5_what_came_in_hashes_to_its_name() {
        let place = place();
        let copied = place.import("r.fastq", &Wanted::default(), FILE_MAX).unwrap();
        assert_eq!(copied.artifact_type, ArtifactType::Fastq);
        assert_eq!(copied.stored.digest, Digest::of(READS.as_bytes()));
        assert!(place.stores(READS));

        let inline = Source::Inline(READS.into());
        let opened = open(&inline, &Wanted::default(), FILE_MAX, &CancellationToken::new()).unwrap();
        let again = copy(&place.store, opened, &Wanted::default(), &mut |_, _| {}).unwrap();
        assert_eq!(again.stored.digest, copied.stored.digest);
    }

    #[test]
    fn what_is_refused_is_not_stored() {
        let place = place();
        let hinted = Wanted { hint: Some(ArtifactType::Bam), ..Wanted::default() };
        let expecting = Wanted { checksum: Some(Digest::of(b"other")), ..Wanted::default() };
        let bam = place.import("r.fastq", &hinted, FILE_MAX);
        assert!(matches!(bam, Err(Refusal::Type { hint: ArtifactType::Bam, sniffed: ArtifactType::Fastq })));
        let other = place.import("r.fastq", &expecting, FILE_MAX);
        assert!(matches!(other, Err(Refusal::Store(ArtifactError::Unexpected { .. }))));
        let large = place.import("r.fastq", &Wanted::default(), 5);
        assert!(matches!(large, Err(Refusal::Store(ArtifactError::TooLarge { limit_bytes: 5 }))));
        assert!(!place.stores(READS));
    }

    #[test]
    fn what_nobody_wants_any_more_stops_between_two_reads() {
        let place = place();
        let stop = CancellationToken::new();
        let source = Source::Beneath(place.door(), "r.fastq".to_owned());
        let opened = open(&source, &Wanted::default(), FILE_MAX, &stop).unwrap();
        stop.cancel();
        let stopped = copy(&place.store, opened, &Wanted::default(), &mut |_done, _total| {});
        assert!(matches!(stopped, Err(Refusal::Store(ArtifactError::Cancelled))), "{stopped:?}");
        assert!(!place.stores(READS));
        let left = fs::read_dir(place.root.parent().unwrap().join("home/incoming")).unwrap().count();
        assert_eq!(left, 0, "something is left of it");
    }

    #[test]
    fn i5_no_path_leads_out_of_the_root() {
        let place = place();
        let secret = place.root.parent().unwrap().join("secret.fastq");
        fs::write(&secret, "@secret\nA\n+\nI\n").unwrap();
        symlink(&secret, place.root.join("link.fastq")).unwrap();
        symlink("link.fastq", place.root.join("chain.fastq")).unwrap();
        fs::create_dir(place.root.join("folder")).unwrap();
        let absolute = secret.to_str().unwrap();
        let paths = [
            "../secret.fastq",
            absolute,
            "file:///etc/passwd",
            "C:\\x",
            "\\\\srv\\x",
            "a/../../secret.fastq",
            "a//b",
            "./r.fastq",
            "r.fastq/",
            "folder",
            "link.fastq",
            "chain.fastq",
            "missing.fastq",
            "",
            ".",
            "..",
            "a\0b",
        ];
        let mut messages = std::collections::BTreeSet::new();
        for path in paths {
            match place.import(path, &Wanted::default(), FILE_MAX) {
                Err(Refusal::Store(ArtifactError::Path { code: "import_path_denied", message })) => {
                    messages.insert(message);
                }
                other => panic!("{path:?}: {other:?}"),
            }
        }
        assert!(messages.iter().all(|message| !message.contains("secret")), "{messages:?}");
        assert!(place.import("r.fastq", &Wanted::default(), FILE_MAX).is_ok());
    }

    #[test]
    fn the_head_leaves_the_file_where_it_was() {
        let place = place();
        fs::write(place.root.join("long"), "x".repeat(HEAD_BYTES + 10)).unwrap();
        let file = File::open(place.root.join("long")).unwrap();
        assert_eq!(head_of(&file).unwrap().len(), HEAD_BYTES);
        assert_eq!(head_of(&file).unwrap().len(), HEAD_BYTES);
        assert_eq!(head_of(&tempfile::tempfile().unwrap()).unwrap(), b"");
    }
}
