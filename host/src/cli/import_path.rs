//! Which import root a file on the command line lies under.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::output::{EXIT_DENIED, Told};
use super::settings::Settings;
use crate::artifacts::Private;
use crate::policy::Policy;

/// A file as `artifact_import` takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    pub root: String,
    /// Relative to the root.
    pub path: String,
}

/// Finds the root of the caller's project that a file lies under. Only names are looked at here:
/// the host opens the file itself, by its own rules.
///
/// # Errors
/// When the file is not there, or lies under no root; then the lines that would change that.
pub fn locate(settings: &Settings, project: Option<&str>, file: &Path) -> anyhow::Result<Located> {
    let text = std::fs::read_to_string(&settings.policy_file).with_context(|| {
        format!("cannot read the policy {}; helixmcp init makes one", settings.policy_file.display())
    })?;
    let policy =
        Policy::from_toml(&text).with_context(|| format!("{} is refused", settings.policy_file.display()))?;
    let project = policy.project(project).map_err(|denial| {
        Told::error(EXIT_DENIED, format!("{} {}", denial.message, denial.advice).trim_end().to_owned())
    })?;
    let there =
        file.canonicalize().map_err(|error| Told::arguments(format!("{}: {error}", file.display())))?;
    let roots: Vec<(String, PathBuf)> = policy
        .import_roots(project)
        .into_iter()
        .map(|root| (root.name.to_string(), root.path.clone()))
        .collect();
    match beneath(&roots, &there) {
        Some(located) => Ok(located),
        None => bail!(Told::error(EXIT_DENIED, refusal(settings, project.name.as_str(), &there))),
    }
}

/// The deepest root above the file.
fn beneath(roots: &[(String, PathBuf)], file: &Path) -> Option<Located> {
    let under = |(name, root): &(String, PathBuf)| {
        let root = root.canonicalize().unwrap_or_else(|_gone| root.clone());
        let path = file.strip_prefix(&root).ok()?.to_str()?.to_owned();
        Some((root.components().count(), Located { root: name.clone(), path }))
    };
    roots.iter().filter_map(under).max_by_key(|(depth, _)| *depth).map(|(_, located)| located)
}

fn refusal(settings: &Settings, project: &str, file: &Path) -> String {
    let folder = file.parent().unwrap_or(file);
    let private = Private::new(&settings.home, &settings.policy_file, [settings.home.as_path()]);
    if let Some(objection) = private.objection(folder) {
        return format!(
            "{} lies under no import root of project {project}, and {} may be none: it {objection}.\n\
             Put the file into a folder that holds data alone.",
            file.display(),
            folder.display(),
        );
    }
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or("data").to_ascii_lowercase();
    let name: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(32).collect();
    let name = if name.starts_with(|c: char| c.is_ascii_lowercase()) { name } else { format!("data-{name}") };
    // As a TOML string, whatever the folder is called.
    let path = toml::Value::String(folder.display().to_string());
    format!(
        "{} lies under no import root of project {project}.\nTo allow its folder, add to {}:\n\n\
         [[import_root]]\nname = \"{}\"\npath = {path}\nprojects = [\"{project}\"]\n",
        file.display(),
        settings.policy_file.display(),
        name.trim_end_matches('-'),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_root_counts() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b");
        std::fs::create_dir_all(&deep).unwrap();
        let roots = [("outer".to_owned(), folder.path().to_owned()), ("inner".to_owned(), deep.clone())];
        let located = |path: &str| beneath(&roots, &folder.path().canonicalize().unwrap().join(path));
        let expected =
            |root: &str, path: &str| Some(Located { root: root.to_owned(), path: path.to_owned() });
        assert_eq!(located("a/b/x.fq"), expected("inner", "x.fq"));
        assert_eq!(located("a/x.fq"), expected("outer", "a/x.fq"));
        assert_eq!(beneath(&roots, Path::new("/elsewhere/x.fq")), None);
    }
}
