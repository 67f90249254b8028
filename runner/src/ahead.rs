//! Decodes ahead of the guest, on a thread of its own where there is enough to decode; BGZF, whose
//! blocks need nothing of each other, on two.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use libdeflater::Decompressor;

use super::decode::{Batch, CHUNK_BYTES, DecodeError, Decoder};

/// Chunks that wait for the guest: enough that neither side waits for the other's hiccups.
const CHUNKS_AHEAD: usize = 4;

/// Second threads of readers of BGZF that may live at once. A tool reads one or two inputs side by
/// side, and what a cgroup gives in threads counts one for each reader.
const SECONDS_MAX: usize = 2;

/// How many there are.
static SECONDS: AtomicUsize = AtomicUsize::new(0);

/// Stack of a decoding thread, which holds its buffers on the heap.
const STACK_BYTES: usize = 256 * 1024;

/// Room of a chunk: a BGZF block may begin just before the chunk is full.
const CHUNK_ROOM: usize = CHUNK_BYTES + 64 * 1024;

/// A file of fewer bytes is decoded when the guest asks: to start a thread would take longer.
const SMALL_BYTES: i64 = 64 * 1024;

type Chunk = Result<Vec<u8>, DecodeError>;

/// Where chunks come from.
enum Chunks {
    Ahead(Receiver<Chunk>),
    Here(Box<Decoder>),
}

impl Chunks {
    /// The next one; an empty one is the end.
    fn next(&mut self) -> Chunk {
        match self {
            Self::Ahead(chunks) => {
                chunks.recv().unwrap_or_else(|lost| Err(DecodeError::Io(std::io::Error::other(lost))))
            }
            Self::Here(decoder) => {
                let mut chunk = Vec::with_capacity(CHUNK_ROOM);
                decoder.next(&mut chunk).map(|_more| chunk)
            }
        }
    }
}

/// A decoded input, read from its start.
pub struct Ahead {
    chunks: Chunks,
    chunk: Vec<u8>,
    position: usize,
    ended: bool,
}

impl Ahead {
    /// Begins to decode.
    pub fn start(file: Arc<File>) -> std::io::Result<Self> {
        // Asked by its descriptor alone: calls that take a name are gone.
        if rustix::fs::fstat(&file)?.st_size < SMALL_BYTES {
            return Ok(Self::of(Chunks::Here(Box::new(Decoder::new(file)))));
        }
        let (sender, chunks) = sync_channel(CHUNKS_AHEAD);
        let decode = move || decode_all(&mut Decoder::new(file), &sender);
        std::thread::Builder::new().name("decode".into()).stack_size(STACK_BYTES).spawn(decode)?;
        Ok(Self::of(Chunks::Ahead(chunks)))
    }

    fn of(chunks: Chunks) -> Self {
        Self { chunks, chunk: Vec::new(), position: 0, ended: false }
    }

    /// Whether everything has been decoded and found whole.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// The next `max` bytes: fewer only at the end.
    pub fn read(&mut self, max: usize) -> Result<Vec<u8>, DecodeError> {
        let mut bytes = Vec::with_capacity(max);
        while bytes.len() < max {
            let rest = self.chunk.get(self.position..).unwrap_or_default();
            if rest.is_empty() {
                if !self.refill()? {
                    break;
                }
                continue;
            }
            let count = rest.len().min(max - bytes.len());
            bytes.extend_from_slice(rest.get(..count).unwrap_or_default());
            self.position += count;
        }
        Ok(bytes)
    }

    /// Decodes what is left and gives its length: damage there counts as well.
    pub fn skip(&mut self) -> Result<Option<u64>, DecodeError> {
        let rest = self.chunk.len() - self.position;
        self.position = self.chunk.len();
        if rest > 0 {
            return Ok(Some(rest as u64));
        }
        if !self.refill()? {
            return Ok(None);
        }
        self.position = self.chunk.len();
        Ok(Some(self.chunk.len() as u64))
    }

