//! Room in a project, held while bytes are on their way: so that many who come at once do not all
//! take the same room (invariant I-9).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use helix_ids::ProjectId;

use super::{Ledger, LedgerError};

/// What is reserved, by project and in the order in which it was asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Reservations {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    bytes: BTreeMap<(ProjectId, u64), u64>,
}

/// Room for some bytes; given back when it is dropped, which is after they were counted.
#[derive(Debug)]
#[must_use]
pub struct Reservation {
    all: Reservations,
    key: (ProjectId, u64),
}

/// The project has less room than is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the project may store {left_bytes} bytes more")]
pub struct NoRoom {
    pub left_bytes: u64,
}

impl Ledger {
    /// Holds room for `bytes` in a project that may have `most_bytes` in all. Bytes that the
    /// project has already are counted again, so the last few may be refused too early and none
    /// too late.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub async fn reserve(
        &self,
        project: ProjectId,
        bytes: u64,
        most_bytes: u64,
    ) -> Result<Result<Reservation, NoRoom>, LedgerError> {
        // In this order: what is given back before the next line stands in the ledger, and what
        // comes after it counts this.
        let (reservation, ahead) = self.inner.reservations.add(project, bytes);
        let stored = self.store_bytes(project).await?;
        let left_bytes = most_bytes.saturating_sub(stored).saturating_sub(ahead);
        Ok(if bytes <= left_bytes { Ok(reservation) } else { Err(NoRoom { left_bytes }) })
    }
}

impl Reservations {
    /// A new reservation, and how much was reserved before it.
    fn add(&self, project: ProjectId, bytes: u64) -> (Reservation, u64) {
        let mut inner = self.inner();
        let key = (project, inner.next);
        inner.next += 1;
        let of_project = (project, 0)..key;
        let ahead = inner.bytes.range(of_project).fold(0_u64, |sum, (_, bytes)| sum.saturating_add(*bytes));
        inner.bytes.insert(key, bytes);
        (Reservation { all: self.clone(), key }, ahead)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while it holds this lock; and were it so, the map is whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.all.inner().bytes.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use helix_ids::Digest;

    use super::*;

    #[test]
    fn i9_who_comes_later_finds_what_is_left() {
        let all = Reservations::default();
        let [mine, theirs] =
            [b"mine".as_slice(), b"theirs"].map(|name| ProjectId::from_digest(&Digest::of(name)));
        let (first, ahead) = all.add(mine, 60);
        assert_eq!(ahead, 0);
        let (second, ahead) = all.add(mine, u64::MAX);
        assert_eq!(ahead, 60);
        assert_eq!(all.add(theirs, 5).1, 0, "another project has room of its own");

        drop(second);
        let (third, ahead) = all.add(mine, 1);
        assert_eq!(ahead, 60);
        drop((first, third));
        assert_eq!(all.add(mine, 1).1, 0);
        assert!(all.inner().bytes.is_empty(), "what was given back is still held");
    }
}
