//! What stands behind the imports of one execution: inputs, outputs, counters and their caps.
//!
//! Every number that a guest chooses is compared with its cap before anything is allocated
//! (invariant I-9). All counters follow from the guest's own calls, never from time.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::ResourceLimiter;

use super::ahead::Ahead;
use super::channel::Channel;
use super::decode::{DecodeError, Decoder};
use super::inspect::TABLE_ELEMENTS_MAX;
use super::stop::{IMPORT_DURING_PLAN, IMPORT_MISUSE, Stop};
use crate::protocol::{
    Created, Event, GuestLimits, InputSlot, LINE_BYTES_MAX, LOG_LINE_BYTES, Limit, Usage, Written,
};

/// Most bytes that one read may ask for, as the contract says.
pub const READ_BYTES_MAX: u32 = 1_048_576;
/// Decoding threads that may live at once, each with about 2 MiB of buffers.
const DECODERS_MAX: usize = 64;
/// Core instances, counted when they are made: inspection counts what is written.
const INSTANCES_MAX: usize = 128;
/// Bytes gathered before an output's file is written to.
const WRITE_BUFFER_BYTES: usize = 256 * 1024;
/// Progress is passed on at most this often. The guest cannot see whether it was.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// Whether the guest is asked what it would do, or does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Metadata,
    Run,
}

/// One linked input.
pub struct Input {
    pub slot: InputSlot,
    file: Arc<File>,
    opened: bool,
    decoding: Decoding,
}

/// How much of a decoded input is known to be whole.
enum Decoding {
    Never,
    /// Opened, and not read to its end; a reader that the guest let go goes on at the end.
    Partly(Option<Box<Ahead>>),
    Whole,
}

/// A reader that the guest holds.
pub enum Reader {
    Raw {
        input: usize,
        position: u64,
    },
    Decoded {
        input: usize,
        ahead: Box<Ahead>,
    },
    /// Being read: only ever seen while an import runs, which cannot be re-entered.
    Lent,
}

/// An output that the guest began.
struct Output {
    written: Written,
    /// `None` once it is finished.
    file: Option<BufWriter<File>>,
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

