//! How much: limits with their defaults. A missing key is the default; 0 is an error.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use super::units::Unit;
use crate::contract::Wall;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// `[limits.compile]`: what a component may cost before it first runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileLimits {
    pub component_bytes: u64,
    pub body_bytes: u64,
    pub functions: u64,
    pub instances: u64,
    pub imports: u64,
    pub memory_bytes: u64,
    pub cpu: Duration,
}

/// `[limits.guest]`: what one attempt's guest may use, before its inputs are counted in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestLimits {
    pub memory_bytes: u64,
    pub stack_bytes: u64,
    pub fuel: u64,
    pub fuel_per_byte: u64,
    /// Plus one second for each 4 MiB of input.
    pub wall: Duration,
    /// Most bytes in one host call.
    pub host_call_bytes: u64,
    /// Plus one for each 64 KiB of input.
    pub host_calls: u64,
    pub handles: u64,
    pub log_bytes: u64,
    pub decoded_bytes: u64,
    pub outputs: u64,
    pub output_bytes: u64,
}

/// What one attempt's guest may use, its inputs counted in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptLimits {
    pub memory_bytes: u64,
    pub stack_bytes: u64,
    pub fuel: u64,
    /// The runner is killed after this.
    pub wall: Duration,
    pub host_call_bytes: u64,
    pub host_call_bytes_total: u64,
    pub host_calls: u64,
    pub handles: u64,
    pub log_bytes: u64,
    pub decoded_bytes: u64,
    pub outputs: u64,
    pub output_bytes: u64,
}

/// `[limits.step]`: what one container step may use. A step asks for its own processors, memory and
/// time, within these; the rest holds for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepLimits {
    pub cpus: u64,
    pub memory_bytes: u64,
    /// The container is killed after this, or after what the step asked for.
    pub wall: Duration,
    pub pids: u64,
    /// Of `/tmp` in the container, which counts as its memory.
    pub scratch_bytes: u64,
    /// Of each of stdout and stderr: the rest is dropped.
    pub stdout_bytes: u64,
}

/// `[limits.run]`: what one run may set going in containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunLimits {
    pub steps: u64,
    /// Steps of one run that are with the backend at once; the others wait.
    pub concurrent_steps: u64,
    /// How often its guest may be run again from the top.
    pub passes: u64,
    /// From the run's first step to its end, waiting included.
    pub wall: Duration,
}

/// `[limits.caller]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerLimits {
    pub concurrent_runs: u64,
    pub queued: u64,
    pub requests_per_minute: u64,
    pub store_bytes: u64,
}

/// `[limits.host]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostLimits {
    pub runners: u64,
    pub free_space_floor_bytes: u64,
    /// Walls without which no runner gets work.
    pub require: BTreeSet<Wall>,
    /// Folders that the host may divide into cgroups, one for each runner.
    pub cgroups: Vec<PathBuf>,
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self {
            component_bytes: 8 * MIB,
            body_bytes: 128 * KIB,
            functions: 50_000,
            instances: 32,
            imports: 64,
            memory_bytes: GIB + GIB / 2,
            cpu: Duration::from_secs(60),
        }
    }
}

impl Default for GuestLimits {
    fn default() -> Self {
        Self {
            memory_bytes: 256 * MIB,
            stack_bytes: 512 * KIB,
            fuel: 1_000_000_000_000,
            fuel_per_byte: 500,
            wall: Duration::from_secs(5 * 60),
            host_call_bytes: 8 * MIB,
            host_calls: 1_000_000,
            handles: 1024,
            log_bytes: MIB,
            decoded_bytes: 64 * GIB,
            outputs: 64,
            output_bytes: 64 * GIB,
        }
    }
}

impl Default for StepLimits {
    fn default() -> Self {
        Self {
            cpus: 4,
            memory_bytes: 8 * GIB,
            wall: Duration::from_secs(24 * 3600),
            pids: 1024,
            scratch_bytes: GIB,
            stdout_bytes: 16 * MIB,
        }
    }
}

impl Default for RunLimits {
    fn default() -> Self {
        Self { steps: 64, concurrent_steps: 4, passes: 16, wall: Duration::from_secs(7 * 86_400) }
    }
}

impl Default for CallerLimits {
    fn default() -> Self {
        Self { concurrent_runs: 8, queued: 64, requests_per_minute: 600, store_bytes: TIB }
    }
}

impl Default for HostLimits {
    fn default() -> Self {
        Self {
            runners: 4,
            free_space_floor_bytes: 5 * GIB,
            require: BTreeSet::from([Wall::Seccomp]),
            cgroups: Vec::new(),
        }
    }
}

