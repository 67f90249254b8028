//! The store and the doors on a real file system.

mod door;
mod export;
mod preview;
mod store;
