//! For the shell: which import root holds a file, or the lines that would make one hold it.

use std::path::{Path, PathBuf};

use helix_ids::RootName;
use helix_ids::text::escaped_line;

use crate::policy::{Policy, Project};

/// How much of a path a refusal repeats.
const PATH_BYTES_MAX: usize = 1024;

/// A file as `artifact_import` takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownPath {
    pub root: RootName,
    pub path: String,
}

/// A file that lies under no import root of the project.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{file} lies under no import root of project {project}. To allow its folder, add to the policy:\n\n{lines}"
)]
pub struct OutsideRoots {
    pub file: String,
    pub project: String,
    /// TOML to add to the policy.
    pub lines: String,
}

/// The import root of this project that holds an absolute path without links; the deepest one.
///
/// # Errors
/// [`OutsideRoots`], with the policy lines that would let the file in.
pub fn import_known_path(policy: &Policy, project: &Project, file: &Path) -> Result<KnownPath, OutsideRoots> {
    let roots = policy.import_roots(project);
    let roots: Vec<(RootName, PathBuf)> = roots
        .into_iter()
        // A root may be written with a link in it; a path without links is compared with both.
        .flat_map(|root| {
            let real = root.path.canonicalize().unwrap_or_else(|_gone| root.path.clone());
            [(root.name.clone(), root.path.clone()), (root.name.clone(), real)]
        })
        .collect();
    held_by(&roots, file).ok_or_else(|| OutsideRoots {
        file: escaped_line(&file.display().to_string(), PATH_BYTES_MAX),
        project: project.name.to_string(),
        lines: lines_for(project, file.parent().unwrap_or(Path::new("/")), &roots),
    })
}

fn held_by(roots: &[(RootName, PathBuf)], file: &Path) -> Option<KnownPath> {
    roots
        .iter()
        .filter_map(|(root, folder)| {
            let path = file.strip_prefix(folder).ok()?.to_str()?.to_owned();
            (!path.is_empty()).then(|| KnownPath { root: root.clone(), path })
        })
        .min_by_key(|known| known.path.len())
}

fn lines_for(project: &Project, folder: &Path, roots: &[(RootName, PathBuf)]) -> String {
    let name = root_name(folder, roots);
    let path = toml::Value::from(folder.display().to_string());
    format!("[[import_root]]\nname = \"{name}\"\npath = {path}\nprojects = [\"{}\"]\n", project.name)
}

/// A root name that resembles the folder's, is valid and not taken.
fn root_name(folder: &Path, roots: &[(RootName, PathBuf)]) -> String {
    let base = folder.file_name().map_or_else(String::new, |name| name.to_string_lossy().to_lowercase());
    let fitting = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '_' };
    let mut name: String = base.chars().take(40).map(fitting).collect();
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        name.insert_str(0, "data");
    }
    let taken = |name: &str| roots.iter().any(|(root, _)| root.as_str() == name);
    if !taken(&name) {
        return name;
    }
    (2..).map(|n: u32| format!("{name}_{n}")).find(|name| !taken(name)).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use helix_ids::{ProjectName, identity};

    use super::*;

    fn roots(roots: &[(&str, &str)]) -> Vec<(RootName, PathBuf)> {
        roots.iter().map(|(name, path)| (name.parse().unwrap(), PathBuf::from(path))).collect()
    }

    #[test]
    fn the_deepest_root_holds_a_file() {
        let roots = roots(&[("data", "/data"), ("run7", "/data/run7"), ("other", "/datax")]);
        let cases = [
            ("/data/a.fq", Some(("data", "a.fq"))),
            ("/data/run7/b/a.fq", Some(("run7", "b/a.fq"))),
            ("/data/run70/a.fq", Some(("data", "run70/a.fq"))),
            ("/datax/a.fq", Some(("other", "a.fq"))),
            ("/data", None),
            ("/etc/passwd", None),
            ("data/a.fq", None),
        ];
        for (file, expected) in cases {
            let held = held_by(&roots, Path::new(file));
            let held = held.as_ref().map(|known| (known.root.as_str(), known.path.as_str()));
            assert_eq!(held, expected, "{file}");
        }
    }

    #[test]
    fn a_refusal_says_which_lines_to_add() {
        let name: ProjectName = "default".parse().unwrap();
        let project = Project { id: identity::project_id(&name), name };
        let taken = roots(&[("reads", "/x")]);
        let cases = [
            ("/srv/Run 7", "name = \"run_7\"\npath = \"/srv/Run 7\"\n"),
            ("/srv/reads", "name = \"reads_2\"\npath = \"/srv/reads\"\n"),
            ("/srv/2024", "name = \"data2024\"\npath = \"/srv/2024\"\n"),
            ("/", "name = \"data\"\npath = \"/\"\n"),
        ];
        for (folder, expected) in cases {
            let lines = lines_for(&project, Path::new(folder), &taken);
            assert_eq!(lines, format!("[[import_root]]\n{expected}projects = [\"default\"]\n"));
            assert!(toml::from_str::<toml::Table>(&lines).is_ok());
        }
    }
}
