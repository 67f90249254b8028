//! One attempt's place in the ledger, written as late as it may be.

use super::Resumed;
use crate::ledger::{AttemptId, AttemptState, Ledger, LedgerError, NewAttempt, NewRun, Outcome, Used};

/// A short run costs one commit at its end; a long one is written while it goes on.
pub(super) struct Record {
    ledger: Ledger,
    run: NewRun,
    attempt: NewAttempt,
    written: Option<AttemptId>,
    /// The guest has begun; and whether the ledger knows.
    running: bool,
    running_written: bool,
}

impl Record {
    pub fn new(ledger: Ledger, run: NewRun, attempt: NewAttempt, resumed: Option<Resumed>) -> Self {
        let running_written = resumed.is_some_and(|resumed| resumed.state == AttemptState::Running);
        let written = resumed.map(|resumed| resumed.attempt);
        Self { ledger, run, attempt, written, running: false, running_written }
    }

    pub fn is_written(&self) -> bool {
        self.written.is_some()
    }

    /// The attempt, if it stands in the ledger.
    pub fn resumed(&self) -> Option<AttemptId> {
        self.written
    }

    /// Writes the run and its attempt, if they do not stand in the ledger yet.
    pub async fn write(&mut self) -> Result<AttemptId, LedgerError> {
        let attempt = match self.written {
            Some(attempt) => attempt,
            None => {
                let attempt = *self.written.insert(self.begin().await?);
                crash_point!("attempt_written");
                attempt
            }
        };
        self.write_state().await?;
        Ok(attempt)
    }

    async fn begin(&self) -> Result<AttemptId, LedgerError> {
        match self.ledger.begin(&self.run, &self.attempt).await {
            Err(LedgerError::Lost) => {
                self.ledger.close_stale(self.run.id).await?;
                self.ledger.begin(&self.run, &self.attempt).await
            }
            begun => begun,
        }
    }

    /// The guest begins now.
    pub async fn run_begins(&mut self) -> Result<(), LedgerError> {
        self.running = true;
        self.write_state().await
    }

    async fn write_state(&mut self) -> Result<(), LedgerError> {
        if let Some(id) = self.written
            && self.running
            && !self.running_written
        {
            self.ledger.advance(id, AttemptState::Running).await?;
            self.running_written = true;
            crash_point!("attempt_running");
        }
        Ok(())
    }

    /// Ends the attempt: all of its outputs, or none.
    pub async fn conclude(self, used: &Used, outcome: &Outcome) -> Result<(), LedgerError> {
        match self.written {
            Some(id) => self.ledger.conclude(id, used, outcome).await,
            None => match self.ledger.record(&self.run, &self.attempt, used, outcome).await {
                Err(LedgerError::Lost) => {
                    self.ledger.close_stale(self.run.id).await?;
                    self.ledger.record(&self.run, &self.attempt, used, outcome).await.map(drop)
                }
                recorded => recorded.map(drop),
            },
        }
    }
}
