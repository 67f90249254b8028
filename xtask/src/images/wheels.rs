//! Python packages for an image: exactly the wheels that a list names, each by its digest.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use helix_ids::Digest;
use helix_tests::cache;

use super::debs::{Kind, Source};
use crate::{fetch, say};

/// Where Debian's Python looks for packages.
pub const SITE: &str = "usr/lib/python3/dist-packages";
/// How a package that is none of Debian's is marked.
pub const MARK: &str = "pypi:";

/// Platforms whose wheels Debian 12 runs: by its glibc, 2.36.
const PLATFORMS: [&str; 4] =
    ["manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"];

/// The packages of a list, as `name==version`.
pub fn names(list: &str) -> Vec<String> {
    let lines = list.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| Some(line.split_once(' ')?.0.to_owned())).collect()
}

/// Fetches a list's wheels and adds their files to those of Debian's packages.
///
/// # Errors
/// One cannot be fetched, or is not the one that the list names.
pub fn add(list: &str, scratch: &Path, files: &mut BTreeMap<String, Source>) -> Result<()> {
    let python = fetch::pip()?;
    let folder = cache::dir()?.join("wheels").join(Digest::of(list.as_bytes()).to_hex());
    if !folder.is_dir() {
        say::step(&format!("fetch {} wheels", names(list).len()), || {
            let partial = folder.with_extension("partial");
            fs::create_dir_all(&partial)?;
            let requirements = partial.join("requirements.txt");
            fs::write(&requirements, list)?;
            let mut pip = Command::new(&python);
            pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]);
            pip.args([
                "--require-hashes",
                "--only-binary=:all:",
                "--implementation=cp",
                "--python-version=3.11",
            ]);
            pip.args(["--abi=cp311", "--abi=abi3", "--abi=none"]);
            pip.args(PLATFORMS.map(|platform| format!("--platform={platform}")));
            pip.arg("--dest").arg(&partial).arg("--requirement").arg(&requirements);
            say::quiet(&mut pip)?;
            fs::rename(&partial, &folder).context("cannot keep the wheels")
        })?;
    }
    let mut wheels: Vec<_> = fs::read_dir(&folder)?.flatten().map(|entry| entry.path()).collect();
    wheels.retain(|path| path.extension().is_some_and(|extension| extension == "whl"));
    wheels.sort();
    ensure!(wheels.len() == names(list).len(), "{} holds {} wheels", folder.display(), wheels.len());
    for wheel in wheels {
        let name = wheel.file_name().and_then(|name| name.to_str()).context("a wheel without a name")?;
        let package = format!("{MARK}{}", name.split('-').next().unwrap_or_default());
        let root = scratch.join(name);
        say::quiet(Command::new(&python).args(["-m", "zipfile", "-e"]).arg(&wheel).arg(&root))?;
        add_files(&root, &package, files)?;
    }
    Ok(())
}

/// Adds what an installer would put among the packages; scripts and headers are left out.
fn add_files(root: &Path, package: &str, files: &mut BTreeMap<String, Source>) -> Result<()> {
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let at = entry?.path();
            if at.is_dir() {
                folders.push(at);
                continue;
            }
            let path = at.strip_prefix(root)?.to_str().context("a name that is no text")?;
            let Some(path) = installed(path) else { continue };
            let path = format!("{SITE}/{path}");
            let source = Source { at, package: package.to_owned(), kind: Kind::File { program: false } };
            ensure!(files.insert(path.clone(), source).is_none(), "two packages have /{path}");
        }
    }
    Ok(())
}

/// Where a wheel's file goes, below the folder of packages.
fn installed(path: &str) -> Option<&str> {
    let (first, rest) = path.split_once('/').unwrap_or((path, ""));
    if !first.ends_with(".data") {
        return Some(path);
    }
    rest.strip_prefix("purelib/").or_else(|| rest.strip_prefix("platlib/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wheel_puts_its_packages_where_python_looks_and_nothing_else() {
        assert_eq!(installed("numpy/core.py"), Some("numpy/core.py"));
        assert_eq!(installed("six.py"), Some("six.py"));
        assert_eq!(installed("x-1.data/purelib/x/y.py"), Some("x/y.py"));
        assert_eq!(installed("x-1.data/scripts/x"), None);
    }

    #[test]
    fn comments_of_a_list_are_no_packages() {
        assert_eq!(names("# a list\n\na==1 --hash=sha256:00\n"), ["a==1"]);
    }
}
