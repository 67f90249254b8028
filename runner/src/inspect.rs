//! Looks at a component without compiling it, and refuses what we would not compile.
//!
//! Sizes and counts come first, then the language, then imports and exports (invariant I-3),
//! so that the expensive questions are asked of small and plain components only. All of it runs
//! under the runner's own limits on processor time and memory.

use wasmparser::{
    CanonicalFunction, CanonicalOption, ComponentTypeRef, Encoding, Instance, Parser, Payload, TypeBounds,
    Validator, WasmFeatures,
};
use wit_parser::{Resolve, SourceMap};

use super::engine::FEATURES;
use super::refusal::Refusal;
use crate::protocol::{CompileLimits, Inspection};

/// What a component may import: our interfaces, at the one version that this host speaks.
/// `types` holds no function; the encoder names it because the others stand on its records.
pub const IMPORTS: [&str; 5] = [
    "helix:toolpack/artifacts@1.0.0",
    "helix:toolpack/log@1.0.0",
    "helix:toolpack/outputs@1.0.0",
    "helix:toolpack/steps@1.0.0",
    "helix:toolpack/types@1.0.0",
];

/// What a component must export.
pub const EXPORTS: [&str; 3] = ["describe", "plan", "run"];

/// Deepest nesting of components and modules in one another.
const NESTING_MAX: usize = 16;
/// Most sections of all kinds; each costs the parser an allocation or two.
const SECTIONS_MAX: u64 = 10_000;
/// Most types of all kinds. A Rust guest has some hundreds, an interpreter a few thousand.
const TYPES_MAX: u64 = 20_000;
/// Most exports of the component. Toolchains may add helpers that nobody calls.
const EXPORTS_MAX: u64 = 256;
/// Most table elements that a component may ask for at the start, in all its tables.
pub const TABLE_ELEMENTS_MAX: u64 = 200_000;
/// Bytes of a page of linear memory; other sizes are a feature that we refuse.
const PAGE_BYTES: u64 = 65_536;

/// What a component's sections say, before anything is believed of them.
#[derive(Default)]
struct Counts {
    functions: u64,
    largest_body: u64,
    modules: u64,
    instances: u64,
    component_imports: u64,
    types: u64,
    sections: u64,
    memory_bytes: u64,
    table_elements: u64,
    canonical: Option<&'static str>,
    imports: Vec<String>,
    exports: Vec<String>,
}

/// Inspects a component.
pub fn inspect(component: &[u8], limits: &CompileLimits) -> Result<Inspection, Refusal> {
    let size_bytes = length(component.len());
    if size_bytes > limits.component_bytes {
        return Err(Refusal::new(
            "component_too_large",
            format!("the component has {size_bytes} bytes, policy allows {}", limits.component_bytes),
        ));
    }
    if !Parser::is_component(component) {
        return Err(Refusal::new("not_a_component", "the file is not a WebAssembly component"));
    }
    let counts = count(component, limits)?;
    check_language(component, &counts)?;
    check_imports(&counts.imports)?;
    check_exports(&counts.exports)?;
    check_interface(component)?;
    Ok(Inspection {
        size_bytes,
        imports: counts.imports,
        exports: counts.exports,
        functions: counts.functions,
        largest_body_bytes: counts.largest_body,
        core_modules: counts.modules,
        memories_min_bytes: counts.memory_bytes,
    })
}

