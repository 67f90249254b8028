//! One execution of a guest: a fresh store, all limits set before the first instruction (a core
//! module's start function runs during instantiation), and an end that names its reason.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Instant;

use serde::Serialize;
use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Store};

use super::channel::Channel;
use super::engine::{self, STACK_BYTES};
use super::state::{Mode, State};
use super::stop::{ANSWER_TOO_LARGE, GUEST_ABI, Stop};
use super::v1;
use crate::protocol::{Done, GuestLimits, InputSlot, Ran, Usage};
use crate::raw;

/// Largest answer of a guest, as JSON. A frame holds more, so that it never fails for its size.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What a guest is asked.
pub enum Question {
    Describe,
    Plan(raw::Call),
    Run { call: raw::Call, roles: Vec<String>, inputs: Vec<InputSlot>, files: Vec<OwnedFd> },
}

/// An engine and the imports that it offers: what no request changes, made while there is none.
pub struct Ready {
    engine: Engine,
    linker: Linker<State>,
}

impl Ready {
    pub fn new(engine: Engine) -> wasmtime::Result<Self> {
        let linker = v1::linker(&engine)?;
        Ok(Self { engine, linker })
    }

    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The same for this wasm stack. That is no part of a compiled form, so its code runs under either.
    pub fn with_stack(self, stack_bytes: usize) -> wasmtime::Result<Self> {
        if stack_bytes == STACK_BYTES { Ok(self) } else { Self::new(engine::engine(stack_bytes)?) }
    }
}

/// A component that is loaded and linked. Each question has a store and an instance of its own, so
/// that nothing of one is left for the next.
pub struct Loaded {
    engine: Engine,
    pre: v1::ToolpackPre<State>,
}

impl Loaded {
    /// Loads a compiled form, and takes away what only that needed.
    pub fn new(ready: Ready, code: &OwnedFd) -> Result<Self, Stop> {
        let Ready { engine, linker } = ready;
        let component = load(&engine, code)?;
        crate::walls::close().map_err(Stop::Fault)?;
        let mismatch = |error: wasmtime::Error| Stop::trap(GUEST_ABI, error.root_cause().to_string());
        let pre = linker.instantiate_pre(&component).map_err(mismatch)?;
        let pre = v1::ToolpackPre::new(pre).map_err(mismatch)?;
        Ok(Self { engine, pre })
    }

    /// Puts a question to a guest and gives its answer, with the channel that the execution had.
    pub fn ask(
        &self,
        limits: GuestLimits,
        channel: Channel,
        question: Question,
        began: Instant,
    ) -> (Done, Channel) {
        let mode = if matches!(question, Question::Run { .. }) { Mode::Run } else { Mode::Metadata };
        let mut store = Store::new(&self.engine, State::new(mode, limits, channel));
        let ended = execute(&mut store, &self.pre, question);
        let mut usage = store.data().usage.clone();
        usage.fuel = store.data().limits.fuel.saturating_sub(store.get_fuel().unwrap_or_default());
        usage.wall = began.elapsed().saturating_sub(store.data().waited());
        let done = match ended {
            Ok(Answer::Manifest(manifest)) => Done::Described(manifest),
            Ok(Answer::Proposal(proposal)) => Done::Planned(proposal),
            Ok(Answer::Report(report)) => Done::Ran(Ran {
                report,
                outputs: store.data().written(),
                opened: store.data().opened(),
                published: store.data().published(),
                steps_unwaited: store.data().steps_unwaited(),
                usage,
            }),
            Err(stop) => failed(stop, usage),
        };
        (done, store.into_data().channel)
    }
}

/// A component that could not be loaded.
pub fn not_loaded(stop: Stop, began: Instant) -> Done {
    failed(stop, Usage { wall: began.elapsed(), ..Usage::default() })
}

enum Answer {
    Manifest(raw::Manifest),
    Proposal(raw::Proposal),
    Report(raw::Report),
}

fn failed(stop: Stop, usage: Usage) -> Done {
    match stop.into_failure() {
        Ok(failure) => Done::Failed { failure, usage },
        Err(message) => Done::Fault { message },
    }
}

