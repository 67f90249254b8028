//! Guests that start steps, and a host that answers them without one container.

use std::process::Command;

use helixmcp::sandbox::protocol::{Published, Reply};

use super::*;
use crate::guests;

/// A host's half: what it was asked, and what it answers.
pub struct Host<F> {
    outputs: Outputs,
    pub asks: Vec<Ask>,
    /// Of the call, as JSON.
    pub params: String,
    answer: F,
    /// How long each wait takes.
    takes: Duration,
}

impl<F: FnMut(&Ask) -> std::io::Result<(Reply, Option<File>)> + Send> Host<F> {
    pub fn new(answer: F) -> Self {
        Self {
            outputs: Outputs::default(),
            asks: Vec::new(),
            params: "{}".to_owned(),
            answer,
            takes: Duration::ZERO,
        }
    }

    /// Runs a guest with one input, in a fresh runner.
    pub async fn run(&mut self, bench: &Bench, component: &Compiled, limits: &GuestLimits) -> Result<Ran> {
        self.run_in(bench, component, limits, false).await
    }

    async fn run_in(
        &mut self,
        bench: &Bench,
        component: &Compiled,
        limits: &GuestLimits,
        is_warm: bool,
    ) -> Result<Ran> {
        let roles = ["out".to_owned(), "made".to_owned()];
        let inputs = vec![InputFile { role: "data".to_owned(), index: 0, file: file(b"reads")? }];
        let call = raw::Call {
            tool: "attack".to_owned(),
            params: self.params.clone(),
            inputs: inputs.iter().map(linked).collect(),
        };
        let warm = if is_warm {
            let (_proposal, warm) = bench.sandbox.plan(component, &call, Some(limits)).await?;
            Some(warm.context("the runner does not stay")?)
        } else {
            None
        };
        let execution = Execution { component, call: &call, roles: &roles, limits, warm };
        Ok(bench.sandbox.run(execution, inputs, self).await)
    }
}

impl<F: FnMut(&Ask) -> std::io::Result<(Reply, Option<File>)> + Send> RunEvents for Host<F> {
    fn create_output(&mut self, role: &str, key: &str) -> std::io::Result<File> {
        self.outputs.create_output(role, key)
    }

    fn log(&mut self, level: &str, text: &str) {
        self.outputs.log(level, text);
    }

    fn progress(&mut self, done: u64, total: Option<u64>, text: &str) {
        self.outputs.progress(done, total, text);
    }

    fn ask(&mut self, ask: Ask) -> Answering<'_> {
        let answer = (self.answer)(&ask);
        let takes = if matches!(ask, Ask::Wait { .. }) { self.takes } else { Duration::ZERO };
        self.asks.push(ask);
        Box::pin(async move {
            tokio::time::sleep(takes).await;
            answer
        })
    }
}

/// Every step ends well, in the order of start, and makes this.
pub fn all_ends_well(ask: &Ask) -> std::io::Result<(Reply, Option<File>)> {
    opening(ask, || gzip(b"sorted\n"))
}

fn opening(ask: &Ask, made: impl Fn() -> Result<Vec<u8>>) -> std::io::Result<(Reply, Option<File>)> {
    Ok(match ask {
        Ask::Start { .. } => (Reply::Started, None),
        Ask::Wait { steps } => {
            let step = steps.iter().copied().min().ok_or_else(|| std::io::Error::other("no step"))?;
            let end =
                raw::StepEnd::Exited { code: 0, stdout_tail: "done\n".into(), stderr_tail: String::new() };
            (Reply::Ended { step, end }, None)
        }
        Ask::Open { .. } => {
            let made = made().and_then(|bytes| file(&bytes)).map_err(std::io::Error::other)?;
            (Reply::Opened, Some(made))
        }
        Ask::Publish { .. } => (Reply::Published, None),
    })
}

/// Limits of a run that may start three.
pub fn some_steps() -> GuestLimits {
    GuestLimits { steps: 3, ..guest_limits() }
}

fn mount(source: raw::Source, name: &str) -> Vec<raw::Mount> {
    vec![raw::Mount { source, name: name.to_owned() }]
}

fn capture(name: &str, artifact_type: &str) -> Vec<raw::Capture> {
    vec![raw::Capture { name: name.to_owned(), artifact_type: artifact_type.to_owned() }]
}

