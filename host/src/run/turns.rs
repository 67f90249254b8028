//! Whose guest is next. What waits is kept apart by connection, so that one who asks for five
//! hundred things at once stands in line with itself: every other turn goes to the connection
//! that waits for the fewest, and the turns between go round. The first keeps a client that asks
//! now and then from waiting behind a flood, however many connections that comes over; the second
//! keeps those that ask now and then from holding up everybody else for ever.
//!
//! Being next is not enough where every turn is taken by long work or by work that uses all
//! processors. So one turn is kept: while somebody asks for one thing at a time, connections that ask
//! for many at once have all turns but one among them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::decrease;
use crate::sandbox::Pace;

/// How long after somebody asked for one thing a turn is kept for whoever does so next. An assistant
/// makes one call after the other, with a pause to think between them.
const KEPT_FOR: Duration = Duration::from_secs(5);

/// So many turns at once, over all connections. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Turns {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    at_once: usize,
    kept_for: Duration,
    taken: usize,
    /// Of these, those of many: see [`Of`].
    of_many: usize,
    /// Only callers and connections with at least one turn.
    by_caller: HashMap<String, u64>,
    by_connection: HashMap<u64, u64>,
    /// Which connection asked last while it had nothing in hand, and when.
    one: Option<(u64, Instant)>,
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
    of: Of,
    caller_max: u64,
    wake: oneshot::Sender<Turn>,
}

/// One turn; dropped, it is the next one's.
#[derive(Debug)]
pub struct Turn {
    inner: Option<Arc<Inner>>,
    of: Of,
    yields: bool,
}

/// Whose turn it is, as turns are counted.
#[derive(Clone, Debug, Default)]
struct Of {
    caller: String,
    connection: u64,
    /// Its connection had a turn already, or waited for one, when it asked for this one.
    many: bool,
}

impl Turn {
    /// What is done in this turn lets others come first if its connection asks for many things at
    /// once while another one asks for one at a time.
    pub fn pace(&self) -> Pace {
        if self.yields { Pace::Yields } else { Pace::Usual }
    }
}

impl Turns {
    /// At most `at_once` turns at a time, at least one.
    pub fn new(at_once: usize) -> Self {
        Self::keeping(at_once, KEPT_FOR)
    }

    fn keeping(at_once: usize, kept_for: Duration) -> Self {
        let state = State { at_once: at_once.max(1), kept_for, ..State::default() };
        Self { inner: Arc::new(Inner { state: Mutex::new(state) }) }
    }

    /// Waits for a turn, of which this caller may have `caller_max`. Dropped, it no longer waits.
    pub async fn take(&self, caller: &str, connection: u64, caller_max: u64) -> Turn {
        let (wake, mut woken) = oneshot::channel();
        // A caller that may have none would wait for ever.
        let kept_for = self.inner.state().wait(caller, connection, caller_max.max(1), wake);
        loop {
            Inner::hand_out(&self.inner);
            match timeout(kept_for, &mut woken).await {
                Ok(Ok(turn)) => return turn,
                // The sender lives in a queue that nobody empties but by sending.
                Ok(Err(_never)) => return Turn { inner: None, of: Of::default(), yields: false },
                // By now the turn that was kept may be free for anybody.
                Err(_elapsed) => {}
            }
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
            let Some((next, yields)) = self.state().next() else { return };
            let turn = Turn { inner: Some(Arc::clone(self)), of: next.of, yields };
            if let Err(mut turn) = next.wake.send(turn) {
                // It went away this very moment. Given back here, for its drop would come back here.
                turn.inner = None;
                self.state().give_back(&turn.of);
            }
        }
    }
}

impl State {
    /// Puts a call into its queue, and says when it should look again by itself.
    fn wait(
        &mut self,
        caller: &str,
        connection: u64,
        caller_max: u64,
        wake: oneshot::Sender<Turn>,
    ) -> Duration {
        self.forget_gone();
        let lane = self.lanes.iter_mut().find(|lane| lane.connection == connection);
        let many = lane.is_some() || self.by_connection.contains_key(&connection);
        if !many {
            self.one = Some((connection, Instant::now()));
        }
        let of = Of { caller: caller.to_owned(), connection, many };
        let waiting = Waiting { of, caller_max, wake };
        match lane {
            Some(lane) => lane.waiting.push_back(waiting),
            None => self.lanes.push_back(Lane { connection, waiting: VecDeque::from([waiting]) }),
        }
        self.kept_for
    }