impl GuestLimits {
    /// The limits of an attempt whose inputs hold `input_bytes` in all: large files take longer.
    #[must_use]
    pub fn for_input(&self, input_bytes: u64) -> AttemptLimits {
        AttemptLimits {
            memory_bytes: self.memory_bytes,
            stack_bytes: self.stack_bytes,
            fuel: self.fuel.saturating_add(self.fuel_per_byte.saturating_mul(input_bytes)),
            wall: self.wall.saturating_add(Duration::from_secs(input_bytes / (4 * MIB))),
            host_call_bytes: self.host_call_bytes,
            host_call_bytes_total: (4 * GIB).saturating_add(input_bytes.saturating_mul(4)),
            host_calls: self.host_calls.saturating_add(input_bytes / (64 * KIB)),
            handles: self.handles,
            log_bytes: self.log_bytes,
            decoded_bytes: self.decoded_bytes,
            outputs: self.outputs,
            output_bytes: self.output_bytes,
        }
    }
}

/// Where a limit's value lies.
pub(super) enum Slot<'a> {
    Number(&'a mut u64),
    Time(&'a mut Duration),
}

/// One key of a table of limits. Reading the file, the minimum over its levels, `explain` and
/// `diff` all go through these lists, so a limit cannot be known to one of them only.
pub(super) struct Key<L: 'static> {
    pub name: &'static str,
    pub unit: Unit,
    /// Largest value that makes sense: more is an error, not a wish.
    pub max: u64,
    /// Less is wider: a reserve that is kept free.
    pub reserve: bool,
    slot: fn(&mut L) -> Slot<'_>,
}

impl<L: Clone> Key<L> {
    const fn new(name: &'static str, unit: Unit, slot: fn(&mut L) -> Slot<'_>) -> Self {
        Self { name, unit, max: u64::MAX, reserve: false, slot }
    }

    const fn at_most(self, max: u64) -> Self {
        Self { max, ..self }
    }

    const fn reserve(self) -> Self {
        Self { reserve: true, ..self }
    }

    /// The value in its unit: a count, bytes or milliseconds.
    pub fn get(&self, limits: &L) -> u64 {
        match (self.slot)(&mut limits.clone()) {
            Slot::Number(number) => *number,
            Slot::Time(time) => u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
        }
    }

    pub fn set(&self, limits: &mut L, value: u64) {
        match (self.slot)(limits) {
            Slot::Number(number) => *number = value,
            Slot::Time(time) => *time = Duration::from_millis(value),
        }
    }

    pub fn show(&self, value: u64) -> String {
        self.unit.show(value)
    }
}

/// A 32-bit guest can address no more.
const GUEST_MEMORY_BYTES_MAX: u64 = 4 * GIB;
/// The runner reserves the guest's stack on a thread of its own.
const GUEST_STACK_BYTES_MAX: u64 = 64 * MIB;
/// Longer would not be a limit; and a sum of two such times cannot overflow.
const TIME_MS_MAX: u64 = 366 * 86_400_000;
/// More processors than any machine of today has; a plan's number of them is 32 bits wide.
const STEP_CPUS_MAX: u64 = 65_536;
/// 1 PiB: sizes in a step's record stay integers that JSON can hold.
const STEP_BYTES_MAX: u64 = 1 << 50;
/// Stdout and stderr of a step go through the host's memory.
const STEP_STDOUT_BYTES_MAX: u64 = GIB;
/// A run's asks are recorded one by one, and read again by every pass.
const RUN_STEPS_MAX: u64 = 65_536;

pub(super) static COMPILE_KEYS: &[Key<CompileLimits>] = &[
    Key::new("component_bytes", Unit::Bytes, |l| Slot::Number(&mut l.component_bytes)),
    Key::new("body_bytes", Unit::Bytes, |l| Slot::Number(&mut l.body_bytes)),
    Key::new("functions", Unit::Count, |l| Slot::Number(&mut l.functions)),
    Key::new("instances", Unit::Count, |l| Slot::Number(&mut l.instances)),
    Key::new("imports", Unit::Count, |l| Slot::Number(&mut l.imports)),
    Key::new("memory", Unit::Bytes, |l| Slot::Number(&mut l.memory_bytes)),
    Key::new("cpu", Unit::Time, |l: &mut CompileLimits| Slot::Time(&mut l.cpu)).at_most(TIME_MS_MAX),
];

