//! The limits of one attempt: what policy grants, with this call's inputs counted in.

use super::Guest;
use crate::plan::Plan;
use crate::policy::limits::{self, AttemptLimits};
use crate::sandbox::protocol::GuestLimits;

/// The caps that the sandbox holds this guest to.
pub(super) fn of_attempt(plan: &Plan, guest: &Guest) -> GuestLimits {
    of_guest(plan.limits(), guest)
}

/// The same of a guest that policy grants `limits`, known before it has planned.
pub fn of_guest(limits: &limits::GuestLimits, guest: &Guest) -> GuestLimits {
    let input_bytes = guest.inputs.iter().fold(0_u64, |sum, input| sum.saturating_add(input.size_bytes));
    for_sandbox(limits.for_input(input_bytes))
}

/// The same limits in the sandbox's own words.
pub fn for_sandbox(limits: AttemptLimits) -> GuestLimits {
    GuestLimits {
        memory_bytes: limits.memory_bytes,
        stack_bytes: limits.stack_bytes,
        fuel: limits.fuel,
        wall: limits.wall,
        host_call_bytes: limits.host_call_bytes,
        host_call_bytes_total: limits.host_call_bytes_total,
        host_calls: limits.host_calls,
        handles: limits.handles,
        log_bytes: limits.log_bytes,
        decoded_bytes: limits.decoded_bytes,
        outputs: limits.outputs,
        output_bytes: limits.output_bytes,
        // Until policy has a number: each is refused by who knows the plan.
        steps: 0,
    }
}
