//! How many bytes connections may keep in memory: of what they asked and was not answered, and of
//! answers that they did not read (invariant I-9).
//!
//! Each connection has a little of its own, which nobody can take away; what is beyond comes from
//! one pool for all, so that many greedy connections together get no more than one number says.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Of each connection, in each direction: an ordinary request or answer fits, however full the
/// host is.
const OWN_BYTES: usize = 128 * 1024;

/// Of the pool, for requests of one connection.
const REQUESTS_OF_ONE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Of the pool, for answers to one connection: more than the largest answer has.
const ANSWERS_TO_ONE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The pools, for all connections together.
const REQUESTS_BYTES_MAX: usize = 64 * 1024 * 1024;
const ANSWERS_BYTES_MAX: usize = 128 * 1024 * 1024;

/// The host's pools.
#[derive(Debug)]
pub struct Budget {
    requests: Arc<Semaphore>,
    answers: Arc<Semaphore>,
}

/// What one connection may hold in one direction.
#[derive(Clone, Debug)]
pub struct Allowance {
    own: Arc<Semaphore>,
    most: Arc<Semaphore>,
    pool: Arc<Semaphore>,
}

/// Bytes that are held; given back when it is dropped.
#[derive(Debug)]
pub struct Held {
    _permits: (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>),
}

impl Default for Budget {
    fn default() -> Self {
        let pool = |bytes| Arc::new(Semaphore::new(bytes));
        Self { requests: pool(REQUESTS_BYTES_MAX), answers: pool(ANSWERS_BYTES_MAX) }
    }
}

impl Budget {
    /// For the requests of a new connection.
    #[must_use]
    pub fn of_requests(&self) -> Allowance {
        Allowance::new(REQUESTS_OF_ONE_BYTES_MAX, &self.requests)
    }

    /// For the answers to a new connection.
    #[must_use]
    pub fn of_answers(&self) -> Allowance {
        Allowance::new(ANSWERS_TO_ONE_BYTES_MAX, &self.answers)
    }
}

impl Allowance {
    fn new(most_bytes: usize, pool: &Arc<Semaphore>) -> Self {
        let semaphore = |bytes| Arc::new(Semaphore::new(bytes));
        Self { own: semaphore(OWN_BYTES), most: semaphore(most_bytes), pool: Arc::clone(pool) }
    }

    /// Whether this connection may hold `bytes` more, were the pool empty.
    #[must_use]
    pub fn has_room_for(&self, bytes: usize) -> bool {
        self.most.available_permits() >= bytes
    }

    /// Holds so many bytes, if there is room for them.
    #[must_use]
    pub fn hold(&self, bytes: usize) -> Option<Held> {
        let bytes = u32::try_from(bytes).ok()?;
        let take = |from: &Arc<Semaphore>| Arc::clone(from).try_acquire_many_owned(bytes).ok();
        if let Some(own) = take(&self.own) {
            return Some(Held { _permits: (own, None) });
        }
        let most = take(&self.most)?;
        let pool = take(&self.pool)?;
        Some(Held { _permits: (most, Some(pool)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    #[test]
    fn i9_connections_share_one_pool_and_each_has_its_own_beside_it() {
        let budget = Budget::default();
        let greedy: Vec<Allowance> = (0..20).map(|_| budget.of_requests()).collect();
        let mut held = Vec::new();
        for connection in &greedy {
            held.extend(std::iter::from_fn(|| connection.hold(MIB)));
        }
        assert_eq!(held.len() * MIB, REQUESTS_BYTES_MAX);
        assert!(greedy[0].hold(MIB).is_none(), "one connection has more than its share");

        let other = budget.of_requests();
        assert!(other.has_room_for(MIB) && other.hold(MIB).is_none(), "there is more than the pool");
        let ordinary = other.hold(OWN_BYTES).expect("an ordinary request finds no room");
        assert!(other.hold(1).is_none());
        assert!(budget.of_answers().hold(MIB).is_some(), "answers are kept apart");

        drop((held, ordinary));
        assert!(other.hold(MIB).is_some(), "what is given back is there again");
    }

    #[test]
    fn what_no_connection_may_hold_is_held_by_none() {
        let budget = Budget::default();
        assert!(budget.of_answers().hold(ANSWERS_TO_ONE_BYTES_MAX).is_some());
        assert!(budget.of_answers().hold(ANSWERS_TO_ONE_BYTES_MAX + 1).is_none());
        assert!(budget.of_answers().hold(usize::MAX).is_none());
    }
}
