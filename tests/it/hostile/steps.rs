//! Guests and their container steps, at the border: before any plan or backend is asked.

use anyhow::{Result, bail};
use helixmcp::sandbox::GuestError;
use helixmcp::sandbox::protocol::{Limit, asks_max};

use super::attack::fails;
use crate::guests;
use crate::sandbox_client::steps::{Host, all_ends_well, some_steps};

#[test]
fn starts_step_in_plan() -> Result<()> {
    fails("starts_step_in_plan", "trap/import_during_plan").map(drop)
}

#[test]
fn waits_for_no_step() -> Result<()> {
    fails("waits_for_no_step", "trap/import_misuse").map(drop)
}

#[test]
fn step_handle_forged() -> Result<()> {
    fails("step_handle_forged", "trap/guest_abi").map(drop)
}

#[test]
fn step_list_forged() -> Result<()> {
    fails("step_list_forged", "trap/guest_abi").map(drop)
}

#[test]
fn step_file_forged() -> Result<()> {
    fails("step_file_forged", "trap/guest_abi").map(drop)
}

#[test]
fn step_mount_forged() -> Result<()> {
    fails("step_mount_forged", "trap/guest_abi").map(drop)
}

/// It is refused before it is copied: [`crate::stage::Stage::finish`] looks at the host's memory.
#[test]
fn step_argument_of_60_mib() -> Result<()> {
    fails("step_argument_of_60_mib", "limit/limit_host_call_bytes").map(drop)
}

#[test]
fn step_arguments_by_the_million() -> Result<()> {
    fails("step_arguments_by_the_million", "limit/limit_host_call_bytes").map(drop)
}

/// One more than policy allows is asked of the host, which refuses it in words of its own.
#[tokio::test]
async fn starts_steps_without_end() -> Result<()> {
    meets("starts_steps_without_end", Limit::Steps, some_steps().steps + 1).await
}

#[tokio::test]
async fn waits_without_end() -> Result<()> {
    meets("waits_without_end", Limit::HostCalls, asks_max(some_steps().steps)).await
}

#[tokio::test]
async fn captures_without_end() -> Result<()> {
    meets("captures_without_end", Limit::Handles, 1).await
}

/// I-9. Even of a host that says yes to everything, a guest asks no more than this.
async fn meets(name: &str, limit: Limit, asks: u64) -> Result<()> {
    let bench = crate::sandbox_client::Bench::new()?;
    let component = bench.load(&guests::hostile(name)?).await?;
    let mut host = Host::new(all_ends_well);
    let ran = host.run(&bench, &component, &some_steps()).await?;
    let Err(GuestError::Limit { limit: met, .. }) = ran else { bail!("{name}: {ran:?}") };
    assert_eq!((met, host.asks.len() as u64), (limit, asks), "{name}");
    let honest = bench.load(&guests::honest("echo")?).await?;
    let (ran, _outputs) = bench.run(&honest, &crate::sandbox_client::Task::default()).await?;
    ran.map(drop).map_err(Into::into)
}

/// Numbers that are handles: none, a step, a file, a step that was given back, a writer, none, none.
const HANDLES: [&str; 7] = ["0", "1", "2", "3", "4", "77", "-1"];
/// Ranges of memory: nothing, one byte, a megabyte of it, beyond its end, nothing beyond its end.
const RANGES: [&str; 6] = ["0 0", "0 1", "196608 1048576", "1310719 2", "-1 -1", "-1 0"];

/// Every import of `steps`, in the order of the guest's own table, with every value in every place. The
/// first number is the handle that stands in a list and in a mount.
fn presses() -> Vec<String> {
    let mut all = Vec::new();
    let nothing = ["0 0"; 5];
    for range in RANGES {
        for place in 0..nothing.len() {
            let mut order = nothing;
            order[place] = range;
            all.push(format!("0 0 {}", order.join(" ")));
        }
        all.push(format!("0 1 {range}"));
        all.push(format!("0 3 1 {range}"));
        all.extend(RANGES.map(|key| format!("0 5 2 {range} {key}")));
    }
    for handle in HANDLES {
        // A mount of it, and a list of it.
        all.push(format!("{handle} 0 0 0 0 0 0 0 544 1 0 0"));
        all.push(format!("{handle} 1 512 1"));
        all.push(format!("0 3 {handle} 0 0"));
        all.extend(["0", "1", "2", "-1"].map(|how| format!("0 4 {handle} {how}")));
        all.push(format!("0 5 {handle} 0 0 0 0"));
        all.extend(["2", "6", "7"].map(|import| format!("0 {import} {handle}")));
    }
    all
}

/// Each ends in one of the ways that there are, and none of them is a panic or a lost runner.
#[tokio::test]
async fn presses_every_step_import() -> Result<()> {
    let bench = crate::sandbox_client::Bench::new()?;
    let component = bench.load(&guests::hostile("presses_every_step_import")?).await?;
    let presses = presses();
    let mut ends = std::collections::BTreeMap::<String, usize>::new();
    for press in &presses {
        let mut host = Host::new(all_ends_well);
        host.params = format!(r#"{{"press":"{press}"}}"#);
        let end = match host.run(&bench, &component, &some_steps()).await? {
            Ok(_outcome) => "succeeded".to_owned(),
            Err(GuestError::Trap { code, .. }) if ["guest_abi", "import_misuse"].contains(&code) => {
                code.to_owned()
            }
            Err(GuestError::Limit { limit, .. }) => format!("{limit:?}"),
            Err(other) => bail!("`{press}` ended as {other:?}"),
        };
        *ends.entry(end).or_default() += 1;
    }
    println!("{} presses: {ends:?}", presses.len());
    assert!(ends.len() >= 4, "the guest does not press what it should: {ends:?}");
    Ok(())
}
