//! Inputs: opened, read and decoded, and decoded to their end whatever the guest read.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::State;
use crate::ahead::Ahead;
use crate::decode::{DecodeError, Decoder};
use crate::protocol::{InputSlot, Limit};
use crate::stop::{IMPORT_MISUSE, STEP_FILE_DAMAGED, Stop};

/// Most bytes that one read may ask for, as the contract says.
pub const READ_BYTES_MAX: u32 = 1_048_576;
/// Decoding threads that may live at once, each with about 2 MiB of buffers.
const DECODERS_MAX: usize = 64;

/// Bytes that may be read: a linked input, or a file that a step made.
pub(super) struct Input {
    origin: Origin,
    file: Arc<File>,
    opened: bool,
    decoding: Decoding,
}

/// What an input is, in the words of who asks for it.
pub(super) enum Origin {
    Linked(InputSlot),
    File { step: u32, capture: String },
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

impl Input {
    pub fn new(origin: Origin, file: File) -> Self {
        Self { origin, file: Arc::new(file), opened: false, decoding: Decoding::Never }
    }

    fn is(&self, role: &str, index: u32) -> bool {
        matches!(&self.origin, Origin::Linked(slot) if slot.index == index && slot.role == role)
    }

    /// Damage of it: an input is the caller's to replace, a step's file the author's to look at.
    fn damaged(&self, error: DecodeError) -> Stop {
        match (&self.origin, error) {
            (Origin::Linked(slot), error) => Stop::input(&slot.role, slot.index, error),
            (Origin::File { step, capture }, DecodeError::Damaged { offset, reason }) => Stop::trap(
                STEP_FILE_DAMAGED,
                format!("file `{capture}` of step {step} is damaged at byte {offset}: {reason}"),
            ),
            (Origin::File { .. }, DecodeError::Io(source)) => {
                Stop::fault("a step's file cannot be read", &source)
            }
        }
    }
}

impl State {
    /// Gives a run its inputs and the roles that it may write.
    pub fn link(&mut self, slots: Vec<InputSlot>, files: Vec<OwnedFd>, roles: Vec<String>) {
        let input = |(slot, file)| Input::new(Origin::Linked(slot), File::from(file));
        self.inputs = slots.into_iter().zip(files).map(input).collect();
        self.roles = roles;
    }

    /// Opens a linked input; `None` where the call has no such role or index.
    pub fn open(&mut self, role: &str, index: u32, decoded: bool) -> Result<Option<Reader>, Stop> {
        let Some(position) = self.inputs.iter().position(|input| input.is(role, index)) else {
            return Ok(None);
        };
        self.take_handle()?;
        self.reader(position, decoded).map(Some)
    }

    /// Takes down that a linked input was mounted into a step, which reads it as well as any.
    pub(super) fn mounted(&mut self, role: &str, index: u32) {
        if let Some(input) = self.inputs.iter_mut().find(|input| input.is(role, index)) {
            input.opened = true;
        }
    }

    /// Where a step's file stands, if it was opened before.
    pub(super) fn position_of_file(&self, step: u32, capture: &str) -> Option<usize> {
        let is = |input: &Input| match &input.origin {
            Origin::File { step: of, capture: own } => *of == step && own == capture,
            Origin::Linked(_) => false,
        };
        self.inputs.iter().position(is)
    }

    /// A reader at the start of an input; its handle is counted already.
    pub(super) fn reader(&mut self, position: usize, decoded: bool) -> Result<Reader, Stop> {
        let lost = || Stop::Fault("a reader lost its input".into());
        let input = self.inputs.get_mut(position).ok_or_else(lost)?;
        input.opened = true;
        if !decoded {
            return Ok(Reader::Raw { input: position, position: 0 });
        }
        let file = Arc::clone(&input.file);
        if matches!(input.decoding, Decoding::Never) {
            input.decoding = Decoding::Partly(None);
        }
        self.take_decoder()?;
        let ahead =
            Ahead::start(file).map_err(|error| Stop::fault("a decoding thread cannot be started", &error))?;
        Ok(Reader::Decoded { input: position, ahead: Box::new(ahead) })
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
            Some(input) => input.damaged(error),
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
        self.give_back_handle();
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

    /// Every linked input that was opened here or mounted into a step.
    pub fn opened(&self) -> Vec<InputSlot> {
        let slot = |input: &Input| match &input.origin {
            Origin::Linked(slot) if input.opened => Some(slot.clone()),
            Origin::Linked(_) | Origin::File { .. } => None,
        };
        self.inputs.iter().filter_map(slot).collect()
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
