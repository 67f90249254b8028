//! Reads columns as the types that the host uses; what does not parse is damage.

use std::str::FromStr;

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::LedgerError;
use super::error::{damaged, database};

const WHAT: &str = "read a column of the ledger";

pub(super) fn text(row: &SqliteRow, column: &'static str) -> Result<String, LedgerError> {
    row.try_get(column).map_err(database(WHAT))
}

pub(super) fn maybe_text(row: &SqliteRow, column: &'static str) -> Result<Option<String>, LedgerError> {
    row.try_get(column).map_err(database(WHAT))
}

/// The end of a text, read as bytes: what it begins with may be the rest of a character.
pub(super) fn text_end(row: &SqliteRow, column: &'static str) -> Result<String, LedgerError> {
    let bytes: Vec<u8> = row.try_get(column).map_err(database(WHAT))?;
    let begins = |byte: &u8| byte & 0b1100_0000 != 0b1000_0000;
    let start = bytes.iter().take(4).position(begins).unwrap_or_default();
    Ok(String::from_utf8_lossy(bytes.get(start..).unwrap_or_default()).into_owned())
}

/// A text in the one spelling that its type has.
pub(super) fn parsed<T: FromStr>(row: &SqliteRow, column: &'static str) -> Result<T, LedgerError> {
    parse(column, &text(row, column)?)
}

pub(super) fn maybe_parsed<T: FromStr>(
    row: &SqliteRow,
    column: &'static str,
) -> Result<Option<T>, LedgerError> {
    maybe_text(row, column)?.map(|text| parse(column, &text)).transpose()
}

fn parse<T: FromStr>(column: &'static str, text: &str) -> Result<T, LedgerError> {
    text.parse().map_err(|_syntax| damaged(format!("column {column} holds {text:?}")))
}

/// Milliseconds since 1970.
pub(super) fn millis(row: &SqliteRow, column: &'static str) -> Result<i64, LedgerError> {
    row.try_get(column).map_err(database(WHAT))
}

pub(super) fn maybe_millis(row: &SqliteRow, column: &'static str) -> Result<Option<i64>, LedgerError> {
    row.try_get(column).map_err(database(WHAT))
}

/// A number that is never negative.
pub(super) fn count<T: TryFrom<i64>>(row: &SqliteRow, column: &'static str) -> Result<T, LedgerError> {
    let number: i64 = row.try_get(column).map_err(database(WHAT))?;
    T::try_from(number).map_err(|_range| damaged(format!("column {column} holds {number}")))
}

/// A count as the database keeps it. What exceeds 2⁶³−1 is no real size or count, and is kept as that.
pub(super) fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
