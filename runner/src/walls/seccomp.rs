//! Which system calls a runner has. What is not listed does not exist for it (`ENOSYS`), so that
//! libraries fall back as they would on an older kernel; what nobody honest does here ends the
//! process, so that an attempt is seen and not tried again in another way.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use libc::{c_int, c_long};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

use super::calls::{KILLS, LOADING, NEEDED};
use crate::protocol::Standing;

/// Calls, each with the conditions of which one must hold. None means always.
type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

/// The last filter, once the first ones stand: only then it can. It is made with them, when a runner
/// has nothing else to do.
static LAST: OnceLock<BpfProgram> = OnceLock::new();

/// Installs what holds from the start.
pub fn build() -> Standing {
    let build = || {
        let (filters, last) = (filters()?, loading()?);
        filters.iter().try_for_each(|filter| install(filter, false))?;
        Ok(last)
    };
    match build() {
        Ok(last) => {
            LAST.get_or_init(|| last);
            Standing::Holds(format!("{} system calls are left", NEEDED.len()))
        }
        Err(error) => Standing::Missing(error),
    }
}

/// Takes away what only loading needs, on every thread: they share one memory.
pub fn close() -> Result<(), String> {
    match LAST.get() {
        Some(filter) => install(filter, true),
        None => Ok(()),
    }
}

fn install(filter: &BpfProgram, every_thread: bool) -> Result<(), String> {
    let installed = if every_thread {
        seccompiler::apply_filter_all_threads(filter)
    } else {
        seccompiler::apply_filter(filter)
    };
    installed.map_err(|error| format!("the kernel takes no seccomp filter: {error}"))
}

/// First what ends the process, then what is left: of several filters the strictest answer holds.
fn filters() -> Result<[BpfProgram; 2], String> {
    let mut kills: Rules = KILLS.iter().map(|call| (*call, Vec::new())).collect();
    // Threads are clones, and so are processes.
    kills.insert(libc::SYS_clone, vec![rule(&[flags_without(0, libc::CLONE_THREAD)?])?]);
    let mut needed: Rules = NEEDED.iter().chain(LOADING).map(|call| (*call, Vec::new())).collect();
    narrow(&mut needed)?;
    Ok([
        program(kills, SeccompAction::Allow, SeccompAction::KillProcess)?,
        program(needed, SeccompAction::Errno(number(libc::ENOSYS)), SeccompAction::Allow)?,
    ])
}

/// Conditions on the arguments of calls that are needed in one form only.
fn narrow(needed: &mut Rules) -> Result<(), String> {
    // Shared memory belongs to no limit of one process, and what grows down counts as a stack and not
    // as data.
    needed.insert(
        libc::SYS_mmap,
        vec![rule(&[flags_without(3, libc::MAP_SHARED)?, flags_without(3, libc::MAP_GROWSDOWN)?])?],
    );
    // An abort is a signal to oneself.
    needed.insert(libc::SYS_tgkill, vec![rule(&[same(0, std::process::id())?])?]);
    // Of this process; 0 says so.
    needed.insert(libc::SYS_prlimit64, vec![rule(&[same(0, 0)?])?]);
    // To whoever is at the other end, which is the host.
    needed.insert(libc::SYS_sendto, vec![rule(&[condition(4, SeccompCmpOp::Eq, 0)?])?]);
    needed.insert(
        libc::SYS_fcntl,
        vec![
            rule(&[flag(1, libc::F_DUPFD_CLOEXEC)?])?,
            rule(&[flag(1, libc::F_GETFD)?])?,
            rule(&[flag(1, libc::F_SETFD)?])?,
            rule(&[flag(1, libc::F_GETFL)?])?,
        ],
    );
    // The name of a thread; and what comes before every filter.
    needed.insert(
        libc::SYS_prctl,
        vec![rule(&[flag(0, libc::PR_SET_NAME)?])?, rule(&[flag(0, libc::PR_SET_NO_NEW_PRIVS)?])?],
    );
    Ok(())
}

/// What is gone once a component is loaded.
fn loading() -> Result<BpfProgram, String> {
    let mut gone: Rules = LOADING.iter().map(|call| (*call, Vec::new())).collect();
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        gone.insert(call, vec![rule(&[flags_with(2, libc::PROT_EXEC)?])?]);
    }
    program(gone, SeccompAction::Allow, SeccompAction::Errno(number(libc::ENOSYS)))
}

fn program(rules: Rules, otherwise: SeccompAction, listed: SeccompAction) -> Result<BpfProgram, String> {
    let arch = std::env::consts::ARCH.try_into();
    let arch = arch.map_err(|_unknown| format!("no filter for {}", std::env::consts::ARCH))?;
    let filter = SeccompFilter::new(rules, otherwise, listed, arch);
    filter.and_then(TryInto::try_into).map_err(|error: seccompiler::BackendError| error.to_string())
}

fn rule(conditions: &[SeccompCondition]) -> Result<SeccompRule, String> {
    SeccompRule::new(conditions.to_vec()).map_err(|error| error.to_string())
}

fn condition(argument: u8, how: SeccompCmpOp, value: u64) -> Result<SeccompCondition, String> {
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Qword, how, value);
    condition.map_err(|error| error.to_string())
}

/// The kernel reads 32 bits of such an argument, and so does the filter.
fn same(argument: u8, value: u32) -> Result<SeccompCondition, String> {
    let value = u64::from(value);
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value);
    condition.map_err(|error| error.to_string())
}

fn flag(argument: u8, value: c_int) -> Result<SeccompCondition, String> {
    same(argument, number(value))
}

fn flags_with(argument: u8, flags: c_int) -> Result<SeccompCondition, String> {
    let flags = u64::from(number(flags));
    condition(argument, SeccompCmpOp::MaskedEq(flags), flags)
}

fn flags_without(argument: u8, flags: c_int) -> Result<SeccompCondition, String> {
    condition(argument, SeccompCmpOp::MaskedEq(u64::from(number(flags))), 0)
}

/// The kernel's numbers are not negative.
fn number(value: c_int) -> u32 {
    value.unsigned_abs()
}
