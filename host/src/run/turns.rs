//! Whose guest is next. What waits is kept apart by connection, so that one who asks for five
//! hundred things at once stands in line with itself: every other turn goes to the connection
//! that waits for the fewest, and the turns between go round. The first keeps a client that asks
//! now and then from waiting behind a flood, however many connections that comes over; the second
//! keeps those that ask now and then from holding up everybody else for ever.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// So many turns at once, over all connections. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Turns {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    at_once: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    /// Only callers with at least one turn.
    by_caller: HashMap<String, u64>,
    /// Only connections of which somebody waits, the next in the round first.
    lanes: VecDeque<Lane>,
    round: bool,
}

#[derive(Debug)]
struct Lane {
    connection: u64,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    caller: String,
    caller_max: u64,
    wake: oneshot::Sender<Turn>,
}

/// One turn; dropped, it is the next one's.
#[derive(Debug)]
pub struct Turn {
    inner: Option<Arc<Inner>>,
    caller: String,
}

impl Turns {
    /// At most `at_once` turns at a time, at least one.
    pub fn new(at_once: usize) -> Self {
        Self { inner: Arc::new(Inner { at_once: at_once.max(1), state: Mutex::default() }) }
    }

    /// Waits for a turn, of which this caller may have `caller_max`. Dropped, it no longer waits.
    pub async fn take(&self, caller: &str, connection: u64, caller_max: u64) -> Turn {
        let (wake, woken) = oneshot::channel();
        // A caller that may have none would wait for ever.
        let waiting = Waiting { caller: caller.to_owned(), caller_max: caller_max.max(1), wake };
        self.inner.state().wait(connection, waiting);
        Inner::hand_out(&self.inner);
        match woken.await {
            Ok(turn) => turn,
            // The sender lives in a queue that nobody empties but by sending.
            Err(_never) => Turn { inner: None, caller: String::new() },
        }
    }

    /// How many wait.
    #[cfg(test)]
    fn waiting(&self) -> usize {
        self.inner.state().lanes.iter().map(|lane| lane.waiting.len()).sum()
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds this lock; and were it so, the queues are whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives free turns to those whose turn it is.
    fn hand_out(self: &Arc<Self>) {
        loop {
            let Some(next) = self.state().next(self.at_once) else { return };
            let turn = Turn { inner: Some(Arc::clone(self)), caller: next.caller };
            if let Err(mut turn) = next.wake.send(turn) {
                // It went away this very moment. Given back here, for its drop would come back here.
                turn.inner = None;
                self.state().give_back(&turn.caller);
            }
        }
    }
}

impl State {
    fn wait(&mut self, connection: u64, waiting: Waiting) {
        match self.lanes.iter_mut().find(|lane| lane.connection == connection) {
            Some(lane) => lane.waiting.push_back(waiting),
            None => self.lanes.push_back(Lane { connection, waiting: VecDeque::from([waiting]) }),
        }
    }

    /// Takes the next one out of the queues and counts its turn, if there is a free one for it.
    fn next(&mut self, at_once: usize) -> Option<Waiting> {
        if self.taken >= at_once {
            return None;
        }
        for lane in &mut self.lanes {
            lane.waiting.retain(|waiting| !waiting.wake.is_closed());
        }
        self.lanes.retain(|lane| !lane.waiting.is_empty());
        let may = |lane: &Lane| {
            let first = lane.waiting.front();
            first.is_some_and(|first| {
                self.by_caller.get(&first.caller).copied().unwrap_or(0) < first.caller_max
            })
        };
        let mut ready = self.lanes.iter().enumerate().filter(|(_, lane)| may(lane));
        let place = if self.round {
            ready.next()
        } else {
            // Of equals the first in the round.
            ready.min_by_key(|(_, lane)| lane.waiting.len())
        }
        .map(|(place, _)| place)?;
        let mut lane = self.lanes.remove(place)?;
        let next = lane.waiting.pop_front()?;
        if !lane.waiting.is_empty() {
            self.lanes.push_back(lane);
        }
        self.round = !self.round;
        self.taken += 1;
        *self.by_caller.entry(next.caller.clone()).or_default() += 1;
        Some(next)
    }

