//! Components that are looked at and compiled, or refused.

use super::*;
use crate::guests;

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
