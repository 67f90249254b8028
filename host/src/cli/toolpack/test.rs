//! `toolpack test`: an author's cases in the sandbox, by the functions that a host uses, each
//! twice: what differs between the two is not deterministic, and no host would take it twice.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use helix_ids::identity::artifact_id;
use helix_ids::{CanonicalJson, Digest, ProjectId, Role};
use serde::Serialize;
use serde_json::{Map, Value};

use super::cases::{self, Case, CaseInput};
use super::shelf::Shelf;
use crate::artifacts;
use crate::cli::Settings;
use crate::cli::output::{self, EXIT_BAD};
use crate::contract::{CheckLevel, Manifest, Report, Tool, arguments, raw};
use crate::plan::{self, Draft, Plan};
use crate::policy::{Grant, GuestLimits, RunLimits, Serve, StepLimits};
use crate::run::limits;
use crate::sandbox::client::{Answering, InputFile, RunEvents, RunOutcome};
use crate::sandbox::protocol::{Ask, Usage, Verdict};
use crate::sandbox::{Compiled, Execution, GuestError, Pace};

/// How much of an output its sniffer sees, as at a host's gate.
const SNIFF_BYTES: u64 = 64 * 1024;

#[derive(Args, Clone, Debug)]
pub struct TestArgs {
    /// The crate's folder: its cases are tests/*.toml
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// The component to test [default: what `build` wrote into the folder]
    #[arg(long, value_name = "FILE")]
    component: Option<PathBuf>,
    /// Run only cases whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

/// How a case came out.
#[derive(Debug, Serialize)]
struct Outcome {
    name: String,
    passed: bool,
    /// Why not, if it did not pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    fuel: u64,
    memory_bytes: u64,
    host_calls: u64,
    /// Of the guest alone, and of this machine at this moment.
    wall_ms: u64,
    /// What the tool logged, the first time.
    log: Vec<String>,
}

/// # Errors
/// When there is no component or no case, or a case's file is bad.
pub async fn run(args: &TestArgs, settings: &Settings, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let shelf = Shelf::new(settings)?;
    let bytes = shelf.read(args.component.as_ref().unwrap_or(&args.folder))?;
    let (compiled, manifest) = shelf.load(&bytes).await?;
    let mut all = cases::read(&args.folder)?;
    if let Some(only) = &args.only {
        all.retain(|case| case.name.contains(only));
        ensure!(!all.is_empty(), "no case's name contains {only:?}");
    }
    let mut outcomes = Vec::new();
    for case in all {
        let outcome =
            Bed { shelf: &shelf, compiled: &compiled, manifest: &manifest, case: &case }.outcome().await;
        if !settings.json {
            print(out, &outcome)?;
        }
        outcomes.push(outcome);
    }
    let failed = outcomes.iter().filter(|outcome| !outcome.passed).count();
    if settings.json {
        output::json(out, &outcomes)?;
    } else {
        writeln!(out, "\n{} passed, {failed} failed", outcomes.len() - failed)?;
    }
    Ok(ExitCode::from(if failed == 0 { 0 } else { EXIT_BAD }))
}

fn print(out: &mut dyn Write, outcome: &Outcome) -> io::Result<()> {
    let Outcome { name, passed, reason, fuel, memory_bytes, host_calls, wall_ms, log } = outcome;
    let mark = if *passed { "ok  " } else { "FAIL" };
    let memory = output::size(*memory_bytes);
    writeln!(
        out,
        "{mark}  {}  (fuel {fuel}, memory {memory}, {host_calls} host calls, {wall_ms} ms)",
        output::visible(name)
    )?;
    if let Some(reason) = reason {
        writeln!(out, "      {}", output::visible(reason))?;
        log.iter().try_for_each(|line| writeln!(out, "      log: {}", output::visible(line)))?;
    }
    Ok(())
}

/// One case and what it is run with.
struct Bed<'a> {
    shelf: &'a Shelf,
    compiled: &'a Compiled,
    manifest: &'a Manifest,
    case: &'a Case,
}

/// All that one execution leaves, and that another must leave in the same way.
#[derive(Default, PartialEq)]
struct Left {
    said: Said,
    outputs: Vec<(String, String, Vec<u8>)>,
    log: Vec<String>,
    fuel: u64,
}

