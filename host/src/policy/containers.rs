//! What an operator allows of containers: which images, as whom, and where they run.

use std::fmt;
use std::str::FromStr;

use helix_ids::{ContainerUser, ImageName, PinnedImage};
use toml::Spanned;

use super::default_denial;
use super::file::Reader;
use super::raw::{RawBackends, RawDocker, RawImage};
use super::{Denial, Policy};
use crate::contract::{DeclaredImage, PLATFORM};

/// Where Docker's own daemon listens, if the file does not say.
const DOCKER_ENDPOINT: &str = "unix:///var/run/docker.sock";
/// What every Docker Engine has.
const DOCKER_RUNTIME: &str = "runc";

/// One `[[image]]`: an image that components may name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRule {
    pub name: ImageName,
    pub image: PinnedImage,
    pub platform: String,
    pub user: ContainerUser,
    /// Line of its `[[image]]` in the file.
    pub line: u32,
}

/// An image that a tool declares and policy allows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantedImage {
    pub name: ImageName,
    pub image: PinnedImage,
    pub platform: String,
    pub user: ContainerUser,
}

/// The kinds of place where containers run. The set is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BackendKind {
    Docker,
}

impl BackendKind {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Docker => "docker",
        }
    }
}

impl fmt::Display for BackendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for BackendKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "docker" => Ok(Self::Docker),
            "slurm" => Err("the backend `slurm` is not built yet in this version".to_owned()),
            other => Err(format!("unknown backend `{other}`, expected \"docker\"")),
        }
    }
}

/// Where a run's containers may run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackendRule {
    Docker(DockerRule),
}

impl BackendRule {
    #[must_use]
    pub fn kind(&self) -> BackendKind {
        match self {
            Self::Docker(_) => BackendKind::Docker,
        }
    }

    /// What starts the container there.
    #[must_use]
    pub fn runtime(&self) -> &str {
        match self {
            Self::Docker(rule) => &rule.runtime,
        }
    }
}

/// `[backend.docker]`: an endpoint that speaks the Docker Engine API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerRule {
    /// `unix://` and the absolute path of a socket.
    pub endpoint: String,
    /// The OCI runtime by the daemon's name for it. Never the daemon's own default: that may change.
    pub runtime: String,
    pub pull: Pull,
}

/// Whether an image that the daemon lacks is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pull {
    Never,
    Missing,
}

impl Pull {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Missing => "missing",
        }
    }
}

impl ImageRule {
    /// How this rule is named to an operator.
    pub(super) fn title(&self) -> String {
        format!("[[image]] {}", self.name)
    }
}

impl Policy {
    /// The `[[image]]` that allows what a tool declares: of the same name, and equal in
    /// repository, digest and platform.
    ///
    /// # Errors
    /// `image_denied`, `image_not_allowed`, `image_mismatch`.
    pub fn image(&self, declared: &DeclaredImage) -> Result<&ImageRule, Denial> {
        let name = &declared.name;
        let digest = declared.reference.digest();
        if let Some(deny) = self.denies.iter().find(|deny| deny.digest == digest) {
            let message = format!("the image {name} ({digest}) is denied: {}", deny.reason);
            let denial = default_denial("image_denied", message);
            return Err(Denial { rule: "[[deny]]".to_owned(), line: Some(deny.line), ..denial });
        }
        let named = || self.images.iter().filter(|rule| rule.name == *name);
        let Some(first) = named().next() else {
            let message = format!("policy does not allow the image {name} ({})", declared.reference);
            let advice = "an operator adds an [[image]]; `helixmcp toolpack check` prints it".to_owned();
            return Err(Denial { advice, ..default_denial("image_not_allowed", message) });
        };
        let is_it =
            |rule: &&ImageRule| rule.image == declared.reference && rule.platform == declared.platform;
        named().find(is_it).ok_or_else(|| {
            let others: Vec<String> =
                named().map(|rule| format!("{} on {}", rule.image, rule.platform)).collect();
            let message = format!(
                "the tool declares the image {name} as {} on {}, and policy allows {}",
                declared.reference,
                declared.platform,
                others.join(" or ")
            );
            let denial = default_denial("image_mismatch", message);
            Denial { rule: first.title(), line: Some(first.line), ..denial }
        })
    }

