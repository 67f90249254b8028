//! Bytes on disk: a content-addressed store, the import and export doors, and what formats are.

mod door;
mod error;
mod folder;
mod import;
pub mod preview;
mod sniff;
mod store;

#[cfg(test)]
mod tests;

pub use door::{RootEntry, export_beneath, list_beneath, open_beneath};
pub use error::ArtifactError;
pub use import::ImportSource;
pub use sniff::{agrees, sniff};
pub use store::{Incoming, Store, Stored};
