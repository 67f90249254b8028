//! Components whose code is loaded when a guest of them first starts.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::guests;

/// What a component's file holds, and how often it was read.
#[derive(Clone)]
struct Source {
    bytes: Arc<Mutex<Vec<u8>>>,
    reads: Arc<AtomicUsize>,
}

impl Source {
    fn of(bytes: Vec<u8>) -> Self {
        Self { bytes: Arc::new(Mutex::new(bytes)), reads: Arc::default() }
    }

    fn now_holds(&self, bytes: Vec<u8>) {
        *self.bytes.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = bytes;
    }

    fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }
}

/// The guest `echo` as a host has it that has looked at its file's seal alone.
async fn unread(bench: &Bench, source: &Source) -> Result<Compiled> {
    let Compiled { digest, inspection, .. } = bench.load(&guests::honest("echo")?).await?;
    let source = source.clone();
    let read = Box::new(move || {
        source.reads.fetch_add(1, Ordering::SeqCst);
        Ok(source.bytes.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone())
    });
    Ok(bench.sandbox.later(digest, "seal".to_owned(), inspection, &compile_limits(), read))
}

#[tokio::test]
async fn first_calls_at_once_load_a_component_once() -> Result<()> {
    let bench = Bench::new()?;
    let source = Source::of(guests::honest("echo")?);
    let component = unread(&bench, &source).await?;
    assert_eq!(source.reads(), 0);
    let task = Task::default();
    let (one, other, described) = tokio::join!(
        bench.run(&component, &task),
        bench.run(&component, &task),
        bench.sandbox.describe(&component)
    );
    one?.0?;
    other?.0?;
    described?;
    bench.run(&component, &task).await?.0?;
    assert_eq!(source.reads(), 1);
    Ok(())
}

/// I-2. Neither other bytes in the component's place nor what it was compiled to then is run.
#[tokio::test]
async fn i2_bytes_that_changed_before_the_first_call_are_not_run() -> Result<()> {
    let bench = Bench::new()?;
    let echo = guests::honest("echo")?;
    let source = Source::of(guests::hostile("loops_forever")?);
    let component = unread(&bench, &source).await?;
    for _ in 0..2 {
        let (ran, _outputs) = bench.run(&component, &Task::default()).await?;
        let Err(GuestError::Fault { message }) = ran else { bail!("not refused: {ran:?}") };
        assert!(message.contains("other bytes"), "{message}");
    }
    // A failure leaves nothing behind: with the right bytes back, the next call loads them.
    source.now_holds(echo);
    bench.run(&component, &Task::default()).await?.0?;
    assert_eq!(source.reads(), 3);
    Ok(())
}

/// A compiled form that is gone or was changed since the host started is made again.
#[tokio::test]
async fn a_compiled_form_that_is_gone_or_changed_at_the_first_call_is_made_again() -> Result<()> {
    let bench = Bench::new()?;
    let echo = guests::honest("echo")?;
    bench.load(&echo).await?;
    let entry = processes::only_entry(&bench.folder.path().join("cache"))?;
    let good = std::fs::read(&entry)?;
    let mut planted = good.clone();
    let last = planted.len() - 100;
    planted[last] ^= 1;
    for bad in [None, Some(planted), Some(good[..good.len() / 2].to_vec())] {
        let source = Source::of(echo.clone());
        let component = unread(&bench, &source).await?;
        match bad {
            None => std::fs::remove_file(&entry)?,
            Some(bad) => std::fs::write(&entry, bad)?,
        }
        bench.run(&component, &Task::default()).await?.0?;
        assert!(std::fs::read(&entry)? == good, "the entry was not made again");
    }
    Ok(())
}
