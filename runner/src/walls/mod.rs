//! The walls that a runner builds around itself before it hears of a guest (invariant I-3).
//!
//! WebAssembly is the first wall, and these stand behind it: for a guest that broke out of it, and
//! for a component that made the compiler do what it likes. They go up in two steps. What stands
//! from the start leaves one thing open that the engine needs to load a compiled component: opening
//! a file by name (the engine maps it by the name of its descriptor), and making memory executable.
//! [`close`] takes that away too, before the first instruction of a guest and before the first byte
//! of a component is parsed.

mod calls;
pub mod probe;
mod seccomp;

use landlock::{
    ABI, Access, AccessFs, AccessNet, LandlockStatus, Ruleset, RulesetAttr, RulesetError, RulesetStatus,
    Scope,
};
use rustix::process::DumpableBehavior;

use crate::protocol::{Standing, Wall, Walls};

/// The newest Landlock that is known here. An older kernel enforces what it has of it.
const LANDLOCK: ABI = ABI::V10;

/// Builds what can be built of these walls, on the process's only thread, and says what stands.
///
/// # Errors
/// What every Linux can do cannot be done: then nothing runs here.
pub fn build(wanted: &[Wall]) -> std::io::Result<Walls> {
    drop_privileges()?;
    let skipped = || Standing::Missing("left out by this probe".to_owned());
    let landlock = if wanted.contains(&Wall::Landlock) { landlock() } else { skipped() };
    // Last: what built the other walls is among the calls that are gone then.
    let seccomp = if wanted.contains(&Wall::Seccomp) { seccomp::build() } else { skipped() };
    Ok(Walls { landlock, seccomp })
}

/// Takes away what only the loading of a compiled component needs. No-op where there is no seccomp:
/// then policy has decided that this may be.
pub fn close() -> Result<(), String> {
    seccomp::close()
}

/// No privileges now, none by any program that could be started, and nobody may look inside.
///
/// The user stays who it is: a runner is root's where the host is root's. Another user would be
/// shared with other processes, which could then send signals to runners; and whatever being root
/// without capabilities still is worth, the walls take: files, signals, tracing.
#[expect(unsafe_code, reason = "two calls for which no crate that is here has a safe function")]
fn drop_privileges() -> std::io::Result<()> {
    // SAFETY: it takes numbers alone.
    done(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }.into())?;
    // The header: version 3, this thread. The sets: two of effective, permitted and inheritable.
    let header: [u32; 2] = [0x2008_0522, 0];
    let sets: [u32; 6] = [0; 6];
    // SAFETY: both are laid out as version 3 of the call wants them, and the kernel only reads them.
    done(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) })?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

fn done(result: libc::c_long) -> std::io::Result<()> {
    if result < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}

/// Nothing is allowed: what the runner may use it holds already, as descriptors.
fn landlock() -> Standing {
    match restrict() {
        Ok(status) => match (status.ruleset, status.landlock) {
            (RulesetStatus::NotEnforced, LandlockStatus::NotImplemented) => {
                Standing::Missing("this kernel has no Landlock (Linux 5.13 or newer)".to_owned())
            }
            (RulesetStatus::NotEnforced, LandlockStatus::NotEnabled) => {
                Standing::Missing("this kernel has Landlock switched off (its option `lsm=`)".to_owned())
            }
            (RulesetStatus::NotEnforced, LandlockStatus::Available { .. }) => {
                Standing::Missing("this kernel's Landlock enforces nothing of it".to_owned())
            }
            (_, LandlockStatus::Available { effective_abi, .. }) => Standing::Holds(reach(effective_abi)),
            (_, other) => Standing::Missing(format!("unclear: {other:?}")),
        },
        Err(error) => Standing::Missing(error.to_string()),
    }
}

fn restrict() -> Result<landlock::RestrictionStatus, RulesetError> {
    Ruleset::default()
        .handle_access(AccessFs::from_all(LANDLOCK))?
        .handle_access(AccessNet::from_all(LANDLOCK))?
        .scope(Scope::from_all(LANDLOCK))?
        .create()?
        .restrict_self()
}

/// What Landlock of this version keeps in.
fn reach(abi: ABI) -> String {
    let mut what = vec!["files"];
    let mut not = Vec::new();
    let mut sort = |holds: bool, name| if holds { what.push(name) } else { not.push(name) };
    sort(abi >= ABI::V4, "TCP");
    sort(abi >= ABI::V6, "signals");
    sort(abi >= ABI::V6, "abstract sockets");
    let mut text = format!("Landlock ABI {}: {}", abi as i32, what.join(", "));
    if !not.is_empty() {
        text.push_str("; not ");
        text.push_str(&not.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_landlock_says_what_it_lacks() {
        assert_eq!(reach(ABI::V1), "Landlock ABI 1: files; not TCP, signals, abstract sockets");
        assert_eq!(reach(ABI::V5), "Landlock ABI 5: files, TCP; not signals, abstract sockets");
        assert_eq!(reach(ABI::V7), "Landlock ABI 7: files, TCP, signals, abstract sockets");
    }
}
