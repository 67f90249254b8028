//! Chains of events: each holds the digest of the one before it, so that an edit, a removal or an
//! exchange inside a chain shows offline.

use helix_ids::{CanonicalJson, Digest};
use serde_json::{Value, json};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::batch::Batch;
use super::column::{count, millis, parsed, text};
use super::error::database;
use super::{EventRow, LedgerError, Millis};

/// The end of a chain, to which events are appended inside one transaction.
#[derive(Debug)]
pub(super) struct Chain {
    name: String,
    /// The last event's number and digest.
    tip: Option<(u64, Digest)>,
}

impl Chain {
    pub(super) async fn find(connection: &mut SqliteConnection, name: String) -> Result<Self, LedgerError> {
        let sql = "SELECT seq, digest FROM events WHERE chain = $1 ORDER BY seq DESC LIMIT 1";
        let row = sqlx::query(sql)
            .bind(&name)
            .fetch_optional(connection)
            .await
            .map_err(database("read the end of a chain"))?;
        let tip = row.map(|row| Ok((count(&row, "seq")?, parsed(&row, "digest")?))).transpose()?;
        Ok(Self::of(name, tip))
    }

    /// A chain whose end has been read.
    pub(super) fn of(name: String, tip: Option<(u64, Digest)>) -> Self {
        Self { name, tip }
    }

    pub(super) fn append(
        &mut self,
        batch: &mut Batch,
        at_ms: Millis,
        kind: &str,
        body: &Value,
    ) -> Result<(), LedgerError> {
        let seq = self.tip.map_or(0, |(seq, _)| seq + 1);
        let prev = self.tip.map(|(_, digest)| digest);
        let text = event_text(&self.name, seq, at_ms, kind, prev, body)?;
        let digest = text.digest();
        let sql = "INSERT INTO events (chain, seq, at_ms, kind, prev, text, digest)
                   VALUES ($1, $2, $3, $4, $5, $6, $7)";
        batch
            .add("append an event", sql)
            .bind(&self.name)
            .bind(super::column::stored(seq))
            .bind(at_ms)
            .bind(kind)
            .bind(prev.map(|digest| digest.to_string()))
            .bind(text.as_str())
            .bind(digest.to_string());
        self.tip = Some((seq, digest));
        Ok(())
    }
}

/// The canonical text that is hashed.
pub(super) fn event_text(
    chain: &str,
    seq: u64,
    at_ms: Millis,
    kind: &str,
    prev: Option<Digest>,
    body: &Value,
) -> Result<CanonicalJson, LedgerError> {
    let event = json!({
        "at_ms": at_ms,
        "body": body,
        "chain": chain,
        "kind": kind,
        "prev": prev.map(|digest| digest.to_string()),
        "seq": seq,
    });
    CanonicalJson::of(&event).map_err(database("write an event"))
}

pub(super) fn event_row(row: &SqliteRow) -> Result<EventRow, LedgerError> {
    Ok(EventRow {
        chain: text(row, "chain")?,
        seq: count(row, "seq")?,
        at_ms: millis(row, "at_ms")?,
        kind: text(row, "kind")?,
        text: text(row, "text")?,
        digest: parsed(row, "digest")?,
    })
}

/// What is wrong with an event, given the one before it in the chain; `None` when nothing is.
pub(super) fn break_of(event: &EventRow, before: Option<&EventRow>) -> Option<&'static str> {
    if event.seq != before.map_or(0, |before| before.seq + 1) {
        return Some("an event is missing before it");
    }
    if Digest::of(event.text.as_bytes()) != event.digest {
        return Some("its text does not hash to its digest");
    }
    let value: Value = serde_json::from_str(&event.text).unwrap_or(Value::Null);
    let body = value.get("body").unwrap_or(&Value::Null);
    let prev = before.map(|before| before.digest);
    let expected = event_text(&event.chain, event.seq, event.at_ms, &event.kind, prev, body);
    match expected {
        Ok(expected) if expected.as_str() == event.text => None,
        Ok(_) | Err(_) => Some("its text, its columns and the event before it do not agree"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain_of(bodies: &[Value]) -> Vec<EventRow> {
        let mut events: Vec<EventRow> = Vec::new();
        for body in bodies {
            let prev = events.last().map(|event| event.digest);
            let seq = events.len() as u64;
            let text = event_text("run_x", seq, 7, "kind", prev, body).unwrap();
            let (digest, text) = (text.digest(), text.to_string());
            events.push(EventRow { chain: "run_x".into(), seq, at_ms: 7, kind: "kind".into(), text, digest });
        }
        events
    }

    fn breaks(events: &[EventRow]) -> usize {
        let before = std::iter::once(None).chain(events.iter().map(Some));
        events.iter().zip(before).filter(|(event, before)| break_of(event, *before).is_some()).count()
    }

    #[test]
    fn any_edit_inside_a_chain_shows() {
        let good = chain_of(&[json!(1), json!({"a": "b"}), json!(null), json!([2])]);
        assert_eq!(breaks(&good), 0);
        for at in 0..good.len() {
            let mut removed = good.clone();
            removed.remove(at);
            assert_eq!(breaks(&removed) > 0, at + 1 < good.len(), "removal of {at}");

            let mut edited = good.clone();
            edited[at].at_ms += 1;
            assert_ne!(breaks(&edited), 0, "time of {at}");

            // Even one who hashes the edited text again breaks the link of the next event.
            let mut forged = good.clone();
            let prev = at.checked_sub(1).map(|before| good[before].digest);
            let text = event_text("run_x", at as u64, 7, "kind", prev, &json!("forged")).unwrap();
            forged[at].digest = text.digest();
            forged[at].text = text.to_string();
            assert_eq!(breaks(&forged) > 0, at + 1 < good.len(), "forgery of {at}");
        }
        let mut exchanged = good.clone();
        exchanged.swap(1, 2);
        assert_ne!(breaks(&exchanged), 0);
    }
}