    /// Images that components may name.
    #[must_use]
    pub fn images(&self) -> &[ImageRule] {
        &self.images
    }

    /// `[backend.docker]`, if there is one.
    #[must_use]
    pub fn docker(&self) -> Option<&DockerRule> {
        self.docker.as_ref()
    }

    /// The rule of one kind of backend, if the file has it.
    pub(super) fn backend(&self, kind: BackendKind) -> Option<BackendRule> {
        match kind {
            BackendKind::Docker => self.docker.clone().map(BackendRule::Docker),
        }
    }
}

impl Reader<'_> {
    pub(super) fn images(&mut self, raw: Vec<Spanned<RawImage>>) -> Vec<ImageRule> {
        let mut rules: Vec<ImageRule> = Vec::new();
        for entry in raw {
            let line = self.line(&entry);
            let raw = entry.into_inner();
            let name: Option<ImageName> = self.parsed(&raw.name);
            let image: Option<PinnedImage> = self.parsed(&raw.reference);
            let user: Option<ContainerUser> = self.parsed(&raw.user);
            let platform = raw.platform.get_ref().clone();
            if platform != PLATFORM {
                let message = format!(
                    "the platform `{platform}` is not built yet in this version; expected \"{PLATFORM}\""
                );
                self.problem(raw.platform.span(), message);
            }
            if raw.egress.get_ref() != "none" {
                self.problem(raw.egress.span(), "expected egress = \"none\": no container has a network");
            }
            let (Some(name), Some(image), Some(user)) = (name, image, user) else { continue };
            if let Some(other) = rules.iter().find(|other| other.name == name && other.image == image) {
                let message = format!("this image stands already in line {}", other.line);
                self.problem(raw.reference.span(), message);
            }
            rules.push(ImageRule { name, image, platform, user, line });
        }
        rules
    }

    pub(super) fn backends(&mut self, raw: RawBackends) -> Option<DockerRule> {
        self.unbuilt("[backend.slurm]", &raw.slurm);
        raw.docker.map(|docker| self.docker(docker.into_inner()))
    }

    fn docker(&mut self, raw: RawDocker) -> DockerRule {
        if let Some(endpoint) = &raw.endpoint {
            match endpoint.get_ref().strip_prefix("unix://") {
                // A socket is reached by a path, with the same rules as any other.
                Some(path) => drop(self.path(&Spanned::new(endpoint.span(), path.to_owned()))),
                None => self.problem(endpoint.span(), "expected \"unix:///…\", the path of a socket"),
            }
        }
        if let Some(runtime) = raw.runtime.as_ref().filter(|runtime| !is_runtime(runtime.get_ref())) {
            self.problem(runtime.span(), "expected the name of an OCI runtime: [a-z][a-z0-9._-]{0,63}");
        }
        let pull = match raw.pull.as_ref().map(|pull| pull.get_ref().as_str()) {
            Some("missing") => Pull::Missing,
            Some("never") | None => Pull::Never,
            Some(_) => {
                let span = raw.pull.as_ref().map_or(0..0, Spanned::span);
                self.problem(span, "expected \"never\" or \"missing\"");
                Pull::Never
            }
        };
        let text = |value: Spanned<String>| value.into_inner();
        DockerRule {
            endpoint: raw.endpoint.map_or_else(|| DOCKER_ENDPOINT.to_owned(), text),
            runtime: raw.runtime.map_or_else(|| DOCKER_RUNTIME.to_owned(), text),
            pull,
        }
    }
}

fn is_runtime(text: &str) -> bool {
    text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
}
