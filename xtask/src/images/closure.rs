//! What a program needs of what was unpacked: the libraries that it names, and theirs. Read from
//! the files alone, so that this machine's own libraries never matter.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path};

use anyhow::{Context, Result, ensure};
use object::Endianness;
use object::elf::{DT_NEEDED, DT_RPATH, DT_RUNPATH, FileHeader64, PT_INTERP};
use object::read::elf::{Dyn as _, FileHeader as _, ProgramHeader as _};

use super::debs::{Kind, Source, merged};
use super::layer::Tree;
use super::wheels;

/// Where Debian's loader looks, last of all.
const LIBRARIES: [&str; 2] = ["usr/lib/x86_64-linux-gnu", "usr/lib"];

/// Takes files into a tree.
pub struct Closure<'a> {
    files: &'a BTreeMap<String, Source>,
    taken: BTreeSet<String>,
    /// Libraries that no folder holds, and who wants them: a program may bring its own.
    missing: Vec<(String, String)>,
}

/// What a file wants of the loader.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wants {
    loader: Option<String>,
    libraries: Vec<String>,
    folders: Vec<String>,
}

impl<'a> Closure<'a> {
    /// Of these files, with nothing taken yet.
    pub fn new(files: &'a BTreeMap<String, Source>) -> Self {
        Self { files, taken: BTreeSet::new(), missing: Vec::new() }
    }

    /// Takes a file or a whole folder, but what lies at or below `without`.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn take(&mut self, path: &str, without: &[&str]) -> Result<()> {
        let below = |path: &str, root: &str| {
            path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let files = self.files;
        let mut found = 0;
        for name in files.keys().filter(|name| below(name, path)) {
            found += 1;
            if !without.iter().any(|root| below(name, root)) {
                self.take_file(name)?;
            }
        }
        ensure!(found > 0, "no package has /{path}");
        Ok(())
    }

    fn take_file(&mut self, path: &str) -> Result<()> {
        if !self.taken.insert(path.to_owned()) {
            return Ok(());
        }
        let source = self.files.get(path).with_context(|| format!("no package has /{path}"))?;
        match &source.kind {
            Kind::Link(target) => {
                let target = target_of(path, target).with_context(|| format!("/{path} leads nowhere"))?;
                // A link to a folder brings nothing with it.
                if self.files.contains_key(&target) { self.take_file(&target) } else { Ok(()) }
            }
            Kind::File { .. } => {
                let bytes =
                    fs::read(&source.at).with_context(|| format!("cannot read {}", source.at.display()))?;
                let wants = Wants::of(&bytes).with_context(|| format!("cannot read /{path}"))?;
                self.follow(path, &wants)
            }
        }
    }

    fn follow(&mut self, path: &str, wants: &Wants) -> Result<()> {
        if let Some(loader) = &wants.loader {
            self.take_file(&merged(loader.trim_start_matches('/')))?;
        }
        let own = path.rsplit_once('/').map_or("", |(folder, _name)| folder);
        let folders: Vec<String> =
            wants.folders.iter().map(|folder| place(&folder.replace("$ORIGIN", own))).collect();
        let folders = folders.iter().map(String::as_str).chain(LIBRARIES);
        let folders: Vec<&str> = folders.collect();
        for library in &wants.libraries {
            let places = folders.iter().map(|folder| format!("{folder}/{library}"));
            match places.into_iter().find(|place| self.files.contains_key(place)) {
                Some(place) => self.take_file(&place)?,
                None => self.missing.push((library.clone(), path.to_owned())),
            }
        }
        Ok(())
    }

    /// Puts what was taken into a tree, with what the packages say of their copyright, and gives
    /// the packages that it came from.
    ///
    /// # Errors
    /// A library is missing, or a package says nothing of its copyright.
    pub fn finish(mut self, tree: &mut Tree) -> Result<BTreeSet<String>> {
        for (library, by) in std::mem::take(&mut self.missing) {
            // Found by whoever loaded it before, as Java does with its own.
            let is_there = self.taken.iter().any(|path| path.rsplit('/').next() == Some(&library));
            ensure!(is_there, "/{by} needs {library}, which none of the packages has");
        }
        let files = self.files;
        let owner = |path: &String| files.get(path).map(|source| source.package.clone());
        let mut packages: BTreeSet<String> = self.taken.iter().filter_map(owner).collect();
        // A wheel has its licence among its own files.
        for package in packages.clone().iter().filter(|package| !package.starts_with(wheels::MARK)) {
            self.copyright(package)?;
        }
        packages.extend(self.taken.iter().filter_map(owner));
        for path in &self.taken {
            let Some(source) = files.get(path) else { continue };
            match &source.kind {
                Kind::Link(target) => tree.link(path, target.to_str().context("a link that is no text")?),
                Kind::File { program } => tree.file(path, &source.at, *program),
            }
        }
        Ok(packages)
    }

