//! Which toolpacks exist, at which digest, offering which tools.
//!
//! A component is looked up in the policy by the digest of its bytes before anything parses
//! them (invariant I-2); what fails a later check is refused with its reason, and the others
//! load.

pub mod load;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use helix_ids::text::escaped_line;
use helix_ids::{Digest, ToolName, ToolpackName};
use serde_json::Value;
use tokio::sync::watch;

use crate::contract;
use crate::ledger::Ledger;
use crate::policy::{Policy, Serve};
use crate::sandbox::{Compiled, Sandbox};

/// Longest reason that is kept of why a toolpack is refused.
const MESSAGE_BYTES_MAX: usize = 2 * 1024;

/// The toolpacks of a home, loaded again when the policy changes.
#[derive(Debug)]
pub struct Catalog {
    folder: PathBuf,
    state: RwLock<Arc<State>>,
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    toolpacks: Vec<Arc<Toolpack>>,
    offered: BTreeMap<ToolName, OfferedTool>,
    refused: Vec<Refused>,
}

/// A toolpack that was admitted, inspected, compiled and described.
#[derive(Debug)]
pub struct Toolpack {
    pub digest: Digest,
    pub manifest: contract::Manifest,
    pub compiled: Compiled,
    pub serve: Serve,
    /// The tools of it that policy lists.
    pub tools: Vec<ListedTool>,
}

#[derive(Clone, Debug)]
pub struct ListedTool {
    pub tool: Arc<contract::Tool>,
    /// The schema that the host made: roles as artifact ids, params and reserved words beside.
    pub input_schema: Arc<Value>,
}

/// A tool as clients see it, with the toolpack that it belongs to.
#[derive(Clone, Debug)]
pub struct OfferedTool {
    pub toolpack: Arc<Toolpack>,
    pub tool: Arc<contract::Tool>,
    pub input_schema: Arc<Value>,
}

impl OfferedTool {
    fn new(toolpack: &Arc<Toolpack>, listed: &ListedTool) -> Self {
        let ListedTool { tool, input_schema } = listed.clone();
        Self { toolpack: Arc::clone(toolpack), tool, input_schema }
    }
}

/// A toolpack that is not offered, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub digest: Digest,
    pub name: ToolpackName,
    /// Lower snake_case, listed in docs/errors.md.
    pub code: &'static str,
    pub message: String,
}

impl Catalog {
    /// An empty catalogue of the components in `folder`, named by their hex digest.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, state: RwLock::default(), changes: watch::Sender::new(0) }
    }

    /// Makes the catalogue what this policy says. Of two loads the last to end stays, so the host
    /// does one at a time.
    pub async fn load(&self, policy: &Policy, sandbox: &Sandbox, ledger: &Ledger) {
        let mut state = State::default();
        for rule in policy.components() {
            match load::load(&self.folder, policy, rule, sandbox, ledger).await {
                Ok(toolpack) => state.admit(toolpack),
                Err(refused) => state.refuse(refused),
            }
        }
        let state = Arc::new(state);
        let before = std::mem::replace(
            &mut *self.state.write().unwrap_or_else(PoisonError::into_inner),
            Arc::clone(&state),
        );
        if before.names() != state.names() {
            self.changes.send_modify(|changes| *changes += 1);
        }
    }

    fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Every offered tool, by name.
    pub fn tools(&self) -> Vec<OfferedTool> {
        self.state().offered.values().cloned().collect()
    }

    /// The offered tool of this name, whatever a caller wrote.
    pub fn tool_named(&self, name: &str) -> Option<OfferedTool> {
        let name: ToolName = name.parse().ok()?;
        self.state().offered.get(&name).cloned()
    }

    /// A tool of exactly this component, offered or not: what recovery carries on.
    pub fn at_digest(&self, component: Digest, tool: &ToolName) -> Option<OfferedTool> {
        let state = self.state();
        let toolpack = state.toolpacks.iter().find(|toolpack| toolpack.digest == component)?;
        let listed = toolpack.tools.iter().find(|listed| &listed.tool.name == tool)?;
        Some(OfferedTool::new(toolpack, listed))
    }

    /// Toolpacks that loaded.
    pub fn toolpacks(&self) -> Vec<Arc<Toolpack>> {
        self.state().toolpacks.clone()
    }

    /// Toolpacks that are not offered, and why.
    pub fn refused(&self) -> Vec<Refused> {
        self.state().refused.clone()
    }

    /// Counts up whenever the list of offered tools changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

impl State {
    /// What a client can tell apart: names, and the component behind each.
    fn names(&self) -> Vec<(ToolName, Digest)> {
        self.offered.iter().map(|(name, tool)| (name.clone(), tool.toolpack.digest)).collect()
    }

    /// Adds a toolpack, unless a tool of it has a name that another one offers already.
    fn admit(&mut self, toolpack: Toolpack) {
        let offers = toolpack.serve == Serve::Offered;
        let taken = toolpack.tools.iter().find_map(|tool| {
            let other = self.offered.get(&tool.tool.name)?;
            Some((tool.tool.name.clone(), other.toolpack.manifest.name.clone()))
        });
        if let (true, Some((tool, other))) = (offers, taken) {
            self.refuse(Refused {
                digest: toolpack.digest,
                name: toolpack.manifest.name.clone(),
                code: "tool_name_taken",
                message: format!("tool {tool} is offered by toolpack {other} already; allow one of the two"),
            });
            return;
        }
        let toolpack = Arc::new(toolpack);
        if offers {
            let tools = toolpack.tools.iter();
            self.offered
                .extend(tools.map(|listed| (listed.tool.name.clone(), OfferedTool::new(&toolpack, listed))));
        }
        self.toolpacks.push(toolpack);
    }

    fn refuse(&mut self, refused: Refused) {
        // It may quote the component: names of imports and functions are its author's words.
        let refused = Refused { message: escaped_line(&refused.message, MESSAGE_BYTES_MAX), ..refused };
        let Refused { digest, name, code, message } = &refused;
        tracing::warn!(%digest, %name, code, message, "a toolpack is refused");
        self.refused.push(refused);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_one_short_line_whatever_the_component_is_called() {
        let mut state = State::default();
        let name = format!("\u{1b}[2J\nINFO all is well\u{202e}{}", "x".repeat(1 << 20));
        state.refuse(Refused {
            digest: Digest::of(b"component"),
            name: "evil".parse().unwrap(),
            code: "import_not_allowed",
            message: format!("imports {name}"),
        });
        let message = &state.refused.first().unwrap().message;
        assert!(message.starts_with("imports \\u{1b}[2J INFO all is well\\u{202e}xxx"), "{message}");
        assert!(message.len() < 3 * 1024 && !message.chars().any(char::is_control));
    }
}
