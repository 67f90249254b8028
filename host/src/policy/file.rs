//! The one door from a policy file's text to a [`Policy`].

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use helix_ids::identity::project_id;
use helix_ids::name::is_invisible;
use helix_ids::{Digest, ImageName, ProjectName, RootName, ToolpackName};
use toml::Spanned;

use crate::contract::Wall;
use crate::contract::text::shown;

use super::limits::{CALLER_KEYS, COMPILE_KEYS, GUEST_KEYS, HOST_KEYS, Key, RUN_KEYS, STEP_KEYS};
use super::raw::{
    Amount, RawComponent, RawDeny, RawExportRoot, RawFile, RawImportRoot, RawLimits, RawNames, RawProject,
    RawServe, Unbuilt,
};
use super::units::Unit;
use super::{
    BackendKind, Cap, Ceiling, ComponentRule, DenyRule, ExportRoot, HostLimits, ImportRoot, Names, Policy,
    PolicyError, PolicyProblem, Project, ProjectRule, Serve,
};

/// Largest policy file (invariant I-9).
pub const FILE_BYTES_MAX: usize = 1 << 20;

impl Policy {
    /// Reads a policy from a file's bytes.
    ///
    /// # Errors
    /// As [`Policy::from_toml`]; text that is not UTF-8 is refused where it begins.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PolicyError> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::from_toml(text),
            Err(error) => {
                let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
                let mut reader = Reader::new(std::str::from_utf8(good).unwrap_or_default());
                reader.problem(good.len()..good.len(), "not UTF-8");
                Err(PolicyError(reader.problems))
            }
        }
    }

    /// Reads a policy. One bad entry refuses the whole file: half a policy is not a policy.
    ///
    /// # Errors
    /// Every problem found, with line and column; a mistake of form hides those of meaning.
    pub fn from_toml(text: &str) -> Result<Self, PolicyError> {
        let mut reader = Reader::new(text);
        if text.len() > FILE_BYTES_MAX {
            reader.problem(0..0, format!("the file is larger than {FILE_BYTES_MAX} bytes"));
            return Err(PolicyError(reader.problems));
        }
        let policy = match toml::from_str::<RawFile>(text) {
            Ok(raw) => reader.file(raw),
            Err(error) => {
                reader.problem(error.span().unwrap_or(0..0), error.message());
                None
            }
        };
        match policy {
            Some(policy) if reader.problems.is_empty() => Ok(policy),
            _ => {
                reader.problems.sort_by_key(|problem| (problem.line, problem.column));
                Err(PolicyError(reader.problems))
            }
        }
    }
}

/// Keys of `[limits.host]` that are lists and no amounts.
pub(super) const WALL_KEYS: &[&str] = &["require", "cgroups"];

/// Turns raw tables into meanings and collects what is wrong with them.
pub(super) struct Reader<'t> {
    text: &'t str,
    problems: Vec<PolicyProblem>,
}

impl<'t> Reader<'t> {
    fn new(text: &'t str) -> Self {
        Self { text, problems: Vec::new() }
    }