    /// Takes what a package says of its copyright; packages of one source may share it by a link.
    fn copyright(&mut self, package: &str) -> Result<()> {
        let folder = format!("usr/share/doc/{package}");
        let said = format!("{folder}/copyright");
        if self.files.contains_key(&said) {
            return self.take_file(&said);
        }
        let link = self.files.get(&folder).map(|source| &source.kind);
        let Some(Kind::Link(target)) = link else {
            anyhow::bail!("the package {package} says nothing of its copyright");
        };
        let shared = target_of(&folder, target).context("a copyright that leads nowhere")?;
        self.take_file(&folder)?;
        self.take_file(&format!("{shared}/copyright"))
    }
}

impl Wants {
    /// Of a file; nothing, if it is no program or library.
    fn of(bytes: &[u8]) -> Result<Self> {
        let mut wants = Self::default();
        if !bytes.starts_with(b"\x7fELF") {
            return Ok(wants);
        }
        let header = FileHeader64::<Endianness>::parse(bytes)?;
        let endian = header.endian()?;
        for segment in header.program_headers(endian, bytes)? {
            if segment.p_type(endian) == PT_INTERP {
                let text = segment.data(endian, bytes).ok().context("a loader outside the file")?;
                wants.loader = Some(String::from_utf8_lossy(text).trim_end_matches('\0').to_owned());
            }
        }
        let sections = header.sections(endian, bytes)?;
        if let Some((entries, strings)) = sections.dynamic(endian, bytes)? {
            let strings = sections.strings(endian, bytes, strings)?;
            for entry in entries {
                let list = match entry.tag(endian) {
                    DT_NEEDED => &mut wants.libraries,
                    DT_RPATH | DT_RUNPATH => &mut wants.folders,
                    _ => continue,
                };
                let text = String::from_utf8_lossy(entry.string(endian, strings)?).into_owned();
                list.extend(text.split(':').map(str::to_owned));
            }
        }
        Ok(wants)
    }
}

/// Where a link leads, as a path of the image.
fn target_of(path: &str, target: &Path) -> Option<String> {
    let target = target.to_str()?;
    let whole = match target.strip_prefix('/') {
        Some(rest) => rest.to_owned(),
        None => format!("{}/{target}", path.rsplit_once('/').map_or("", |(folder, _name)| folder)),
    };
    Some(merged(&place(&whole)))
}

/// A path without `.` and `..`.
fn place(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in Path::new(path).components() {
        match part {
            Component::ParentDir => drop(parts.pop()),
            Component::Normal(name) => parts.extend(name.to_str()),
            _ => {}
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_names_its_loader_and_libraries() {
        let own = fs::read(std::env::current_exe().unwrap()).unwrap();
        let wants = Wants::of(&own).unwrap();
        assert!(wants.loader.unwrap().contains("ld-linux"));
        assert!(wants.libraries.iter().any(|library| library == "libc.so.6"), "{:?}", wants.libraries);
        assert_eq!(Wants::of(b"#!/bin/sh\n").unwrap(), Wants::default());
    }

    #[test]
    fn links_lead_to_paths_of_the_image() {
        let lead = |path, target| target_of(path, Path::new(target));
        assert_eq!(lead("usr/lib64/ld.so", "/lib/x86/ld.so"), Some("usr/lib/x86/ld.so".to_owned()));
        assert_eq!(lead("usr/lib/a.so", "x/../b.so"), Some("usr/lib/b.so".to_owned()));
        assert_eq!(lead("usr/lib/a.so", "../../../../etc/x"), Some("etc/x".to_owned()));
    }
}
