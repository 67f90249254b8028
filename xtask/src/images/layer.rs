//! A layer that is the same bytes each time: entries in order of their names, owned by root, from
//! 1970, with one of three modes. It is not compressed, since what a compressor writes depends on
//! its version and on the processor; on loopback nothing is gained by it either.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use helix_ids::digest::{Digest, DigestWriter};

/// Files, folders and links by their path without a leading slash.
#[derive(Default)]
pub struct Tree(BTreeMap<String, Entry>);

/// One of them.
enum Entry {
    Folder {
        mode: u32,
    },
    /// A program is 0755, another file 0644: no other bit of the original's mode is kept.
    File {
        content: Content,
        program: bool,
    },
    Link(String),
}

enum Content {
    At(PathBuf),
    Text(String),
}

/// A layer that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    pub digest: Digest,
    pub size_bytes: u64,
}

impl Tree {
    /// A folder, and those above it.
    pub fn folder(&mut self, path: &str, mode: u32) {
        self.parents(path);
        self.0.insert(path.to_owned(), Entry::Folder { mode });
    }

    /// A file that lies on this machine.
    pub fn file(&mut self, path: &str, at: &Path, program: bool) {
        self.parents(path);
        self.0.insert(path.to_owned(), Entry::File { content: Content::At(at.to_owned()), program });
    }

    /// A file of our own.
    pub fn text(&mut self, path: &str, text: &str) {
        self.parents(path);
        let content = Content::Text(text.to_owned());
        self.0.insert(path.to_owned(), Entry::File { content, program: false });
    }

    /// A symbolic link.
    pub fn link(&mut self, path: &str, target: &str) {
        self.parents(path);
        self.0.insert(path.to_owned(), Entry::Link(target.to_owned()));
    }

    fn parents(&mut self, path: &str) {
        for (at, _slash) in path.match_indices('/') {
            let (parent, _rest) = path.split_at(at);
            self.0.entry(parent.to_owned()).or_insert(Entry::Folder { mode: 0o755 });
        }
    }

    /// Writes the layer.
    ///
    /// # Errors
    /// A file cannot be read, or the layer not written.
    pub fn write(&self, out: impl Write) -> Result<Written> {
        let mut archive = tar::Builder::new(DigestWriter::new(out));
        for (path, entry) in &self.0 {
            entry.write(path, &mut archive).with_context(|| format!("cannot write {path}"))?;
        }
        let (mut out, digest, size_bytes) = archive.into_inner()?.finish();
        out.flush()?;
        Ok(Written { digest, size_bytes })
    }
}

impl Entry {
    fn write(&self, path: &str, archive: &mut tar::Builder<impl Write>) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(0);
        match self {
            Self::Folder { mode } => {
                header.set_entry_type(tar::EntryType::Directory);
                header.set_mode(*mode);
                archive.append_data(&mut header, format!("{path}/"), io::empty())
            }
            Self::Link(target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_mode(0o777);
                archive.append_link(&mut header, path, target)
            }
            Self::File { content, program } => {
                header.set_entry_type(tar::EntryType::Regular);
                header.set_mode(if *program { 0o755 } else { 0o644 });
                match content {
                    Content::At(at) => {
                        let file = File::open(at)?;
                        header.set_size(file.metadata()?.len());
                        archive.append_data(&mut header, path, file)
                    }
                    Content::Text(text) => {
                        header.set_size(text.len() as u64);
                        archive.append_data(&mut header, path, text.as_bytes())
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::PermissionsExt;
    use std::time::{Duration, SystemTime};

    use super::*;

    /// A path longer than a header has room for.
    fn long() -> String {
        format!("usr/lib/{}/data", "a-package-with-a-long-name/".repeat(12))
    }

    fn written(tree: &Tree) -> (Written, Vec<u8>) {
        let mut bytes = Vec::new();
        let written = tree.write(&mut bytes).unwrap();
        (written, bytes)
    }

    #[test]
    fn order_time_owner_and_mode_of_the_sources_change_no_byte() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (folder.path().join("one"), folder.path().join("two"));
        for (path, mode, age_seconds) in [(&first, 0o644, 1), (&second, 0o4711, 100_000)] {
            fs::write(path, "data\n").unwrap();
            let then = SystemTime::now() - Duration::from_secs(age_seconds);
            File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let mut one = Tree::default();
        one.folder("tmp", 0o1777);
        one.file(&long(), &first, true);
        one.link("bin", "usr/bin");
        one.text("etc/passwd", "root\n");
        let mut two = Tree::default();
        two.text("etc/passwd", "root\n");
        two.link("bin", "usr/bin");
        two.file(&long(), &second, true);
        two.folder("tmp", 0o1777);
        assert_eq!(written(&one), written(&two));
    }

    #[test]
    fn an_archive_holds_what_was_put_in_and_nothing_of_this_machine() {
        let mut tree = Tree::default();
        tree.folder("tmp", 0o1777);
        tree.text(&long(), "text");
        tree.link("bin", "usr/bin");
        let (layer, bytes) = written(&tree);
        assert_eq!((layer.digest, layer.size_bytes), (Digest::of(&bytes), bytes.len() as u64));
        let mut found = BTreeMap::new();
        for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            let header = entry.header();
            assert_eq!((header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap()), (0, 0, 0));
            let path = entry.path().unwrap().to_string_lossy().trim_end_matches('/').to_owned();
            found.insert(path, (header.mode().unwrap(), text));
        }
        assert_eq!(
            found.keys().map(String::as_str).collect::<Vec<_>>(),
            tree.0.keys().map(String::as_str).collect::<Vec<_>>()
        );
        assert_eq!(found["tmp"], (0o1777, String::new()));
        assert_eq!(found["usr"], (0o755, String::new()));
        assert_eq!(found[&long()], (0o644, "text".to_owned()));
    }

    #[test]
    fn a_layer_of_today_is_the_layer_of_every_release() {
        // Whoever changes this changes every image's digest, and so what every run is known by.
        let mut tree = Tree::default();
        tree.folder("tmp", 0o1777);
        tree.text("etc/passwd", "root:x:0:0:root:/root:/sbin/nologin\n");
        tree.link("bin", "usr/bin");
        let expected = "sha256:c72af17632b64037ae4f746b46ef2cd7cb6cd59e8c7f4f68aa3f01a184b73b7c";
        assert_eq!(written(&tree).0.digest.to_string(), expected);
    }
}