pub(super) static GUEST_KEYS: &[Key<GuestLimits>] = &[
    Key::new("memory", Unit::Bytes, |l: &mut GuestLimits| Slot::Number(&mut l.memory_bytes))
        .at_most(GUEST_MEMORY_BYTES_MAX),
    Key::new("stack", Unit::Bytes, |l: &mut GuestLimits| Slot::Number(&mut l.stack_bytes))
        .at_most(GUEST_STACK_BYTES_MAX),
    Key::new("fuel", Unit::Count, |l| Slot::Number(&mut l.fuel)),
    Key::new("fuel_per_byte", Unit::Count, |l| Slot::Number(&mut l.fuel_per_byte)),
    Key::new("wall", Unit::Time, |l: &mut GuestLimits| Slot::Time(&mut l.wall)).at_most(TIME_MS_MAX),
    Key::new("host_call_bytes", Unit::Bytes, |l| Slot::Number(&mut l.host_call_bytes)),
    Key::new("host_calls", Unit::Count, |l| Slot::Number(&mut l.host_calls)),
    Key::new("handles", Unit::Count, |l| Slot::Number(&mut l.handles)),
    Key::new("log_bytes", Unit::Bytes, |l| Slot::Number(&mut l.log_bytes)),
    Key::new("decoded_bytes", Unit::Bytes, |l| Slot::Number(&mut l.decoded_bytes)),
    Key::new("outputs", Unit::Count, |l| Slot::Number(&mut l.outputs)),
    Key::new("output_bytes", Unit::Bytes, |l| Slot::Number(&mut l.output_bytes)),
];

pub(super) static STEP_KEYS: &[Key<StepLimits>] = &[
    Key::new("cpus", Unit::Count, |l: &mut StepLimits| Slot::Number(&mut l.cpus)).at_most(STEP_CPUS_MAX),
    Key::new("memory", Unit::Bytes, |l: &mut StepLimits| Slot::Number(&mut l.memory_bytes))
        .at_most(STEP_BYTES_MAX),
    Key::new("wall", Unit::Time, |l: &mut StepLimits| Slot::Time(&mut l.wall)).at_most(TIME_MS_MAX),
    Key::new("pids", Unit::Count, |l: &mut StepLimits| Slot::Number(&mut l.pids)).at_most(1 << 22),
    Key::new("scratch_bytes", Unit::Bytes, |l: &mut StepLimits| Slot::Number(&mut l.scratch_bytes))
        .at_most(STEP_BYTES_MAX),
    Key::new("stdout_bytes", Unit::Bytes, |l: &mut StepLimits| Slot::Number(&mut l.stdout_bytes))
        .at_most(STEP_STDOUT_BYTES_MAX),
];

pub(super) static RUN_KEYS: &[Key<RunLimits>] = &[
    Key::new("steps", Unit::Count, |l: &mut RunLimits| Slot::Number(&mut l.steps)).at_most(RUN_STEPS_MAX),
    Key::new("concurrent_steps", Unit::Count, |l: &mut RunLimits| Slot::Number(&mut l.concurrent_steps))
        .at_most(1024),
    Key::new("passes", Unit::Count, |l: &mut RunLimits| Slot::Number(&mut l.passes)).at_most(1024),
    Key::new("wall", Unit::Time, |l: &mut RunLimits| Slot::Time(&mut l.wall)).at_most(TIME_MS_MAX),
];

pub(super) static CALLER_KEYS: &[Key<CallerLimits>] = &[
    Key::new("concurrent_runs", Unit::Count, |l| Slot::Number(&mut l.concurrent_runs)),
    Key::new("queued", Unit::Count, |l| Slot::Number(&mut l.queued)),
    Key::new("requests_per_minute", Unit::Count, |l| Slot::Number(&mut l.requests_per_minute)),
    Key::new("store_bytes", Unit::Bytes, |l| Slot::Number(&mut l.store_bytes)),
];

pub(super) static HOST_KEYS: &[Key<HostLimits>] = &[
    Key::new("runners", Unit::Count, |l: &mut HostLimits| Slot::Number(&mut l.runners)).at_most(1024),
    Key::new("free_space_floor", Unit::Bytes, |l: &mut HostLimits| {
        Slot::Number(&mut l.free_space_floor_bytes)
    })
    .reserve(),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i9_limits_grow_with_the_input_and_never_overflow() {
        let limits = GuestLimits::default();
        let nothing = limits.for_input(0);
        assert_eq!((nothing.fuel, nothing.host_calls), (limits.fuel, limits.host_calls));
        let some = limits.for_input(8 * MIB);
        assert_eq!(some.fuel, 1_000_000_000_000 + 500 * 8 * MIB);
        assert_eq!(some.wall, Duration::from_secs(302));
        assert_eq!(some.host_calls, 1_000_128);
        assert_eq!(some.host_call_bytes_total, 4 * GIB + 32 * MIB);
        assert_eq!(limits.for_input(u64::MAX).fuel, u64::MAX);
    }

    #[test]
    fn every_key_has_a_slot_of_its_own() {
        fn check<L: Clone + Default>(keys: &[Key<L>]) {
            let mut limits = L::default();
            for (value, key) in (1..).zip(keys) {
                key.set(&mut limits, value);
            }
            for (value, key) in (1..).zip(keys) {
                assert_eq!(key.get(&limits), value, "{}", key.name);
            }
        }
        check(GUEST_KEYS);
        check(STEP_KEYS);
        check(RUN_KEYS);
    }
}
