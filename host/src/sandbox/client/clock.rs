//! A guest's wall clock.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::session::Lost;

/// Longer than any wall that a policy can give.
const FOR_EVER: Duration = Duration::from_secs(10 * 366 * 86_400);

/// When the time of a guest is over. What the host takes to answer an ask is not the guest's: it is
/// added.
pub(super) struct Clock {
    deadline: Instant,
}

impl Clock {
    pub fn new(wall: Duration) -> Self {
        Self { deadline: Instant::now() + wall.min(FOR_EVER) }
    }

    /// What comes of work that the guest is given time for.
    pub async fn within<T>(&self, work: impl Future<Output = Result<T, Lost>>) -> Result<T, Lost> {
        // A runner that always has something to say would never be looked away from.
        if Instant::now() >= self.deadline {
            return Err(Lost::Wall);
        }
        timeout_at(self.deadline, work).await.map_err(|_elapsed| Lost::Wall)?
    }

    /// What comes of work during which the clock stands still.
    pub async fn without<T>(&mut self, work: impl Future<Output = T>) -> T {
        let began = Instant::now();
        let done = work.await;
        self.deadline = self.deadline.checked_add(began.elapsed()).unwrap_or(self.deadline);
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn i9_time_that_an_answer_takes_is_not_the_guests() {
        let day = Duration::from_secs(86_400);
        let mut clock = Clock::new(Duration::from_secs(10));
        let work = |time| async move {
            tokio::time::sleep(time).await;
            Ok(7)
        };
        assert_eq!(clock.within(work(Duration::from_secs(6))).await.unwrap(), 7);
        clock.without(tokio::time::sleep(day)).await;
        assert_eq!(clock.within(work(Duration::from_secs(3))).await.unwrap(), 7);
        assert!(matches!(clock.within(work(Duration::from_secs(2))).await, Err(Lost::Wall)));
        // Also for what would be there at once.
        assert!(matches!(clock.within(async { Ok(7) }).await, Err(Lost::Wall)));
    }
}
