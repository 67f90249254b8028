//! `steps`, as a guest calls it.

use wasmtime::component::Resource;

use super::bindings::helix::toolpack::steps;
use super::{State, artifacts, outputs, raise};
use crate::protocol::{Limit, STEP_PARTS_MAX};
use crate::raw;
use crate::state::Reader;
use crate::stop::Stop;

/// A step that the guest holds: its ordinal.
pub struct Step(u32);

/// The promise of a step's file.
pub struct File {
    step: u32,
    capture: String,
}

impl steps::Host for State {
    fn start(&mut self, order: steps::Order) -> wasmtime::Result<Resource<Step>> {
        self.enter("steps.start").map_err(raise)?;
        let step = self.ordered(order)?;
        let ordinal = State::start(self, step).map_err(raise)?;
        Ok(self.table.push(Step(ordinal))?)
    }

    fn wait_any(&mut self, steps: Vec<Resource<Step>>) -> wasmtime::Result<u32> {
        self.enter("steps.wait-any").map_err(raise)?;
        let mut ordinals = Vec::with_capacity(steps.len());
        for step in &steps {
            ordinals.push(self.table.get(step)?.0);
        }
        let (first, _end) = self.wait(&ordinals).map_err(raise)?;
        let position = ordinals.iter().position(|ordinal| *ordinal == first);
        let position = position.and_then(|position| u32::try_from(position).ok());
        position.ok_or_else(|| raise(Stop::Fault("a step that nobody waited for has ended".into())))
    }
}

impl steps::HostStep for State {
    fn wait(&mut self, step: Resource<Step>) -> wasmtime::Result<steps::Ended> {
        self.enter("step.wait").map_err(raise)?;
        let Step(ordinal) = *self.table.get(&step)?;
        let (_first, end) = State::wait(self, &[ordinal]).map_err(raise)?;
        Ok(match end {
            raw::StepEnd::Exited { code, stdout_tail, stderr_tail } => {
                let bytes = stdout_tail.len().saturating_add(stderr_tail.len());
                self.count_bytes(bytes as u64).map_err(raise)?;
                steps::Ended::Exited(steps::Exited { code, stdout_tail, stderr_tail })
            }
            raw::StepEnd::Skipped => steps::Ended::Skipped,
        })
    }

    fn capture(&mut self, step: Resource<Step>, name: String) -> wasmtime::Result<Resource<File>> {
        self.enter("step.capture").map_err(raise)?;
        let Step(ordinal) = *self.table.get(&step)?;
        self.captures(ordinal, &name).map_err(raise)?;
        self.take_handle().map_err(raise)?;
        Ok(self.table.push(File { step: ordinal, capture: name })?)
    }

    fn drop(&mut self, step: Resource<Step>) -> wasmtime::Result<()> {
        self.table.delete(step)?;
        self.give_back_handle();
        Ok(())
    }
}

impl steps::HostFile for State {
    fn open(
        &mut self,
        file: Resource<File>,
        how: artifacts::How,
    ) -> wasmtime::Result<Result<Resource<Reader>, steps::FileError>> {
        self.enter("file.open").map_err(raise)?;
        let decoded = matches!(how, artifacts::How::Decoded);
        let File { step, capture } = self.table.get(&file)?;
        let (step, capture) = (*step, capture.clone());
        let Some(reader) = self.open_file(step, &capture, decoded).map_err(raise)? else {
            return Ok(Err(steps::FileError::NotMade));
        };
        Ok(Ok(self.table.push(reader)?))
    }

    fn publish(
        &mut self,
        file: Resource<File>,
        role: String,
        key: String,
    ) -> wasmtime::Result<Result<(), outputs::CreateError>> {
        self.enter("file.publish").map_err(raise)?;
        let File { step, capture } = self.table.get(&file)?;
        let (step, capture) = (*step, capture.clone());
        if let Err(refused) = self.may_create(&role, &key) {
            return Ok(Err(refused));
        }
        State::publish(self, &role, &key, step, &capture).map_err(raise)?;
        Ok(Ok(()))
    }

    fn drop(&mut self, file: Resource<File>) -> wasmtime::Result<()> {
        self.table.delete(file)?;
        self.give_back_handle();
        Ok(())
    }
}

impl State {
    /// An order in the host's own record, its handles looked up.
    fn ordered(&self, order: steps::Order) -> wasmtime::Result<raw::Step> {
        if order.mounts.len() > STEP_PARTS_MAX {
            let message = format!("{} mounts; at most {STEP_PARTS_MAX} may be", order.mounts.len());
            return Err(raise(Stop::limit(Limit::HostCallBytes, message)));
        }
        let mut mounts = Vec::with_capacity(order.mounts.len());
        for steps::Mount { source, name } in order.mounts {
            let source = match source {
                steps::Source::Input((role, index)) => raw::Source::Input { role, index },
                steps::Source::File(file) => {
                    let File { step, capture } = self.table.get(&file)?;
                    raw::Source::File { step: *step, capture: capture.clone() }
                }
            };
            mounts.push(raw::Mount { source, name });
        }
        let variable = |said: steps::Variable| raw::Variable { name: said.name, value: said.value };
        let capture = |said: steps::Capture| raw::Capture { name: said.name, artifact_type: said.type_ };
        Ok(raw::Step {
            name: order.name,
            argv: order.argv,
            environment: order.environment.into_iter().map(variable).collect(),
            mounts,
            captures: order.captures.into_iter().map(capture).collect(),
            cpus: order.cpus,
            memory_bytes: order.memory_bytes,
            seconds: order.seconds,
        })
    }
}
