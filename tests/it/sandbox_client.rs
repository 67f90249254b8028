//! Runners as the host sees them: what they do for an honest guest, how each attack ends, and
//! that none of them outlives its use.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use helix_ids::ArtifactType;
use helixmcp::contract::raw;
use helixmcp::sandbox::client::{GuestError, InputFile, LoadError, RunEvents, RunOutcome, SandboxSettings};
use helixmcp::sandbox::protocol::{CompileLimits, GuestLimits, Limit, Verdict};
use helixmcp::sandbox::{Compiled, Sandbox};

use crate::guests;

const MIB: u64 = 1024 * 1024;

fn compile_limits() -> CompileLimits {
    CompileLimits {
        component_bytes: 8 * MIB,
        body_bytes: 128 * 1024,
        functions: 50_000,
        instances: 32,
        imports: 64,
        memory_bytes: 1536 * MIB,
        cpu: Duration::from_secs(60),
        guest_memory_bytes: 256 * MIB,
    }
}

fn guest_limits() -> GuestLimits {
    GuestLimits {
        memory_bytes: 256 * MIB,
        stack_bytes: 512 * 1024,
        fuel: 100_000_000,
        wall: Duration::from_secs(60),
        host_call_bytes: 8 * MIB,
        host_call_bytes_total: 1024 * MIB,
        host_calls: 100_000,
        handles: 64,
        log_bytes: MIB,
        decoded_bytes: 64 * MIB,
        outputs: 4,
        output_bytes: 64 * MIB,
    }
}

/// A sandbox with a folder of its own.
pub struct Bench {
    pub sandbox: Sandbox,
    folder: tempfile::TempDir,
}

impl Bench {
    pub fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let sandbox = Sandbox::new(settings(&folder.path().join("cache"), [7; 32])?);
        Ok(Self { sandbox, folder })
    }

    pub async fn load(&self, component: &[u8]) -> Result<Compiled> {
        Ok(self.sandbox.load(component, &compile_limits()).await?)
    }

    pub async fn run(&self, component: &Compiled, task: &Task) -> Result<(Ran, Outputs)> {
        let mut outputs = Outputs::default();
        let roles = ["out".to_owned()];
        let inputs = match &task.input {
            Some(bytes) => vec![InputFile { role: "data".to_owned(), index: 0, file: file(bytes)? }],
            None => Vec::new(),
        };
        let call = raw::Call {
            tool: "attack".to_owned(),
            params: task.params.to_owned(),
            inputs: inputs.iter().map(linked).collect(),
        };
        let ran = self.sandbox.run(component, &call, &roles, inputs, &task.limits, &mut outputs).await;
        Ok((ran, outputs))
    }

    /// Runs one attack, and an honest guest after it: the host must still serve.
    async fn attack(&self, name: &str, task: &Task) -> Result<GuestError> {
        let attack = self.load(&guests::hostile(name)?).await?;
        let (ended, _outputs) = self.run(&attack, task).await?;
        let honest = self.load(&guests::honest("echo")?).await?;
        let (ran, _outputs) = self.run(&honest, &Task::default()).await?;
        ran.context("the honest guest after the attack")?;
        match ended {
            Ok(outcome) => bail!("{name} came to an end: {outcome:?}"),
            Err(error) => Ok(error),
        }
    }

    async fn refusal(&self, component: &[u8]) -> Result<(&'static str, String)> {
        refused(self.sandbox.load(component, &compile_limits()).await)
    }
}

pub type Ran = Result<RunOutcome, GuestError>;

fn refused<T: std::fmt::Debug>(loaded: Result<T, LoadError>) -> Result<(&'static str, String)> {
    match loaded {
        Err(LoadError::Refused { code, message }) => Ok((code, message)),
        other => bail!("not refused: {other:?}"),
    }
}

fn settings(cache_dir: &std::path::Path, key: [u8; 32]) -> Result<SandboxSettings> {
    Ok(SandboxSettings { cache_dir: cache_dir.to_owned(), key, runners_max: 4, runner_exe: binary()? })
}

/// The binary under test lies beside this test's own folder.
fn binary() -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let folder = test.parent().and_then(std::path::Path::parent).context("no target folder")?;
    let binary = folder.join("helixmcp");
    ensure!(binary.is_file(), "{} is not there: build it first", binary.display());
    Ok(binary)
}

