//! Two hundred random kills of the host and of runners; `cargo xtask soak kills` does thousands.

use anyhow::Result;
use helix_tests::kills::{self, Plan};

#[test]
fn nothing_acknowledged_is_lost_in_two_hundred_random_kills() -> Result<()> {
    let plan = Plan { kills: 200, seed: 20_261_122, workers: 2 };
    let counts = kills::run(plan, &|_counts| {})?;
    assert_eq!(counts.kills(), 200, "{counts:?}");
    assert_eq!(counts.fscks, 200, "{counts:?}");
    // Else the kills met nothing that could be lost.
    assert!(counts.kills_of_host >= 50 && counts.kills_of_runner >= 30, "{counts:?}");
    assert!(counts.runs_succeeded >= 50 && counts.artifacts >= 50 && counts.swept >= 1, "{counts:?}");
    Ok(())
}
