use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use helix_ids::Digest;
use proptest::prelude::*;

use crate::artifacts::{ArtifactError, Store, Stored};

const LIMIT: u64 = 1 << 20;

fn put(store: &Store, bytes: &[u8]) -> Result<Stored, ArtifactError> {
    store.put(&mut &bytes[..], LIMIT, &mut |_bytes| ())
}

fn object(root: &Path, digest: &Digest) -> PathBuf {
    let hex = digest.to_hex();
    root.join("objects").join(hex.get(..2).unwrap()).join(hex.get(2..4).unwrap()).join(&hex)
}

/// Files under a folder, however deep.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

fn read(store: &Store, stored: &Stored) -> Vec<u8> {
    let (mut file, _seal) = store.open_object(&stored.digest, Some(&stored.seal)).unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

/// I-5: bytes hash to their name, once, read-only, and nothing else is left.
#[test]
fn i5_bytes_hash_to_their_name() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path(), 0).unwrap();
    let bytes = vec![7; 700_000];
    let mut told = Vec::new();
    let stored = store.put(&mut bytes.as_slice(), LIMIT, &mut |so_far| told.push(so_far)).unwrap();
    assert_eq!((stored.digest, stored.size_bytes), (Digest::of(&bytes), 700_000));
    assert_eq!(told.last(), Some(&700_000));
    assert_eq!(read(&store, &stored), bytes);
    assert!(store.has(&stored.digest, 700_000) && !store.has(&stored.digest, 1));

    let again = put(&store, &bytes).unwrap();
    assert_eq!(again, stored);
    let path = object(root.path(), &stored.digest);
    assert_eq!(files(root.path()), std::slice::from_ref(&path));
    assert_eq!(mode(&path), 0o444);
    assert_eq!(mode(&root.path().join("objects")), 0o700);
    let empty = put(&store, b"").unwrap();
    assert_eq!((empty.digest, read(&store, &empty).len()), (Digest::of(b""), 0));
}

/// R6: counted while it is read, and nothing becomes visible.
#[test]
fn too_many_bytes_leave_nothing() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path(), 0).unwrap();
    let refused = store.put(&mut io::repeat(1), LIMIT, &mut |_| ());
    assert!(matches!(refused, Err(ArtifactError::TooLarge { limit_bytes: LIMIT })), "{refused:?}");
    let expected = Digest::of(b"other");
    let refused = store.put_expecting(&mut b"bytes".as_slice(), Some(expected), LIMIT, &mut |_| ());
    assert!(matches!(refused, Err(ArtifactError::Unexpected { .. })), "{refused:?}");
    let good = store.put_expecting(&mut b"bytes".as_slice(), Some(Digest::of(b"bytes")), LIMIT, &mut |_| ());
    assert_eq!(files(root.path()), [object(root.path(), &good.unwrap().digest)]);
}

struct Breaks;

impl Read for Breaks {
    fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("the disk is gone"))
    }
}

#[test]
fn a_reader_that_breaks_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path(), 0).unwrap();
    let broken = store.put(&mut b"half".as_slice().chain(Breaks), LIMIT, &mut |_| ());
    assert!(matches!(broken, Err(ArtifactError::Io { .. })), "{broken:?}");
    assert!(files(root.path()).is_empty());
}

#[test]
fn below_the_floor_new_work_is_refused_and_reads_go_on() {
    let root = tempfile::tempdir().unwrap();
    let stored = put(&Store::open(root.path(), 0).unwrap(), b"bytes").unwrap();
    let full = Store::open(root.path(), u64::MAX).unwrap();
    assert!(matches!(put(&full, b"more"), Err(ArtifactError::Full { .. })));
    assert!(matches!(full.incoming(), Err(ArtifactError::Full { .. })));
    assert!(matches!(full.admit(), Err(ArtifactError::Full { .. })));
    assert_eq!(read(&full, &stored), b"bytes");
    full.keep_free(0);
    assert!(full.admit().is_ok() && put(&full, b"more").is_ok(), "the old floor counts");
}

