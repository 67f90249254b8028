//! Waiting for a state, never for a time.

use std::time::{Duration, Instant};

/// How often a state is looked at while it is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Looks until `state` gives something, or gives nothing once `timeout` has passed.
pub fn until<T>(timeout: Duration, mut state: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + timeout;
    loop {
        if let Some(found) = state() {
            return Some(found);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}
