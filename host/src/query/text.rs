//! Text of guests, containers and files is data: what is shown of it is capped and escaped here.

/// `ms` since 1970 as ISO 8601 with milliseconds, UTC.
#[must_use]
pub fn iso_time(ms: i64) -> String {
    unimplemented!()
}