    fn forget_gone(&mut self) {
        for lane in &mut self.lanes {
            lane.waiting.retain(|waiting| !waiting.wake.is_closed());
        }
        self.lanes.retain(|lane| !lane.waiting.is_empty());
    }

    /// Whether a call is one of many of its connection while another connection asks for one at a
    /// time.
    fn yields(&self, of: &Of) -> bool {
        let other = self.one.filter(|(connection, _)| *connection != of.connection);
        of.many && other.is_some_and(|(_, asked)| asked.elapsed() < self.kept_for)
    }

    /// Whether there is a free turn for this one.
    fn may(&self, waiting: &Waiting) -> bool {
        let own = self.by_caller.get(&waiting.of.caller).copied().unwrap_or(0);
        let is_kept = self.yields(&waiting.of) && self.of_many + 1 >= self.at_once.max(2);
        own < waiting.caller_max && !is_kept
    }

    /// Takes the next one out of the queues and counts its turn, if there is a free one for it; and
    /// whether it yields.
    fn next(&mut self) -> Option<(Waiting, bool)> {
        if self.taken >= self.at_once {
            return None;
        }
        self.forget_gone();
        let may = |lane: &Lane| lane.waiting.front().is_some_and(|first| self.may(first));
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
        let yields = self.yields(&next.of);
        self.count(&next.of);
        Some((next, yields))
    }

    fn count(&mut self, of: &Of) {
        self.taken += 1;
        self.of_many += usize::from(of.many);
        *self.by_caller.entry(of.caller.clone()).or_default() += 1;
        *self.by_connection.entry(of.connection).or_default() += 1;
    }

    fn give_back(&mut self, of: &Of) {
        self.taken = self.taken.saturating_sub(1);
        self.of_many = self.of_many.saturating_sub(usize::from(of.many));
        decrease(&mut self.by_caller, &of.caller);
        decrease(&mut self.by_connection, &of.connection);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take() {
            inner.state().give_back(&self.of);
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
        assert_eq!((state.taken, state.of_many, state.lanes.len()), (0, 0, 0));
        assert_eq!((state.by_caller.len(), state.by_connection.len()), (0, 0));
    }

    /// Asks for a turn that is not free, and gives it once it is.
    async fn wait(turns: &Turns, connection: u64) -> tokio::task::JoinHandle<Turn> {
        let (queue, waits) = (turns.clone(), turns.waiting() + 1);
        let waiting = tokio::spawn(async move { queue.take("a", connection, 100).await });
        while turns.waiting() < waits {
            tokio::task::yield_now().await;
        }
        waiting
    }

    #[tokio::test]
    async fn a_turn_is_kept_for_who_asks_for_one_thing_at_a_time() {
        let turns = Turns::keeping(2, Duration::from_secs(3600));
        let (first, second) = (turns.take("a", 1, 100).await, turns.take("a", 1, 100).await);
        assert_eq!((first.pace(), second.pace()), (Pace::Usual, Pace::Usual), "nobody else is there");
        let flood = [wait(&turns, 1).await, wait(&turns, 1).await];
        let other = wait(&turns, 2).await;
        drop(first);
        let other = other.await.unwrap();
        assert_eq!(other.pace(), Pace::Usual);
        drop(other);
        // Free, and nobody's of the flood: the other one finds it at once, again and again.
        for _call in 0..3 {
            assert_eq!(turns.waiting(), 2);
            drop(turns.take("a", 2, 100).await);
        }
        drop(second);
        let [third, fourth] = flood;
        let third = third.await.unwrap();
        assert_eq!((third.pace(), turns.waiting()), (Pace::Yields, 1), "one at a time goes on");
        drop(third);
        fourth.await.unwrap();
    }

    #[tokio::test]
    async fn a_turn_is_kept_no_longer_than_somebody_asks() {
        let turns = Turns::keeping(2, Duration::from_millis(20));
        let held = [turns.take("a", 1, 100).await, turns.take("a", 1, 100).await];
        let waiting = wait(&turns, 1).await;
        wait(&turns, 2).await.abort();
        let [first, _second] = held;
        drop(first);
        // Whether it is kept or not: nothing happens any more but that time goes by.
        assert_eq!(waiting.await.unwrap().pace(), Pace::Usual);
    }

    #[tokio::test]
    async fn where_there_is_one_turn_it_is_kept_for_nobody() {
        let turns = Turns::keeping(1, Duration::from_secs(3600));
        let first = turns.take("a", 1, 100).await;
        let (other, second) = (wait(&turns, 2).await, wait(&turns, 1).await);
        drop(first);
        drop(other.await.unwrap());
        assert_eq!(second.await.unwrap().pace(), Pace::Yields);
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