pub fn file(bytes: &[u8]) -> Result<File> {
    let mut file = tempfile::tempfile()?;
    file.write_all(bytes)?;
    Ok(file)
}

fn linked(input: &InputFile) -> raw::LinkedInput {
    raw::LinkedInput {
        role: input.role.clone(),
        index: input.index,
        sample: None,
        artifact_type: "TEXT".to_owned(),
        digest: helix_ids::Digest::of(b"").to_string(),
        size_bytes: 0,
    }
}

/// What a guest is to do.
#[derive(Clone)]
pub struct Task {
    pub params: &'static str,
    pub input: Option<Vec<u8>>,
    pub limits: GuestLimits,
}

impl Default for Task {
    fn default() -> Self {
        Self { params: "{}", input: None, limits: guest_limits() }
    }
}

/// Keeps what a guest writes and says.
#[derive(Clone, Default)]
pub struct Outputs(Arc<Mutex<Said>>);

#[derive(Default)]
struct Said {
    files: Vec<(String, String, File)>,
    log: Vec<String>,
    progress: Vec<(u64, Option<u64>)>,
}

impl Outputs {
    fn said(&self) -> std::sync::MutexGuard<'_, Said> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub fn bytes(&self, key: &str) -> Result<Vec<u8>> {
        let mut said = self.said();
        let (_, _, file) =
            said.files.iter_mut().find(|(_, made, _)| made == key).context("no such output")?;
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(0))?;
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

impl RunEvents for Outputs {
    fn create_output(&mut self, role: &str, key: &str) -> std::io::Result<File> {
        let file = tempfile::tempfile()?;
        self.said().files.push((role.to_owned(), key.to_owned(), file.try_clone()?));
        Ok(file)
    }

    fn log(&mut self, level: &str, text: &str) {
        self.said().log.push(format!("{level}: {text}"));
    }

    fn progress(&mut self, done: u64, total: Option<u64>, _text: &str) {
        self.said().progress.push((done, total));
    }
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

/// Text that does not compress to nothing.
fn reads(bytes: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut letter = |letters: &[u8]| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let at = usize::try_from(state >> 16).unwrap_or_default() % letters.len();
        letters[at]
    };
    let mut text = Vec::new();
    while text.len() < bytes {
        text.extend_from_slice(b"@read\n");
        text.extend((0..100).map(|_| letter(b"ACGT")));
        text.extend_from_slice(b"\n+\n");
        text.extend((0..100).map(|_| letter(b"IIIFFH#")));
        text.push(b'\n');
    }
    text
}

