use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::Duration;

use helix_ids::RunId;

use super::*;

fn order(try_: u32) -> Order {
    Order {
        labels: Labels {
            home: "00".to_owned(),
            run: RunId::from_digest(&Digest::of(b"run")),
            attempt: 1,
            step: 0,
            try_,
        },
        name: "sort".parse().unwrap(),
        image: format!("registry.example/x@{}", Digest::of(b"image")).parse().unwrap(),
        platform: "linux/amd64".to_owned(),
        user: "host".parse().unwrap(),
        argv: Vec::new(),
        environment: Vec::new(),
        mounts: Vec::new(),
        captures: Vec::new(),
        cpus: 1,
        memory_bytes: 1,
        wall: Duration::from_secs(1),
        pids: 1,
        scratch_bytes: 1,
        stdout_bytes: 1,
        out_bytes: 1,
    }
}

fn own() -> Writer {
    Writer { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() }
}

fn name(text: &str) -> RelName {
    text.parse().unwrap()
}

#[test]
fn a_try_has_a_new_folder_that_the_host_alone_can_enter() {
    let keep = tempfile::tempdir().unwrap();
    let steps = Steps::open(keep.path()).unwrap();
    let first = steps.begin(&order(1), own()).unwrap();
    fs::write(first.out().join("left"), "x").unwrap();
    first.note_killed().unwrap();
    let again = steps.begin(&order(1), own()).unwrap();
    assert_eq!(again, first);
    assert_eq!(fs::read_dir(again.out()).unwrap().count(), 0);
    assert!(!again.was_killed());
    for above in again.out().ancestors().take_while(|above| *above != keep.path()) {
        assert_eq!(above.metadata().unwrap().permissions().mode() & 0o777, 0o700, "{}", above.display());
    }

    let second = steps.begin(&order(2), own()).unwrap();
    assert_eq!(steps.find(&order(1).labels).unwrap(), Some(first.clone()));
    let mut other = order(1).labels;
    other.step = 1;
    assert_eq!(steps.find(&other).unwrap(), None);
    steps.remove(&first).unwrap();
    assert_eq!(steps.find(&order(1).labels).unwrap(), None);
    assert!(second.out().exists(), "the other try is left alone");
    steps.remove(&second).unwrap();
    let left: Vec<_> = fs::read_dir(&steps.path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, [".swept"]);
    steps.remove(&second).unwrap();
}

#[test]
fn a_capture_becomes_an_object_without_a_second_copy() {
    let keep = tempfile::tempdir().unwrap();
    let store = Store::open(keep.path(), 0).unwrap();
    let step = Steps::open(keep.path()).unwrap().begin(&order(1), own()).unwrap();
    fs::create_dir(step.out().join("deep")).unwrap();
    fs::write(step.out().join("deep/a.txt"), "bytes").unwrap();
    let inode = step.out().join("deep/a.txt").metadata().unwrap().ino();
    let stored = harvest(&store, &step.out(), &name("deep/a.txt"), 5).unwrap();
    assert_eq!((stored.digest, stored.size_bytes, stored.seal.inode), (Digest::of(b"bytes"), 5, inode));
    let object = store.object_path(&stored.digest).metadata().unwrap();
    assert_eq!((object.permissions().mode() & 0o777, object.nlink()), (0o444, 1));
    let (_file, seal) = store.open_object(&stored.digest, Some(&stored.seal)).unwrap();
    assert_eq!(seal, stored.seal);

    // What is an object already is not kept twice, and is found by whoever asks again.
    fs::write(step.out().join("same.txt"), "bytes").unwrap();
    let same = harvest(&store, &step.out(), &name("same.txt"), 5).unwrap();
    assert_eq!((same.digest, same.seal.inode), (stored.digest, inode));
    for capture in ["deep/a.txt", "same.txt"] {
        assert_eq!(harvest(&store, &step.out(), &name(capture), 5).unwrap().seal, stored.seal);
    }
}

#[test]
fn a_capture_that_cannot_be_stored_stays() {
    let keep = tempfile::tempdir().unwrap();
    let store = Store::open(keep.path(), 0).unwrap();
    let step = Steps::open(keep.path()).unwrap().begin(&order(1), own()).unwrap();
    fs::write(step.out().join("a.txt"), "bytes").unwrap();
    let refused = harvest(&store, &step.out(), &name("a.txt"), 4);
    assert!(matches!(refused, Err(CaptureError::TooLarge { .. })), "{refused:?}");
    // Nobody writes what stands in the notes but us; still nothing but a proved object is believed.
    let object = store.object_path(&Digest::of(b"bytes"));
    fs::create_dir_all(object.parent().unwrap()).unwrap();
    fs::create_dir(&object).unwrap();
    let failed = harvest(&store, &step.out(), &name("a.txt"), 5);
    assert!(matches!(failed, Err(CaptureError::Store { .. })), "{failed:?}");
    assert_eq!(fs::read(step.out().join("a.txt")).unwrap(), b"bytes");
    fs::remove_dir(&object).unwrap();
    harvest(&store, &step.out(), &name("a.txt"), 5).unwrap();
}

#[test]
fn what_a_step_wrote_is_counted_and_never_followed() {
    let keep = tempfile::tempdir().unwrap();
    let out = keep.path();
    fs::create_dir(out.join("deep")).unwrap();
    fs::write(out.join("deep/a"), vec![1; 1 << 20]).unwrap();
    symlink("/", out.join("root")).unwrap();
    let Size::Bytes(bytes) = size_of(out).unwrap() else { panic!("too deep") };
    assert!((1 << 20..1 << 21).contains(&bytes), "{bytes}");
    let mut path = out.to_owned();
    for _ in 0..40 {
        path.push("d");
    }
    fs::create_dir_all(path).unwrap();
    assert_eq!(size_of(out).unwrap(), Size::Beyond);
}

/// A store that does not share its file system with `steps/` costs a copy, and nothing else.
#[test]
fn a_capture_on_another_file_system_is_copied() {
    let (keep, memory) = (tempfile::tempdir().unwrap(), tempfile::tempdir_in("/dev/shm").unwrap());
    assert_ne!(keep.path().metadata().unwrap().dev(), memory.path().metadata().unwrap().dev());
    let store = Store::open(keep.path(), 0).unwrap();
    let step = Steps::open(memory.path()).unwrap().begin(&order(1), own()).unwrap();
    fs::write(step.out().join("a.txt"), "bytes").unwrap();
    let stored = harvest(&store, &step.out(), &name("a.txt"), 5).unwrap();
    assert_eq!((stored.digest, stored.size_bytes), (Digest::of(b"bytes"), 5));
    assert_eq!(store.leftovers().unwrap(), Vec::<String>::new());
    assert_eq!(harvest(&store, &step.out(), &name("a.txt"), 5).unwrap(), stored);
}
