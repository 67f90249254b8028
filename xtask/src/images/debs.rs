//! Debian packages, fetched and unpacked without being installed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use helix_ids::Digest;
use helix_tests::cache;

use crate::{machine, say};

/// A package as this machine's package lists have it today.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    pub name: String,
    pub version: String,
    archive: String,
    digest: Digest,
}

/// A file of a package.
pub struct Source {
    /// Where it lies on this machine.
    pub at: PathBuf,
    /// Whose it is.
    pub package: String,
    pub kind: Kind,
}

/// What a path of a package is. Folders come by themselves.
#[derive(Debug, PartialEq, Eq)]
pub enum Kind {
    File { program: bool },
    Link(PathBuf),
}

/// Finds out which versions of packages there are.
///
/// # Errors
/// One is unknown, even after the package lists were brought up to date.
pub fn resolve(names: &[&str]) -> Result<Vec<Package>> {
    let ask = || say::quiet(Command::new("apt-get").args(["download", "--print-uris"]).args(names));
    let told = match ask() {
        Ok(told) => told,
        Err(_) => {
            machine::apt_update()?;
            ask()?
        }
    };
    let found: Vec<Package> = told.lines().filter_map(parse).collect();
    for name in names {
        ensure!(found.iter().any(|package| package.name == *name), "apt-get knows no {name}:\n{told}");
    }
    Ok(found)
}

/// Reads `'URL' NAME_VERSION_ARCHITECTURE.deb SIZE SHA256:HEX`.
fn parse(line: &str) -> Option<Package> {
    let mut words = line.split(' ');
    let archive = words.nth(1)?;
    let digest = words.nth(1)?.to_ascii_lowercase().parse().ok()?;
    let mut parts = archive.strip_suffix(".deb")?.split('_');
    let (name, version) = (parts.next()?, parts.next()?);
    Some(Package {
        name: name.to_owned(),
        // The epoch's colon cannot stand in a file name of every system.
        version: version.replace("%3a", ":"),
        archive: archive.to_owned(),
        digest,
    })
}

/// Fetches packages into the cache, where they stay.
///
/// # Errors
/// They cannot be fetched, or are not what the package lists promise.
pub fn fetch(packages: &[Package]) -> Result<()> {
    let folder = archives()?;
    let missing: Vec<&Package> =
        packages.iter().filter(|package| !folder.join(&package.archive).is_file()).collect();
    if !missing.is_empty() {
        let names: Vec<String> = missing.iter().map(|p| format!("{}={}", p.name, p.version)).collect();
        say::step(&format!("fetch {} Debian packages", names.len()), || {
            say::quiet(Command::new("apt-get").arg("download").args(&names).current_dir(&folder))
        })?;
    }
    for package in packages {
        let path = folder.join(&package.archive);
        let bytes = fs::read(&path).with_context(|| format!("no {}", path.display()))?;
        let found = Digest::of(&bytes);
        ensure!(found == package.digest, "{} is {found}, not {}", path.display(), package.digest);
    }
    Ok(())
}

fn archives() -> Result<PathBuf> {
    let folder = cache::dir()?.join("archives");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Unpacks packages below `scratch` and lists their files by path, without a leading slash and as
/// they are found where `/bin` and `/lib` are links into `/usr`.
///
/// # Errors
/// One cannot be unpacked, or two have one file.
pub fn unpack(packages: &[Package], scratch: &Path) -> Result<BTreeMap<String, Source>> {
    let mut files = BTreeMap::new();
    for package in packages {
        let root = scratch.join(&package.name);
        fs::create_dir_all(&root)?;
        say::quiet(Command::new("dpkg-deb").arg("-x").arg(archives()?.join(&package.archive)).arg(&root))?;
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder)? {
                let at = entry?.path();
                let kind = match Kind::of(&at)? {
                    Some(kind) => kind,
                    None => {
                        folders.push(at);
                        continue;
                    }
                };
                let path = at.strip_prefix(&root)?.to_str().context("a name that is no text")?;
                let path = merged(path);
                let source = Source { at, package: package.name.clone(), kind };
                let before = files.insert(path.clone(), source);
                ensure!(before.is_none(), "two packages have /{path}");
            }
        }
    }
    Ok(files)
}

impl Kind {
    /// None for a folder.
    fn of(at: &Path) -> Result<Option<Self>> {
        let metadata = fs::symlink_metadata(at)?;
        Ok(if metadata.is_symlink() {
            Some(Self::Link(fs::read_link(at)?))
        } else if metadata.is_dir() {
            None
        } else {
            ensure!(metadata.is_file(), "{} is no ordinary file", at.display());
            Some(Self::File { program: metadata.permissions().mode() & 0o111 != 0 })
        })
    }
}

/// A path as it is where `/bin`, `/sbin` and `/lib` are links into `/usr`.
pub fn merged(path: &str) -> String {
    let first = path.split('/').next().unwrap_or_default();
    if ["bin", "sbin", "lib", "lib64"].contains(&first) { format!("usr/{path}") } else { path.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_apt_prints_of_a_package_is_read() {
        let hex = "3d3fdbe91d4660c873e14b092c213fe81c1da6362daa236eb25d0171eb108744";
        let archive = "busybox-static_1%3a1.35.0-4+deb12u1+b1_amd64.deb";
        let line = format!("'http://mirror.example/pool/b.deb' {archive} 928188 SHA256:{hex}");
        let package = parse(&line).unwrap();
        assert_eq!(
            (package.name.as_str(), package.version.as_str()),
            ("busybox-static", "1:1.35.0-4+deb12u1+b1")
        );
        assert_eq!((package.archive.as_str(), package.digest.to_hex().as_str()), (archive, hex));
        assert_eq!(parse("Reading package lists..."), None);
    }

    #[test]
    fn libraries_have_one_place() {
        assert_eq!(merged("lib64/ld-linux-x86-64.so.2"), "usr/lib64/ld-linux-x86-64.so.2");
        assert_eq!(merged("usr/bin/samtools"), "usr/bin/samtools");
        assert_eq!(merged("libexec/x"), "libexec/x");
    }
}
