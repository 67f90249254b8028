//! `tools/list`: the toolpacks' tools and the host's own, each within its budget.

use std::borrow::Cow;
use std::sync::Arc;

use rmcp::model::{Tool, ToolAnnotations};
use serde_json::{Map, Value};

use super::host_tools::{self, HostTool};
use super::schemas;
use crate::call::Host;
use crate::catalog::OfferedTool;

/// Most bytes of one tool in the list, as JSON: a model reads every one of them.
pub const TOOL_BYTES_MAX: usize = 2 * 1024;

/// Most bytes of the whole list.
pub const LIST_BYTES_MAX: usize = 40 * 1024;

/// Every tool, by name: the same list for every connection, in the same order.
pub fn list(host: &Host) -> Vec<Tool> {
    let offered = host.catalog.tools();
    let mut tools: Vec<Tool> = offered.iter().map(of_toolpack).collect();
    tools.extend(host_tools::all().iter().map(of_host));
    tools.sort_by(|a, b| a.name.cmp(&b.name));
    within_budget(tools)
}

/// The tool of this name as the list shows it.
pub fn find(host: &Host, name: &str) -> Option<Tool> {
    list(host).into_iter().find(|tool| tool.name == name)
}

fn of_toolpack(offered: &OfferedTool) -> Tool {
    let tool = &offered.tool;
    let annotations = ToolAnnotations::new()
        .read_only(tool.read_only)
        .destructive(false)
        .idempotent(tool.idempotent)
        .open_world(false);
    let described = |inputs| {
        let answer = schemas::of_answer();
        made(
            tool.name.as_str(),
            &tool.title,
            &tool.description,
            Arc::new(inputs),
            answer,
            annotations.clone(),
        )
    };
    let whole = described(schemas::of_inputs(&offered.input_schema));
    if size(&whole) <= TOOL_BYTES_MAX {
        return whole;
    }
    // What a wide tool says of its own params is worth more than what every tool has alike.
    described(schemas::lean(schemas::of_inputs(&offered.input_schema)))
}

fn of_host(tool: &HostTool) -> Tool {
    let HostTool { name, title, description, annotations, input_schema, output_schema, .. } = tool;
    let (input, output) = (Arc::clone(input_schema), Arc::clone(output_schema));
    made(name, title, description, input, output, annotations.clone())
}

/// A tool without its output schema where that would pass the budget: clients need the inputs to
/// call it, and an answer explains itself.
fn made(
    name: &str,
    title: &str,
    description: &str,
    input_schema: Arc<Map<String, Value>>,
    output_schema: Arc<Map<String, Value>>,
    annotations: ToolAnnotations,
) -> Tool {
    let tool = Tool::new_with_raw(name.to_owned(), Some(Cow::Owned(description.to_owned())), input_schema)
        .with_title(title)
        .with_raw_output_schema(output_schema)
        .with_annotations(annotations);
    if size(&tool) <= TOOL_BYTES_MAX { tool } else { tool.with_raw_output_schema(schemas::of_anything()) }
}

/// Takes output schemas out, from the last tool on, until the list fits.
fn within_budget(mut tools: Vec<Tool>) -> Vec<Tool> {
    let mut total: usize = tools.iter().map(size).sum();
    for tool in tools.iter_mut().rev() {
        if total <= LIST_BYTES_MAX {
            break;
        }
        let before = size(tool);
        tool.output_schema = Some(schemas::of_anything());
        total = (total + size(tool)).saturating_sub(before);
    }
    if total > LIST_BYTES_MAX {
        tracing::warn!(total, "the list of tools is longer than clients like: offer fewer toolpacks");
    }
    tools
}

fn size(tool: &Tool) -> usize {
    serde_json::to_string(tool).map_or(usize::MAX / 2, |text| text.len())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn host_tools_keep_their_budget() {
        let tools: Vec<Tool> = host_tools::all().iter().map(of_host).collect();
        for tool in &tools {
            assert!(size(tool) <= TOOL_BYTES_MAX, "{}: {} bytes", tool.name, size(tool));
            let schema = serde_json::to_value(&tool.input_schema).unwrap();
            assert_eq!(schema["type"], "object", "{}", tool.name);
            assert!(jsonschema::meta::is_valid(&schema), "{schema}");
        }
        let total: usize = tools.iter().map(size).sum();
        assert!(total <= LIST_BYTES_MAX / 2, "{total} bytes leave no room for toolpacks");
    }

    #[test]
    fn a_wide_tool_gives_up_its_output_schema_first() {
        let wide = Arc::new(
            serde_json::from_value(json!({ "type": "object", "description": "x".repeat(1500) })).unwrap(),
        );
        let tool = made("t", "T", "D", Arc::clone(&wide), schemas::of_answer(), ToolAnnotations::new());
        assert_eq!(tool.output_schema, Some(schemas::of_anything()));
        assert_eq!(tool.input_schema, wide);
    }

    #[test]
    fn a_long_list_is_shortened_to_fit() {
        let schema = schemas::of_answer();
        let tools: Vec<Tool> = (0..60)
            .map(|number| {
                let (input, output) = (schemas::of_anything(), Arc::clone(&schema));
                made(&format!("t{number}"), "T", "D", input, output, ToolAnnotations::new())
            })
            .collect();
        let fitted = within_budget(tools);
        assert_eq!(fitted.len(), 60);
        assert!(fitted.iter().map(size).sum::<usize>() <= LIST_BYTES_MAX);
        assert_eq!(fitted[0].output_schema, Some(schema));
    }
}
