//! A run's progress as MCP wants it: rising, and not too often.

use std::time::Duration;

use rmcp::RoleServer;
use rmcp::model::{ProgressNotificationParam, ProgressToken};
use rmcp::service::Peer;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use helix_ids::text::escaped_line;

use crate::call::Progress;

/// Least time between two notifications: a guest may report millions of times.
const PACE: Duration = Duration::from_millis(100);

/// Longest text of one notification. It comes from a guest.
const TEXT_BYTES_MAX: usize = 200;

/// News that wait while one is sent; a full channel loses news, never time.
pub const NEWS_MAX: usize = 16;

/// Passes news on until their sender is dropped.
pub async fn forward(peer: Peer<RoleServer>, token: ProgressToken, mut news: mpsc::Receiver<Progress>) {
    let mut rising = Rising::default();
    let mut latest = None;
    let mut next = Instant::now();
    loop {
        tokio::select! {
            arrived = news.recv() => match arrived {
                Some(progress) => latest = Some(progress),
                // What is not sent yet is overtaken by the answer.
                None => return,
            },
            () = sleep_until(next), if latest.is_some() => {
                let Some((done, total, text)) = latest.take().and_then(|progress| rising.step(progress)) else {
                    continue;
                };
                let mut param = ProgressNotificationParam::new(token.clone(), done);
                param.total = total;
                param.message = (!text.is_empty()).then_some(text);
                if peer.notify_progress(param).await.is_err() {
                    return;
                }
                next = Instant::now() + PACE;
            }
        }
    }
}

/// Makes progress rise: a phase that counts from zero again goes on from where the last one was.
#[derive(Debug, Default)]
struct Rising {
    base: f64,
    last: Option<f64>,
    phase: u64,
}

impl Rising {
    /// What to send, unless it would not rise.
    fn step(&mut self, progress: Progress) -> Option<(f64, Option<f64>, String)> {
        let Progress { done, total, text } = progress;
        if done < self.phase {
            self.base = self.last.unwrap_or_default();
        }
        self.phase = done;
        let value = self.base + as_f64(done);
        if self.last.is_some_and(|last| value <= last) {
            return None;
        }
        self.last = Some(value);
        let total = total.map(|total| (self.base + as_f64(total)).max(value));
        Some((value, total, escaped_line(&text, TEXT_BYTES_MAX)))
    }
}

/// Exact up to 2⁵³, which is far beyond what anybody sees the difference of.
fn as_f64(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_only_rises() {
        let mut rising = Rising::default();
        type Sent = Option<(f64, Option<f64>)>;
        let cases: &[(u64, Option<u64>, Sent)] = &[
            (0, Some(10), Some((0.0, Some(10.0)))),
            (4, Some(10), Some((4.0, Some(10.0)))),
            (4, Some(10), None),
            (9, Some(5), Some((9.0, Some(9.0)))),
            (1, Some(3), Some((10.0, Some(12.0)))),
            (3, None, Some((12.0, None))),
        ];
        for (done, total, expected) in cases {
            let progress = Progress { done: *done, total: *total, text: "x".to_owned() };
            let sent = rising.step(progress).map(|(done, total, _text)| (done, total));
            assert_eq!(sent, *expected, "{done} of {total:?}");
        }
    }
}
