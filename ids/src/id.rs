//! Ids of runs, artifacts, projects and denials: a prefix and 26 Crockford digits.

use std::fmt;
use std::str::FromStr;

use crate::crockford;
use crate::digest::Digest;

/// Why a text is no id of the kind that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected `{prefix}` and 26 digits of 0-9 A-Z without I L O U")]
pub struct ParseIdError {
    prefix: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(u128);

        impl $name {
            /// What every id of this kind begins with.
            pub const PREFIX: &'static str = $prefix;

            /// The id that stands for `digest`: its first 16 bytes.
            #[must_use]
            pub fn from_digest(digest: &Digest) -> Self {
                let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = *digest.as_bytes();
                Self(u128::from_be_bytes([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", $prefix, crockford::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                text.strip_prefix($prefix)
                    .and_then(crockford::decode)
                    .map(Self)
                    .ok_or(ParseIdError { prefix: $prefix })
            }
        }

        crate::name::serde_as_text!($name);
    };
}

id!(
    /// A run: the identity of a call, not one try at it. No secret and no capability.
    RunId,
    "run_"
);
id!(
    /// An artifact of one project: bytes of one digest under one type.
    ArtifactId,
    "art_"
);
id!(
    /// A project.
    ProjectId,
    "proj_"
);
id!(
    /// One refusal by policy, as the ledger keeps it.
    DenialId,
    "den_"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_one_spelling() {
        let id = ArtifactId::from_digest(&Digest::of(b"x"));
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in ["", "art_", &id.to_string().to_lowercase(), &format!("{id}0"), &format!("run_{id}")] {
            assert!(bad.parse::<ArtifactId>().is_err(), "{bad}");
        }
    }
}
