//! What stands behind the imports of one execution: inputs, outputs, steps, counters and their caps.
//!
//! Every number that a guest chooses is compared with its cap before anything is allocated
//! (invariant I-9). All counters follow from the guest's own calls, never from time.

mod inputs;
mod outputs;
mod steps;

use std::time::Instant;

use wasmtime::ResourceLimiter;

use self::inputs::Input;
pub use self::inputs::Reader;
use self::outputs::Output;
use self::steps::Steps;
use super::channel::Channel;
use super::inspect::TABLE_ELEMENTS_MAX;
use super::stop::{IMPORT_DURING_PLAN, Stop};
use crate::protocol::{Event, GuestLimits, Limit, Usage};

/// Core instances, counted when they are made: inspection counts what is written.
const INSTANCES_MAX: usize = 128;

/// Whether the guest is asked what it would do, or does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Metadata,
    Run,
}

/// The state of one execution.
pub struct State {
    pub mode: Mode,
    pub limits: GuestLimits,
    pub usage: Usage,
    pub table: wasmtime::component::ResourceTable,
    pub channel: Channel,
    inputs: Vec<Input>,
    roles: Vec<String>,
    outputs: Vec<Output>,
    steps: Steps,
    handles: u64,
    decoders: usize,
    decoded_bytes: u64,
    output_bytes: u64,
    memory_bytes: u64,
    table_elements: u64,
    progress_sent: Option<Instant>,
    progress_held: Option<Event>,
}

impl State {
    pub fn new(mode: Mode, limits: GuestLimits, channel: Channel) -> Self {
        Self {
            mode,
            limits,
            usage: Usage::default(),
            table: wasmtime::component::ResourceTable::new(),
            channel,
            inputs: Vec::new(),
            roles: Vec::new(),
            outputs: Vec::new(),
            steps: Steps::default(),
            handles: 0,
            decoders: 0,
            decoded_bytes: 0,
            output_bytes: 0,
            memory_bytes: 0,
            table_elements: 0,
            progress_sent: None,
            progress_held: None,
        }
    }

    /// Counts a call of an import, and refuses it while the guest only describes or plans.
    pub fn enter(&mut self, name: &str) -> Result<(), Stop> {
        if self.mode == Mode::Metadata {
            return Err(Stop::trap(
                IMPORT_DURING_PLAN,
                format!("{name} was called while describe or plan ran: only log may be"),
            ));
        }
        self.count_call()
    }

    /// Counts a call of an import.
    pub fn count_call(&mut self) -> Result<(), Stop> {
        if self.usage.host_calls >= self.limits.host_calls {
            let message = format!("more than {} host calls", self.limits.host_calls);
            return Err(Stop::limit(Limit::HostCalls, message));
        }
        self.usage.host_calls += 1;
        Ok(())
    }

    /// Counts bytes that cross the border in one call.
    pub fn count_bytes(&mut self, bytes: u64) -> Result<(), Stop> {
        let total = self.usage.host_call_bytes.saturating_add(bytes);
        if bytes > self.limits.host_call_bytes || total > self.limits.host_call_bytes_total {
            let message = format!(
                "host calls may carry {} bytes each and {} in all",
                self.limits.host_call_bytes, self.limits.host_call_bytes_total
            );
            return Err(Stop::limit(Limit::HostCallBytes, message));
        }
        self.usage.host_call_bytes = total;
        Ok(())
    }

    /// Counts a handle that the guest is about to hold.
    pub fn take_handle(&mut self) -> Result<(), Stop> {
        if self.handles >= self.limits.handles {
            let message = format!("more than {} handles at once", self.limits.handles);
            return Err(Stop::limit(Limit::Handles, message));
        }
        self.handles += 1;
        Ok(())
    }

    /// The guest let a handle go, or was given none after all.
    pub fn give_back_handle(&mut self) {
        self.handles = self.handles.saturating_sub(1);
    }
}

/// Memory and tables of all instances together. Growth past policy's limit ends the execution
/// instead of answering −1, which a guest could act on: another limit would make another answer
/// (invariant I-11).
impl ResourceLimiter for State {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let total = self.memory_bytes.saturating_add(desired.saturating_sub(current) as u64);
        if total > self.limits.memory_bytes {
            let message = format!("more than {} bytes of memory", self.limits.memory_bytes);
            return Err(wasmtime::Error::new(Stop::limit(Limit::Memory, message)));
        }
        self.memory_bytes = total;
        self.usage.memory_bytes = total;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        // Beyond what 32 bits can address: the guest sees −1. Anything else is the machine's
        // lack of memory, which a guest must not see.
        if error.to_string().contains("type's limits") {
            return Ok(());
        }
        Err(wasmtime::Error::new(Stop::fault("no memory for the guest", &error)))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let total = self.table_elements.saturating_add(desired.saturating_sub(current) as u64);
        if total > TABLE_ELEMENTS_MAX {
            let message = format!("more than {TABLE_ELEMENTS_MAX} table elements");
            return Err(wasmtime::Error::new(Stop::limit(Limit::Table, message)));
        }
        self.table_elements = total;
        Ok(true)
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        INSTANCES_MAX
    }

    fn memories(&self) -> usize {
        INSTANCES_MAX
    }
}