    /// Gives a run its inputs and the roles that it may write.
    pub fn link(&mut self, slots: Vec<InputSlot>, files: Vec<OwnedFd>, roles: Vec<String>) {
        let input = |(slot, file)| Input {
            slot,
            file: Arc::new(File::from(file)),
            opened: false,
            decoding: Decoding::Never,
        };
        self.inputs = slots.into_iter().zip(files).map(input).collect();
        self.roles = roles;
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

    /// Opens a linked input; `None` where the call has no such role or index.
    pub fn open(&mut self, role: &str, index: u32, decoded: bool) -> Result<Option<Reader>, Stop> {
        let wanted = |input: &Input| input.slot.index == index && input.slot.role == role;
        let Some(position) = self.inputs.iter().position(wanted) else { return Ok(None) };
        self.take_handle()?;
        let Some(input) = self.inputs.get_mut(position) else { return Ok(None) };
        input.opened = true;
        if !decoded {
            return Ok(Some(Reader::Raw { input: position, position: 0 }));
        }
        let file = Arc::clone(&input.file);
        if matches!(input.decoding, Decoding::Never) {
            input.decoding = Decoding::Partly(None);
        }
        self.take_decoder()?;
        let ahead =
            Ahead::start(file).map_err(|error| Stop::fault("a decoding thread cannot be started", &error))?;
        Ok(Some(Reader::Decoded { input: position, ahead: Box::new(ahead) }))
    }

    /// Counts a decoder that is about to start. One that is only kept for later, of a reader that
    /// the guest gave back, makes way: its input will be decoded anew.
    fn take_decoder(&mut self) -> Result<(), Stop> {
        if self.decoders >= DECODERS_MAX {
            let kept = self.inputs.iter_mut().find_map(|input| match &mut input.decoding {
                Decoding::Partly(kept) => kept.take(),
                Decoding::Never | Decoding::Whole => None,
            });
            if kept.is_none() {
                let message = format!("more than {DECODERS_MAX} decoded readers at once");
                return Err(Stop::limit(Limit::Handles, message));
            }
            self.decoders -= 1;
        }
        self.decoders += 1;
        Ok(())
    }

    /// `reader.read`: exactly `max` bytes, fewer only at the end.
    pub fn read(&mut self, reader: &mut Reader, max: u32) -> Result<Vec<u8>, Stop> {
        let max = check_max(max)?;
        let bytes = match reader {
            Reader::Raw { input, position } => {
                let bytes = self.read_raw(*input, *position, max)?;
                *position = position.saturating_add(bytes.len() as u64);
                bytes
            }
            Reader::Decoded { input, ahead } => {
                let read = ahead.read(max);
                let bytes = self.decoded(*input, read)?;
                self.count_decoded(bytes.len() as u64)?;
                if ahead.ended() {
                    self.whole(*input);
                }
                bytes
            }
            Reader::Lent => return Err(Stop::Fault("a reader is in use".into())),
        };
        self.count_bytes(bytes.len() as u64)?;
        Ok(bytes)
    }

    /// `reader.read-at`.
    pub fn read_at(&mut self, reader: &Reader, offset: u64, max: u32) -> Result<Vec<u8>, Stop> {
        let max = check_max(max)?;
        let Reader::Raw { input, .. } = reader else {
            return Err(Stop::trap(IMPORT_MISUSE, "read-at was called on a decoded reader"));
        };
        let bytes = self.read_raw(*input, offset, max)?;
        self.count_bytes(bytes.len() as u64)?;
        Ok(bytes)
    }

    fn read_raw(&self, input: usize, offset: u64, max: usize) -> Result<Vec<u8>, Stop> {
        let input = self.inputs.get(input).ok_or_else(|| Stop::Fault("a reader lost its input".into()))?;
        let mut bytes = vec![0; max];
        let mut filled = 0;
        while filled < max {
            // Positions beyond what the kernel can say are beyond the end of any file.
            let Some(at) = offset.checked_add(filled as u64).filter(|at| i64::try_from(*at).is_ok()) else {
                break;
            };
            match input.file.read_at(bytes.get_mut(filled..).unwrap_or_default(), at) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                // So near to the end of all positions that the kernel refuses the sum.
                Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => break,
                Err(error) => return Err(Stop::fault("an input cannot be read", &error)),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    fn decoded<T>(&self, input: usize, result: Result<T, DecodeError>) -> Result<T, Stop> {
        result.map_err(|error| match self.inputs.get(input) {
            Some(input) => Stop::input(&input.slot.role, input.slot.index, error),
            None => Stop::Fault("a reader lost its input".into()),
        })
    }

    fn count_decoded(&mut self, bytes: u64) -> Result<(), Stop> {
        self.decoded_bytes = self.decoded_bytes.saturating_add(bytes);
        if self.decoded_bytes > self.limits.decoded_bytes {
            let message = format!("inputs decode to more than {} bytes", self.limits.decoded_bytes);
            return Err(Stop::limit(Limit::DecodedBytes, message));
        }
        Ok(())
    }

    fn whole(&mut self, input: usize) {
        if let Some(input) = self.inputs.get_mut(input) {
            input.decoding = Decoding::Whole;
        }
    }

    /// The guest let a reader go. One that was not at its end is kept, so that what it has
    /// decoded need not be decoded again by [`State::settle_inputs`].
    pub fn close(&mut self, reader: Reader) {
        self.handles = self.handles.saturating_sub(1);
        let Reader::Decoded { input, ahead } = reader else { return };
        if let Some(Input { decoding: Decoding::Partly(kept @ None), .. }) = self.inputs.get_mut(input) {
            *kept = Some(ahead);
        } else {
            self.decoders = self.decoders.saturating_sub(1);
        }
    }

    /// Decodes to its end every input that was opened decoded. Damage ends the run wherever it
    /// lies: how much a guest had read when it met it depends on chunks, so it must not matter.
    pub fn settle_inputs(&mut self) -> Result<(), Stop> {
        for position in 0..self.inputs.len() {
            let Some(input) = self.inputs.get_mut(position) else { break };
            let Decoding::Partly(kept) = &mut input.decoding else { continue };
            let kept = kept.take();
            let file = Arc::clone(&input.file);
            match kept {
                Some(mut ahead) => {
                    while let Some(bytes) = self.decoded(position, ahead.skip())? {
                        self.count_decoded(bytes)?;
                    }
                }
                None => {
                    let mut decoder = Decoder::new(file);
                    let mut chunk = Vec::new();
                    while self.decoded(position, decoder.next(&mut chunk))? {
                        self.count_decoded(chunk.len() as u64)?;
                    }
                }
            }
            self.whole(position);
        }
        Ok(())
    }

    /// Every input that was opened.
    pub fn opened(&self) -> Vec<InputSlot> {
        self.inputs.iter().filter(|input| input.opened).map(|input| input.slot.clone()).collect()
    }
}

/// Outputs and log.
impl State {
    /// Whether the tool declares this output role.
    pub fn declares(&self, role: &str) -> bool {
        self.roles.iter().any(|declared| declared == role)
    }

    /// Whether an output of this role may have this key.
    pub fn key_is_free(&self, role: &str, key: &str) -> bool {
        let shape = (1..=64).contains(&key.len())
            && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
        let same = |output: &Output| output.written.role == role && output.written.key == key;
        shape && !self.outputs.iter().any(same)
    }

    /// Begins an output and gives its position.
    pub fn create(&mut self, role: &str, key: &str) -> Result<usize, Stop> {
        if self.outputs.len() as u64 >= self.limits.outputs {
            return Err(Stop::limit(Limit::Outputs, format!("more than {} outputs", self.limits.outputs)));
        }
        self.take_handle()?;
        let file =
            self.ask_for_file(role, key).map_err(|error| Stop::fault("no file for an output", &error))?;
        self.outputs.push(Output {
            written: Written { role: role.to_owned(), key: key.to_owned(), finished: false, size_bytes: 0 },
            file: Some(BufWriter::with_capacity(WRITE_BUFFER_BYTES, file)),
        });
        Ok(self.outputs.len() - 1)
    }

    fn ask_for_file(&mut self, role: &str, key: &str) -> std::io::Result<File> {
        self.channel.send(&Event::Create { role: role.to_owned(), key: key.to_owned() })?;
        let (Created {}, mut files) = self.channel.receive()?;
        files.pop().map(File::from).ok_or_else(|| std::io::Error::other("the host sent no file"))
    }

    /// `writer.write`.
    pub fn write(&mut self, output: usize, bytes: &[u8]) -> Result<(), Stop> {
        let count = bytes.len() as u64;
        self.count_bytes(count)?;
        let total = self.output_bytes.saturating_add(count);
        if total > self.limits.output_bytes {
            let message = format!("outputs may have {} bytes in all", self.limits.output_bytes);
            return Err(Stop::limit(Limit::OutputBytes, message));
        }
        self.output_bytes = total;
        let Some(Output { written, file: Some(file) }) = self.outputs.get_mut(output) else {
            return Err(Stop::trap(IMPORT_MISUSE, "an output was written to after it was finished"));
        };
        written.size_bytes += count;
        file.write_all(bytes).map_err(|error| Stop::fault("an output cannot be written", &error))
    }

    /// `writer.finish`.
    pub fn finish(&mut self, output: usize) -> Result<(), Stop> {
        let output = self.outputs.get_mut(output);
        let Some((output, mut file)) =
            output.and_then(|output| output.file.take().map(|file| (output, file)))
        else {
            return Err(Stop::trap(IMPORT_MISUSE, "an output was finished twice"));
        };
        output.written.finished = true;
        file.flush().map_err(|error| Stop::fault("an output cannot be written", &error))
    }

    pub fn close_writer(&mut self) {
        self.handles = self.handles.saturating_sub(1);
    }

    /// What was written, in the order of creation.
    pub fn written(&self) -> Vec<Written> {
        self.outputs.iter().map(|output| output.written.clone()).collect()
    }

    /// Passes a line of log on while there is room; what there is none for is counted.
    pub fn log(&mut self, level: &str, mut text: String) -> Result<(), Stop> {
        let length = text.len() as u64;
        let kept = text.floor_char_boundary(LINE_BYTES_MAX);
        let cost = kept as u64 + LOG_LINE_BYTES;
        if self.usage.log_bytes + cost > self.limits.log_bytes {
            // Counted as it would have been kept, so that lines of nothing are not lost silently.
            self.usage.log_bytes_dropped += length + LOG_LINE_BYTES;
            return Ok(());
        }
        text.truncate(kept);
        self.usage.log_bytes += cost;
        self.usage.log_bytes_dropped += length - kept as u64;
        self.say(&Event::Log { level: level.to_owned(), text })
    }

    /// Passes progress on, but not too often.
    pub fn progress(&mut self, done: u64, total: Option<u64>, mut text: String) -> Result<(), Stop> {
        text.truncate(text.floor_char_boundary(LINE_BYTES_MAX));
        let event = Event::Progress { done, total, text };
        if self.progress_sent.is_some_and(|sent| sent.elapsed() < PROGRESS_INTERVAL) {
            self.progress_held = Some(event);
            return Ok(());
        }
        self.progress_held = None;
        self.progress_sent = Some(Instant::now());
        self.say(&event)
    }

    /// The last progress is never the one that is lost.
    pub fn flush_progress(&mut self) -> Result<(), Stop> {
        match self.progress_held.take() {
            Some(event) => self.say(&event),
            None => Ok(()),
        }
    }

    fn say(&mut self, event: &Event) -> Result<(), Stop> {
        self.channel.send(event).map_err(|error| Stop::fault("the host does not listen", &error))
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

fn check_max(max: u32) -> Result<usize, Stop> {
    if max == 0 || max > READ_BYTES_MAX {
        return Err(Stop::trap(
            IMPORT_MISUSE,
            format!("a read of {max} bytes: 1 to {READ_BYTES_MAX} may be asked for"),
        ));
    }
    usize::try_from(max).map_err(|error| Stop::fault("a read", &error))
}