#[derive(Default, PartialEq)]
enum Said {
    #[default]
    Nothing,
    Report(Value, String),
    Error(String),
}

impl Bed<'_> {
    async fn outcome(&self) -> Outcome {
        let mut usage = Usage::default();
        let mut log = Vec::new();
        let reason = self.run_twice(&mut usage, &mut log).await.err().map(|error| format!("{error:#}"));
        Outcome {
            name: self.case.name.clone(),
            passed: reason.is_none(),
            reason,
            fuel: usage.fuel,
            memory_bytes: usage.memory_bytes,
            host_calls: usage.host_calls,
            wall_ms: usage.wall.as_millis().try_into().unwrap_or(u64::MAX),
            log,
        }
    }

    async fn run_twice(&self, usage: &mut Usage, log: &mut Vec<String>) -> anyhow::Result<()> {
        let (left, used) = self.run_once().await?;
        *usage = used;
        log.clone_from(&left.log);
        let (again, _) = self.run_once().await?;
        ensure!(left.said == again.said, "the report differs when it is run again");
        ensure!(left.outputs == again.outputs, "an output differs when it is run again");
        ensure!(left.log == again.log, "the log differs when it is run again");
        ensure!(
            left.fuel == again.fuel,
            "the fuel differs when it is run again: {} {}",
            left.fuel,
            again.fuel
        );
        self.compare(&left)
    }

    async fn run_once(&self) -> anyhow::Result<(Left, Usage)> {
        let tool = self.manifest.tools.iter().find(|tool| tool.name == self.case.tool);
        let tool = tool.with_context(|| format!("the toolpack has no tool {}", self.case.tool))?;
        let mut inputs = Vec::new();
        for input in &self.case.input {
            inputs.push(cases::bytes(&self.case.folder, input.file.as_deref(), input.text.as_deref())?);
        }
        let call = self.call(tool, &inputs)?;
        let proposal = match self.shelf.sandbox.plan(self.compiled, &call, None, Pace::Usual).await {
            Ok((proposal, _warm)) => proposal,
            Err(error) => return refused(error),
        };
        if let Some(step) = proposal.steps.first() {
            bail!("{}", no_backend("plans", &step.name));
        }
        let plan = check(proposal, &call, tool)?;
        self.execute(tool, &call, &plan, &inputs).await
    }

    async fn execute(
        &self,
        tool: &Tool,
        call: &raw::Call,
        plan: &Plan,
        inputs: &[Vec<u8>],
    ) -> anyhow::Result<(Left, Usage)> {
        let mut files = Vec::new();
        for (linked, bytes) in call.inputs.iter().zip(inputs) {
            let mut file = tempfile::tempfile()?;
            file.write_all(bytes)?;
            file.rewind()?;
            files.push(InputFile { role: linked.role.clone(), index: linked.index, file });
        }
        let roles: Vec<String> = tool.outputs.iter().map(|output| output.role.to_string()).collect();
        let input_bytes = call.inputs.iter().map(|input| input.size_bytes).sum();
        let caps = limits::for_sandbox(plan.limits().for_input(input_bytes));
        let mut events = Events::default();
        let component = self.compiled;
        let execution =
            Execution { component, call, roles: &roles, limits: &caps, warm: None, pace: Pace::Usual };
        let ran = self.shelf.sandbox.run(execution, files, &mut events).await;
        if let Some(step) = &events.step {
            bail!("{}", no_backend("starts", step));
        }
        let outcome = match ran {
            Ok(outcome) => outcome,
            Err(error) => {
                let (left, usage) = refused(error)?;
                return Ok((Left { log: events.log, ..left }, usage));
            }
        };
        let report = self.gate(tool, plan, &outcome, &mut events).await?;
        let said = Said::Report(report.result, report.summary);
        let outputs = events.outputs.into_iter().map(|(role, key, _, bytes)| (role, key, bytes)).collect();
        Ok((Left { said, outputs, log: events.log, fuel: outcome.usage.fuel }, outcome.usage))
    }

    /// The call as a host would make it: params checked, defaults filled in, canonical.
    fn call(&self, tool: &Tool, inputs: &[Vec<u8>]) -> anyhow::Result<raw::Call> {
        let project = ProjectId::from_digest(&Digest::of(b"toolpack test"));
        let mut given: Map<String, Value> = self.case.params.clone();
        let mut linked = Vec::new();
        for declared in &tool.inputs {
            let of_role = |(input, _): &(&CaseInput, &Vec<u8>)| input.role == declared.role;
            let members = self.case.input.iter().zip(inputs).filter(of_role);
            let mut ids = Vec::new();
            for (index, (input, bytes)) in (0..).zip(members) {
                let accepted = declared.types.contains(&input.artifact_type);
                ensure!(accepted, "role {} does not take {}", declared.role, input.artifact_type);
                ids.push(Value::from(
                    artifact_id(project, Digest::of(bytes), input.artifact_type).to_string(),
                ));
                linked.push(of_input(input, index, bytes));
            }
            match ids.as_slice() {
                [] => None,
                [only] if declared.count.max == 1 => given.insert(declared.role.to_string(), only.clone()),
                _ => given.insert(declared.role.to_string(), ids.into()),
            };
        }
        let unknown = self.case.input.iter().find(|input| tool.input(input.role.as_str()).is_none());
        if let Some(input) = unknown {
            bail!("the tool has no input role {}", input.role);
        }
        let parsed = arguments::parse(tool, &given).map_err(anyhow::Error::from).context("params")?;
        Ok(raw::Call { tool: tool.name.to_string(), params: parsed.params.to_string(), inputs: linked })
    }

    /// What a host looks at before it keeps a run's outputs (invariant I-4).
    async fn gate(
        &self,
        tool: &Tool,
        plan: &Plan,
        outcome: &RunOutcome,
        events: &mut Events,
    ) -> anyhow::Result<Report> {
        let written: Vec<plan::Written<'_>> = outcome
            .outputs
            .iter()
            .map(|output| plan::Written { role: &output.role, key: &output.key, finished: output.finished })
            .collect();
        plan.gate(&outcome.opened, &written, &[])?;
        let report = Report::parse(outcome.report.clone(), tool)?;
        for (role, key, file, bytes) in &mut events.outputs {
            let declared = tool.output(role).context("an undeclared output")?;
            file.rewind()?;
            file.read_to_end(bytes)?;
            let artifact_type = declared.artifact_type;
            let bad = |reason: &str| format!("output {role}/{key} is no whole {artifact_type}: {reason}");
            match declared.check {
                CheckLevel::None => {}
                CheckLevel::Sniff => {
                    let end = bytes.len().min(usize::try_from(SNIFF_BYTES)?);
                    let head = bytes.get(..end).unwrap_or_default();
                    ensure!(artifacts::agrees(head, artifact_type), bad("its first bytes contradict"));
                }
                CheckLevel::Whole => {
                    file.rewind()?;
                    match self.shelf.sandbox.check(file.try_clone()?, artifact_type).await? {
                        Verdict::Good => {}
                        Verdict::Bad { reason, .. } => bail!(bad(&reason)),
                    }
                }
            }
        }
        Ok(report)
    }

    /// What the author expected.
    fn compare(&self, left: &Left) -> anyhow::Result<()> {
        let expected = &self.case.expect;
        let (result, summary) = match (&left.said, &expected.error) {
            (Said::Error(said), Some(error)) => {
                ensure!(said.contains(error), "it was to say {error:?}, and said: {said}");
                return Ok(());
            }
            (Said::Error(said), None) => bail!("it was to succeed, and said: {said}"),
            (_, Some(error)) => bail!("it was to fail with {error:?}, and succeeded"),
            (Said::Report(result, summary), None) => (result, summary),
            (Said::Nothing, None) => bail!("it said nothing"),
        };
        if let Some(part) = &expected.result {
            ensure!(cases::contains(result, part), "the result is {result}, which does not hold {part}");
        }
        if let Some(words) = &expected.summary {
            ensure!(summary.contains(words), "the summary is {summary:?}, which does not hold {words:?}");
        }
        for output in &expected.output {
            let is_meant = |(role, key, _): &&(String, String, Vec<u8>)| {
                output.role.as_str() == role && output.key.as_ref().is_none_or(|meant| meant == key)
            };
            let found = left.outputs.iter().find(is_meant);
            let (role, key, bytes) = found.with_context(|| format!("there is no output {}", output.role))?;
            let meant = cases::bytes(&self.case.folder, output.file.as_deref(), output.text.as_deref())?;
            let at = bytes.iter().zip(&meant).position(|(one, other)| one != other);
            let at = at.unwrap_or(bytes.len().min(meant.len()));
            ensure!(*bytes == meant, "output {role}/{key} is other than expected from byte {at} on");
        }
        Ok(())
    }
}

