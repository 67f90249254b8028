//! `policy explain`: the decision that the host would make, and how it comes about.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use helix_ids::{ToolName, ToolpackName};
use serde_json::{Value, json};

use super::look::Looker;
use crate::cli::Settings;
use crate::cli::output::{self, EXIT_ARGUMENTS, EXIT_DENIED, Told};
use crate::contract::DeclaredImage;
use crate::policy::{ComponentRule, Decision, Names, Policy, Project, Question, Serve};

#[derive(Args, Clone, Debug)]
pub struct ExplainArgs {
    /// The tool
    #[arg(long)]
    tool: ToolName,
    /// The project, by name or id [default: the only one]
    #[arg(long)]
    project: Option<String>,
    /// The toolpack that has the tool [default: the one that offers it]
    #[arg(long)]
    toolpack: Option<ToolpackName>,
}

pub(super) async fn run(
    args: &ExplainArgs,
    settings: &Settings,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let policy = super::good(&settings.policy_file)?;
    let project = policy
        .project(args.project.as_deref())
        .map_err(|denial| Told::arguments(format!("{denial}; {}", denial.advice)))?;
    let rule = offering(args, &policy, settings).await?;
    let images = images(args, &policy, rule, settings).await;
    let decision = policy.decide(&Question {
        project,
        component: rule.digest,
        toolpack: &rule.name,
        tool: &args.tool,
        images: images.as_deref().unwrap_or_default(),
    });
    if settings.json {
        let mut told = to_json(args, project, rule, &decision);
        if let Err(reason) = &images {
            told["images_unknown"] = json!(reason);
        }
        output::json(out, &told)?;
    } else {
        print(args, project, rule, &decision, settings, out)?;
        if let Err(reason) = &images {
            writeln!(out, "\nWhich images it declares is not known: {}", output::visible(reason))?;
        }
    }
    Ok(if decision.verdict.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_DENIED) })
}

/// The rule of the component that has the tool. A list of the policy says so at once; where it
/// says "all", the component itself is asked.
async fn offering<'a>(
    args: &ExplainArgs,
    policy: &'a Policy,
    settings: &Settings,
) -> anyhow::Result<&'a ComponentRule> {
    let candidates: Vec<&ComponentRule> = policy
        .components()
        .iter()
        .filter(|rule| rule.serve == Serve::Offered)
        .filter(|rule| args.toolpack.as_ref().is_none_or(|name| *name == rule.name))
        .collect();
    if let (Some(_named), [only]) = (&args.toolpack, candidates.as_slice()) {
        return Ok(only);
    }
    let listed =
        |rule: &&&ComponentRule| matches!(&rule.tools, Names::These(names) if names.contains(&args.tool));
    if let Some(rule) = candidates.iter().find(listed) {
        return Ok(rule);
    }
    let looker = Looker::new(settings, policy)?;
    let mut message = format!("no toolpack that policy offers has a tool {}", args.tool);
    for rule in candidates {
        // A denied component is not looked at, not even to explain.
        if policy.admit_component(&rule.digest).is_err() {
            message.push_str(&format!("; {name} is denied: --toolpack {name} says why", name = rule.name));
            continue;
        }
        let found = looker.kept(&rule.digest).await?;
        if found.is_some_and(|found| found.manifest.tools.iter().any(|tool| tool.name == args.tool)) {
            return Ok(rule);
        }
    }
    Err(Told::error(EXIT_ARGUMENTS, message))
}

/// The images that the tool declares, which only the component itself can say; or why nobody knows.
async fn images(
    args: &ExplainArgs,
    policy: &Policy,
    rule: &ComponentRule,
    settings: &Settings,
) -> Result<Vec<DeclaredImage>, String> {
    // A denied component is not looked at, not even to explain, and no image changes that answer.
    if policy.admit_component(&rule.digest).is_err() {
        return Ok(Vec::new());
    }
    let looker = Looker::new(settings, policy).map_err(|error| error.to_string())?;
    let found = looker.kept(&rule.digest).await.map_err(|error| error.to_string())?;
    let found = found.ok_or_else(|| format!("the file of {} is gone", rule.digest))?;
    // A tool that it does not have starts nothing.
    let tool = found.manifest.tools.into_iter().find(|tool| tool.name == args.tool);
    Ok(tool.map(|tool| tool.images).unwrap_or_default())
}

fn to_json(args: &ExplainArgs, project: &Project, rule: &ComponentRule, decision: &Decision) -> Value {
    let consulted: Vec<Value> = decision
        .consulted
        .iter()
        .map(|rule| json!({ "rule": rule.rule, "line": rule.line, "effect": rule.effect }))
        .collect();
    let mut told = json!({
        "tool": args.tool, "project": project.name, "project_id": project.id, "toolpack": rule.name,
        "component": rule.digest, "allowed": decision.verdict.is_ok(), "consulted": consulted,
    });
    match &decision.verdict {
        Ok(grant) => {
            let limits: Vec<Value> = grant
                .limit_origins
                .iter()
                .map(|limit| {
                    json!({ "key": limit.key, "value": limit.value, "rule": limit.rule, "line": limit.line })
                })
                .collect();
            let images: Vec<Value> = grant
                .images
                .iter()
                .map(|image| {
                    json!({
                        "name": image.name, "ref": image.image, "platform": image.platform,
                        "user": image.user,
                    })
                })
                .collect();
            told["images"] = json!(images);
            told["backend"] = json!(grant.backend.as_ref().map(|backend| backend.kind().as_str()));
            told["limits"] = json!(limits);
            told["slice"] = grant.slice.to_value();
            told["policy_hash"] = json!(grant.slice.digest());
        }
        Err(denial) => {
            told["denial"] = json!({
                "code": denial.code, "message": denial.message, "rule": denial.rule, "line": denial.line,
            });
        }
    }
    told
}

fn print(
    args: &ExplainArgs,
    project: &Project,
    rule: &ComponentRule,
    decision: &Decision,
    settings: &Settings,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let verdict = match &decision.verdict {
        Ok(_grant) => "allowed".to_owned(),
        Err(denial) => format!("denied ({}): {denial}", denial.code),
    };
    writeln!(out, "{} in project {}: {}", args.tool, project.name, output::visible(&verdict))?;
    writeln!(out, "by {} {}\n", rule.name, rule.digest)?;
    let file = settings.policy_file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let place = |line: Option<u32>| line.map_or_else(String::new, |line| format!("{file}:{line}"));
    let row =
        |rule: &crate::policy::Consulted| vec![rule.rule.clone(), place(rule.line), rule.effect.clone()];
    let rows: Vec<Vec<String>> = decision.consulted.iter().map(row).collect();
    output::table(out, &["rule", "line", "effect"], &rows)?;
    let Ok(grant) = &decision.verdict else { return Ok(()) };
    writeln!(out)?;
    let row = |limit: &crate::policy::LimitOrigin| {
        vec![limit.key.clone(), limit.value.clone(), limit.rule.clone(), place(limit.line)]
    };
    let rows: Vec<Vec<String>> = grant.limit_origins.iter().map(row).collect();
    output::table(out, &["limit", "value", "from", "line"], &rows)?;
    Ok(())
}
