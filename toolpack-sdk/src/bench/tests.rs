//! What a host would refuse of a tool's steps, a bench refuses.

use crate::prelude::*;
use crate::types::TEXT;

/// Which of the mistakes to make.
#[derive(Deserialize, JsonSchema)]
struct Params {
    #[serde(default)]
    does: String,
}

#[derive(Serialize, JsonSchema)]
struct Nothing {}

tool_io! {
    struct Io {
        inputs { text: [TEXT] 1..=1 "Anything"; }
        outputs { made: TEXT "made.txt" 0..=2 check none "What was made"; }
        steps;
    }
}

struct Clumsy;

impl Tool for Clumsy {
    type Params = Params;
    type Result = Nothing;
    type Io = Io;
    const NAME: &'static str = "clumsy";
    const TITLE: &'static str = "Clumsy";
    const DESCRIPTION: &'static str = "Makes mistakes.";

    fn steps(_params: &Params, _inputs: &[LinkedInput]) -> Vec<PlannedStep> {
        let two = |name| PlannedStep::new(name, "image").instances(2).cpus(2).environment(&["SEED"]);
        vec![two("make"), two("use")]
    }

    fn run(params: Params, io: Io, _log: &Log) -> Result<Report<Nothing>, ToolError> {
        let does = params.does.as_str();
        let text = io.text.one()?;
        let name = if does == "other step" { "other" } else { "make" };
        let mut order =
            io.steps.step(name).arg("make").env("SEED", "7").mount(text, "a").capture("out", TEXT);
        order = match does {
            "more cpus" => order.cpus(3),
            "no time" => order.seconds(0),
            "other variable" => order.env("HOME", "/"),
            "mounts twice" => order.mount(text, "a"),
            _ => order,
        };
        let make = order.start();
        let made = make.capture(if does == "other file" { "else" } else { "out" });
        let user = io.steps.step("use").arg("use").mount_file(&made, "made").start();
        io.made.publish(&made)?;
        match does {
            "waits for none" => return Ok(Report::new(Nothing {}, "")),
            "waits for nothing" => assert_eq!(io.steps.wait_any(&[]), 0),
            "ignores" => {
                drop((make.wait(), user.wait()));
                return Ok(Report::new(Nothing {}, ""));
            }
            "reads" => drop(made.open()?),
            "third" => {
                drop(io.steps.step("use").arg("use").start());
                drop(io.steps.step("use").arg("use").start());
            }
            _ => {}
        }
        assert_eq!(io.steps.wait_any(&[&user, &make]), 1, "the one that was started first");
        user.wait_ok()?;
        Ok(Report::new(Nothing {}, ""))
    }
}

fn bench() -> Bench {
    let make = |order: &Ordered| {
        assert_eq!(order.environment["SEED"], "7");
        assert_eq!((order.cpus, order.memory_bytes, order.seconds), (2, 1 << 30, 3600));
        Played::ok().file("out", order.mount("a"))
    };
    Bench::new().input("text", "TEXT", "some text").step("make", make).step("use", |_| Played::ok())
}

fn run(bench: &Bench, does: &str) -> String {
    match bench.run::<Clumsy>(&format!(r#"{{"does":"{does}"}}"#)) {
        Ok(done) => String::from_utf8_lossy(done.output("made")).into_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_a_host_refuses_is_refused() {
    // Who waited for the last has waited for all.
    assert_eq!(run(&bench(), ""), "some text");
    let lax = || bench().step("make", |order| Played::ok().file("out", order.mount("a")));
    for (does, says) in [
        ("other step", "step `other` was not planned"),
        ("more cpus", "wants other resources than planned"),
        ("no time", "wants other resources than planned"),
        ("other variable", "sets HOME, which was not planned"),
        ("mounts twice", "has `a` twice"),
        ("other file", "captures no `else`"),
        ("waits for none", "was never waited for"),
        ("waits for nothing", "wait_any was called with no step"),
        ("third", "planned 2 times, and started again"),
    ] {
        let said = run(&lax(), does);
        assert!(said.contains(says), "{does}: `{says}` is not in: {said}");
    }
    let nobody = Bench::new().input("text", "TEXT", "");
    assert!(run(&nobody, "").contains("nothing stands in for step `make`"));
    let lazy = bench().step("make", |_| Played::ok());
    assert!(run(&lazy, "").contains("ended with 0 and did not make `out`"));
}

#[test]
fn a_step_that_fails_takes_those_after_it_along() {
    let failing = bench().step("make", |_| Played::exit(3).stderr("no room"));
    assert_eq!(run(&failing, ""), "step `use` was skipped: one that it mounts from did not end with 0");
    assert_eq!(run(&failing, "reads"), "step `make` did not end with 0, so there is no `out`");
    // And a run that does not look has promised an output that is not there.
    assert_eq!(run(&failing, "ignores"), "output made/made was published and never made");
    let unread = bench().step("use", |_| Played::exit(1));
    assert_eq!(run(&unread, ""), "step `use` ended with 1 and said nothing");
}

#[test]
fn an_image_that_is_not_listed_is_no_image() {
    let picked =
        std::panic::catch_unwind(|| DeclaredImage::pick("bwa a@sha256:b linux/amd64", &["samtools"]));
    let said = picked.unwrap_err().downcast::<String>().unwrap();
    assert!(said.contains("no line `samtools"), "{said}");
}