#[test]
fn an_output_is_seen_once_it_is_kept() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path(), 0).unwrap();
    let dropped = store.incoming().unwrap();
    dropped.writer().unwrap().write_all(b"dropped").unwrap();
    assert_eq!(store.leftovers().unwrap().len(), 1);
    drop(dropped);
    assert!(files(root.path()).is_empty());

    let incoming = store.incoming().unwrap();
    incoming.writer().unwrap().write_all(b"report").unwrap();
    let stored = store.keep(incoming).unwrap();
    assert_eq!(stored, put(&store, b"report").unwrap());
    assert_eq!(files(root.path()), [object(root.path(), &stored.digest)]);
    let twin = store.incoming().unwrap();
    twin.writer().unwrap().write_all(b"report").unwrap();
    assert_eq!(store.keep(twin).unwrap(), stored);
}

/// What a crash left is swept by the next host, and an object is never left over.
#[test]
fn the_next_start_sweeps_what_is_not_whole() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path(), 0).unwrap();
    let stored = put(&store, b"whole").unwrap();
    fs::write(root.path().join("incoming/.half.part"), "half").unwrap();
    assert_eq!(Store::look(root.path()).unwrap().leftovers().unwrap(), [".half.part"]);
    let again = Store::open(root.path(), 0).unwrap();
    assert!(again.leftovers().unwrap().is_empty());
    assert_eq!(read(&again, &stored), b"whole");
}

/// I-5: before use, bytes are proved or sealed.
#[test]
fn i5_changed_bytes_are_never_handed_out() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path(), 0).unwrap();
    let stored = put(&store, b"bytes").unwrap();
    let path = object(root.path(), &stored.digest);

    // Touched, but the same: a full hash and a new seal.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let (_file, seal) = store.open_object(&stored.digest, Some(&stored.seal)).unwrap();
    assert_ne!(seal, stored.seal);
    assert_eq!(store.open_object(&stored.digest, Some(&seal)).unwrap().1, seal);

    fs::write(&path, b"BYTES").unwrap();
    for seal in [Some(&seal), None] {
        let damaged = store.open_object(&stored.digest, seal);
        assert!(matches!(damaged, Err(ArtifactError::Damaged { .. })), "{damaged:?}");
    }
    // Storing the bytes again heals it.
    let healed = put(&store, b"bytes").unwrap();
    assert_eq!(read(&store, &healed), b"bytes");

    fs::remove_file(&path).unwrap();
    let missing = store.open_object(&stored.digest, Some(&seal));
    assert!(matches!(missing, Err(ArtifactError::Missing { .. })), "{missing:?}");
}

/// F19: what somebody planted in the place of an object is not followed.
#[test]
fn a_planted_link_is_no_object() {
    let root = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let store = Store::open(root.path(), 0).unwrap();
    let digest = Digest::of(b"bytes");
    let path = object(root.path(), &digest);
    fs::write(outside.path().join("bytes"), b"bytes").unwrap();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(outside.path().join("bytes"), &path).unwrap();
    assert!(matches!(store.open_object(&digest, None), Err(ArtifactError::Missing { .. })));
    assert!(!store.has(&digest, 5));
    assert!(put(&store, b"bytes").is_err());

    // A linked shelf would let objects be written elsewhere.
    let other = Digest::of(b"other");
    let shelf = object(root.path(), &other).parent().unwrap().parent().unwrap().to_owned();
    std::os::unix::fs::symlink(outside.path(), &shelf).unwrap();
    let refused = put(&store, b"other");
    assert!(matches!(refused, Err(ArtifactError::Path { code: "store_unsafe", .. })), "{refused:?}");
    assert_eq!(files(outside.path()).len(), 1);
}

