//! The sandbox's half in the child process: one request, one answer, and out; a call that was planned
//! may run after it. It is a crate of its
//! own so that what compiles wasmtime's generics is not compiled again with every change of the host.
//!
//! wasmtime, wasmparser and the decoders are used here and nowhere else. What the host may know of it
//! is [`protocol`], and [`raw`], the records that a guest fills.
//!
//! The process has an empty environment, `/` as its folder, and no descriptor but its socket and
//! what comes over it, and builds [`walls`] around itself (invariant I-3). It dies with the host, and
//! never leaves a core.

mod ahead;
mod channel;
mod check;
mod decode;
mod engine;
mod guest;
mod inspect;
mod process;
pub mod protocol;
pub mod raw;
mod refusal;
mod state;
mod stop;
mod v1;
mod walls;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::time::Instant;

use base64::Engine as _;
use wasmtime::Engine;

use self::channel::Channel;
use self::guest::{Loaded, Question, Ready};
use self::refusal::Refusal;
use crate::protocol::{CompileLimits, Done, Event, Go, GuestLimits, HEAD_BYTES_MAX, Request, Wall};

pub use inspect::{EXPORTS, IMPORTS};
pub use process::close_descriptors;

/// Stack for host code around and below the guest's own.
const HOST_STACK_BYTES: usize = 8 * 1024 * 1024;

/// Largest wasm stack that a policy can give.
const WASM_STACK_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What `helixmcp runner` does, and `helixmcp runner probe [WALL]`, which lets itself be tried with
/// that wall of the kernel's alone, or with none, and never has a guest.
pub fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(2);
    let served = process::harden().and_then(|()| match words.next() {
        Some(word) if word == "probe" => {
            let name = words.next();
            let walls = Wall::ALL.iter().filter(|wall| name.as_ref().is_some_and(|name| name == wall.name()));
            serve(&walls.copied().collect::<Vec<_>>(), true)
        }
        _ => serve(&Wall::ALL, false),
    });
    // Nobody would read a message: the host sees how the process ended.
    if served.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn serve(wanted: &[Wall], is_probe: bool) -> std::io::Result<()> {
    let panics = process::catch_panics();
    let mut channel = Channel::from_stdin()?;
    // Made before there is a request, so that a spare runner has it ready.
    let engine = engine::engine(engine::STACK_BYTES).map_err(std::io::Error::other)?;
    let walls = walls::build(wanted)?;
    channel.send(&Event::Hello { engine: engine::fingerprint(&engine), walls })?;
    let ready = Ready::new(engine).map_err(std::io::Error::other)?;
    let Ok((request, descriptors)) = channel.receive::<Request>() else {
        // The host let go of a spare.
        return Ok(());
    };
    // Behind fewer walls nothing is done but to try them.
    if is_probe && !matches!(request, Request::Probe { .. }) {
        return Err(std::io::Error::other("a probe has no guest"));
    }
    let stack_bytes = wasm_stack_bytes(&request) + HOST_STACK_BYTES;
    let talk = move || {
        let talk = || talk(ready, request, descriptors, channel);
        std::panic::catch_unwind(AssertUnwindSafe(talk)).ok()
    };
    let thread = std::thread::Builder::new().name("guest".into()).stack_size(stack_bytes).spawn(talk)?;
    match thread.join() {
        Ok(Some(told)) => told,
        Ok(None) | Err(_) => {
            let message = format!("the runner panicked: {}", panics.last());
            Channel::from_stdin()?.send(&Event::Done(Box::new(Done::Fault { message })))
        }
    }
}

/// Answers the request, and what may follow it.
fn talk(ready: Ready, request: Request, descriptors: Vec<OwnedFd>, channel: Channel) -> std::io::Result<()> {
    let (done, mut channel, planned) = answer(ready, request, descriptors, channel);
    channel.send(&Event::Done(Box::new(done)))?;
    let Some(planned) = planned else { return Ok(()) };
    let Ok((go, files)) = channel.receive::<Go>() else {
        // The host let go of what was planned.
        return Ok(());
    };
    let (done, mut channel) = planned.run(go, files, channel);
    channel.send(&Event::Done(Box::new(done)))
}

/// A call that was planned here and may now run here: in an instance of its own, and under the limits
/// that stood before there was a plan.
struct Planned {
    guest: Loaded,
    call: raw::Call,
    limits: GuestLimits,
}

impl Planned {
    fn run(self, go: Go, files: Vec<OwnedFd>, channel: Channel) -> (Done, Channel) {
        let began = Instant::now();
        let Self { guest, call, limits } = self;
        if let Err(message) = process::limit_guest(&limits, None) {
            return (Done::Fault { message }, channel);
        }
        let Go { roles, inputs } = go;
        guest.ask(limits, channel, Question::Run { call, roles, inputs, files }, began)
    }
}

fn wasm_stack_bytes(request: &Request) -> usize {
    match request {
        Request::Describe { limits } | Request::Plan { limits, .. } | Request::Run { limits, .. } => {
            stack_within(limits)
        }
        Request::Inspect { .. }
        | Request::Compile { .. }
        | Request::Check { .. }
        | Request::Head { .. }
        | Request::Probe { .. } => engine::STACK_BYTES,
    }
}

fn stack_within(limits: &GuestLimits) -> usize {
    usize::try_from(limits.stack_bytes).unwrap_or(usize::MAX).clamp(64 * 1024, WASM_STACK_BYTES_MAX)
}

/// What answers a request: done, the channel, and a call that may follow.
type Answered = (Done, Channel, Option<Planned>);