fn execute(
    store: &mut Store<State>,
    pre: &v1::ToolpackPre<State>,
    question: Question,
) -> Result<Answer, Stop> {
    limit(store)?;
    let answer = call(store, pre, question);
    settle(store, answer)
}

/// Sets every limit of the store.
fn limit(store: &mut Store<State>) -> Result<(), Stop> {
    let limits = store.data().limits.clone();
    store.limiter(|state| state);
    store.set_fuel(limits.fuel).map_err(|error| Stop::fault("fuel", &error))?;
    store.set_hostcall_fuel(usize::try_from(limits.host_call_bytes).unwrap_or(usize::MAX));
    // Our own count speaks first; this one also counts handles that the guest makes itself.
    let handles = usize::try_from(limits.handles).unwrap_or(usize::MAX);
    store.set_max_component_handles(handles.saturating_mul(2));
    Ok(())
}

fn call(store: &mut Store<State>, pre: &v1::ToolpackPre<State>, question: Question) -> Result<Answer, Stop> {
    let toolpack = pre.instantiate(&mut *store).map_err(Stop::of)?;
    match question {
        Question::Describe => {
            let manifest = toolpack.call_describe(&mut *store).map_err(Stop::of)?;
            bounded(raw::Manifest::from(manifest)).map(Answer::Manifest)
        }
        Question::Plan(call) => {
            let proposal = toolpack.call_plan(&mut *store, &v1::call(call)).map_err(Stop::of)?;
            bounded(raw::Proposal::from(proposal.map_err(refused)?)).map(Answer::Proposal)
        }
        Question::Run { call, roles, inputs, files } => {
            store.data_mut().link(inputs, files, roles);
            let report = toolpack.call_run(&mut *store, &v1::call(call)).map_err(Stop::of)?;
            bounded(raw::Report::from(report.map_err(refused)?)).map(Answer::Report)
        }
    }
}

fn refused(error: impl Into<raw::ToolError>) -> Stop {
    match bounded(error.into()) {
        Ok(error) => Stop::Tool(error),
        Err(stop) => stop,
    }
}

/// An answer that fits in a frame. Escaping makes text up to six times longer, so what is
/// measured is the JSON itself.
fn bounded<T: Serialize>(answer: T) -> Result<T, Stop> {
    let json = serde_json::to_vec(&answer).map_err(|error| Stop::fault("an answer", &error))?;
    if json.len() > ANSWER_BYTES_MAX {
        return Err(Stop::trap(ANSWER_TOO_LARGE, format!("the answer has {} bytes as JSON", json.len())));
    }
    Ok(answer)
}

/// Ends an execution: what was opened decoded is decoded to its end, whether the guest gave a
/// report or failed, and damage there is the answer.
fn settle(store: &mut Store<State>, answer: Result<Answer, Stop>) -> Result<Answer, Stop> {
    let state = store.data_mut();
    if answer.as_ref().err().is_none_or(Stop::is_answer) {
        state.settle_inputs()?;
    }
    state.flush_progress()?;
    answer
}

#[expect(unsafe_code, reason = "a compiled component is native code, which no safe function can load")]
fn load(engine: &Engine, code: &OwnedFd) -> Result<Component, Stop> {
    // The descriptor is mapped through its own path: the engine maps files by name only.
    let path = format!("/proc/self/fd/{}", code.as_raw_fd());
    // SAFETY: the bytes are what a runner of this same binary compiled: the host made sure by
    // their authentication code and sealed them, so nobody can write to them now.
    unsafe { Component::deserialize_file(engine, path) }
        .map_err(|error| Stop::fault("the compiled component cannot be loaded", &error))
}

/// Compiles a component into `target`.
pub fn compile(engine: &Engine, component: &[u8], target: OwnedFd) -> Result<(), wasmtime::Error> {
    use std::io::Write;
    let code = engine.precompile_component(component)?;
    File::from(target).write_all(&code)?;
    Ok(())
}
