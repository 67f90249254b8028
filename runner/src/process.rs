//! What the runner lays down before it hears of a guest, and the limits once it has.

use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Resource, Rlimit, Signal};

use crate::protocol::{CompileLimits, DESCRIPTORS_MAX, GuestLimits, HOST_BYTES};

/// Descriptors beside those that a request brings: the socket, outputs, copies of inputs.
const OWN_DESCRIPTORS: u64 = 16_384;

/// What Linux gives a main thread everywhere.
const MAIN_STACK_BYTES: u64 = 8 * 1024 * 1024;

/// Makes this process one that holds nothing and leaves nothing.
pub fn harden() -> std::io::Result<()> {
    // Whoever started the host may have leaked descriptors into it, and so to here.
    close_descriptors()?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    set(Resource::Core, 0)?;
    set(Resource::Memlock, 0)?;
    set(Resource::Msgqueue, 0)?;
    // Threads have stacks of their own; that of the first one shall not become a place for more.
    let stack = rustix::process::getrlimit(Resource::Stack).maximum;
    set(Resource::Stack, stack.map_or(MAIN_STACK_BYTES, |hard| hard.min(MAIN_STACK_BYTES)))?;
    // Inputs come as descriptors, and a role may have many.
    let most = DESCRIPTORS_MAX as u64 + OWN_DESCRIPTORS;
    let most = rustix::process::getrlimit(Resource::Nofile).maximum.map_or(most, |hard| hard.min(most));
    set(Resource::Nofile, most)?;
    Ok(())
}

/// Closes everything but standard input, output and error. For the first moment of a process
/// alone, before anything in it has opened a descriptor or started a thread.
///
/// # Errors
/// When nobody can say what is open.
#[expect(unsafe_code, reason = "a descriptor that nobody owns can only be closed by its number")]
pub fn close_descriptors() -> std::io::Result<()> {
    let mut inherited = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let number = entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok());
        inherited.extend(number.filter(|number| *number > 2));
    }
    for number in inherited {
        // The listing's own descriptor is among them and closed by now.
        if std::fs::symlink_metadata(format!("/proc/self/fd/{number}")).is_err() {
            continue;
        }
        // SAFETY: this runs first in the process and on its only thread, so nothing in it has
        // opened a descriptor yet, and whoever opened this one is another program.
        drop(unsafe { OwnedFd::from_raw_fd(number) });
    }
    Ok(())
}

/// Limits for looking at and compiling a component: both cost what its author likes, and the
/// compiler has no budget of its own. Going past them ends the process, which the host reports
/// as `compile_limit`.
pub fn limit_compilation(limits: &CompileLimits) -> Result<(), String> {
    // A compiled form that did not fit into memory was never made.
    limit_output(limits.memory_bytes)?;
    set(Resource::As, limits.memory_bytes).map_err(fault)?;
    set(Resource::Cpu, limits.cpu.as_secs().max(1)).map_err(fault)
}

/// Memory of the whole process, for what the engine does not count, and its output bytes. Address
/// space cannot be limited here: the engine reserves more than 4 GiB for each memory.
///
/// A plan whose call may run in the same process has its own limits, and names those of the run, for
/// what was lowered for good cannot be raised again: a runner that was taken over while it planned
/// can have as much as the run, and has no file to write to.
pub fn limit_guest(limits: &GuestLimits, then: Option<&GuestLimits>) -> Result<(), String> {
    let most = then.unwrap_or(limits);
    let limit = |resource, of: fn(&GuestLimits) -> u64| {
        let (now, most) = (of(limits), of(most));
        set_both(resource, now, now.max(most)).map_err(fault)
    };
    limit(Resource::Fsize, |limits| limits.output_bytes)?;
    limit(Resource::Data, |limits| {
        limits.memory_bytes.saturating_add(limits.stack_bytes).saturating_add(HOST_BYTES)
    })
}

/// Memory of a process that reads one file: a check holds a line at most.
pub fn limit_file() -> Result<(), String> {
    limit_output(0)?;
    set(Resource::Data, HOST_BYTES).map_err(fault)
}

/// Largest file that this process can make of one that it was given. Our own count speaks first;
/// this holds for a runner that was taken over (invariant I-9), and ends it.
pub fn limit_output(bytes: u64) -> Result<(), String> {
    set(Resource::Fsize, bytes).map_err(fault)
}

fn fault(error: rustix::io::Errno) -> String {
    format!("the limits cannot be set: {error}")
}

fn set(resource: Resource, most: u64) -> rustix::io::Result<()> {
    set_both(resource, most, most)
}

fn set_both(resource: Resource, now: u64, most: u64) -> rustix::io::Result<()> {
    rustix::process::setrlimit(resource, Rlimit { current: Some(now), maximum: Some(most) })
}

/// What the last panic said.
pub struct Panics(Arc<Mutex<String>>);

impl Panics {
    pub fn last(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Keeps panic messages instead of printing them: there is nowhere to print to.
pub fn catch_panics() -> Panics {
    let last = Arc::new(Mutex::new(String::new()));
    let kept = Arc::clone(&last);
    std::panic::set_hook(Box::new(move |panic| {
        let mut message = panic.to_string();
        message.truncate(message.floor_char_boundary(2048));
        *kept.lock().unwrap_or_else(PoisonError::into_inner) = message;
    }));
    Panics(last)
}
