//! Bytes on disk: a content-addressed store, the import and export doors, and what formats are.

mod adopt;
mod door;
mod error;
mod export;
mod folder;
mod import;
pub mod preview;
mod private;
mod sniff;
mod store;

#[cfg(test)]
mod tests;

pub use adopt::Left;
pub use door::{Door, RootEntry, list_beneath, open_beneath};
pub use error::ArtifactError;
pub use export::{Export, Swept, export_beneath};
pub(crate) use folder::{Folder, random_hex};
pub use import::ImportSource;
pub use private::{Private, real};
pub use sniff::{agrees, sniff};
pub use store::{Incoming, Store, Stored, seal_of};
