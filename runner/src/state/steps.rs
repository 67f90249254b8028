//! Steps that the guest started, and what it asks of the host. The runner starts nothing: it counts,
//! names each step by its ordinal, and waits for the host's answer.

use std::collections::BTreeSet;
use std::fs::File;
use std::time::{Duration, Instant};

use super::State;
use super::inputs::{Input, Origin, Reader};
use crate::protocol::{Ask, Event, Limit, Published, Reply, asks_max};
use crate::raw;
use crate::stop::{IMPORT_MISUSE, Stop};

/// Most files of steps that a run may open; each is a descriptor until the run ends.
const FILES_MAX: usize = 8192;

/// All steps of one execution.
#[derive(Default)]
pub(super) struct Steps {
    started: Vec<Started>,
    pub published: Vec<Published>,
    asks: u64,
    files: usize,
    /// What the guest waited for answers.
    pub waited: Duration,
}

/// What is kept of a step's order.
struct Started {
    name: String,
    captures: Vec<String>,
    /// The steps that it mounts from.
    after: BTreeSet<u32>,
    /// The guest knows that it has ended.
    settled: bool,
    /// And that it was started, so that those have ended as well.
    through: bool,
}

impl State {
    /// `steps.start`: gives the step's ordinal.
    pub fn start(&mut self, step: raw::Step) -> Result<u32, Stop> {
        let count = self.steps.count()?;
        step.fits().map_err(|why| Stop::limit(Limit::HostCallBytes, why))?;
        self.count_bytes(step.bytes() as u64)?;
        if u64::from(count) > self.limits.steps {
            return Err(Stop::limit(Limit::Steps, format!("more than {} steps", self.limits.steps)));
        }
        self.take_handle()?;
        let after = step.mounts.iter().filter_map(|mount| match mount.source {
            raw::Source::File { step, .. } => Some(step),
            raw::Source::Input { .. } => None,
        });
        let started = Started {
            name: step.name.clone(),
            captures: step.captures.iter().map(|capture| capture.name.clone()).collect(),
            after: after.collect(),
            settled: false,
            through: false,
        };
        let mounts = step.mounts.clone();
        match self.ask(Ask::Start { step })? {
            (Reply::Started, None) => {}
            _ => return Err(out_of_turn()),
        }
        for mount in &mounts {
            if let raw::Source::Input { role, index } = &mount.source {
                self.mounted(role, *index);
            }
        }
        self.steps.started.push(started);
        Ok(count)
    }

    /// `step.wait`, and `steps.wait-any`: the first of some steps to end, by its ordinal.
    pub fn wait(&mut self, steps: &[u32]) -> Result<(u32, raw::StepEnd), Stop> {
        let unique: BTreeSet<u32> = steps.iter().copied().collect();
        let ask = Ask::Wait { steps: unique.iter().copied().collect() };
        if steps.is_empty() {
            return Err(Stop::trap(IMPORT_MISUSE, "wait-any was called with no step"));
        }
        match self.ask(ask)? {
            (Reply::Ended { step, end }, None) if unique.contains(&step) => {
                self.steps.settle(step, matches!(end, raw::StepEnd::Exited { .. }));
                Ok((step, end))
            }
            _ => Err(out_of_turn()),
        }
    }

    /// `step.capture`: whether the step's order has it.
    pub fn captures(&self, step: u32, capture: &str) -> Result<(), Stop> {
        let started = self.steps.get(step)?;
        if started.captures.iter().any(|own| own == capture) {
            return Ok(());
        }
        let name = capture.get(..capture.floor_char_boundary(100)).unwrap_or_default();
        Err(Stop::trap(IMPORT_MISUSE, format!("step {step} ({}) captures no `{name}`", started.name)))
    }

    /// `file.open`; `None` where the file was not made.
    pub fn open_file(&mut self, step: u32, capture: &str, decoded: bool) -> Result<Option<Reader>, Stop> {
        self.take_handle()?;
        if let Some(position) = self.position_of_file(step, capture) {
            return self.reader(position, decoded).map(Some);
        }
        if self.steps.files >= FILES_MAX {
            return Err(Stop::limit(Limit::Handles, format!("more than {FILES_MAX} files of steps")));
        }
        match self.ask(Ask::Open { step, capture: capture.to_owned() })? {
            (Reply::Opened, Some(file)) => {
                self.steps.files += 1;
                self.steps.settle(step, true);
                let origin = Origin::File { step, capture: capture.to_owned() };
                self.inputs.push(Input::new(origin, file));
                self.reader(self.inputs.len() - 1, decoded).map(Some)
            }
            (Reply::NotMade, None) => {
                self.give_back_handle();
                self.steps.settle(step, false);
                Ok(None)
            }
            _ => Err(out_of_turn()),
        }
    }