    fn refill(&mut self) -> Result<bool, DecodeError> {
        if self.ended {
            return Ok(false);
        }
        self.chunk = self.chunks.next()?;
        self.ended = self.chunk.is_empty();
        self.position = 0;
        Ok(!self.ended)
    }
}

/// Decodes a file and sends its chunks. Ends early where nobody listens any more: the guest
/// dropped its reader.
fn decode_all(decoder: &mut Decoder, sender: &SyncSender<Chunk>) {
    let (mut batch, mut next_batch) = (Batch::default(), Batch::default());
    let mut decompressor = Decompressor::new();
    let mut second = None;
    loop {
        if let Err(error) = decoder.gather(&mut batch) {
            drop(sender.send(Err(error)));
            return;
        }
        if batch.is_empty() {
            let mut chunk = Vec::with_capacity(CHUNK_ROOM);
            // An empty chunk says that this is all: silence could also be a thread that died.
            let message = decoder.next(&mut chunk).map(|_more| chunk);
            let last = message.as_ref().map_or(true, Vec::is_empty);
            if sender.send(message).is_err() || last {
                return;
            }
            continue;
        }
        let gathered = decoder.gather(&mut next_batch);
        let helper = second.get_or_insert_with(Second::start).as_ref();
        // Not for few blocks: for those alone a thread is not worth its start.
        let handed = helper.filter(|_| !next_batch.is_empty()).map(|helper| {
            let given = helper.batches.send(std::mem::take(&mut next_batch));
            (helper, given)
        });
        let mut messages = vec![decoded(&batch, &mut decompressor)];
        match handed {
            Some((helper, Ok(()))) => match helper.chunks.recv() {
                Ok((back, chunk)) => {
                    next_batch = back;
                    messages.push(chunk);
                }
                Err(lost) => messages.push(Err(DecodeError::Io(std::io::Error::other(lost)))),
            },
            Some((_, Err(lost))) => messages.push(Err(DecodeError::Io(std::io::Error::other(lost)))),
            None if !next_batch.is_empty() => messages.push(decoded(&next_batch, &mut decompressor)),
            None => {}
        }
        messages.extend(gathered.err().map(Err));
        for message in messages {
            let failed = message.is_err();
            // Blocks may be empty; a chunk that is would say that this is all.
            let nothing = message.as_ref().is_ok_and(Vec::is_empty);
            if !nothing && (sender.send(message).is_err() || failed) {
                return;
            }
        }
    }
}

fn decoded(batch: &Batch, decompressor: &mut Decompressor) -> Chunk {
    let mut chunk = Vec::with_capacity(CHUNK_ROOM);
    batch.decode(decompressor, &mut chunk).map(|()| chunk)
}

/// A reader's second thread, which decodes every other batch.
struct Second {
    batches: SyncSender<Batch>,
    chunks: Receiver<(Batch, Chunk)>,
}

impl Second {
    /// Starts one, unless there are enough or the system gives none: the first goes on alone then,
    /// and the bytes are the same.
    fn start() -> Option<Self> {
        let free = |count: usize| (count < SECONDS_MAX).then_some(count + 1);
        SECONDS.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).ok()?;
        let counted = Counted;
        let (batches, given) = sync_channel::<Batch>(1);
        let (done, chunks) = sync_channel(1);
        let decode = move || {
            let _counted = counted;
            let mut decompressor = Decompressor::new();
            while let Ok(batch) = given.recv() {
                let chunk = decoded(&batch, &mut decompressor);
                if done.send((batch, chunk)).is_err() {
                    return;
                }
            }
        };
        let thread =
            std::thread::Builder::new().name("decode-2".into()).stack_size(STACK_BYTES).spawn(decode);
        thread.ok().map(|_runs| Self { batches, chunks })
    }
}

/// Gives its place back when it is dropped.
struct Counted;

impl Drop for Counted {
    fn drop(&mut self) {
        SECONDS.fetch_sub(1, Ordering::Relaxed);
    }
}