    fn give_back(&mut self, caller: &str) {
        self.taken = self.taken.saturating_sub(1);
        if let Some(count) = self.by_caller.get_mut(caller) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.by_caller.remove(caller);
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take() {
            inner.state().give_back(&self.caller);
            Inner::hand_out(&inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Lets `calls` wait, in this order, behind a turn that is taken; then gives turns out one by
    /// one and says who got them.
    async fn order(calls: &[(u64, usize)]) -> Vec<u64> {
        let turns = Turns::new(1);
        let first = turns.take("a", 99, 100).await;
        let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
        for &(connection, count) in calls {
            for _call in 0..count {
                let (turns, told, waits) = (turns.clone(), told.clone(), turns.waiting() + 1);
                let queue = turns.clone();
                tokio::spawn(async move {
                    let _turn = turns.take("a", connection, 100).await;
                    told.send(connection).unwrap();
                });
                while queue.waiting() < waits {
                    tokio::task::yield_now().await;
                }
            }
        }
        drop((first, told));
        let mut got = Vec::new();
        while let Some(connection) = heard.recv().await {
            got.push(connection);
        }
        got
    }

    #[tokio::test]
    async fn who_asks_for_little_does_not_wait_behind_a_flood() {
        let got = order(&[(1, 500), (2, 1), (3, 2)]).await;
        assert_eq!(got.len(), 503);
        let place = |connection| got.iter().position(|of| *of == connection).unwrap();
        assert!(place(2) < 2 && place(3) < 4, "{:?}", &got[..8]);

        // A flood over twenty connections is a flood.
        let flood: Vec<_> = (10..30).map(|connection| (connection, 25)).chain([(2, 1)]).collect();
        let got = order(&flood).await;
        assert!(got.iter().position(|of| *of == 2).unwrap() < 2, "{:?}", &got[..8]);
    }

    #[tokio::test]
    async fn turns_between_go_round_so_that_nobody_waits_for_ever() {
        let got = order(&[(1, 10), (2, 3), (3, 3), (4, 3)]).await;
        // Half of the turns are the flood's share of a round, however few the others ask for.
        let place = got.iter().position(|of| *of == 1).unwrap();
        assert!(place < 8, "{got:?}");
    }

    #[tokio::test]
    async fn a_caller_never_has_more_than_its_own_and_holds_up_nobody_else() {
        let turns = Turns::new(3);
        let (a, _b) = (turns.take("a", 1, 1).await, turns.take("b", 2, 1).await);
        let second = tokio::spawn({
            let turns = turns.clone();
            async move { turns.take("a", 1, 1).await }
        });
        while turns.waiting() < 1 {
            tokio::task::yield_now().await;
        }
        // Somebody else passes by the one that has to wait for its own.
        let _c = turns.take("c", 3, 1).await;
        assert_eq!(turns.waiting(), 1);
        drop(a);
        second.await.unwrap();
    }

    #[tokio::test]
    async fn who_goes_away_leaves_its_turn_and_nothing_behind() {
        let turns = Turns::new(1);
        let held = turns.take("a", 1, 9).await;
        let gone = tokio::time::timeout(std::time::Duration::from_millis(1), turns.take("a", 2, 9)).await;
        assert!(gone.is_err());
        drop(held);
        drop(turns.take("a", 3, 9).await);
        let state = turns.inner.state();
        assert_eq!((state.taken, state.lanes.len(), state.by_caller.len()), (0, 0, 0));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn never_more_than_so_many_at_once() {
        let (turns, now, most) =
            (Turns::new(3), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..200 {
            let (turns, now, most) = (turns.clone(), Arc::clone(&now), Arc::clone(&most));
            tasks.spawn(async move {
                let _turn = turns.take(["a", "b"][task % 2], task as u64 % 7, 2).await;
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                now.fetch_sub(1, Ordering::SeqCst);
            });
        }
        while tasks.join_next().await.is_some() {}
        assert_eq!(most.load(Ordering::SeqCst), 3);
        assert_eq!(turns.inner.state().taken, 0);
    }
}
