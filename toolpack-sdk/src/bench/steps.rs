//! Steps without containers: functions stand in for them, and what a host would refuse is refused.

use std::any::Any;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::{Outputs, Written, begin, source};
use crate::ToolError;
use crate::host::{How, Promise, Running, Source};
use crate::manifest::PlannedStep;
use crate::steps::{Ended, Exited, Mounted, Order};

/// What stands in for a step.
pub(super) type Faked = dyn Fn(&Ordered) -> Played;

/// What a step was ordered to do, as a test sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ordered {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Variables that the order sets.
    pub environment: BTreeMap<String, String>,
    /// Names of the files that it must make.
    pub captures: Vec<String>,
    /// Processors.
    pub cpus: u32,
    /// Memory.
    pub memory_bytes: u64,
    /// Time.
    pub seconds: u64,
    mounts: BTreeMap<String, Rc<[u8]>>,
}

impl Ordered {
    /// The bytes of a mounted file, as they are stored.
    ///
    /// # Panics
    /// When nothing is mounted under this name.
    #[must_use]
    pub fn mount(&self, name: &str) -> &[u8] {
        let bytes = self.mounts.get(name);
        assert!(bytes.is_some(), "nothing is mounted at {name}; there is {:?}", self.mounts.keys());
        bytes.map(|bytes| &**bytes).unwrap_or_default()
    }
}

/// What came of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Played {
    exited: Exited,
    files: BTreeMap<String, Vec<u8>>,
}

impl Played {
    /// It ends with 0, to which files may be added.
    #[must_use]
    pub fn ok() -> Self {
        Self::default()
    }

    /// It ends with this code, and so makes nothing.
    #[must_use]
    pub fn exit(code: i32) -> Self {
        Self { exited: Exited { code, ..Exited::default() }, ..Self::default() }
    }

    /// With a file.
    #[must_use]
    pub fn file(mut self, name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.files.insert(name.to_owned(), bytes.into());
        self
    }

    /// Having printed this.
    #[must_use]
    pub fn stdout(mut self, text: impl Into<String>) -> Self {
        self.exited.stdout_tail = text.into();
        self
    }

    /// Having printed this to its other stream.
    #[must_use]
    pub fn stderr(mut self, text: impl Into<String>) -> Self {
        self.exited.stderr_tail = text.into();
        self
    }
}

/// All steps of one run.
pub(super) struct Stage {
    planned: Vec<PlannedStep>,
    fakes: BTreeMap<String, Rc<Faked>>,
    outputs: Outputs,
    acts: RefCell<Vec<Act>>,
    /// The first thing that a host would have refused.
    refused: RefCell<Option<String>>,
    /// Published files that were not made.
    missing: RefCell<Vec<String>>,
}

/// A step that was started, and has ended: a fake takes no time.
struct Act {
    name: String,
    captures: Vec<String>,
    after: BTreeSet<usize>,
    ended: Ended,
    files: BTreeMap<String, Rc<[u8]>>,
    settled: bool,
}

impl Stage {
    pub(super) fn new(
        planned: Vec<PlannedStep>,
        fakes: BTreeMap<String, Rc<Faked>>,
        outputs: Outputs,
    ) -> Self {
        let (acts, refused, missing) = (RefCell::default(), RefCell::default(), RefCell::default());
        Self { planned, fakes, outputs, acts, refused, missing }
    }

    /// What a host would have ended the run for.
    pub(super) fn refused(&self) -> Result<(), ToolError> {
        self.refused.borrow().clone().map_or(Ok(()), |why| Err(ToolError::failed(why)))
    }

    /// What a host holds against a run that returned.
    pub(super) fn left(&self) -> Result<(), ToolError> {
        let acts = self.acts.borrow();
        if let Some(act) = acts.iter().find(|act| !act.settled) {
            return Err(ToolError::failed(format!("step `{}` was never waited for", act.name)));
        }
        match self.missing.borrow().first() {
            Some(output) => Err(ToolError::failed(format!("output {output} was published and never made"))),
            None => Ok(()),
        }
    }

    fn refuse(&self, why: String) {
        self.refused.borrow_mut().get_or_insert(why);
    }

    pub(super) fn start(
        stage: &Rc<Self>,
        order: &Order<'_>,
        linked: impl Fn(&str, u32) -> Rc<[u8]>,
    ) -> Box<dyn Running> {
        if let Err(why) = stage.admit(order) {
            stage.refuse(why);
        }
        let mut mounts = BTreeMap::new();
        let mut after = BTreeSet::new();
        for (mounted, name) in &order.mounts {
            let bytes = match mounted {
                Mounted::Input { role, index } => Some(linked(role, *index)),
                Mounted::File(file) => file.as_any().downcast_ref().and_then(|file: &File| {
                    after.insert(file.step);
                    file.bytes()
                }),
            };
            mounts.extend(bytes.map(|bytes| (name.clone(), bytes)));
        }
        let captures: Vec<String> = order.captures.iter().map(|(name, _)| name.clone()).collect();
        let is_ready = after.iter().all(|&step| stage.ended_well(step));
        let (ended, files) = match stage.fakes.get(&order.name).filter(|_fake| is_ready) {
            Some(fake) => stage.play(order, &**fake, mounts, captures.clone()),
            None => (Ended::Skipped, BTreeMap::new()),
        };
        let mut acts = stage.acts.borrow_mut();
        acts.push(Act { name: order.name.clone(), captures, after, ended, files, settled: false });
        Box::new(Step { step: acts.len() - 1, stage: Rc::clone(stage) })
    }