/// What the honest guest asks for, word for word: a record of it must answer another pass.
fn expected() -> Vec<Ask> {
    let first = raw::Step {
        name: "align".to_owned(),
        argv: vec!["align".to_owned(), "-v".to_owned()],
        environment: vec![raw::Variable { name: "THREADS".to_owned(), value: "2".to_owned() }],
        mounts: mount(raw::Source::Input { role: "data".to_owned(), index: 0 }, "reads.txt"),
        captures: capture("a.bam", "BAM"),
        cpus: 2,
        memory_bytes: MIB,
        seconds: 60,
    };
    let second = raw::Step {
        name: "sort".to_owned(),
        argv: vec!["sort".to_owned()],
        environment: Vec::new(),
        mounts: mount(raw::Source::File { step: 0, capture: "a.bam".to_owned() }, "a.bam"),
        captures: capture("deep/b.txt", "TEXT"),
        cpus: 1,
        ..first.clone()
    };
    let publish = Ask::Publish {
        role: "made".to_owned(),
        key: "main".to_owned(),
        step: 0,
        capture: "a.bam".to_owned(),
    };
    vec![
        Ask::Start { step: first },
        Ask::Start { step: second },
        publish,
        Ask::Wait { steps: vec![0, 1] },
        Ask::Wait { steps: vec![1] },
        Ask::Open { step: 1, capture: "deep/b.txt".to_owned() },
    ]
}

#[tokio::test]
async fn a_guest_starts_steps_before_it_waits_and_takes_what_they_made() -> Result<()> {
    let bench = Bench::new()?;
    let component = bench.load(&guests::honest("steps")?).await?;
    for is_warm in [false, true] {
        let mut host = Host::new(all_ends_well);
        let ran = host.run_in(&bench, &component, &some_steps(), is_warm).await??;
        assert_eq!(host.asks, expected());
        // Decoded, as an input is.
        assert_eq!(host.outputs.bytes("main")?, b"hello\nsorted\n");
        // I-4: what was mounted was read.
        assert_eq!(ran.opened, [("data".to_owned(), 0)]);
        let made = Published {
            role: "made".to_owned(),
            key: "main".to_owned(),
            step: 0,
            capture: "a.bam".to_owned(),
        };
        assert_eq!((ran.published, ran.unwaited), (vec![made], 0));
        assert_eq!(ran.outputs.len(), 1, "the published file is none of those that were written");
    }
    Ok(())
}

#[tokio::test]
async fn what_a_guest_did_not_wait_for_is_counted() -> Result<()> {
    let bench = Bench::new()?;
    let component = bench.load(&guests::honest("leaves_a_step")?).await?;
    let mut host = Host::new(all_ends_well);
    let ran = host.run(&bench, &component, &some_steps()).await??;
    assert_eq!((ran.unwaited, host.asks.len()), (1, 1));
    Ok(())
}

#[tokio::test]
async fn a_host_that_cannot_answer_ends_the_attempt_as_its_own() -> Result<()> {
    let bench = Bench::new()?;
    let component = bench.load(&guests::honest("steps")?).await?;
    let mut host = Host::new(|_ask: &Ask| Err(std::io::Error::other("no room in here")));
    let ran = host.run(&bench, &component, &some_steps()).await?;
    let Err(GuestError::Fault { message }) = ran else { bail!("{ran:?}") };
    assert!(message.contains("no room in here"), "{message}");
    Ok(())
}

/// The time that a container takes is limited elsewhere.
#[tokio::test]
async fn i9_the_wall_clock_stands_still_while_a_step_runs() -> Result<()> {
    let bench = Bench::new()?;
    let component = bench.load(&guests::honest("steps")?).await?;
    let wall = Duration::from_secs(3);
    let limits = GuestLimits { wall, ..some_steps() };
    for is_warm in [false, true] {
        let mut host = Host { takes: wall, ..Host::new(all_ends_well) };
        let ran = host.run_in(&bench, &component, &limits, is_warm).await??;
        assert!(ran.usage.wall < wall, "{:?} is not the guest's time", ran.usage.wall);
    }
    Ok(())
}

#[tokio::test]
async fn a_runner_that_dies_while_it_waits_ends_the_attempt_at_once() -> Result<()> {
    let bench = Bench::new()?;
    let component = bench.load(&guests::honest("steps")?).await?;
    let sandbox = &bench.sandbox;
    let mut host = Host::new(|ask: &Ask| {
        if matches!(ask, Ask::Wait { .. }) {
            for pid in sandbox.runners() {
                Command::new("kill").args(["-KILL", &pid.to_string()]).status()?;
            }
        }
        all_ends_well(ask)
    });
    host.takes = Duration::from_secs(600);
    let ran =
        tokio::time::timeout(Duration::from_secs(60), host.run(&bench, &component, &some_steps())).await??;
    assert!(matches!(ran, Err(GuestError::Fault { .. })), "{ran:?}");
    Ok(())
}

#[tokio::test]
async fn what_a_step_made_is_checked_as_it_is_decoded() -> Result<()> {
    let bench = Bench::new()?;
    let component = bench.load(&guests::honest("steps")?).await?;
    let mut cut = gzip(b"sorted\n")?;
    cut.pop();
    let mut host = Host::new(|ask: &Ask| opening(ask, || Ok(cut.clone())));
    let ran = host.run(&bench, &component, &some_steps()).await?;
    let Err(GuestError::Trap { code: "step_file_damaged", message, .. }) = ran else { bail!("{ran:?}") };
    assert!(message.contains("file `deep/b.txt` of step 1"), "{message}");
    Ok(())
}
