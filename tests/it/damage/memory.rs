//! How much memory a host's runners take at their most.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, anyhow};
use helix_tests::vitals;

/// How often runners are looked at. The kernel keeps each one's peak, so only its growth within
/// its last moment can be missed.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Looks at the runners of one host until it is asked for their peak.
pub struct Watch {
    stop: Arc<AtomicBool>,
    peak_bytes: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Watch {
    pub fn start(host: u32) -> Self {
        let (stop, peak_bytes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (until, peak) = (stop.clone(), peak_bytes.clone());
        let thread = std::thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                for (runner, _state) in vitals::children(host).unwrap_or_default() {
                    // One that has ended meanwhile was seen before that.
                    peak.fetch_max(vitals::memory(runner, "VmHWM").unwrap_or_default(), Ordering::Relaxed);
                }
                std::thread::sleep(LOOK_EVERY);
            }
        });
        Self { stop, peak_bytes, thread }
    }

    /// The most resident memory that one runner had.
    pub fn peak_bytes(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_panic| anyhow!("the watch panicked"))?;
        Ok(self.peak_bytes.load(Ordering::Relaxed))
    }
}
