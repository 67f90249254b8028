//! Step 8, second half: what is known of a run already. No guest runs here.

use std::sync::Arc;

use super::{Answer, CallError, Host, IdentifiedCall};
use crate::ledger::{AttemptState, Ledger};
use crate::run::{End, EndOutput};

/// Tries of a run that ended by a limit or a fault within the hour, after which the next one
/// wants `retry`: what fails for a reason outside its identity must not burn a machine.
const TRIES_AN_HOUR: u32 = 3;

const HOUR_MS: i64 = 60 * 60 * 1000;

/// What the ledger says of a run.
pub enum Known {
    /// A success whose outputs exist, or a failure that follows from the run's identity.
    Answer(Box<Answer>),
    /// It succeeded, and bytes of its outputs are gone: it is made again.
    Expired(Vec<EndOutput>),
    Nothing,
}

/// Looks a run up.
///
/// # Errors
/// [`CallError::Failed`] with `tried_too_often`.
pub async fn look_up(host: &Arc<Host>, call: &IdentifiedCall) -> Result<Known, CallError> {
    let stored = host.ledger.answer(call.run_id(), call.digest()).await.map_err(CallError::fault)?;
    let Some(attempt) = stored else {
        return refuse_the_fourth(host, call).await.map(|()| Known::Nothing);
    };
    let end = End::from(attempt);
    let whole = end.outputs.iter().all(|output| host.store.has(&output.digest, output.size_bytes));
    if end.state == AttemptState::Succeeded && !whole {
        return Ok(Known::Expired(end.outputs));
    }
    Ok(Known::Answer(Box::new(Answer { replayed: true, ..Answer::ended(call.run_id(), &end) })))
}

async fn refuse_the_fourth(host: &Arc<Host>, call: &IdentifiedCall) -> Result<(), CallError> {
    let since = Ledger::now_ms() - HOUR_MS;
    let tries = host.ledger.recent_failures(call.run_id(), since).await.map_err(CallError::fault)?;
    if tries < TRIES_AN_HOUR {
        return Ok(());
    }
    Err(CallError::Failed {
        run: Some(call.run_id()),
        class: "limit".to_owned(),
        code: "tried_too_often".to_owned(),
        message: format!("this call ended by a limit or a fault {tries} times within the hour"),
        advice: "run_get shows how; `retry: true` tries once more".to_owned(),
    })
}
