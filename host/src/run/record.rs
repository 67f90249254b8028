//! One attempt's place in the ledger, written as late as it may be.

use crate::ledger::{AttemptId, AttemptState, Ledger, LedgerError, NewAttempt, NewRun, Outcome, Used};

/// A short run costs one commit at its end; a long one is written while it goes on.
pub(super) struct Record {
    ledger: Ledger,
    run: NewRun,
    attempt: NewAttempt,
    written: Option<AttemptId>,
    running: bool,
}

impl Record {
    pub fn new(ledger: Ledger, run: NewRun, attempt: NewAttempt, written: Option<AttemptId>) -> Self {
        Self { ledger, run, attempt, written, running: false }
    }

    pub fn is_written(&self) -> bool {
        self.written.is_some()
    }

    /// Writes the run and its attempt, if they do not stand in the ledger yet.
    pub async fn write(&mut self) -> Result<(), LedgerError> {
        if self.written.is_none() {
            let id = self.ledger.begin(&self.run, &self.attempt).await?;
            self.written = Some(id);
            if self.running {
                self.ledger.advance(id, AttemptState::Running).await?;
            }
        }
        Ok(())
    }

    /// The guest begins now.
    pub async fn run_begins(&mut self) -> Result<(), LedgerError> {
        self.running = true;
        if let Some(id) = self.written
            && !self.ledger.is_running(id).await?
        {
            self.ledger.advance(id, AttemptState::Running).await?;
        }
        Ok(())
    }

    /// Ends the attempt: all of its outputs, or none.
    pub async fn conclude(self, used: &Used, outcome: &Outcome) -> Result<(), LedgerError> {
        match self.written {
            Some(id) => self.ledger.conclude(id, used, outcome).await,
            None => self.ledger.record(&self.run, &self.attempt, used, outcome).await.map(|_id| ()),
        }
    }
}
