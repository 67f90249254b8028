//! Where everything is: flags before environment before the usual places, decided once.

#![expect(clippy::disallowed_methods, reason = "a door: the environment is read here, once")]

use std::env;
use std::path::{Path, PathBuf};

use clap::Args;

use super::output::Told;

const HOME_HELP: &str = "The folder that holds policy, ledger and artifacts [default: $HELIXMCP_HOME, else \
    $XDG_DATA_HOME/helixmcp, else ~/.local/share/helixmcp]";

const POLICY_HELP: &str = "The policy file [default: $HELIXMCP_POLICY, else policy.toml in the home]";

/// A heading of their own, so that a command's own flags are not lost among them.
const EVERYWHERE: &str = "With every command";

/// The flags that every command has.
#[derive(Args, Clone, Debug, Default)]
pub struct Globals {
    /// The folder that holds policy, ledger and artifacts
    #[arg(long, global = true, value_name = "DIR", help = HOME_HELP, help_heading = EVERYWHERE)]
    pub home: Option<PathBuf>,
    /// The policy file
    #[arg(long, global = true, value_name = "FILE", help = POLICY_HELP, help_heading = EVERYWHERE)]
    pub policy: Option<PathBuf>,
    /// Print JSON instead of text and tables
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub json: bool,
}

/// The variables that are read, and no others; an empty one counts as unset.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    pub helixmcp_home: Option<PathBuf>,
    pub helixmcp_policy: Option<PathBuf>,
    pub helixmcp_log: Option<String>,
    pub xdg_data_home: Option<PathBuf>,
    pub home: Option<PathBuf>,
    pub path: Option<std::ffi::OsString>,
    /// A fault to be had on purpose; see `faults`.
    #[cfg(feature = "faults")]
    pub faults: Option<String>,
}

impl Environment {
    /// The process's own.
    #[must_use]
    pub fn read() -> Self {
        let set = |name| env::var_os(name).filter(|value| !value.is_empty());
        Self {
            helixmcp_home: set("HELIXMCP_HOME").map(PathBuf::from),
            helixmcp_policy: set("HELIXMCP_POLICY").map(PathBuf::from),
            helixmcp_log: set("HELIXMCP_LOG").and_then(|value| value.into_string().ok()),
            xdg_data_home: set("XDG_DATA_HOME").map(PathBuf::from),
            home: set("HOME").map(PathBuf::from),
            path: set("PATH"),
            #[cfg(feature = "faults")]
            faults: set("HELIXMCP_FAULTS").and_then(|value| value.into_string().ok()),
        }
    }
}

/// What every command works with. All paths are absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub home: PathBuf,
    pub policy_file: PathBuf,
    /// A flag or the environment named that file; else it is where it usually is.
    pub names_policy: bool,
    /// Print JSON.
    pub json: bool,
    /// What is logged, as `tracing` filters it.
    pub log: Option<String>,
    /// Where programs are looked for; only `doctor` does.
    pub path: Option<std::ffi::OsString>,
}

impl Settings {
    /// # Errors
    /// When there is nowhere for a home.
    pub fn resolve(globals: &Globals, environment: &Environment) -> anyhow::Result<Self> {
        let home = globals
            .home
            .clone()
            .or_else(|| environment.helixmcp_home.clone())
            .or_else(|| usual_home(environment))
            .ok_or_else(|| Told::arguments("no home: give --home DIR, or set HELIXMCP_HOME"))?;
        let home = std::path::absolute(home)?;
        let policy_file = globals.policy.clone().or_else(|| environment.helixmcp_policy.clone());
        let names_policy = policy_file.is_some();
        let policy_file = match policy_file {
            Some(file) => std::path::absolute(file)?,
            None => home.join("policy.toml"),
        };
        Ok(Self {
            home,
            policy_file,
            names_policy,
            json: globals.json,
            log: environment.helixmcp_log.clone(),
            path: environment.path.clone(),
        })
    }

    /// Whether the policy lies where it usually does, so that it need not be named.
    #[must_use]
    pub fn has_usual_policy(&self) -> bool {
        self.policy_file == self.home.join("policy.toml")
    }
}

fn usual_home(environment: &Environment) -> Option<PathBuf> {
    let is_absolute = |path: &PathBuf| path.is_absolute();
    // The XDG specification says to ignore relative paths.
    let data = environment.xdg_data_home.clone().filter(is_absolute);
    let data = data.or_else(|| environment.home.as_deref().map(|home| Path::join(home, ".local/share")));
    data.map(|data| data.join("helixmcp"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_come_before_environment_before_the_usual_place() {
        let path = |text: &str| Some(PathBuf::from(text));
        let set = |helixmcp_home, xdg_data_home, home| Environment {
            helixmcp_home,
            xdg_data_home,
            home,
            ..Environment::default()
        };
        let cases = [
            (path("/flag"), set(path("/env"), path("/xdg"), path("/u")), "/flag"),
            (None, set(path("/env"), path("/xdg"), path("/u")), "/env"),
            (None, set(None, path("/xdg"), path("/u")), "/xdg/helixmcp"),
            (None, set(None, path("relative"), path("/u")), "/u/.local/share/helixmcp"),
            (None, set(None, None, path("/u")), "/u/.local/share/helixmcp"),
        ];
        for (home, environment, expected) in cases {
            let globals = Globals { home, ..Globals::default() };
            let settings = Settings::resolve(&globals, &environment).unwrap();
            assert_eq!(settings.home, Path::new(expected));
            assert_eq!(settings.policy_file, Path::new(expected).join("policy.toml"));
        }
        assert!(Settings::resolve(&Globals::default(), &Environment::default()).is_err());
    }
}