fn of_input(input: &CaseInput, index: u32, bytes: &[u8]) -> raw::LinkedInput {
    raw::LinkedInput {
        role: input.role.to_string(),
        index,
        sample: input.sample.as_ref().map(ToString::to_string),
        artifact_type: input.artifact_type.to_string(),
        digest: Digest::of(bytes).to_string(),
        size_bytes: bytes.len().try_into().unwrap_or(u64::MAX),
    }
}

/// What a host checks between planning and running, under the default limits.
fn check(proposal: raw::Proposal, call: &raw::Call, tool: &Tool) -> anyhow::Result<Plan> {
    let draft = Draft::parse(proposal, tool)?;
    let mut linked: Vec<(Role, u32)> = Vec::new();
    for input in &call.inputs {
        linked.push((input.role.parse()?, input.index));
    }
    let grant = Grant {
        slice: CanonicalJson::of(&Value::Object(Map::new()))?,
        limits: GuestLimits::default(),
        // No container is started here, so a tool that plans steps is refused.
        images: Vec::new(),
        step_limits: StepLimits::default(),
        run_limits: RunLimits::default(),
        backend: None,
        limit_origins: Vec::new(),
        serve: Serve::Offered,
    };
    Ok(plan::check(draft, &linked, tool, &grant)?)
}