fn answer(ready: Ready, request: Request, descriptors: Vec<OwnedFd>, channel: Channel) -> Answered {
    let mut descriptors = descriptors.into_iter();
    if let Request::Probe { attempt } = request {
        return (walls::probe::probe(attempt, descriptors.next()), channel, None);
    }
    let Some(first) = descriptors.next() else {
        return (Done::Fault { message: "the request came without its file".into() }, channel, None);
    };
    match request {
        Request::Describe { limits } => {
            let asked = Asked { limits, then: None, question: Question::Describe };
            let (done, channel, _guest) = asked.put(ready, &first, channel);
            (done, channel, None)
        }
        Request::Plan { limits, call, then } => {
            let asked = Asked { limits, then: then.as_ref(), question: Question::Plan(call.clone()) };
            let (done, channel, guest) = asked.put(ready, &first, channel);
            let guest = guest.filter(|_guest| matches!(done, Done::Planned(_)));
            let planned = guest.zip(then).map(|(guest, limits)| Planned { guest, call, limits });
            (done, channel, planned)
        }
        Request::Run { limits, call, roles, inputs } => {
            let question = Question::Run { call, roles, inputs, files: descriptors.collect() };
            let (done, channel, _guest) = Asked { limits, then: None, question }.put(ready, &first, channel);
            (done, channel, None)
        }
        Request::Inspect { limits } => (inspect(first, &limits), channel, None),
        Request::Compile { limits } => {
            (compile(ready.engine(), first, descriptors.next(), &limits), channel, None)
        }
        Request::Check { artifact_type } => {
            let check = || check::check(first, artifact_type).map(Done::Checked);
            (done(before_reading().and_then(|()| check())), channel, None)
        }
        Request::Head { max_bytes } => {
            let head = || check::head(first, max_bytes.min(HEAD_BYTES_MAX));
            let text = |bytes| Done::Head(base64::engine::general_purpose::STANDARD.encode(bytes));
            (done(before_reading().and_then(|()| head()).map(text)), channel, None)
        }
        Request::Probe { .. } => {
            (Done::Fault { message: "a probe without its attempt".into() }, channel, None)
        }
    }
}

/// A question, and the limits under which a guest is loaded and asked.
struct Asked<'a> {
    limits: GuestLimits,
    then: Option<&'a GuestLimits>,
    question: Question,
}

impl Asked<'_> {
    /// Gives the loaded component back as well.
    fn put(self, ready: Ready, code: &OwnedFd, channel: Channel) -> (Done, Channel, Option<Loaded>) {
        let began = Instant::now();
        let Self { limits, then, question } = self;
        if let Err(message) = process::limit_guest(&limits, then) {
            return (Done::Fault { message }, channel, None);
        }
        let ready = match ready.with_stack(stack_within(&limits)) {
            Ok(ready) => ready,
            Err(error) => return (Done::Fault { message: format!("no engine: {error}") }, channel, None),
        };
        match Loaded::new(ready, code) {
            Ok(guest) => {
                let (done, channel) = guest.ask(limits, channel, question, began);
                (done, channel, Some(guest))
            }
            Err(stop) => (guest::not_loaded(stop, began), channel, None),
        }
    }
}

/// What stands before a file is looked at.
fn before_reading() -> Result<(), String> {
    walls::close()?;
    process::limit_file()
}

fn inspect(component: OwnedFd, limits: &CompileLimits) -> Done {
    done(read_component(component, limits).map(|component| match inspect::inspect(&component, limits) {
        Ok(inspection) => Done::Inspected(inspection),
        Err(Refusal { code, message }) => Done::Refused { code: code.to_owned(), message },
    }))
}

fn compile(engine: &Engine, component: OwnedFd, target: Option<OwnedFd>, limits: &CompileLimits) -> Done {
    let component = match read_component(component, limits) {
        Ok(component) => component,
        Err(message) => return Done::Fault { message },
    };
    let Some(target) = target else { return Done::Fault { message: "no file to compile into".into() } };
    if let Err(message) = engine::start_compilers() {
        return Done::Fault { message };
    }
    let inspection = match inspect::inspect(&component, limits) {
        Ok(inspection) => inspection,
        Err(Refusal { code, message }) => return Done::Refused { code: code.to_owned(), message },
    };
    match guest::compile(engine, &component, target) {
        Ok(()) => Done::Compiled(inspection),
        Err(error) => Done::Refused {
            code: "compile_failed".to_owned(),
            message: format!("does not compile: {}", error.root_cause()),
        },
    }
}

/// Reads a component under the limits that hold for looking at one.
fn read_component(component: OwnedFd, limits: &CompileLimits) -> Result<Vec<u8>, String> {
    walls::close()?;
    process::limit_compilation(limits)?;
    let file = File::from(component);
    let fault = |error: std::io::Error| format!("the component cannot be read: {error}");
    // Asked by its descriptor alone: calls that take a name are gone.
    let length = rustix::fs::fstat(&file).map_err(|error| fault(error.into()))?.st_size;
    let length = u64::try_from(length).map_err(|error| error.to_string())?;
    // One more than allowed is enough to be refused for its size.
    let length = length.min(limits.component_bytes.saturating_add(1));
    let mut bytes = vec![0; usize::try_from(length).map_err(|error| error.to_string())?];
    file.read_exact_at(&mut bytes, 0).map_err(fault)?;
    Ok(bytes)
}

fn done(result: Result<Done, String>) -> Done {
    result.unwrap_or_else(|message| Done::Fault { message })
}
