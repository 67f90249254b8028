//! `toolpack check` and `toolpack inspect`: a component as a host and an operator see it.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Map, Value};

use super::shelf::Shelf;
use crate::cli::Settings;
use crate::cli::output;
use crate::cli::policy::look::Looked;
use crate::policy::Policy;
use crate::sandbox::Compiled;

/// Runs the load checks and shows what the operator will see.
///
/// # Errors
/// [`crate::cli::output::Told`] with the reason code of the first check that failed.
pub async fn check(component: &Path, settings: &Settings, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let (looked, _) = look(component, settings).await?;
    let policy = policy(settings);
    if settings.json {
        output::json(out, &looked.to_json(policy.as_ref()))?;
        return Ok(ExitCode::SUCCESS);
    }
    looked.print(out, policy.as_ref())?;
    if let Some(policy) = &policy {
        looked.print_missing(out, policy)?;
    }
    let file = super::shelf::component_file(component)?;
    writeln!(out, "\nA host would load it. To allow it: helixmcp policy allow {}", file.display())?;
    Ok(ExitCode::SUCCESS)
}

/// Shows what is in a component: `check`'s view, and what the component is made of.
///
/// # Errors
/// As [`check`].
pub async fn inspect(component: &Path, settings: &Settings, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let (looked, compiled) = look(component, settings).await?;
    let inspection = &compiled.inspection;
    if settings.json {
        let mut json = looked.to_json(policy(settings).as_ref());
        let more = Map::from_iter([
            ("exports".to_owned(), Value::from(inspection.exports.clone())),
            ("core_modules".to_owned(), inspection.core_modules.into()),
            ("largest_body_bytes".to_owned(), inspection.largest_body_bytes.into()),
            ("memories_min_bytes".to_owned(), inspection.memories_min_bytes.into()),
        ]);
        json.as_object_mut().into_iter().for_each(|object| object.extend(more.clone()));
        output::json(out, &json)?;
        return Ok(ExitCode::SUCCESS);
    }
    looked.print(out, policy(settings).as_ref())?;
    writeln!(out, "\nexports   {}", output::visible(&inspection.exports.join(", ")))?;
    let (body, memory) =
        (output::size(inspection.largest_body_bytes), output::size(inspection.memories_min_bytes));
    let modules = inspection.core_modules;
    writeln!(out, "inside    {modules} core modules, largest body {body}, {memory} of memory at the start")?;
    Ok(ExitCode::SUCCESS)
}

/// The policy in force, where there is a good one: an author may have none.
fn policy(settings: &Settings) -> Option<Policy> {
    crate::cli::policy::good(&settings.policy_file).ok()
}

async fn look(component: &Path, settings: &Settings) -> anyhow::Result<(Looked, Compiled)> {
    let shelf = Shelf::new(settings)?;
    let bytes = shelf.read(component)?;
    let (compiled, manifest) = shelf.load(&bytes).await?;
    let inspection = compiled.inspection.clone();
    Ok((Looked { digest: compiled.digest, bytes, inspection, manifest }, compiled))
}