fn count(component: &[u8], limits: &CompileLimits) -> Result<Counts, Refusal> {
    let mut counts = Counts::default();
    // The nested modules and components that we are in; the component itself is the first.
    let mut depth = 0_usize;
    let mut parser = Parser::new(0);
    // Features decide how some sections are read; the refusal by name comes from validation.
    parser.set_features(WasmFeatures::all());
    for payload in parser.parse_all(component) {
        let payload = payload.map_err(|error| malformed(&error))?;
        match &payload {
            Payload::Version { encoding, .. } => {
                depth += 1;
                if depth > NESTING_MAX {
                    return Err(too_complex("nested components", NESTING_MAX as u64 + 1, NESTING_MAX as u64));
                }
                counts.modules += u64::from(*encoding == Encoding::Module);
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            other => counts.add(other, depth),
        }
        counts.sections += 1;
        counts.check(limits)?;
    }
    Ok(counts)
}

impl Counts {
    fn add(&mut self, payload: &Payload<'_>, depth: usize) {
        match payload {
            Payload::CodeSectionStart { count, .. } => self.functions += u64::from(*count),
            Payload::CodeSectionEntry(body) => {
                let range = body.range();
                self.largest_body = self.largest_body.max(length(range.end.saturating_sub(range.start)));
                // Bodies are not sections; their number has a cap of its own.
                self.sections = self.sections.saturating_sub(1);
            }
            Payload::TypeSection(types) => self.types += u64::from(types.count()),
            Payload::CoreTypeSection(types) => self.types += u64::from(types.count()),
            Payload::ComponentTypeSection(types) => self.types += u64::from(types.count()),
            Payload::InstanceSection(instances) => {
                let started =
                    |item: &Result<Instance<'_>, _>| matches!(item, Ok(Instance::Instantiate { .. }));
                self.instances += length(instances.clone().into_iter().filter(started).count());
            }
            Payload::ComponentInstanceSection(instances) => self.instances += u64::from(instances.count()),
            Payload::MemorySection(memories) => {
                for memory in memories.clone().into_iter().flatten() {
                    let bytes = memory.initial.saturating_mul(PAGE_BYTES);
                    self.memory_bytes = self.memory_bytes.saturating_add(bytes);
                }
            }
            Payload::TableSection(tables) => {
                for table in tables.clone().into_iter().flatten() {
                    self.table_elements = self.table_elements.saturating_add(table.ty.initial);
                }
            }
            Payload::ComponentImportSection(imports) => {
                self.component_imports += u64::from(imports.count());
                // A world that uses records of `types` imports their names as well: each is only
                // another word for a type that is there already, and gives nothing.
                let alias = |ty: &ComponentTypeRef| matches!(ty, ComponentTypeRef::Type(TypeBounds::Eq(_)));
                let names = imports.clone().into_iter().flatten().filter(|import| !alias(&import.ty));
                if depth == 1 {
                    self.imports.extend(names.map(|import| import.name.name.to_owned()));
                }
            }
            Payload::ComponentExportSection(exports) if depth == 1 => {
                let names = exports.clone().into_iter().flatten().map(|export| export.name.name.to_owned());
                self.exports.extend(names);
            }
            Payload::ComponentCanonicalSection(functions) => {
                let refused = functions.clone().into_iter().flatten().find_map(|function| refused(&function));
                self.canonical = self.canonical.or(refused);
            }
            _ => {}
        }
    }

    fn check(&self, limits: &CompileLimits) -> Result<(), Refusal> {
        let caps = [
            ("functions", self.functions, limits.functions),
            ("bytes in one function", self.largest_body, limits.body_bytes),
            ("core instances", self.instances, limits.instances),
            ("imports", self.component_imports, limits.imports),
            ("types", self.types, TYPES_MAX),
            ("sections", self.sections, SECTIONS_MAX),
            ("exports", length(self.exports.len()), EXPORTS_MAX),
        ];
        for (what, found, allowed) in caps {
            if found > allowed {
                return Err(too_complex(what, found, allowed));
            }
        }
        if self.memory_bytes > limits.guest_memory_bytes {
            return Err(Refusal::new(
                "memory_min_exceeds",
                format!(
                    "its memories start with {} bytes, policy allows {}",
                    self.memory_bytes, limits.guest_memory_bytes
                ),
            ));
        }
        if self.table_elements > TABLE_ELEMENTS_MAX {
            return Err(Refusal::new(
                "table_min_exceeds",
                format!(
                    "its tables start with {} elements, {TABLE_ELEMENTS_MAX} are allowed",
                    self.table_elements
                ),
            ));
        }
        Ok(())
    }
}

/// The feature that a canonical function needs and that we refuse.
fn refused(function: &CanonicalFunction) -> Option<&'static str> {
    let options = match function {
        CanonicalFunction::Lift { options, .. } | CanonicalFunction::Lower { options, .. } => options,
        CanonicalFunction::ResourceNew { .. }
        | CanonicalFunction::ResourceDrop { .. }
        | CanonicalFunction::ResourceRep { .. } => return None,
        // All others are built-ins of threads, async, streams, futures and error contexts. A
        // wildcard, so that a later one is refused too.
        _ => return Some("component async, threads or error-context"),
    };
    options.iter().find_map(|option| match option {
        CanonicalOption::UTF16 => Some("string encoding UTF-16"),
        CanonicalOption::CompactUTF16 => Some("string encoding latin1+UTF-16"),
        CanonicalOption::Async | CanonicalOption::Callback(_) => Some("component async"),
        CanonicalOption::CoreType(_) | CanonicalOption::Gc => Some("component GC"),
        CanonicalOption::UTF8
        | CanonicalOption::Memory(_)
        | CanonicalOption::Realloc(_)
        | CanonicalOption::PostReturn(_) => None,
    })
}

