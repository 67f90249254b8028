//! A guest that waits for a step takes nobody's turn.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use super::super::flight::Flight;
use super::super::turns::{Turn, Turns};
use crate::ledger::{AttemptId, AttemptState, Ledger, LedgerError};

/// The turn of one attempt, given back while its guest waits.
pub(in crate::run) struct Pause {
    turns: Turns,
    at_once: u64,
    turn: Option<Turn>,
}

impl Pause {
    pub fn new(turns: Turns, at_once: u64, turn: Turn) -> Self {
        Self { turns, at_once, turn: Some(turn) }
    }

    /// Waits for `work`. What is there already costs no turn and no entry in the ledger.
    pub async fn during<T>(
        &mut self,
        ledger: &Ledger,
        flight: &Arc<Flight>,
        attempt: AttemptId,
        work: impl Future<Output = T>,
    ) -> Result<T, LedgerError> {
        let mut work = pin!(work);
        tokio::select! {
            biased;
            done = &mut work => return Ok(done),
            () = std::future::ready(()) => {}
        }
        ledger.advance(attempt, AttemptState::Waiting).await?;
        flight.waits(true);
        drop(self.turn.take());
        let done = work.await;
        let turn = self.turns.take(&flight.caller, flight.connection, self.at_once).await;
        self.turn = Some(turn);
        ledger.advance(attempt, AttemptState::Running).await?;
        flight.waits(false);
        Ok(done)
    }
}
