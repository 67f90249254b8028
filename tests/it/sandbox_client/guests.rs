//! Guests that are run: what they are given, what they may use, and how they end.

use super::*;
use crate::guests;

#[tokio::test]
async fn an_honest_guest_is_described_planned_and_run() -> Result<()> {
    let bench = Bench::new()?;
    let component = bench.load(&guests::honest("echo")?).await?;
    assert_eq!(component.inspection.exports, ["describe", "plan", "run"]);

    let manifest = bench.sandbox.describe(&component).await?;
    assert_eq!((manifest.name.as_str(), manifest.tools.len()), ("echo", 1));
    assert_eq!(manifest.tools[0].outputs[0].role, "out");
    let call = raw::Call { tool: "echo".into(), params: "{}".into(), inputs: Vec::new() };
    let (proposal, warm) = bench.sandbox.plan(&component, &call, None, Pace::Usual).await?;
    assert!(warm.is_none(), "nobody asked the runner to stay");
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
    let planned = bench.sandbox.plan(&opens, &call, None, Pace::Usual).await;
    assert!(matches!(planned, Err(GuestError::Trap { code: "import_during_plan", .. })), "{planned:?}");
    let loops = bench.load(&guests::hostile("loops_in_plan")?).await?;
    let planned = bench.sandbox.plan(&loops, &call, None, Pace::Usual).await;
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
    let limits = guest_limits();
    let execution = Execution {
        component: &copies,
        call: &call,
        roles: &roles,
        limits: &limits,
        warm: None,
        pace: Pace::Usual,
    };
    bench.sandbox.run(execution, inputs, &mut outputs).await?;
    assert_eq!(outputs.bytes("main")?, b"0");
    Ok(())
}

/// Decoders of readers that were given back make way for new ones: a guest may look into as many
/// inputs as it likes, one after the other.
#[tokio::test]
async fn readers_that_were_given_back_make_way() -> Result<()> {
    let bench = Bench::new()?;
    let reopens = bench.load(&guests::honest("reopens")?).await?;
    let compressed = gzip(&reads(300_000))?;
    let inputs = |damaged: Option<u32>| -> Result<Vec<InputFile>> {
        let input = |index: u32| {
            let end = if damaged == Some(index) { compressed.len() - 9 } else { compressed.len() };
            Ok(InputFile { role: "data".to_owned(), index, file: file(&compressed[..end])? })
        };
        (0..100).map(input).collect()
    };
    // Whole inputs are fine; damage is found in the first, which made way, and in the last.
    for (damaged, fails) in [(None, false), (Some(0), true), (Some(99), true)] {
        let inputs = inputs(damaged)?;
        let call = raw::Call {
            tool: "reopens".into(),
            params: "{}".into(),
            inputs: inputs.iter().map(linked).collect(),
        };
        let mut outputs = Outputs::default();
        let roles = ["out".to_owned()];
        let limits = GuestLimits { decoded_bytes: 1024 * MIB, ..guest_limits() };
        let execution = Execution {
            component: &reopens,
            call: &call,
            roles: &roles,
            limits: &limits,
            warm: None,
            pace: Pace::Usual,
        };
        let ran = bench.sandbox.run(execution, inputs, &mut outputs).await;
        match (ran, fails) {
            (Ok(ran), false) => assert_eq!(ran.opened.len(), 100),
            (Err(GuestError::Input { index, .. }), true) => assert_eq!(Some(index), damaged),
            (ran, _) => bail!("{damaged:?}: {ran:?}"),
        }
    }
    Ok(())
}
