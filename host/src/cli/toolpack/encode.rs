//! From a core module, as cargo makes it, to a component.

use anyhow::Context as _;
use wit_component::ComponentEncoder;

/// Encodes a core module that carries its world (as `wit-bindgen` writes it into a custom
/// section) as a component, and validates that.
///
/// # Errors
/// When the module imports anything but its world's interfaces: the message names the offender.
pub fn encode(core_module: &[u8]) -> anyhow::Result<Vec<u8>> {
    ComponentEncoder::default()
        .validate(true)
        .module(core_module)
        .context("the module does not say which world it implements, or it is damaged")?
        .encode()
        .context("the module is no toolpack: it imports what no host offers, or lacks an export")
}
