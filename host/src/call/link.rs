//! Step 7: each role's ids become artifacts of the caller's project.

use std::sync::Arc;

use helix_ids::{ArtifactId, CanonicalJson, Role, SampleName};

use super::{CallError, Context, Host};
use crate::catalog::OfferedTool;
use crate::contract::arguments::Arguments;
use crate::ledger::ArtifactRow;
use crate::policy::Project;

/// A call whose ids have become artifacts: every one is in the caller's project, of a type that
/// its role accepts, and their number is as declared.
#[derive(Clone, Debug)]
pub struct LinkedCall {
    pub offered: OfferedTool,
    pub project: Project,
    pub params: CanonicalJson,
    /// In order of declaration, then index.
    pub inputs: Vec<LinkedInput>,
}

#[derive(Clone, Debug)]
pub struct LinkedInput {
    pub role: Role,
    pub index: u32,
    pub sample: Option<SampleName>,
    pub artifact: ArtifactRow,
}

/// Resolves a call's artifact ids.
///
/// # Errors
/// [`CallError::BadArguments`] at the id's place: `artifact_unknown` for unknown and foreign ids
/// alike, `input_type` for a type that the role does not accept.
pub async fn link(
    host: &Arc<Host>,
    context: &Context,
    offered: OfferedTool,
    arguments: Arguments,
) -> Result<LinkedCall, CallError> {
    let project = host.project(context, arguments.project.as_deref()).await?;
    let mut inputs = Vec::new();
    for (role, ids) in &arguments.links {
        for (member, (index, id)) in (0_u32..).zip(ids).enumerate() {
            let place = Place { role, index, alone: ids.len() == 1 };
            let artifact = resolve(host, &project, &offered, &place, id).await?;
            let sample = arguments.samples.of(ids.len(), member).cloned();
            inputs.push(LinkedInput { role: role.clone(), index, sample, artifact });
        }
    }
    Ok(LinkedCall { offered, project, params: arguments.params, inputs })
}

/// Where an id stands in the arguments.
struct Place<'a> {
    role: &'a Role,
    index: u32,
    alone: bool,
}

impl Place<'_> {
    fn bad(&self, code: &'static str, reason: String) -> CallError {
        let Self { role, index, alone } = self;
        let field = if *alone { format!("/{role}") } else { format!("/{role}/{index}") };
        CallError::BadArguments { code, field, reason }
    }
}

async fn resolve(
    host: &Arc<Host>,
    project: &Project,
    offered: &OfferedTool,
    place: &Place<'_>,
    id: &str,
) -> Result<ArtifactRow, CallError> {
    let unknown = || {
        let advice = "no such artifact in this project; artifact_list shows what there is".to_owned();
        place.bad("artifact_unknown", advice)
    };
    let id: ArtifactId = id.parse().map_err(|_not_an_id| unknown())?;
    let row = host.ledger.artifact(project.id, id).await.map_err(CallError::fault)?.ok_or_else(unknown)?;
    let declared = offered.tool.input(place.role.as_str());
    let accepted = declared.is_some_and(|input| input.types.contains(&row.artifact_type));
    if !accepted {
        let types = declared.map(|input| input.types.iter().map(ToString::to_string).collect::<Vec<_>>());
        let types = types.unwrap_or_default().join(" or ");
        return Err(
            place.bad("input_type", format!("is of type {}; this role takes {types}", row.artifact_type))
        );
    }
    Ok(row)
}