/// Steps are containers, and here is nothing that would run one.
fn no_backend(how: &str, step: &str) -> String {
    format!(
        "the tool {how} the step {step:?}, and `toolpack test` has no backend to run it: test the tool natively, \
         with `Bench::step`, and the whole of it on a host with a backend"
    )
}

/// A tool's own no, a trap or a limit is what the run left; only ours is an error of the test.
fn refused(error: GuestError) -> anyhow::Result<(Left, Usage)> {
    let (said, usage) = match error {
        GuestError::Tool(raw::ToolError::InvalidParams { pointer, reason }, usage) => {
            (format!("invalid_params {pointer}: {reason}"), usage)
        }
        GuestError::Tool(raw::ToolError::InvalidInput { role, index, reason }, usage) => {
            (format!("invalid_input {role}[{index}]: {reason}"), usage)
        }
        GuestError::Tool(raw::ToolError::Failed { reason }, usage) => (format!("failed: {reason}"), usage),
        GuestError::Input { ref usage, .. } => (error.to_string(), usage.clone()),
        GuestError::Trap { code, message, usage } => (format!("trap ({code}): {message}"), usage),
        GuestError::Limit { limit, message, usage } => (format!("limit {limit:?}: {message}"), usage),
        GuestError::Fault { message } => bail!("the sandbox failed: {message}"),
    };
    let fuel = usage.fuel;
    Ok((Left { said: Said::Error(said), fuel, ..Left::default() }, usage))
}

/// Takes down what a guest does.
#[derive(Default)]
struct Events {
    /// Role, key, file, and its bytes once the guest has returned.
    outputs: Vec<(String, String, File, Vec<u8>)>,
    log: Vec<String>,
    /// The step that it wanted to start.
    step: Option<String>,
}

impl RunEvents for Events {
    fn create_output(&mut self, role: &str, key: &str) -> io::Result<File> {
        let file = tempfile::tempfile()?;
        self.outputs.push((role.to_owned(), key.to_owned(), file.try_clone()?, Vec::new()));
        Ok(file)
    }

    fn log(&mut self, level: &str, text: &str) {
        self.log.push(format!("{level}: {text}"));
    }

    fn progress(&mut self, _done: u64, _total: Option<u64>, _text: &str) {}

    fn ask(&mut self, ask: Ask) -> Answering<'_> {
        // Nothing else can be asked for before a step was started.
        if let Ask::Start { step } = ask {
            self.step = Some(step.name);
        }
        Box::pin(std::future::ready(Err(io::Error::other("there is no backend"))))
    }
}
