//! Which toolpacks exist, at which digest, offering which tools.

use std::sync::Arc;

use helix_ids::{Digest, ToolName, ToolpackName};
use serde_json::Value;
use tokio::sync::watch;

use crate::contract;
use crate::sandbox::Compiled;

/// The toolpacks of a home, reloaded when policy or folder changes.
pub struct Catalog {
    _private: (),
}

/// A toolpack that was admitted, inspected, compiled and described.
#[derive(Debug)]
pub struct Toolpack {
    pub digest: Digest,
    pub manifest: contract::Manifest,
    pub compiled: Compiled,
}

/// A tool as clients see it.
#[derive(Clone, Debug)]
pub struct OfferedTool {
    pub toolpack: Arc<Toolpack>,
    pub tool: Arc<contract::Tool>,
    /// The schema that the host made: roles as artifact ids, params and reserved words beside.
    pub input_schema: Value,
}

/// A toolpack that is not offered, and why.
#[derive(Clone, Debug)]
pub struct Refused {
    pub digest: Option<Digest>,
    pub name: Option<ToolpackName>,
    pub code: &'static str,
    pub message: String,
}

impl Catalog {
    /// Every offered tool, by name.
    pub fn tools(&self) -> Vec<OfferedTool> {
        unimplemented!()
    }

    pub fn tool(&self, _name: &ToolName) -> Option<OfferedTool> {
        unimplemented!()
    }

    pub fn refused(&self) -> Vec<Refused> {
        unimplemented!()
    }

    /// Counts up whenever the list of offered tools changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        unimplemented!()
    }
}