fn check_language(component: &[u8], counts: &Counts) -> Result<(), Refusal> {
    let plain = Validator::new_with_features(FEATURES).validate_all(component);
    let Err(error) = plain else {
        return match counts.canonical {
            Some(feature) => Err(not_allowed(feature, "")),
            None => Ok(()),
        };
    };
    match counts.canonical.or_else(|| feature_behind(component, error.offset())) {
        Some(feature) => Err(not_allowed(feature, error.message())),
        None => Err(malformed(&error)),
    }
}

/// The proposals that a component could need beyond [`FEATURES`], by the names of their authors.
const PROPOSALS: [(WasmFeatures, &str); 25] = [
    (WasmFeatures::THREADS, "threads and shared memory"),
    (WasmFeatures::SHARED_EVERYTHING_THREADS, "shared-everything threads"),
    (WasmFeatures::MEMORY64, "memory64"),
    (WasmFeatures::MULTI_MEMORY, "multi-memory"),
    (WasmFeatures::RELAXED_SIMD, "relaxed SIMD"),
    (WasmFeatures::TAIL_CALL, "tail calls"),
    (WasmFeatures::EXCEPTIONS, "exceptions"),
    (WasmFeatures::LEGACY_EXCEPTIONS, "legacy exceptions"),
    (WasmFeatures::FUNCTION_REFERENCES, "function references"),
    (WasmFeatures::GC, "GC"),
    (WasmFeatures::GC_TYPES, "external references"),
    (WasmFeatures::EXTENDED_CONST, "extended constants"),
    (WasmFeatures::CUSTOM_PAGE_SIZES, "custom page sizes"),
    (WasmFeatures::MEMORY_CONTROL, "memory control"),
    (WasmFeatures::STACK_SWITCHING, "stack switching"),
    (WasmFeatures::WIDE_ARITHMETIC, "wide arithmetic"),
    (WasmFeatures::CUSTOM_DESCRIPTORS, "custom descriptors"),
    (WasmFeatures::COMPACT_IMPORTS, "compact imports"),
    (WasmFeatures::CM_ASYNC, "component async, streams and futures"),
    (WasmFeatures::CM_ERROR_CONTEXT, "component error-context"),
    (WasmFeatures::CM_VALUES, "component values"),
    (WasmFeatures::CM_FIXED_LENGTH_LISTS, "component fixed-length lists"),
    (WasmFeatures::CM_GC, "component GC"),
    (WasmFeatures::CM_MAP, "component maps"),
    (WasmFeatures::CM64, "component memory64"),
];

