//! One engine configuration, for compiling and for running.
//!
//! Everything that could make two executions of the same guest differ is off: no threads, no
//! relaxed SIMD, canonical NaNs, no clock (invariant I-11). Fuel is the budget; the wall clock is
//! the host, which kills this process. There is no epoch.

use std::hash::{Hash, Hasher};
use std::sync::OnceLock;

use helix_ids::Digest;
use wasmtime::{Config, Engine, WasmFeatures};

/// The wasm stack unless policy says otherwise. Overflow is a limit, never an answer.
pub const STACK_BYTES: usize = 512 * 1024;

/// Raised when anything below changes what a guest can observe or what a compiled form means.
const PROFILE: &str = "helixmcp engine profile 1";

/// The language that toolpacks may use: what rustc emits for `wasm32-unknown-unknown`, with
/// simd128, and the synchronous component model. Inspection and engine share this one list.
pub const FEATURES: WasmFeatures = WasmFeatures::MUTABLE_GLOBAL
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::REFERENCE_TYPES)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::SIMD)
    .union(WasmFeatures::FLOATS)
    .union(WasmFeatures::COMPONENT_MODEL);

/// Threads of one compilation. Each reserves an arena, which counts against the address space
/// that a compilation may have; a machine with more processors compiles on one thread.
const COMPILE_THREADS_MAX: usize = 4;

/// The engine.
pub fn engine(stack_bytes: usize) -> Result<Engine, wasmtime::Error> {
    let processors = processors();
    let mut config = Config::new();
    config
        .wasm_features(FEATURES.complement(), false)
        .wasm_features(FEATURES, true)
        .consume_fuel(true)
        .cranelift_nan_canonicalization(true)
        .concurrency_support(false)
        .max_wasm_stack(stack_bytes)
        // Nothing here is async, but the engine insists that this is no smaller.
        .async_stack_size(stack_bytes.max(STACK_BYTES))
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(16))
        .parallel_compilation(processors <= COMPILE_THREADS_MAX);
    Engine::new(&config)
}

/// Processors that this process may use, as they were when it was first asked: the answer is read
/// from files, and behind the walls there are none.
fn processors() -> usize {
    static FIRST: OnceLock<usize> = OnceLock::new();
    *FIRST.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// Starts the threads of a compilation. The compiler would start them itself, and as many as the
/// machine has processors where it cannot read how many of them are ours.
pub fn start_compilers() -> Result<(), String> {
    let count = if processors() <= COMPILE_THREADS_MAX { processors() } else { 1 };
    let started = rayon::ThreadPoolBuilder::new().num_threads(count).build_global();
    started.map_err(|error| format!("the compiler's threads cannot be started: {error}"))
}

/// Under which engine, settings and processor features code is compiled here: part of the key of
/// every compiled form.
pub fn fingerprint(engine: &Engine) -> String {
    let mut bytes = Bytes(PROFILE.as_bytes().to_vec());
    engine.precompile_compatibility_hash().hash(&mut bytes);
    Digest::of(&bytes.0).to_hex()
}

/// Keeps what is hashed, so that SHA-256 and not a 64-bit hash tells two engines apart.
struct Bytes(Vec<u8>);

impl Hasher for Bytes {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}