    /// `file.publish`, of a role that is declared and a key that is free.
    pub fn publish(&mut self, role: &str, key: &str, step: u32, capture: &str) -> Result<(), Stop> {
        self.count_output()?;
        let (role, key, capture) = (role.to_owned(), key.to_owned(), capture.to_owned());
        let ask = Ask::Publish { role: role.clone(), key: key.clone(), step, capture: capture.clone() };
        match self.ask(ask)? {
            (Reply::Published, None) => self.steps.published.push(Published { role, key, step, capture }),
            _ => return Err(out_of_turn()),
        }
        Ok(())
    }

    /// What was published, in order.
    pub fn published(&self) -> Vec<Published> {
        self.steps.published.clone()
    }

    /// Steps of which the guest does not know that they have ended.
    pub fn steps_unwaited(&self) -> u32 {
        self.steps.started.iter().map(|step| u32::from(!step.settled)).sum()
    }

    /// How long the guest waited for answers.
    pub fn waited(&self) -> Duration {
        self.steps.waited
    }

    /// Asks the host, and waits for as long as it takes.
    fn ask(&mut self, ask: Ask) -> Result<(Reply, Option<File>), Stop> {
        let most = asks_max(self.limits.steps);
        if self.steps.asks >= most {
            let message = format!("steps and their files were asked for more than {most} times");
            return Err(Stop::limit(Limit::HostCalls, message));
        }
        self.steps.asks += 1;
        // Whoever looks while it waits sees how far it came.
        self.flush_progress()?;
        let began = Instant::now();
        let answer = self.channel.send(&Event::Ask(ask)).and_then(|()| self.channel.receive());
        self.steps.waited += began.elapsed();
        let (reply, mut files) = answer.map_err(|error| Stop::fault("the host does not answer", &error))?;
        Ok((reply, files.pop().map(File::from)))
    }
}

impl Steps {
    fn count(&self) -> Result<u32, Stop> {
        u32::try_from(self.started.len()).map_err(|error| Stop::fault("too many steps", &error))
    }

    fn get(&self, step: u32) -> Result<&Started, Stop> {
        let started = usize::try_from(step).ok().and_then(|step| self.started.get(step));
        started.ok_or_else(|| Stop::Fault("a step lost its order".into()))
    }

    /// Takes down that a step has ended, and with it, if it was started at all, what it mounts from.
    fn settle(&mut self, step: u32, was_started: bool) {
        let mut ended = vec![step];
        while let Some(step) = ended.pop() {
            let started = usize::try_from(step).ok().and_then(|step| self.started.get_mut(step));
            let Some(started) = started else { continue };
            started.settled = true;
            if was_started && !started.through {
                started.through = true;
                ended.extend(&started.after);
            }
        }
    }
}

fn out_of_turn() -> Stop {
    Stop::Fault("the host gave another answer than to what it was asked".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain() -> Steps {
        let step = |after: &[u32]| Started {
            name: String::new(),
            captures: Vec::new(),
            after: after.iter().copied().collect(),
            settled: false,
            through: false,
        };
        Steps { started: vec![step(&[]), step(&[0]), step(&[0, 1]), step(&[])], ..Steps::default() }
    }

    fn settled(steps: &Steps) -> Vec<bool> {
        steps.started.iter().map(|step| step.settled).collect()
    }

    #[test]
    fn who_waited_for_the_end_of_a_chain_waited_for_all_of_it() {
        let mut steps = chain();
        steps.settle(2, true);
        assert_eq!(settled(&steps), [true, true, true, false]);
    }

    /// What was skipped says that one of those before it did not end well, and not which.
    #[test]
    fn a_skipped_step_says_nothing_of_the_others() {
        let mut steps = chain();
        steps.settle(2, false);
        assert_eq!(settled(&steps), [false, false, true, false]);
        steps.settle(1, true);
        assert_eq!(settled(&steps), [true, true, true, false]);
    }

    /// A file that is not there does not say whether its step was skipped; waiting for the step does.
    #[test]
    fn a_step_may_be_asked_for_twice() {
        let mut steps = chain();
        steps.settle(1, false);
        assert_eq!(settled(&steps), [false, true, false, false]);
        steps.settle(1, true);
        assert_eq!(settled(&steps), [true, true, false, false]);
    }
}