/// Which proposal would carry validation past `offset`; `None` if none does, so that the
/// component is wrong in every language.
fn feature_behind(component: &[u8], offset: usize) -> Option<&'static str> {
    let gets_further =
        |features: WasmFeatures| match Validator::new_with_features(features).validate_all(component) {
            Ok(_types) => true,
            Err(error) => error.offset() > offset,
        };
    let one = PROPOSALS.iter().find(|(feature, _)| gets_further(FEATURES.union(*feature)));
    // GC and exceptions stand on other proposals, so one of them alone may change nothing.
    let together = || {
        let base = FEATURES.union(WasmFeatures::GC_TYPES).union(WasmFeatures::FUNCTION_REFERENCES);
        PROPOSALS.iter().find(|(feature, _)| gets_further(base.union(*feature)))
    };
    let any = || gets_further(WasmFeatures::all()).then_some("a proposal that this host does not know");
    one.or_else(together).map(|(_, name)| *name).or_else(any)
}

fn check_imports(imports: &[String]) -> Result<(), Refusal> {
    let foreign: Vec<&str> =
        imports.iter().map(String::as_str).filter(|name| !IMPORTS.contains(name)).collect();
    if foreign.is_empty() {
        return Ok(());
    }
    Err(Refusal::new(
        "import_not_allowed",
        format!("imports {}; allowed are {}", foreign.join(", "), IMPORTS.join(", ")),
    ))
}

fn check_exports(exports: &[String]) -> Result<(), Refusal> {
    let missing: Vec<&str> =
        EXPORTS.iter().copied().filter(|name| !exports.iter().any(|export| export == name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Refusal::new("export_missing", format!("does not export {}", missing.join(", "))))
}

/// Each import and export has the type that the WIT package gives it.
fn check_interface(component: &[u8]) -> Result<(), Refusal> {
    let mismatch = |error: anyhow::Error| {
        let cause = error.root_cause();
        Refusal::new(
            "interface_mismatch",
            format!("an import or export has another type than in helix:toolpack@1.0.0: {cause}"),
        )
    };
    let mut sources = SourceMap::default();
    for (name, text) in WIT {
        sources.push_str(name, text);
    }
    let mut resolve = Resolve::default();
    let group = sources.parse().map_err(|(_sources, error)| mismatch(error.into()))?;
    let package = resolve.push_group(group).map_err(|error| mismatch(error.into()))?;
    let world = resolve.select_world(&[package], Some("toolpack")).map_err(mismatch)?;
    wit_component::targets(&resolve, world, component).map_err(mismatch)
}

/// The package's text, a file an interface, compiled in so that it is the one we were built with.
const WIT: [(&str, &str); 6] = [
    ("artifacts.wit", include_str!("../../wit/v1/artifacts.wit")),
    ("log.wit", include_str!("../../wit/v1/log.wit")),
    ("outputs.wit", include_str!("../../wit/v1/outputs.wit")),
    ("steps.wit", include_str!("../../wit/v1/steps.wit")),
    ("types.wit", include_str!("../../wit/v1/types.wit")),
    ("world.wit", include_str!("../../wit/v1/world.wit")),
];

fn too_complex(what: &str, found: u64, allowed: u64) -> Refusal {
    Refusal::new("component_too_complex", format!("{what}: {found}, allowed are {allowed}"))
}

fn not_allowed(feature: &str, detail: &str) -> Refusal {
    let detail = if detail.is_empty() { String::new() } else { format!(" ({detail})") };
    Refusal::new("feature_not_allowed", format!("uses {feature}, which toolpacks may not{detail}"))
}

fn malformed(error: &wasmparser::BinaryReaderError) -> Refusal {
    Refusal::new("malformed_component", format!("not valid at byte {}: {}", error.offset(), error.message()))
}

fn length(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
