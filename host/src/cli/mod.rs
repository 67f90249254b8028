//! Flags, environment and files become `Settings` once; one file a command.

pub mod fsck;
