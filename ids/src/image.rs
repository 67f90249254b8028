//! Container images pinned by digest. A tag is not expressible.

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;

/// `registry/repository@sha256:…`: one manifest, for ever.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PinnedImage {
    repository: String,
    digest: Digest,
}

/// Why a text is no pinned image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseImageError {
    /// There is no digest, or not the canonical one.
    #[error("an image is pinned by `@sha256:` and 64 lowercase hex digits; a tag does not pin")]
    Digest,
    /// The part before the digest is not `registry/repository`.
    #[error("an image is named `registry/repository@sha256:…` in lowercase, without a tag")]
    Repository,
}

/// Longest `registry/repository`: the limit of the OCI distribution specification.
const REPOSITORY_BYTES_MAX: usize = 255;

impl PinnedImage {
    /// `registry/repository`, without the digest.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The digest of the image's manifest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

impl FromStr for PinnedImage {
    type Err = ParseImageError;

    fn from_str(text: &str) -> Result<Self, ParseImageError> {
        let (repository, digest) = text.split_once('@').ok_or(ParseImageError::Digest)?;
        let digest = digest.parse().map_err(|_syntax| ParseImageError::Digest)?;
        let mut parts = repository.split('/');
        let registry = parts.next().unwrap_or_default();
        let path: Vec<&str> = parts.collect();
        let registry_ok =
            registry.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-:".contains(&b));
        let path_ok = path.iter().all(|part| {
            part.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
                && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
        });
        let ok = repository.len() <= REPOSITORY_BYTES_MAX
            && !registry.is_empty()
            && !path.is_empty()
            && registry_ok
            && path_ok;
        if !ok {
            return Err(ParseImageError::Repository);
        }
        Ok(Self { repository: repository.to_owned(), digest })
    }
}

impl fmt::Display for PinnedImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.repository, self.digest)
    }
}

crate::name::serde_as_text!(PinnedImage);

/// As whom a container runs: never as root, not even as root of its own group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ContainerUser {
    /// The host's own uid and gid, whatever they are on this machine.
    Host,
    Ids {
        uid: u32,
        gid: u32,
    },
}

/// Why a text is no user of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected \"uid:gid\" in plain digits, neither of them 0, or \"host\"")]
pub struct ParseUserError;

impl FromStr for ContainerUser {
    type Err = ParseUserError;

    fn from_str(text: &str) -> Result<Self, ParseUserError> {
        if text == "host" {
            return Ok(Self::Host);
        }
        // One text for each user: no sign, no zero before, and not the largest, which means "as it was".
        let id = |part: &str| {
            let id = part.parse::<u32>().ok().filter(|id| (1..u32::MAX).contains(id))?;
            (id.to_string() == part).then_some(id)
        };
        let (uid, gid) = text.split_once(':').ok_or(ParseUserError)?;
        match (id(uid), id(gid)) {
            (Some(uid), Some(gid)) => Ok(Self::Ids { uid, gid }),
            _ => Err(ParseUserError),
        }
    }
}

impl fmt::Display for ContainerUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("host"),
            Self::Ids { uid, gid } => write!(f, "{uid}:{gid}"),
        }
    }
}

crate::name::serde_as_text!(ContainerUser);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_container_runs_as_root() {
        for good in ["host", "65534:65534", "1:1", "4294967294:1000"] {
            assert_eq!(good.parse::<ContainerUser>().map(|user| user.to_string()), Ok(good.to_owned()));
        }
        for bad in [
            "",
            "0:0",
            "0:1",
            "1:0",
            "root",
            "1",
            "1:",
            ":1",
            "+1:1",
            "01:1",
            "-1:1",
            "1:1:1",
            "4294967295:1",
        ] {
            assert_eq!(bad.parse::<ContainerUser>(), Err(ParseUserError), "{bad}");
        }
    }

    #[test]
    fn an_image_without_a_digest_is_not_expressible() {
        let digest = Digest::of(b"manifest");
        let good = format!("registry.example:5000/lab/fastqc@{digest}");
        assert_eq!(good.parse::<PinnedImage>().map(|image| image.to_string()), Ok(good));
        for bad in ["alpine", "docker.io/library/alpine:3", "registry.example/x@sha256:abc"] {
            assert_eq!(bad.parse::<PinnedImage>(), Err(ParseImageError::Digest), "{bad}");
        }
        for bad in ["alpine", "r/x:tag", "R/x", "r/../x", "r//x", "/x", "r/х"] {
            let text = format!("{bad}@{digest}");
            assert_eq!(text.parse::<PinnedImage>(), Err(ParseImageError::Repository), "{bad}");
        }
    }
}