#[tokio::test]
async fn an_honest_guest_is_described_planned_and_run() -> Result<()> {
    let bench = Bench::new()?;
    let component = bench.load(&guests::honest("echo")?).await?;
    assert_eq!(component.inspection.exports, ["describe", "plan", "run"]);

    let manifest = bench.sandbox.describe(&component).await?;
    assert_eq!((manifest.name.as_str(), manifest.tools.len()), ("echo", 1));
    assert_eq!(manifest.tools[0].outputs[0].role, "out");
    let call = raw::Call { tool: "echo".into(), params: "{}".into(), inputs: Vec::new() };
    let proposal = bench.sandbox.plan(&component, &call).await?;
    assert_eq!(
        proposal.outputs,
        [raw::PlannedOutput { role: "out".into(), count: raw::Count { min: 1, max: 1 } }]
    );

    let task = Task { params: r#"{"text":"hi"}"#, ..Task::default() };
    let (ran, outputs) = bench.run(&component, &task).await?;
    let ran = ran?;
    assert_eq!((ran.report.result.as_str(), ran.report.summary.as_str()), (r#"{"text":"hi"}"#, "Done."));
    assert_eq!(String::from_utf8(outputs.bytes("main")?)?, "hello\n{\"text\":\"hi\"}");
    let written = &ran.outputs[0];
    assert_eq!((written.role.as_str(), written.key.as_str(), written.finished), ("out", "main", true));
    assert_eq!((written.size_bytes, ran.outputs.len()), (19, 1));
    assert!(ran.opened.is_empty());
    Ok(())
}

/// Raw bytes arrive as they are; decoded ones without their compression, over all members.
#[tokio::test]
async fn inputs_arrive_raw_and_decoded() -> Result<()> {
    let bench = Bench::new()?;
    let copies = bench.load(&guests::honest("copies")?).await?;
    let (plain, more) = (reads(700_000), reads(300_000));
    let mut compressed = gzip(&plain)?;
    compressed.extend(gzip(&more)?);
    // Padding, as a tape would leave it.
    compressed.extend([0; 512]);
    let whole = [plain.clone(), more].concat();
    for (how, input, expected) in [
        (r#"{"how":0}"#, &compressed, &compressed),
        (r#"{"how":1}"#, &compressed, &whole),
        (r#"{"how":1}"#, &plain, &plain),
        (r#"{"how":1}"#, &Vec::new(), &Vec::new()),
    ] {
        let task = Task { params: how, input: Some(input.clone()), ..Task::default() };
        let (ran, outputs) = bench.run(&copies, &task).await?;
        assert_eq!(ran?.opened, [("data".to_owned(), 0)]);
        assert!(outputs.bytes("main")? == *expected, "{how}, {} bytes", input.len());
    }
    Ok(())
}

/// Damage ends the run wherever it lies: a guest that read 16 bytes of a million must not have
/// another answer than one that read them all.
#[tokio::test]
async fn damage_past_what_was_read_ends_the_run() -> Result<()> {
    let bench = Bench::new()?;
    let compressed = gzip(&reads(1_000_000))?;
    let whole = Task { input: Some(compressed.clone()), ..Task::default() };
    let cut = Task { input: Some(compressed[..compressed.len() - 9].to_vec()), ..Task::default() };
    let mut trailing = compressed.clone();
    trailing.extend(b"junk");
    let trailing = Task { input: Some(trailing), ..Task::default() };
    let mut flipped = compressed.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x10;
    let flipped = Task { input: Some(flipped), ..Task::default() };

    for (guest, params) in [("peeks", "{}"), ("copies", r#"{"how":1}"#)] {
        let component = bench.load(&guests::honest(guest)?).await?;
        let (ran, _outputs) = bench.run(&component, &Task { params, ..whole.clone() }).await?;
        ran.with_context(|| format!("{guest} of a whole file"))?;
        for damaged in [&cut, &trailing, &flipped] {
            let (ran, _outputs) = bench.run(&component, &Task { params, ..damaged.clone() }).await?;
            let Err(GuestError::Input { role, index, offset, .. }) = ran else { bail!("{guest}: {ran:?}") };
            let length = damaged.input.as_ref().map_or(0, Vec::len) as u64;
            assert_eq!((role.as_str(), index), ("data", 0));
            assert!(offset <= length, "{offset}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn i11_two_passes_agree_to_the_unit_of_fuel() -> Result<()> {
    let bench = Bench::new()?;
    let copies = bench.load(&guests::honest("copies")?).await?;
    let task = Task { params: r#"{"how":1}"#, input: Some(gzip(&reads(500_000))?), ..Task::default() };
    let mut passes = Vec::new();
    for _ in 0..2 {
        let (ran, outputs) = bench.run(&copies, &task).await?;
        let mut usage = ran?.usage;
        usage.wall = Duration::ZERO;
        passes.push((usage, outputs.bytes("main")?));
    }
    assert!(passes[0].0.fuel > 0 && passes[0].0.host_calls > 5);
    assert_eq!(passes[0], passes[1]);
    Ok(())
}

/// Each attack that runs, and the one way in which it ends.
#[tokio::test]
async fn i9_each_budget_has_its_end() -> Result<()> {
    let bench = Bench::new()?;
    let plain = Task { input: Some(b"some text".to_vec()), ..Task::default() };
    let few = GuestLimits { host_calls: 1000, ..guest_limits() };
    let calls = Task { limits: few, ..plain.clone() };
    let none = GuestLimits { outputs: 0, ..guest_limits() };
    let outputs = Task { limits: none, ..plain.clone() };
    for (name, task, expected) in [
        ("loops_forever", &plain, Limit::Fuel),
        ("loops_in_start", &plain, Limit::Fuel),
        ("grows_memory", &plain, Limit::Memory),
        ("recursion", &plain, Limit::Stack),
        ("handles_exhausted", &plain, Limit::Handles),
        ("host_calls_without_end", &calls, Limit::HostCalls),
        ("output_twice", &outputs, Limit::Outputs),
    ] {
        let ended = bench.attack(name, task).await?;
        let GuestError::Limit { limit, usage, .. } = ended else { bail!("{name}: {ended:?}") };
        assert_eq!(limit, expected, "{name}");
        if limit == Limit::Fuel {
            assert_eq!(usage.fuel, task.limits.fuel, "{name}");
        }
    }
    Ok(())
}

/// What a guest moves is counted where it moves it.
#[tokio::test]
async fn i9_bytes_that_cross_the_border_are_counted() -> Result<()> {
    let bench = Bench::new()?;
    let copies = bench.load(&guests::honest("copies")?).await?;
    let input = Some(gzip(&reads(500_000))?);
    for (limits, expected) in [
        (GuestLimits { decoded_bytes: 400_000, ..guest_limits() }, Limit::DecodedBytes),
        (GuestLimits { output_bytes: 400_000, ..guest_limits() }, Limit::OutputBytes),
        (GuestLimits { host_call_bytes_total: 900_000, ..guest_limits() }, Limit::HostCallBytes),
        (GuestLimits { host_call_bytes: 60_000, ..guest_limits() }, Limit::HostCallBytes),
    ] {
        let task = Task { params: r#"{"how":1}"#, input: input.clone(), limits };
        let (ran, _outputs) = bench.run(&copies, &task).await?;
        let Err(GuestError::Limit { limit, .. }) = ran else { bail!("{expected:?}: {ran:?}") };
        assert_eq!(limit, expected);
    }
    Ok(())
}

/// The compiler has no budget: what costs too much is refused, and the host goes on.
#[tokio::test]
async fn a_component_that_costs_too_much_to_compile_is_refused() -> Result<()> {
    let bench = Bench::new()?;
    let function = format!(
        "(func (param i32) {})",
        "(call_indirect (param i32) (local.get 0) (local.get 0))".repeat(2000)
    );
    let module = wat::parse_str(format!("(module (table 1 funcref) {})", function.repeat(200)))?;
    let mut component = guests::honest("echo")?;
    wasm_encoder::Section::append_to(&wasm_encoder::RawSection { id: 1, data: &module }, &mut component);
    let limits = CompileLimits { cpu: Duration::from_secs(1), ..compile_limits() };
    let (code, message) = refused(bench.sandbox.load(&component, &limits).await)?;
    assert_eq!(code, "compile_limit", "{message}");
    let honest = bench.load(&guests::honest("echo")?).await?;
    bench.run(&honest, &Task::default()).await?.0?;
    Ok(())
}

#[tokio::test]
async fn a_misused_import_traps() -> Result<()> {
    let bench = Bench::new()?;
    let plain = Task { input: Some(b"some text".to_vec()), ..Task::default() };
    for (name, expected) in [
        ("reads_zero_bytes", "import_misuse"),
        ("writes_after_finish", "import_misuse"),
        ("handle_forged", "guest_abi"),
        ("bad_utf8_in_report", "guest_abi"),
        ("realloc_out_of_range", "guest_abi"),
        ("writes_past_memory", "guest_abi"),
    ] {
        let ended = bench.attack(name, &plain).await?;
        let GuestError::Trap { code, .. } = ended else { bail!("{name}: {ended:?}") };
        assert_eq!(code, expected, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn a_plan_may_only_log() -> Result<()> {
    let bench = Bench::new()?;
    let call = raw::Call { tool: "attack".into(), params: "{}".into(), inputs: Vec::new() };
    let opens = bench.load(&guests::hostile("opens_input_in_plan")?).await?;
    let planned = bench.sandbox.plan(&opens, &call).await;
    assert!(matches!(planned, Err(GuestError::Trap { code: "import_during_plan", .. })), "{planned:?}");
    let loops = bench.load(&guests::hostile("loops_in_plan")?).await?;
    let planned = bench.sandbox.plan(&loops, &call).await;
    assert!(
        matches!(planned, Err(GuestError::Limit { limit: Limit::Fuel | Limit::Wall, .. })),
        "{planned:?}"
    );
    let traps = bench.load(&guests::hostile("traps_in_describe")?).await?;
    let described = bench.sandbox.describe(&traps).await;
    assert!(matches!(described, Err(GuestError::Trap { code: "guest_trap", .. })), "{described:?}");
    Ok(())
}

#[tokio::test]
async fn a_log_is_capped_and_what_is_dropped_is_counted() -> Result<()> {
    let bench = Bench::new()?;
    let loud = bench.load(&guests::hostile("huge_log")?).await?;
    let (ran, outputs) = bench.run(&loud, &Task::default()).await?;
    let usage = ran?.usage;
    let kept: usize = outputs.said().log.iter().map(|line| line.len()).sum();
    assert!(usage.log_bytes <= MIB && kept as u64 <= MIB, "{usage:?}, {kept}");
    assert!(usage.log_bytes_dropped >= 2 * MIB, "{usage:?}");
    Ok(())
}

/// I-3: what is not ours to give, a component cannot ask for; the message names every offender.
#[tokio::test]
async fn i3_foreign_imports_refuse_the_component() -> Result<()> {
    let bench = Bench::new()?;
    for (name, offender) in [
        ("imports_wasi_clocks", "wasi:clocks/"),
        ("imports_wasi_filesystem", "wasi:filesystem/"),
        ("imports_unknown", ""),
        ("imports_wrong_version", "helix:toolpack/"),
    ] {
        let (code, message) = bench.refusal(&guests::hostile(name)?).await?;
        assert_eq!(code, "import_not_allowed", "{name}: {message}");
        assert!(message.contains(offender), "{message}");
        assert!(message.contains("allowed are helix:toolpack/artifacts@1.0.0"), "{message}");
    }
    let (code, message) = bench.refusal(&guests::hostile("imports_wrong_type")?).await?;
    assert_eq!(code, "interface_mismatch", "{message}");
    Ok(())
}

#[tokio::test]
async fn other_languages_are_refused_by_name() -> Result<()> {
    let bench = Bench::new()?;
    for (name, feature) in [
        ("uses_exceptions", "exceptions"),
        ("uses_gc", "GC"),
        ("uses_memory64", "memory64"),
        ("uses_multi_memory", "multi-memory"),
        ("uses_relaxed_simd", "relaxed SIMD"),
        ("uses_threads", "threads"),
    ] {
        let (code, message) = bench.refusal(&guests::hostile(name)?).await?;
        assert_eq!(code, "feature_not_allowed", "{name}: {message}");
        assert!(message.contains(feature), "{name}: {message}");
    }
    Ok(())
}

/// Components that are nothing but one feature each.
#[tokio::test]
async fn each_feature_that_we_do_not_speak_is_named() -> Result<()> {
    let bench = Bench::new()?;
    let lifted = r#"
        (core module $m (memory (export "m") 1) (func (export "f") (param i32 i32))
          (func (export "r") (param i32 i32 i32 i32) (result i32) unreachable))
        (core instance $i (instantiate $m))
        (func (param "s" string) (canon lift (core func $i "f") (memory $i "m") (realloc (func $i "r")) "#;
    for (feature, text) in [
        ("tail calls", "(core module (func $f return_call $f))".to_owned()),
        ("custom page sizes", "(core module (memory 1 (pagesize 1)))".to_owned()),
        ("external references", "(core module (func (param externref)))".to_owned()),
        (
            "function references",
            "(core module (type $t (func)) (func (param (ref null $t)) (call_ref $t (local.get 0))))"
                .to_owned(),
        ),
        (
            "wide arithmetic",
            "(core module (func (result i64 i64) (i64.mul_wide_u (i64.const 1) (i64.const 1))))".to_owned(),
        ),
        ("streams and futures", "(type (stream u8))".to_owned()),
        ("streams and futures", "(type (future u8))".to_owned()),
        ("error-context", "(type (func (result error-context)))".to_owned()),
        ("string encoding UTF-16", format!("{lifted} string-encoding=utf16))")),
        ("string encoding latin1+UTF-16", format!("{lifted} string-encoding=latin1+utf16))")),
    ] {
        let component = wat::parse_str(format!("(component {text})")).context(feature)?;
        let (code, message) = refused(bench.sandbox.inspect(&component, &compile_limits()).await)?;
        assert_eq!(code, "feature_not_allowed", "{feature}: {message}");
        assert!(message.contains(feature), "{feature}: {message}");
    }
    Ok(())
}

/// Shapes that cost a parser more than their size says.
#[tokio::test]
async fn i9_shapes_that_multiply_are_refused() -> Result<()> {
    let bench = Bench::new()?;
    let nested = |depth: usize| format!("{}{}", "(component ".repeat(depth), ")".repeat(depth));
    let doubled = |depth: usize| {
        let pairs: String =
            (1..depth).map(|level| format!("(type $t{level} (tuple $t{0} $t{0}))", level - 1)).collect();
        format!("(component (type $t0 (tuple u8 u8)) {pairs})")
    };
    let many = |item: &str, count: usize| format!("(component {})", item.repeat(count));
    let empty_sections = |count: usize| {
        let mut component = b"\0asm\x0d\0\x01\0".to_vec();
        component.extend([0, 2, 1, b'x'].repeat(count));
        component
    };
    for (expected, component) in [
        ("component_too_complex", wat::parse_str(nested(17))?),
        ("component_too_complex", wat::parse_str(many("(core module)", 11_000))?),
        ("component_too_complex", wat::parse_str(many("(type (func (param \"a\" u8)))", 21_000))?),
        ("component_too_complex", wat::parse_str(many("(core module (func (local i32)))", 60_000))?),
        ("component_too_complex", empty_sections(100_000)),
        ("malformed_component", wat::parse_str(doubled(40))?),
        ("export_missing", wat::parse_str(nested(16))?),
        ("export_missing", empty_sections(100)),
    ] {
        let began = Instant::now();
        let (code, message) = refused(bench.sandbox.inspect(&component, &compile_limits()).await)?;
        assert_eq!(code, expected, "{} bytes: {message}", component.len());
        assert!(began.elapsed() < Duration::from_secs(20), "{message}");
    }
    Ok(())
}

/// The stack is no part of a compiled form: policy may change it and nothing is compiled again.
#[tokio::test]
async fn another_stack_runs_the_same_code() -> Result<()> {
    let bench = Bench::new()?;
    let echo = bench.load(&guests::honest("echo")?).await?;
    for stack_bytes in [128 * 1024, 4 * MIB] {
        let task = Task { limits: GuestLimits { stack_bytes, ..guest_limits() }, ..Task::default() };
        bench.run(&echo, &task).await?.0?;
    }
    Ok(())
}

#[tokio::test]
async fn sizes_are_refused_before_anything_is_compiled() -> Result<()> {
    let bench = Bench::new()?;
    let echo = guests::honest("echo")?;
    let cap = |change: fn(&mut CompileLimits)| {
        let mut limits = compile_limits();
        change(&mut limits);
        limits
    };
    let cases: [(&str, Vec<u8>, CompileLimits); 9] = [
        ("component_too_large", echo.clone(), cap(|limits| limits.component_bytes = 100)),
        ("component_too_complex", echo.clone(), cap(|limits| limits.functions = 3)),
        ("component_too_complex", echo.clone(), cap(|limits| limits.body_bytes = 8)),
        ("component_too_complex", echo.clone(), cap(|limits| limits.imports = 1)),
        ("component_too_complex", echo.clone(), cap(|limits| limits.instances = 1)),
        ("memory_min_exceeds", guests::hostile("memory_minimum_huge")?, compile_limits()),
        ("table_min_exceeds", guests::hostile("table_minimum_huge")?, compile_limits()),
        ("malformed_component", guests::hostile("malformed_truncated")?, compile_limits()),
        ("not_a_component", b"\0asm\x01\0\0\0".to_vec(), compile_limits()),
    ];
    for (expected, component, limits) in cases {
        let (code, message) = refused(bench.sandbox.inspect(&component, &limits).await)?;
        assert_eq!(code, expected, "{message}");
    }
    Ok(())
}

/// A component cut at any place is refused, and no place brings a runner down.
#[tokio::test]
async fn a_truncated_component_is_refused_wherever_it_ends() -> Result<()> {
    let bench = Bench::new()?;
    let echo = guests::honest("echo")?;
    for part in 0..40 {
        let end = echo.len() * part / 40;
        let (code, message) = refused(bench.sandbox.inspect(&echo[..end], &compile_limits()).await)?;
        assert!(
            ["malformed_component", "not_a_component", "export_missing"].contains(&code),
            "{end}: {message}"
        );
    }
    Ok(())
}

/// A compiled form is native code. One that somebody planted, cut or made with another key is as
/// good as none.
#[tokio::test]
async fn a_planted_cache_entry_is_a_miss() -> Result<()> {
    let bench = Bench::new()?;
    let cache = bench.folder.path().join("cache");
    let echo = guests::honest("echo")?;
    bench.load(&echo).await?;
    let entry = only_entry(&cache)?;
    let good = std::fs::read(&entry)?;

    let mut planted = good.clone();
    let last = planted.len() - 100;
    planted[last] ^= 1;
    let cut = good[..good.len() / 2].to_vec();
    for bad in [planted, cut, Vec::new()] {
        std::fs::write(&entry, &bad)?;
        let component = bench.load(&echo).await?;
        bench.run(&component, &Task::default()).await?.0?;
        assert!(std::fs::read(&entry)? == good, "the entry was not replaced");
    }

    // Another host's key: its entry is not ours.
    let other = Sandbox::new(settings(&cache, [8; 32])?);
    other.load(&echo, &compile_limits()).await?;
    let (theirs, ours) = (std::fs::read(&entry)?, good);
    assert!(theirs != ours, "an entry was taken over with a key that it was not made with");
    Ok(())
}

fn only_entry(cache: &std::path::Path) -> Result<PathBuf> {
    let entries = std::fs::read_dir(cache)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    match entries.as_slice() {
        [entry] => Ok(entry.clone()),
        other => bail!("entries: {other:?}"),
    }
}

/// The wall clock is a kill, and neither it nor a caller who goes away leaves a process behind.
#[tokio::test]
async fn a_killed_runner_is_reaped() -> Result<()> {
    let bench = Bench::new()?;
    let spins = bench.load(&guests::hostile("loops_forever")?).await?;
    let endless = GuestLimits { fuel: u64::MAX, wall: Duration::from_millis(300), ..guest_limits() };
    let task = Task { limits: endless, ..Task::default() };
    let (ran, _outputs) = bench.run(&spins, &task).await?;
    assert!(matches!(ran, Err(GuestError::Limit { limit: Limit::Wall, .. })), "{ran:?}");

    let endless = GuestLimits { wall: Duration::from_secs(600), ..task.limits };
    let task = Task { limits: endless, ..Task::default() };
    let running = tokio::time::timeout(Duration::from_millis(300), bench.run(&spins, &task)).await;
    assert!(running.is_err(), "it came to an end");

    wait_for("only the spare is left", || Ok(bench.sandbox.runners().len() == 1))?;
    let spare = bench.sandbox.runners();
    drop(bench);
    let gone = || Ok(spare.iter().all(|pid| !PathBuf::from(format!("/proc/{pid}")).exists()));
    wait_for("the spare leaves with its sandbox", gone)
}

/// I-3: no environment, no folder of ours, no descriptor but its socket.
#[tokio::test]
async fn i3_a_runner_holds_nothing() -> Result<()> {
    let bench = Bench::new()?;
    bench.load(&guests::honest("echo")?).await?;
    wait_for("a spare", || Ok(bench.sandbox.runners().len() == 1))?;
    let process = PathBuf::from(format!("/proc/{}", bench.sandbox.runners()[0]));
    assert_eq!(std::fs::read(process.join("environ"))?, b"");
    assert_eq!(std::fs::read_link(process.join("cwd"))?, PathBuf::from("/"));
    let quiet = || {
        let mut targets = Vec::new();
        for entry in std::fs::read_dir(process.join("fd"))? {
            targets.push(std::fs::read_link(entry?.path())?.display().to_string());
        }
        let foreign = targets.iter().filter(|target| {
            !target.starts_with("socket:")
                && !target.starts_with("/dev/null")
                && !target.starts_with("/proc/")
        });
        let sockets = targets.iter().filter(|target| target.starts_with("socket:")).count();
        Ok(foreign.count() == 0 && sockets <= 2)
    };
    wait_for("descriptors closed", quiet)?;
    Ok(())
}

fn wait_for(what: &str, mut reached: impl FnMut() -> Result<bool>) -> Result<()> {
    let began = Instant::now();
    while !reached()? {
        ensure!(began.elapsed() < Duration::from_secs(20), "never: {what}");
        std::thread::yield_now();
    }
    Ok(())
}

/// Two hundred and more inputs come over the socket in several messages.
#[tokio::test]
async fn many_inputs_reach_the_guest() -> Result<()> {
    let bench = Bench::new()?;
    let copies = bench.load(&guests::honest("copies")?).await?;
    let mut inputs = Vec::new();
    // The guest reads index 0, which is sent last.
    for index in (0..450).rev() {
        inputs.push(InputFile { role: "data".to_owned(), index, file: file(format!("{index}").as_bytes())? });
    }
    let call = raw::Call {
        tool: "copies".into(),
        params: r#"{"how":0}"#.into(),
        inputs: inputs.iter().map(linked).collect(),
    };
    let mut outputs = Outputs::default();
    let roles = ["out".to_owned()];
    bench.sandbox.run(&copies, &call, &roles, inputs, &guest_limits(), &mut outputs).await?;
    assert_eq!(outputs.bytes("main")?, b"0");
    Ok(())
}

#[tokio::test]
async fn whole_files_are_checked_by_their_type() -> Result<()> {
    let bench = Bench::new()?;
    let record = b"@r\nACGT\n+\nIIII\n";
    let compressed = gzip(record)?;
    let cases: Vec<(ArtifactType, Vec<u8>, bool)> = vec![
        (ArtifactType::Fastq, record.to_vec(), true),
        (ArtifactType::Fastq, b"@r\r\nACGT\r\n+\r\nIIII".to_vec(), true),
        (ArtifactType::Fastq, Vec::new(), true),
        (ArtifactType::Fastq, b"@r\nACGT\n+\nIII\n".to_vec(), false),
        (ArtifactType::Fastq, b"@r\nACGT\n".to_vec(), false),
        (ArtifactType::Fastq, b"@r\nACGT\n+\n".to_vec(), false),
        (ArtifactType::Fastq, b">r\nACGT\n".to_vec(), false),
        (ArtifactType::FastqGz, compressed.clone(), true),
        (ArtifactType::FastqGz, compressed[..compressed.len() - 1].to_vec(), false),
        (ArtifactType::FastqGz, record.to_vec(), false),
        (ArtifactType::Fastq, compressed, false),
        (ArtifactType::Fasta, b">a\nACGT\n".to_vec(), true),
        (ArtifactType::Fasta, b"ACGT\n".to_vec(), false),
        (ArtifactType::Json, br#"{"a":[1,2]}"#.to_vec(), true),
        (ArtifactType::Json, br#"{"a":[1,2}"#.to_vec(), false),
        (ArtifactType::Text, "Grüße".as_bytes().to_vec(), true),
        (ArtifactType::Text, vec![b'a', 0xc3], false),
        (ArtifactType::Html, vec![0xff], false),
        (ArtifactType::Png, b"\x89PNG\r\n\x1a\n".to_vec(), false),
        (ArtifactType::Bam, gzip(b"BAM\x01\0\0\0\0\0\0\0\0")?, false),
        (ArtifactType::Unknown, vec![0, 1, 2], true),
    ];
    for (artifact_type, bytes, good) in cases {
        let verdict = bench.sandbox.check(file(&bytes)?, artifact_type).await?;
        assert_eq!(verdict == Verdict::Good, good, "{artifact_type} {bytes:?}: {verdict:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_head_is_decoded_and_bounded() -> Result<()> {
    let bench = Bench::new()?;
    let text = reads(400_000);
    let compressed = gzip(&text)?;
    assert!(bench.sandbox.head(file(&compressed)?, 1000).await? == text[..1000]);
    assert!(bench.sandbox.head(file(&text)?, 1000).await? == text[..1000]);
    assert!(bench.sandbox.head(file(b"abc")?, 1000).await? == b"abc");
    Ok(())
}
