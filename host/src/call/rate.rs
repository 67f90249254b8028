//! How many requests a caller may make, and how many of them may be denied: buckets that fill by
//! the minute.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::CallError;

/// Buckets of all callers that were seen lately.
#[derive(Debug, Default)]
pub struct RateLimit {
    buckets: Mutex<HashMap<String, Bucket>>,
}

/// Most callers that are kept apart; beyond it the full buckets are forgotten, which changes
/// nothing for their owners.
const CALLERS_MAX: usize = 10_000;

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl RateLimit {
    /// Takes one out of the caller's bucket; `what` says of what.
    ///
    /// # Errors
    /// [`CallError::Busy`] with the time after which there is one again.
    pub fn admit(&self, caller: &str, per_minute: u64, what: &str) -> Result<(), CallError> {
        self.admit_at(caller, per_minute, Instant::now()).map_err(|retry_after_ms| CallError::Busy {
            code: "rate_limited",
            message: format!("more than {per_minute} {what} a minute"),
            retry_after_ms,
        })
    }

    /// Or after how many milliseconds there is one more.
    fn admit_at(&self, caller: &str, per_minute: u64, now: Instant) -> Result<(), u64> {
        #[expect(clippy::cast_precision_loss, reason = "a rate above 2^53 is no limit")]
        let capacity = per_minute as f64;
        let per_second = capacity / 60.0;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= CALLERS_MAX {
            buckets.retain(|_caller, bucket| bucket.level(now, per_second, capacity) < capacity);
        }
        let bucket = buckets.entry(caller.to_owned()).or_insert(Bucket { tokens: capacity, filled: now });
        bucket.tokens = bucket.level(now, per_second, capacity);
        bucket.filled = now;
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        let seconds = (1.0 - bucket.tokens) / per_second;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and a minute")]
        let retry_after_ms = (seconds * 1000.0).ceil() as u64;
        Err(retry_after_ms)
    }
}

impl Bucket {
    fn level(&self, now: Instant, per_second: f64, capacity: f64) -> f64 {
        let since = now.saturating_duration_since(self.filled).as_secs_f64();
        (self.tokens + since * per_second).min(capacity)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_empty_bucket_says_when_to_come_again() {
        let rate = RateLimit::default();
        let start = Instant::now();
        for _request in 0..60 {
            assert!(rate.admit_at("a", 60, start).is_ok());
        }
        assert_eq!(rate.admit_at("a", 60, start), Err(1000), "the 61st request was admitted");
        assert!(rate.admit_at("b", 60, start).is_ok(), "another caller has a bucket of its own");
        assert!(rate.admit_at("a", 60, start + Duration::from_secs(1)).is_ok());
    }

    proptest! {
        /// Q13: never more than the burst and what has flowed since.
        #[test]
        fn never_more_than_burst_and_flow(steps in prop::collection::vec(0..2000_u64, 1..300)) {
            let rate = RateLimit::default();
            let start = Instant::now();
            let mut elapsed = Duration::ZERO;
            let mut admitted = 0_u32;
            for step in steps {
                elapsed += Duration::from_millis(step);
                if rate.admit_at("a", 30, start + elapsed).is_ok() {
                    admitted += 1;
                }
            }
            prop_assert!(f64::from(admitted) <= 30.0 + elapsed.as_secs_f64() * 0.5 + 1e-6);
        }
    }
}
