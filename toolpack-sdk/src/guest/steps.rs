//! `steps`, as the host offers it.

use std::any::Any;

use super::bindings::helix::toolpack::steps as wit;
use super::not_created;
use crate::ToolError;
use crate::host::{How, Promise, Running, Source};
use crate::steps::{Ended, Exited, Mounted, Order};

pub(super) fn start(order: &Order<'_>) -> Box<dyn Running> {
    let mount = |(mounted, name): &(Mounted<'_>, String)| wit::Mount {
        source: match mounted {
            Mounted::Input { role, index } => wit::Source::Input((role.clone(), *index)),
            Mounted::File(file) => wit::Source::File(own(file.as_any())),
        },
        name: name.clone(),
    };
    let variable =
        |(name, value): &(String, String)| wit::Variable { name: name.clone(), value: value.clone() };
    let capture = |(name, artifact_type): &(String, &'static str)| wit::Capture {
        name: name.clone(),
        type_: (*artifact_type).to_owned(),
    };
    Box::new(wit::start(&wit::Order {
        name: order.name.clone(),
        argv: order.argv.clone(),
        environment: order.environment.iter().map(variable).collect(),
        mounts: order.mounts.iter().map(mount).collect(),
        captures: order.captures.iter().map(capture).collect(),
        cpus: order.cpus,
        memory_bytes: order.memory_bytes,
        seconds: order.seconds,
    }))
}

pub(super) fn wait_any(steps: &[&dyn Running]) -> usize {
    let steps: Vec<&wit::Step> = steps.iter().map(|step| own(step.as_any())).collect();
    usize::try_from(wit::wait_any(&steps)).unwrap_or(usize::MAX)
}

/// What this host has made: in a component there is no other.
fn own<T: 'static>(handle: &dyn Any) -> &T {
    match handle.downcast_ref() {
        Some(handle) => handle,
        None => unreachable!("a handle of another host"),
    }
}

impl Running for wit::Step {
    fn wait(&self) -> Ended {
        match wit::Step::wait(self) {
            wit::Ended::Exited(wit::Exited { code, stdout_tail, stderr_tail }) => {
                Ended::Exited(Exited { code, stdout_tail, stderr_tail })
            }
            wit::Ended::Skipped => Ended::Skipped,
        }
    }

    fn capture(&self, name: &str) -> Box<dyn Promise> {
        Box::new(wit::Step::capture(self, name))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Promise for wit::File {
    fn open(&self, how: How) -> Option<Box<dyn Source>> {
        match wit::File::open(self, how.into()) {
            Ok(reader) => Some(Box::new(reader)),
            Err(wit::FileError::NotMade) => None,
        }
    }

    fn publish(&self, role: &str, key: &str) -> Result<(), ToolError> {
        wit::File::publish(self, role, key).map_err(|refused| not_created(refused, role, key))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