    /// Line and column, both from 1, of a byte offset.
    fn place(&self, offset: usize) -> (u32, u32) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
    }

    pub(super) fn line<T>(&self, spanned: &Spanned<T>) -> u32 {
        self.place(spanned.span().start).0
    }

    /// A message may repeat what the file says, so it is escaped.
    pub(super) fn problem(&mut self, span: Range<usize>, message: impl AsRef<str>) {
        let (line, column) = self.place(span.start);
        let message = shown(message.as_ref(), 1000);
        self.problems.push(PolicyProblem { line, column, message });
    }

    pub(super) fn unbuilt(&mut self, key: &str, value: &Unbuilt) {
        if let Some(value) = value {
            self.problem(value.span(), format!("`{key}` is not built yet in this version"));
        }
    }

    fn file(&mut self, raw: RawFile) -> Option<Policy> {
        for (key, value) in [
            ("[[reference]]", &raw.reference),
            ("[[principal]]", &raw.principal),
            ("[[issuer]]", &raw.issuer),
            ("[[signer]]", &raw.signer),
            ("store.network_fs", &raw.store.network_fs),
        ] {
            self.unbuilt(key, value);
        }
        if *raw.version.get_ref() != 1 {
            self.problem(raw.version.span(), "this host reads policies of version 1 only");
        }
        let name = raw.name.get_ref();
        if name.is_empty() || name.len() > 64 || name.chars().any(is_invisible) {
            self.problem(raw.name.span(), "expected a name of 1 to 64 bytes without invisible characters");
        }
        let (walls, mut limits_of_host) = (self.walls(&raw.limits.host), raw.limits.host);
        limits_of_host.retain(|key, _value| !WALL_KEYS.contains(&key.get_ref().as_str()));
        let host = self.filled(&limits_of_host, HOST_KEYS, &["limits.host.resident"]);
        let host = HostLimits { require: walls.0, cgroups: walls.1, ..host };
        let store_root = raw.store.root.as_ref().and_then(|path| self.path(path));
        let (projects, project_rules) = self.projects(raw.project);
        let import_roots = self.import_roots(raw.import_root, &projects);
        let export_roots = self.export_roots(raw.export_root, &projects, store_root.as_deref());
        Some(Policy {
            name: raw.name.into_inner(),
            compile: self.filled(&raw.limits.compile, COMPILE_KEYS, &[]),
            caller: self.filled(&raw.limits.caller, CALLER_KEYS, &[]),
            host,
            guest: self.ceiling(&raw.limits.guest, GUEST_KEYS, &[]),
            step: self.ceiling(&raw.limits.step, STEP_KEYS, &["limits.step.retry"]),
            run: self.ceiling(&raw.limits.run, RUN_KEYS, &[]),
            images: self.images(raw.image),
            docker: self.backends(raw.backend),
            components: self.components(raw.component),
            denies: self.denies(raw.deny),
            projects,
            project_rules,
            import_roots,
            export_roots,
            store_root,
            text: self.text.to_owned(),
        })
    }

    /// The walls that are required, and the folders that may be divided into cgroups.
    fn walls(&mut self, raw: &RawLimits) -> (BTreeSet<Wall>, Vec<PathBuf>) {
        let HostLimits { mut require, mut cgroups, .. } = HostLimits::default();
        for (key, value) in raw {
            match key.get_ref().as_str() {
                "require" => require = self.list(value, "a wall", Self::wall).into_iter().collect(),
                "cgroups" => cgroups = self.list(value, "a folder", Self::path),
                _ => {}
            }
        }
        (require, cgroups)
    }

    fn wall(&mut self, name: &Spanned<String>) -> Option<Wall> {
        let found = Wall::ALL.into_iter().find(|wall| wall.name() == name.get_ref());
        if found.is_none() {
            let known: Vec<&str> = Wall::ALL.iter().map(|wall| wall.name()).collect();
            let message =
                format!("unknown wall `{}`, expected one of `{}`", name.get_ref(), known.join("`, `"));
            self.problem(name.span(), message);
        }
        found
    }

    /// A list of texts, none of them twice.
    fn list<T: PartialEq>(
        &mut self,
        value: &Spanned<Amount>,
        of: &str,
        read: impl Fn(&mut Self, &Spanned<String>) -> Option<T>,
    ) -> Vec<T> {
        let Amount::List(entries) = value.get_ref() else {
            self.problem(value.span(), format!("expected a list, each entry the name of {of}"));
            return Vec::new();
        };
        let mut found = Vec::new();
        for entry in entries {
            let Amount::Text(text) = entry.get_ref() else {
                self.problem(entry.span(), format!("expected the name of {of}"));
                continue;
            };
            match read(self, &Spanned::new(entry.span(), text.clone())) {
                Some(item) if found.contains(&item) => {
                    self.problem(entry.span(), format!("`{text}` is there twice"));
                }
                item => found.extend(item),
            }
        }
        found
    }

    fn components(&mut self, raw: Vec<Spanned<RawComponent>>) -> Vec<ComponentRule> {
        let mut rules: Vec<ComponentRule> = Vec::new();
        for entry in raw {
            let line = self.line(&entry);
            let raw = entry.into_inner();
            let digest: Option<Digest> = self.parsed(&raw.digest);
            let name: Option<ToolpackName> = self.parsed(&raw.name);
            let serve = self.serve(&raw.serve);
            let tools = self.names(raw.tools, "tools");
            let images: BTreeSet<ImageName> =
                self.each(&raw.images.unwrap_or_default()).into_iter().collect();
            let limits = self.limits(&raw.limits, GUEST_KEYS, &[]);
            let (Some(digest), Some(name), Some(serve), Some(tools)) = (digest, name, serve, tools) else {
                continue;
            };
            if let Some(other) = rules.iter().find(|other| other.digest == digest) {
                let message = format!("this digest stands already in line {}", other.line);
                self.problem(raw.digest.span(), message);
            }
            let offered = |rule: &&ComponentRule| rule.name == name && rule.serve == Serve::Offered;
            if serve == Serve::Offered
                && let Some(other) = rules.iter().find(offered)
            {
                let message = format!(
                    "`{name}` is offered already by line {}; one of the two is \"replay\"",
                    other.line
                );
                self.problem(raw.serve.span(), message);
            }
            rules.push(ComponentRule { digest, name, serve, tools, images, limits, line });
        }
        rules
    }

    fn serve(&mut self, raw: &Spanned<RawServe>) -> Option<Serve> {
        match raw.get_ref() {
            RawServe::Flag(true) => Some(Serve::Offered),
            RawServe::Word(word) if word == "replay" => Some(Serve::Replay),
            RawServe::Flag(false) | RawServe::Word(_) => {
                self.problem(raw.span(), "expected true or \"replay\"; what is not allowed has no entry");
                None
            }
        }
    }

    fn projects(&mut self, raw: Vec<Spanned<RawProject>>) -> (Vec<Project>, Vec<ProjectRule>) {
        let (mut projects, mut rules) = (Vec::<Project>::new(), Vec::new());
        for entry in raw {
            let line = self.line(&entry);
            let raw = entry.into_inner();
            for (key, value) in [
                ("project.disclosure", &raw.disclosure),
                ("project.reuse_steps", &raw.reuse_steps),
                ("project.retention", &raw.retention),
            ] {
                self.unbuilt(key, value);
            }
            let name: Option<ProjectName> = self.parsed(&raw.name);
            let components = self.names(raw.components, "components");
            let limits = self.limits(&raw.limits, GUEST_KEYS, &[]);
            let backends: Option<Vec<BackendKind>> = raw.backends.map(|listed| self.each(&listed));
            let (Some(name), Some(components)) = (name, components) else { continue };
            if projects.iter().any(|other| other.name == name) {
                self.problem(raw.name.span(), format!("project `{name}` is there twice"));
            }
            projects.push(Project { id: project_id(&name), name });
            rules.push(ProjectRule { components, backends, limits, line });
        }
        (projects, rules)
    }

    fn import_roots(
        &mut self,
        raw: Vec<Spanned<RawImportRoot>>,
        projects: &[Project],
    ) -> Vec<(ImportRoot, Names<ProjectName>)> {
        let mut roots: Vec<(ImportRoot, Names<ProjectName>)> = Vec::new();
        for entry in raw {
            let line = self.line(&entry);
            let raw = entry.into_inner();
            let name = self.parsed(&raw.name);
            let path = self.path(&raw.path);
            let scope = self.scope(raw.projects, projects);
            let max_file_bytes =
                raw.max_file.as_ref().and_then(|amount| self.amount(amount, Unit::Bytes, u64::MAX));
            let (Some(name), Some(path), Some(scope)) = (name, path, scope) else { continue };
            self.new_root(&raw.name, &name, roots.iter().map(|(root, _)| &root.name));
            roots.push((ImportRoot { name, path, max_file_bytes, line }, scope));
        }
        roots
    }

    fn export_roots(
        &mut self,
        raw: Vec<Spanned<RawExportRoot>>,
        projects: &[Project],
        store: Option<&Path>,
    ) -> Vec<(ExportRoot, Names<ProjectName>)> {
        let mut roots: Vec<(ExportRoot, Names<ProjectName>)> = Vec::new();
        for entry in raw {
            let line = self.line(&entry);
            let raw = entry.into_inner();
            let name = self.parsed(&raw.name);
            let path = self.path(&raw.path);
            let scope = self.scope(raw.projects, projects);
            let (Some(name), Some(path), Some(scope)) = (name, path, scope) else { continue };
            self.new_root(&raw.name, &name, roots.iter().map(|(root, _)| &root.name));
            // An export into the store could replace an artifact's bytes.
            if store.is_some_and(|store| path.starts_with(store) || store.starts_with(&path)) {
                self.problem(raw.path.span(), "an export root and [store] root may not lie in one another");
            }
            roots.push((ExportRoot { name, path, overwrite: raw.overwrite, line }, scope));
        }
        roots
    }

    fn new_root<'a>(
        &mut self,
        raw: &Spanned<String>,
        name: &RootName,
        mut others: impl Iterator<Item = &'a RootName>,
    ) {
        if others.any(|other| other == name) {
            self.problem(raw.span(), format!("root `{name}` is there twice"));
        }
    }

    fn denies(&mut self, raw: Vec<Spanned<RawDeny>>) -> Vec<DenyRule> {
        let mut rules = Vec::new();
        for entry in raw {
            let line = self.line(&entry);
            let raw = entry.into_inner();
            let reason = raw.reason.get_ref();
            if reason.is_empty() || reason.len() > 1024 || reason.chars().any(is_invisible) {
                self.problem(
                    raw.reason.span(),
                    "expected a reason of 1 to 1024 bytes without invisible characters",
                );
            }
            if let Some(digest) = self.parsed(&raw.digest) {
                let (reason, kill_running) = (raw.reason.into_inner(), raw.kill_running);
                rules.push(DenyRule { digest, reason, kill_running, line });
            }
        }
        rules
    }

    /// The projects of a root; each must be in the file, so that a typo is seen.
    fn scope(&mut self, raw: Spanned<RawNames>, projects: &[Project]) -> Option<Names<ProjectName>> {
        let span = raw.span();
        let scope = self.names(raw, "projects")?;
        if let Names::These(names) = &scope
            && let Some(unknown) =
                names.iter().find(|name| !projects.iter().any(|project| project.name == **name))
        {
            self.problem(span, format!("no [[project]] is named `{unknown}`"));
        }
        Some(scope)
    }

    fn names<T>(&mut self, raw: Spanned<RawNames>, key: &str) -> Option<Names<T>>
    where
        T: FromStr + Ord,
        T::Err: fmt::Display,
    {
        let span = raw.span();
        match raw.into_inner() {
            RawNames::Word(word) if word == "all" => Some(Names::All),
            RawNames::Word(_) => {
                self.problem(span, format!("expected {key} = [\"…\"], or \"all\""));
                None
            }
            RawNames::List(list) => Some(Names::These(self.each(&list).into_iter().collect())),
        }
    }

    /// What each text of a list means, none of them twice, in the order of the file.
    fn each<T>(&mut self, list: &[Spanned<String>]) -> Vec<T>
    where
        T: FromStr + PartialEq,
        T::Err: fmt::Display,
    {
        let mut found = Vec::new();
        for text in list {
            match self.parsed(text) {
                Some(item) if found.contains(&item) => {
                    self.problem(text.span(), format!("`{}` is there twice", text.get_ref()));
                }
                item => found.extend(item),
            }
        }
        found
    }

    pub(super) fn parsed<T: FromStr>(&mut self, text: &Spanned<String>) -> Option<T>
    where
        T::Err: fmt::Display,
    {
        match text.get_ref().parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.problem(text.span(), error.to_string());
                None
            }
        }
    }

    /// An absolute path without `.` and `..`, and not the root of everything.
    pub(super) fn path(&mut self, text: &Spanned<String>) -> Option<PathBuf> {
        let path = Path::new(text.get_ref());
        let plain = path.components().skip(1).all(|part| matches!(part, Component::Normal(_)));
        let dotted = text.get_ref().split('/').any(|part| part == "." || part == "..");
        let message = if !path.is_absolute() {
            "expected an absolute path"
        } else if path.components().nth(1).is_none() {
            "the root of the file system is too much"
        } else if !plain || dotted || text.get_ref().chars().any(is_invisible) {
            "a path here has no `.`, `..` or invisible characters"
        } else {
            // Collected again, `//` and a slash at the end are gone.
            return Some(path.components().collect());
        };
        self.problem(text.span(), message);
        None
    }

    fn amount(&mut self, amount: &Spanned<Amount>, unit: Unit, max: u64) -> Option<u64> {
        let value = match (amount.get_ref(), unit) {
            (Amount::Number(number), Unit::Count) => u64::try_from(*number).ok().filter(|number| *number > 0),
            (Amount::Text(text), Unit::Bytes | Unit::Time) => unit.parse(text),
            (Amount::Number(_), Unit::Bytes | Unit::Time)
            | (Amount::Text(_), Unit::Count)
            | (Amount::List(_) | Amount::Other, Unit::Count | Unit::Bytes | Unit::Time) => None,
        };
        match value {
            Some(value) if value <= max => return Some(value),
            Some(_) => self.problem(amount.span(), format!("at most {}", unit.show(max))),
            None => self.problem(amount.span(), format!("expected {}", unit.expected())),
        }
        None
    }

    fn limits<L: Clone>(
        &mut self,
        raw: &RawLimits,
        keys: &'static [Key<L>],
        unbuilt: &[&str],
    ) -> Vec<Cap<L>> {
        let mut caps = Vec::new();
        for (name, amount) in raw {
            let text = name.get_ref().as_str();
            if let Some(key) = keys.iter().find(|key| key.name == text) {
                if let Some(value) = self.amount(amount, key.unit, key.max) {
                    caps.push(Cap { key, value, line: self.line(name) });
                }
            } else if let Some(full) = unbuilt.iter().find(|full| full.rsplit('.').next() == Some(text)) {
                self.problem(name.span(), format!("`{full}` is not built yet in this version"));
            } else {
                let known: Vec<&str> = keys.iter().map(|key| key.name).collect();
                let message = format!("unknown field `{text}`, expected one of `{}`", known.join("`, `"));
                self.problem(name.span(), message);
            }
        }
        caps
    }

    /// Limits that hold for all, and where the file states each.
    fn ceiling<L: Clone + Default>(
        &mut self,
        raw: &RawLimits,
        keys: &'static [Key<L>],
        unbuilt: &[&str],
    ) -> Ceiling<L> {
        let caps = self.limits(raw, keys, unbuilt);
        let mut limits = L::default();
        caps.iter().for_each(|cap| cap.key.set(&mut limits, cap.value));
        Ceiling { limits, lines: caps.iter().map(|cap| (cap.key.name, cap.line)).collect() }
    }

    fn filled<L: Clone + Default>(
        &mut self,
        raw: &RawLimits,
        keys: &'static [Key<L>],
        unbuilt: &[&str],
    ) -> L {
        self.ceiling(raw, keys, unbuilt).limits
    }
}
