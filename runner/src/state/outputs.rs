//! Outputs and log.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::time::{Duration, Instant};

use super::State;
use crate::protocol::{Created, Event, LINE_BYTES_MAX, LOG_LINE_BYTES, Limit, Written};
use crate::stop::{IMPORT_MISUSE, Stop};

/// Bytes gathered before an output's file is written to.
const WRITE_BUFFER_BYTES: usize = 256 * 1024;
/// Progress is passed on at most this often. The guest cannot see whether it was.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// An output that the guest began.
pub(super) struct Output {
    written: Written,
    /// `None` once it is finished.
    file: Option<BufWriter<File>>,
}

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
        let published = self.steps.published.iter().any(|file| file.role == role && file.key == key);
        shape && !published && !self.outputs.iter().any(same)
    }

    /// Begins an output and gives its position.
    pub fn create(&mut self, role: &str, key: &str) -> Result<usize, Stop> {
        self.count_output()?;
        self.take_handle()?;
        let file =
            self.ask_for_file(role, key).map_err(|error| Stop::fault("no file for an output", &error))?;
        self.outputs.push(Output {
            written: Written { role: role.to_owned(), key: key.to_owned(), finished: false, size_bytes: 0 },
            file: Some(BufWriter::with_capacity(WRITE_BUFFER_BYTES, file)),
        });
        Ok(self.outputs.len() - 1)
    }

    /// Refuses an output more than there may be, written or published.
    pub(super) fn count_output(&self) -> Result<(), Stop> {
        let made = self.outputs.len() + self.steps.published.len();
        if made as u64 >= self.limits.outputs {
            return Err(Stop::limit(Limit::Outputs, format!("more than {} outputs", self.limits.outputs)));
        }
        Ok(())
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