    fn play(
        &self,
        order: &Order<'_>,
        fake: &Faked,
        mounts: BTreeMap<String, Rc<[u8]>>,
        captures: Vec<String>,
    ) -> (Ended, BTreeMap<String, Rc<[u8]>>) {
        let ordered = Ordered {
            argv: order.argv.clone(),
            environment: order.environment.iter().cloned().collect(),
            captures,
            cpus: order.cpus,
            memory_bytes: order.memory_bytes,
            seconds: order.seconds,
            mounts,
        };
        let Played { exited, files } = fake(&ordered);
        let is_well = exited.code == 0;
        if let Some(name) = ordered.captures.iter().find(|name| is_well && !files.contains_key(*name)) {
            self.refuse(format!("step `{}` ended with 0 and did not make `{name}`", order.name));
        }
        let files = files.into_iter().filter(|_| is_well).map(|(name, bytes)| (name, bytes.into()));
        (Ended::Exited(exited), files.collect())
    }

    /// What a host compares an order with.
    fn admit(&self, order: &Order<'_>) -> Result<(), String> {
        let name = &order.name;
        let planned = self.planned.iter().find(|planned| planned.name == *name);
        let planned = planned.ok_or_else(|| format!("step `{name}` was not planned"))?;
        if !self.fakes.contains_key(name) {
            return Err(format!(
                "nothing stands in for step `{name}`: give the bench one with `Bench::step`"
            ));
        }
        let started = self.acts.borrow().iter().filter(|act| act.name == *name).count();
        if started as u64 >= u64::from(planned.instances_max) {
            return Err(format!(
                "step `{name}` was planned {} times, and started again",
                planned.instances_max
            ));
        }
        let wanted = [u64::from(order.cpus), order.memory_bytes, order.seconds];
        let most = [u64::from(planned.cpus_max), planned.memory_bytes_max, planned.seconds_max];
        if wanted.contains(&0) || wanted.iter().zip(most).any(|(wanted, most)| *wanted > most) {
            return Err(format!("step `{name}` wants other resources than planned: {wanted:?} of {most:?}"));
        }
        if order.argv.is_empty() {
            return Err(format!("step `{name}` has no arguments, and the first is the program"));
        }
        let mut variables = order.environment.iter().map(|(name, _)| name);
        if let Some(variable) = variables.find(|variable| !planned.environment.contains(variable)) {
            return Err(format!("step `{name}` sets {variable}, which was not planned"));
        }
        let mounts = order.mounts.iter().map(|(_, name)| name);
        let captures = order.captures.iter().map(|(name, _)| name);
        match twice(mounts).or_else(|| twice(captures)) {
            Some(part) => Err(format!("step `{name}` has `{part}` twice")),
            None => Ok(()),
        }
    }

    pub(super) fn wait_any(&self, steps: &[&dyn Running]) -> usize {
        let steps = steps.iter().filter_map(|step| step.as_any().downcast_ref::<Step>());
        let first = steps.map(|step| step.step).enumerate().min_by_key(|(_, step)| *step);
        let Some((position, step)) = first else {
            self.refuse("wait_any was called with no step".to_owned());
            return 0;
        };
        self.settle(step);
        position
    }

    fn ended_well(&self, step: usize) -> bool {
        let acts = self.acts.borrow();
        matches!(acts.get(step), Some(Act { ended: Ended::Exited(exited), .. }) if exited.code == 0)
    }

    /// Takes down that a step was waited for, and with it what it mounts from, unless it was skipped.
    fn settle(&self, step: usize) {
        let mut acts = self.acts.borrow_mut();
        let mut ended = vec![step];
        while let Some(step) = ended.pop() {
            let Some(act) = acts.get_mut(step).filter(|act| !act.settled) else { continue };
            act.settled = true;
            if matches!(act.ended, Ended::Exited(_)) {
                ended.extend(&act.after);
            }
        }
    }
}

fn twice<'a>(names: impl Iterator<Item = &'a String>) -> Option<String> {
    let mut seen = BTreeSet::new();
    let mut again = names.filter(|name| !seen.insert(*name));
    again.next().cloned()
}

struct Step {
    step: usize,
    stage: Rc<Stage>,
}

impl Running for Step {
    fn wait(&self) -> Ended {
        self.stage.settle(self.step);
        self.stage.acts.borrow().get(self.step).map_or(Ended::Skipped, |act| act.ended.clone())
    }

    fn capture(&self, name: &str) -> Box<dyn Promise> {
        let acts = self.stage.acts.borrow();
        if let Some(act) = acts.get(self.step).filter(|act| !act.captures.iter().any(|own| own == name)) {
            self.stage.refuse(format!("step `{}` captures no `{name}`", act.name));
        }
        Box::new(File { step: self.step, name: name.to_owned(), stage: Rc::clone(&self.stage) })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

struct File {
    step: usize,
    name: String,
    stage: Rc<Stage>,
}

impl File {
    fn bytes(&self) -> Option<Rc<[u8]>> {
        self.stage.acts.borrow().get(self.step).and_then(|act| act.files.get(&self.name).cloned())
    }
}

impl Promise for File {
    fn open(&self, how: How) -> Option<Box<dyn Source>> {
        self.stage.settle(self.step);
        self.bytes().map(|bytes| source(bytes, how))
    }

    fn publish(&self, role: &str, key: &str) -> Result<(), ToolError> {
        let bytes = self.bytes();
        if bytes.is_none() {
            self.stage.missing.borrow_mut().push(format!("{role}/{key}"));
        }
        let bytes = bytes.map(|bytes| bytes.to_vec()).unwrap_or_default();
        begin(&self.stage.outputs, role, key, Written { bytes, finished: true }).map(drop)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
