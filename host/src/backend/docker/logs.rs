//! Stdout and stderr of a container that has ended, as the engine kept them.

use std::collections::VecDeque;

use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::StreamExt;

use super::super::BackendError;
use super::engine::Engine;

/// What an entry of the engine's log has around its text.
const ENTRY_BYTES: u64 = 70;

/// What a container said.
#[derive(Debug, Default)]
pub(super) struct Logs {
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    /// The beginning of either may be missing.
    pub cut: bool,
}

/// The end of one stream.
#[derive(Debug, Default)]
struct Tail {
    bytes: VecDeque<u8>,
    cut: bool,
}

/// Reads both whole, and keeps the last `cap_bytes` of each.
pub(super) async fn read(engine: &Engine, id: &str, cap_bytes: u64) -> Result<Logs, BackendError> {
    let cap = usize::try_from(cap_bytes).unwrap_or(usize::MAX);
    let options = LogsOptionsBuilder::default().stdout(true).stderr(true).follow(false).build();
    let mut entries = Box::pin(engine.client.logs(id, Some(options)));
    let (mut stdout, mut stderr) = (Tail::default(), Tail::default());
    let mut kept_bytes = 0_u64;
    while let Some(entry) = entries.next().await {
        let entry = entry.map_err(|error| engine.said(error))?;
        let (tail, text) = match &entry {
            LogOutput::StdErr { message } => (&mut stderr, message),
            LogOutput::StdOut { message } | LogOutput::Console { message } | LogOutput::StdIn { message } => {
                (&mut stdout, message)
            }
        };
        tail.add(text, cap);
        kept_bytes += written_bytes(text);
    }
    // The engine's own file was full at least once: what came before may be gone.
    let cut = kept_bytes >= cap_bytes || stdout.cut || stderr.cut;
    Ok(Logs { stdout: stdout.bytes.into(), stderr: stderr.bytes.into(), cut })
}

impl Tail {
    fn add(&mut self, text: &[u8], cap: usize) {
        let beyond = (self.bytes.len() + text.len()).saturating_sub(cap);
        self.cut |= beyond > 0;
        self.bytes.drain(..beyond.min(self.bytes.len()));
        let text = text.get(text.len().saturating_sub(cap)..).unwrap_or_default();
        self.bytes.extend(text);
    }
}

/// At most what an entry takes in the engine's file, which is JSON.
fn written_bytes(text: &[u8]) -> u64 {
    let of = |byte: &u8| match byte {
        b'\n' | b'\r' | b'\t' | b'"' | b'\\' => 2,
        b'<' | b'>' | b'&' | 0..=0x1f | 0x7f.. => 6,
        _ => 1,
    };
    text.iter().map(of).sum::<u64>() + ENTRY_BYTES
}

#[cfg(test)]
mod tests {
    use super::Tail;

    #[test]
    fn the_end_of_a_stream_is_kept() {
        let check = |pieces: &[&str], expected: &str, cut| {
            let mut tail = Tail::default();
            pieces.iter().for_each(|piece| tail.add(piece.as_bytes(), 5));
            assert_eq!((Vec::from(tail.bytes), tail.cut), (expected.as_bytes().to_vec(), cut), "{pieces:?}");
        };
        check(&[], "", false);
        check(&["abc", "de"], "abcde", false);
        check(&["abc", "def"], "bcdef", true);
        check(&["abcdefgh"], "defgh", true);
        check(&["ab", "cdefghi"], "efghi", true);
    }
}
