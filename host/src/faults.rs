//! Faults on purpose, for tests. A binary that was built without the feature `faults` has none of
//! them: both macros leave nothing of themselves.
//!
//! `HELIXMCP_FAULTS` holds one fault:
//! `crash=POINT:N` ends the process when POINT is reached for the N-th time, as a kill would;
//! `fail=OPERATION:N:ERROR` makes the N-th such operation fail, `N+` each from there on;
//! `clock=MILLISECONDS` moves the wall clock.

/// Where a process can be made to end, in the order of a call that imports and runs.
pub const POINTS: [&str; 19] = [
    "store_swept",
    "ledger_before_commit",
    "ledger_after_commit",
    "taken_over",
    "carried_on",
    "object_written",
    "object_synced",
    "object_renamed",
    "object_shelved",
    "import_stored",
    "import_recorded",
    "run_planned",
    "run_started",
    "attempt_written",
    "attempt_running",
    "guest_returned",
    "output_kept",
    "outputs_kept",
    "attempt_concluded",
];

/// The same in the order of a step's life, which needs a backend.
pub const STEP_POINTS: [&str; 6] =
    ["step_asked", "step_submitted", "step_started", "step_finished", "capture_kept", "step_ended"];

/// Operations of the store and the ledger that can be made to fail.
pub const OPERATIONS: [&str; 13] = [
    "free_space",
    "create",
    "write",
    "read",
    "chmod",
    "sync",
    "mkdir",
    "rename",
    "sync_folder",
    "open",
    "list",
    "remove",
    "ledger_commit",
];

/// Ends the process here, if that is the fault that was asked for.
#[cfg(feature = "faults")]
macro_rules! crash_point {
    ($name:literal) => {
        $crate::faults::armed::reached($name)
    };
}

#[cfg(not(feature = "faults"))]
macro_rules! crash_point {
    ($name:literal) => {};
}

/// Does the work, unless it is to fail.
#[cfg(feature = "faults")]
macro_rules! faulty {
    ($name:literal, $work:expr) => {
        match $crate::faults::armed::failing($name) {
            None => $work,
            Some(errno) => Err(errno.into()),
        }
    };
}

#[cfg(not(feature = "faults"))]
macro_rules! faulty {
    ($name:literal, $work:expr) => {
        $work
    };
}

#[cfg(feature = "faults")]
pub mod armed {
    //! The fault that this process was started with.

    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use rustix::io::Errno;

    static FAULT: OnceLock<Fault> = OnceLock::new();

    #[derive(Debug)]
    enum Fault {
        Crash { point: String, at: u64, seen: AtomicU64 },
        Fail { operation: String, at: u64, and_on: bool, errno: Errno, seen: AtomicU64 },
        Clock { ms: i64 },
    }

    /// Arms what the environment says; once. `false` if it names what does not exist.
    #[must_use]
    pub fn arm(text: &str) -> bool {
        parse(text).is_some_and(|fault| FAULT.set(fault).is_ok())
    }

    fn parse(text: &str) -> Option<Fault> {
        let (kind, rest) = text.split_once('=')?;
        let seen = AtomicU64::new(0);
        match kind {
            "crash" => {
                let (point, at) = rest.split_once(':')?;
                let at = at.parse().ok()?;
                super::POINTS
                    .iter()
                    .chain(&super::STEP_POINTS)
                    .any(|known| *known == point)
                    .then(|| Fault::Crash { point: point.to_owned(), at, seen })
            }
            "fail" => {
                let (operation, rest) = rest.split_once(':')?;
                let (at, errno) = rest.split_once(':')?;
                let errno = match errno {
                    "EIO" => Errno::IO,
                    "ENOSPC" => Errno::NOSPC,
                    "EDQUOT" => Errno::DQUOT,
                    "EROFS" => Errno::ROFS,
                    "EMFILE" => Errno::MFILE,
                    _ => return None,
                };
                let and_on = at.ends_with('+');
                let at = at.trim_end_matches('+').parse().ok()?;
                let operation = super::OPERATIONS.iter().find(|known| **known == operation)?;
                Some(Fault::Fail { operation: (*operation).to_owned(), at, and_on, errno, seen })
            }
            "clock" => Some(Fault::Clock { ms: rest.parse().ok()? }),
            _ => None,
        }
    }

    /// The process has come to this point.
    pub fn reached(name: &str) {
        if let Some(Fault::Crash { point, at, seen }) = FAULT.get()
            && point == name
            && seen.fetch_add(1, Ordering::SeqCst) + 1 == *at
        {
            // No destructor runs, and nothing is flushed.
            std::process::abort();
        }
    }

    /// What this operation is to fail with, if it is.
    pub fn failing(name: &str) -> Option<Errno> {
        let Some(Fault::Fail { operation, at, and_on, errno, seen }) = FAULT.get() else { return None };
        if operation != name {
            return None;
        }
        let turn = seen.fetch_add(1, Ordering::SeqCst) + 1;
        let fails = turn == *at || (*and_on && turn > *at);
        if fails {
            tracing::warn!(name, turn, %errno, "made to fail");
        }
        fails.then_some(*errno)
    }

    /// How far the wall clock is off.
    pub fn clock_ms() -> i64 {
        match FAULT.get() {
            Some(Fault::Clock { ms }) => *ms,
            Some(Fault::Crash { .. } | Fault::Fail { .. }) | None => 0,
        }
    }
}
