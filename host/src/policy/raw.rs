//! The tables of the policy file as an operator writes them: unchecked, short-lived, and known to
//! `file` only. Every table refuses unknown keys: in a security file an unknown key is a typo.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;

/// A key or table that is known, and refused until its feature is built: an accepted key that is
/// not enforced would be a lie.
pub(super) type Unbuilt = Option<Spanned<IgnoredAny>>;
/// A table of limits; its keys are looked up in the lists of `limits`.
pub(super) type RawLimits = BTreeMap<Spanned<String>, Spanned<Amount>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFile {
    pub version: Spanned<i64>,
    pub name: Spanned<String>,
    #[serde(default)]
    pub store: RawStore,
    #[serde(default)]
    pub limits: RawLimitTables,
    #[serde(default)]
    pub component: Vec<Spanned<RawComponent>>,
    #[serde(default)]
    pub import_root: Vec<Spanned<RawImportRoot>>,
    #[serde(default)]
    pub export_root: Vec<Spanned<RawExportRoot>>,
    #[serde(default)]
    pub project: Vec<Spanned<RawProject>>,
    #[serde(default)]
    pub deny: Vec<Spanned<RawDeny>>,
    #[serde(default)]
    pub image: Vec<Spanned<RawImage>>,
    #[serde(default)]
    pub backend: RawBackends,
    pub reference: Unbuilt,
    pub principal: Unbuilt,
    pub issuer: Unbuilt,
    pub signer: Unbuilt,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStore {
    pub root: Option<Spanned<String>>,
    pub network_fs: Unbuilt,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLimitTables {
    #[serde(default)]
    pub compile: RawLimits,
    #[serde(default)]
    pub guest: RawLimits,
    #[serde(default)]
    pub caller: RawLimits,
    #[serde(default)]
    pub host: RawLimits,
    #[serde(default)]
    pub step: RawLimits,
    #[serde(default)]
    pub run: RawLimits,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawComponent {
    pub digest: Spanned<String>,
    pub name: Spanned<String>,
    pub serve: Spanned<RawServe>,
    pub tools: Spanned<RawNames>,
    pub images: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    pub limits: RawLimits,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawImage {
    pub name: Spanned<String>,
    #[serde(rename = "ref")]
    pub reference: Spanned<String>,
    pub platform: Spanned<String>,
    pub user: Spanned<String>,
    pub egress: Spanned<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawBackends {
    pub docker: Option<Spanned<RawDocker>>,
    pub slurm: Unbuilt,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDocker {
    pub endpoint: Option<Spanned<String>>,
    pub runtime: Option<Spanned<String>>,
    pub pull: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawImportRoot {
    pub name: Spanned<String>,
    pub path: Spanned<String>,
    pub projects: Spanned<RawNames>,
    pub max_file: Option<Spanned<Amount>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawExportRoot {
    pub name: Spanned<String>,
    pub path: Spanned<String>,
    pub projects: Spanned<RawNames>,
    #[serde(default)]
    pub overwrite: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawProject {
    pub name: Spanned<String>,
    pub components: Spanned<RawNames>,
    #[serde(default)]
    pub limits: RawLimits,
    pub backends: Option<Vec<Spanned<String>>>,
    pub disclosure: Unbuilt,
    pub reuse_steps: Unbuilt,
    pub retention: Unbuilt,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDeny {
    pub digest: Spanned<String>,
    pub reason: Spanned<String>,
    #[serde(default)]
    pub kill_running: bool,
}

/// A count, a text with a unit, a list for the few keys that have one, or something that no limit is.
pub(super) enum Amount {
    Number(i64),
    Text(String),
    List(Vec<Spanned<Amount>>),
    Other,
}

/// `true` or a word.
pub(super) enum RawServe {
    Flag(bool),
    Word(String),
}

/// The word `all`, or a list.
pub(super) enum RawNames {
    Word(String),
    List(Vec<Spanned<String>>),
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Expected;
        impl<'de> Visitor<'de> for Expected {
            type Value = Amount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number, or a text with a unit")
            }

            fn visit_i64<E>(self, value: i64) -> Result<Amount, E> {
                Ok(Amount::Number(value))
            }

            fn visit_str<E>(self, value: &str) -> Result<Amount, E> {
                Ok(Amount::Text(value.to_owned()))
            }

            fn visit_f64<E>(self, _value: f64) -> Result<Amount, E> {
                Ok(Amount::Other)
            }

            fn visit_bool<E>(self, _value: bool) -> Result<Amount, E> {
                Ok(Amount::Other)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Amount, A::Error> {
                let mut list = Vec::new();
                while let Some(entry) = seq.next_element()? {
                    list.push(entry);
                }
                Ok(Amount::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Amount, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Amount::Other)
            }
        }
        deserializer.deserialize_any(Expected)
    }
}

impl<'de> Deserialize<'de> for RawServe {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Expected;
        impl Visitor<'_> for Expected {
            type Value = RawServe;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true or \"replay\"")
            }

            fn visit_bool<E>(self, value: bool) -> Result<RawServe, E> {
                Ok(RawServe::Flag(value))
            }

            fn visit_str<E>(self, value: &str) -> Result<RawServe, E> {
                Ok(RawServe::Word(value.to_owned()))
            }
        }
        deserializer.deserialize_any(Expected)
    }
}

impl<'de> Deserialize<'de> for RawNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Expected;
        impl<'de> Visitor<'de> for Expected {
            type Value = RawNames;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of names, or \"all\"")
            }

            fn visit_str<E>(self, value: &str) -> Result<RawNames, E> {
                Ok(RawNames::Word(value.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<RawNames, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = seq.next_element()? {
                    names.push(name);
                }
                Ok(RawNames::List(names))
            }
        }
        deserializer.deserialize_any(Expected)
    }
}
