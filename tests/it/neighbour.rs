//! An honest assistant beside one whose toolpack attacks: what it asks for goes on being answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use helix_tests::load::flood::p99;
use helix_tests::{StdioClient, World, wait};
use serde_json::json;

/// How long it thinks between two calls.
const PACE: Duration = Duration::from_millis(50);

/// Calls before the attack, to compare with.
const SOLO_CALLS: u32 = 10;

/// Slower than this is not served, on however busy a machine.
const SERVED_WITHIN: Duration = Duration::from_secs(10);

/// A client of its own that calls the honest guest again and again.
pub struct Neighbour {
    client: StdioClient,
    calls: u32,
}

impl Neighbour {
    /// Attaches to a world, and calls a few times undisturbed.
    pub fn new(world: &World) -> Result<Self> {
        Ok(Self { client: world.client()?, calls: 0 })
    }

    /// Calls every 50 ms for as long as `attack` takes. No call fails, and at least `least` of
    /// them were answered while the attack was still under way. How much slower they were than
    /// before is printed: on a busy machine it is no measure.
    #[expect(clippy::print_stdout, reason = "the ratio is for whoever reads the test's output")]
    pub fn while_attacked<T>(
        mut self,
        name: &str,
        least: usize,
        attack: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let solo = (0..SOLO_CALLS).map(|_| self.call()).collect::<Result<Vec<_>>>()?;
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&over);
        let thread = std::thread::spawn(move || -> Result<Vec<Duration>> {
            let mut times = Vec::new();
            loop {
                let took = self.call()?;
                if seen.load(Ordering::SeqCst) {
                    return Ok(times);
                }
                times.push(took);
                wait::until(PACE, || seen.load(Ordering::SeqCst).then_some(()));
            }
        });
        let attacked = attack();
        over.store(true, Ordering::SeqCst);
        let times = thread.join().map_err(|_panic| anyhow!("the neighbour panicked"))??;
        let attacked = attacked?;
        let (answered, alone, beside) = (times.len(), p99(solo), p99(times));
        println!("{name}: {answered} calls beside it, p99 {beside:?}, alone {alone:?}");
        ensure!(answered >= least, "only {answered} calls were answered beside {name}");
        ensure!(beside < SERVED_WITHIN, "beside {name} a call took {beside:?}");
        Ok(attacked)
    }

    /// One call that no earlier one answers.
    fn call(&mut self) -> Result<Duration> {
        self.calls += 1;
        let text = format!("neighbour {}", self.calls);
        let began = Instant::now();
        let reply = self.client.call("echo", json!({"text": text}))?;
        ensure!(reply.status() == "succeeded", "the neighbour's call failed: {}", reply.text());
        ensure!(reply.structured["result"]["text"] == text.as_str(), "{}", reply.structured);
        Ok(began.elapsed())
    }
}
