//! Step 8, second half: what is known of a run already. No guest runs here.

use std::sync::Arc;

use super::{Answer, CallError, Host, IdentifiedCall};
use crate::ledger::{AttemptState, Ledger};
use crate::run::{End, EndOutput};

/// Tries of a run that ended by a limit or a fault within the hour, after which the next one
/// wants `retry`: what fails for a reason outside its identity must not burn a machine.
const TRIES_AN_HOUR: u32 = 3;

const HOUR_MS: i64 = 60 * 60 * 1000;

/// Attempts of a run within a day, after which there is no other: each is kept for ever with its log,
/// and who proves that a run is what it was needs few of them.
const ATTEMPTS_A_DAY: u32 = 100;

const DAY_MS: i64 = 24 * HOUR_MS;

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

/// Whether a run may have one more attempt: by `retry`, because its outputs are gone, or because those
/// before were cancelled.
///
/// # Errors
/// [`CallError::Busy`] with `retried_too_often`.
pub async fn admit_attempt(host: &Arc<Host>, call: &IdentifiedCall) -> Result<(), CallError> {
    let begun = host.ledger.begun_ago(call.run_id(), ATTEMPTS_A_DAY).await.map_err(CallError::fault)?;
    // A clock that was set back makes nobody wait longer than a day.
    let left_ms = begun.map_or(0, |begun_ms| (begun_ms + DAY_MS - Ledger::now_ms()).min(DAY_MS));
    match u64::try_from(left_ms) {
        Ok(retry_after_ms) if retry_after_ms > 0 => Err(CallError::Busy {
            code: "retried_too_often",
            message: format!(
                "this run has {ATTEMPTS_A_DAY} attempts of the last day; if it has an answer, a call \
                 without `retry` gives it"
            ),
            retry_after_ms,
        }),
        Ok(_) | Err(_) => Ok(()),
    }
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