/// R39: a store that others can write into, or that is not where it seems, is not opened.
#[test]
fn an_unsafe_root_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("store");
    Store::open(&root, 0).unwrap();
    let refused = |path: &Path| {
        let refused = Store::open(path, 0);
        assert!(matches!(refused, Err(ArtifactError::Path { code: "store_unsafe", .. })), "{refused:?}");
    };
    let link = home.path().join("link");
    std::os::unix::fs::symlink(&root, &link).unwrap();
    refused(&link);
    for (folder, unsafe_mode) in [("", 0o777), ("", 0o770), ("objects", 0o702), ("incoming", 0o720)] {
        let path = root.join(folder);
        fs::set_permissions(&path, fs::Permissions::from_mode(unsafe_mode)).unwrap();
        refused(&root);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    }
    // Where this process may give a folder away, one that is not ours is refused too.
    if std::os::unix::fs::chown(&root, Some(12_345), None).is_ok() {
        refused(&root);
    }
}

#[derive(Clone, Debug)]
enum Ask {
    Put(u8),
    Keep(u8),
    Drop(u8),
    Lose(u8),
    Damage(u8),
    Reopen,
}

fn asks() -> impl Strategy<Value = Vec<Ask>> {
    let name = 0..6_u8;
    let ask = prop_oneof![
        4 => name.clone().prop_map(Ask::Put),
        2 => name.clone().prop_map(Ask::Keep),
        1 => name.clone().prop_map(Ask::Drop),
        1 => name.clone().prop_map(Ask::Lose),
        1 => name.prop_map(Ask::Damage),
        1 => Just(Ask::Reopen),
    ];
    proptest::collection::vec(ask, 0..40)
}

fn bytes_of(name: u8) -> Vec<u8> {
    vec![name; usize::from(name) * 300]
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stands {
    Whole,
    Damaged,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Q11: random asks, against a map.
    #[test]
    fn the_store_is_a_map(asks in asks()) {
        let root = tempfile::tempdir().unwrap();
        let mut store = Store::open(root.path(), 0).unwrap();
        let mut model = BTreeMap::new();
        for ask in asks {
            match ask {
                Ask::Put(name) => {
                    put(&store, &bytes_of(name)).unwrap();
                    model.insert(name, Stands::Whole);
                }
                Ask::Keep(name) => {
                    let incoming = store.incoming().unwrap();
                    incoming.writer().unwrap().write_all(&bytes_of(name)).unwrap();
                    store.keep(incoming).unwrap();
                    model.insert(name, Stands::Whole);
                }
                Ask::Drop(name) => {
                    let incoming = store.incoming().unwrap();
                    incoming.writer().unwrap().write_all(&bytes_of(name)).unwrap();
                }
                Ask::Lose(name) => {
                    let path = object(root.path(), &Digest::of(&bytes_of(name)));
                    prop_assert_eq!(fs::remove_file(path).is_ok(), model.remove(&name).is_some());
                }
                Ask::Damage(name) => {
                    if let Some(stands) = model.get_mut(&name) {
                        let path = object(root.path(), &Digest::of(&bytes_of(name)));
                        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
                        let mut file = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
                        file.seek(io::SeekFrom::End(0)).unwrap();
                        file.write_all(b"x").unwrap();
                        *stands = Stands::Damaged;
                    }
                }
                Ask::Reopen => store = Store::open(root.path(), 0).unwrap(),
            }
            for name in 0..6 {
                let digest = Digest::of(&bytes_of(name));
                let stands = match store.open_object(&digest, None) {
                    Ok((mut file, _seal)) => {
                        let mut bytes = Vec::new();
                        file.read_to_end(&mut bytes).unwrap();
                        prop_assert_eq!(bytes, bytes_of(name));
                        Some(Stands::Whole)
                    }
                    Err(ArtifactError::Damaged { .. }) => Some(Stands::Damaged),
                    Err(ArtifactError::Missing { .. }) => None,
                    Err(other) => panic!("{other:?}"),
                };
                prop_assert_eq!(stands, model.get(&name).copied());
            }
            prop_assert_eq!(files(root.path()).len(), model.len());
        }
    }
}
