//! Guests that hand the host what the interface does not have: memory, handles, texts and choices
//! that are none.

use anyhow::Result;
use serde_json::json;

use super::attack::{fails, fails_with_input, staged};
use crate::stage::failure;

#[test]
fn writes_past_memory() -> Result<()> {
    fails("writes_past_memory", "trap/guest_abi").map(drop)
}

#[test]
fn realloc_out_of_range() -> Result<()> {
    fails("realloc_out_of_range", "trap/guest_abi").map(drop)
}

#[test]
fn handle_forged() -> Result<()> {
    fails("handle_forged", "trap/guest_abi").map(drop)
}

#[test]
fn handles_exhausted() -> Result<()> {
    fails_with_input("handles_exhausted", "limit/limit_handles").map(drop)
}

#[test]
fn reads_zero_bytes() -> Result<()> {
    fails_with_input("reads_zero_bytes", "trap/import_misuse").map(drop)
}

#[test]
fn writes_after_finish() -> Result<()> {
    fails("writes_after_finish", "trap/import_misuse").map(drop)
}

/// The guest is told the same as of a role that nobody has declared.
#[test]
fn reads_unlinked_input() -> Result<()> {
    let reply = fails("reads_unlinked_input", "tool/tool_failed")?;
    assert!(reply.text().contains("it is not linked"), "{}", reply.text());
    Ok(())
}

#[test]
fn bad_utf8_in_report() -> Result<()> {
    fails("bad_utf8_in_report", "trap/guest_abi").map(drop)
}

#[test]
fn opens_input_in_plan() -> Result<()> {
    fails_with_input("opens_input_in_plan", "trap/import_during_plan").map(drop)
}

#[test]
fn writes_4_gib() -> Result<()> {
    fails("writes_4_gib", "trap/guest_abi").map(drop)
}

#[test]
fn writes_at_the_last_address() -> Result<()> {
    fails("writes_at_the_last_address", "trap/guest_abi").map(drop)
}

/// It is refused before it is copied: [`crate::stage::Stage::finish`] looks at the host's memory.
#[test]
fn writes_60_mib_at_once() -> Result<()> {
    fails("writes_60_mib_at_once", "limit/limit_host_call_bytes").map(drop)
}

#[test]
fn realloc_misaligned() -> Result<()> {
    fails_with_input("realloc_misaligned", "trap/guest_abi").map(drop)
}

/// The guest garbles what is its own, and nobody else's.
#[test]
fn realloc_overlapping() -> Result<()> {
    let mut stage = staged("realloc_overlapping")?;
    let reply = stage.client.call("attack", json!({}))?;
    assert_eq!(reply.status(), "succeeded", "{}", reply.text());
    stage.finish()
}

#[test]
fn realloc_calls_host() -> Result<()> {
    fails("realloc_calls_host", "trap/guest_abi").map(drop)
}

/// The number that was a writer in one run is nothing in the next.
#[test]
fn handle_of_another_run() -> Result<()> {
    let mut stage = staged("handle_of_another_run")?;
    let first = stage.client.call("attack", json!({}))?;
    assert_eq!(first.status(), "succeeded", "{}", first.text());
    let handle = first.structured["result"]["handle"].clone();
    assert!(handle.as_u64().is_some_and(|handle| (1..10).contains(&handle)), "{handle}");

    let second = stage.client.call("attack", json!({"handle": handle}))?;
    assert_eq!(failure(&second), "trap/guest_abi", "{}", second.text());
    stage.finish()
}

#[test]
fn handle_used_after_drop() -> Result<()> {
    fails("handle_used_after_drop", "trap/guest_abi").map(drop)
}

#[test]
fn handle_dropped_twice() -> Result<()> {
    fails("handle_dropped_twice", "trap/guest_abi").map(drop)
}

#[test]
fn handle_of_another_type() -> Result<()> {
    fails_with_input("handle_of_another_type", "trap/guest_abi").map(drop)
}

/// I-4. No guess finds anything, and each is told the same.
#[test]
fn reads_what_it_can_guess() -> Result<()> {
    let reply = fails_with_input("reads_what_it_can_guess", "tool/tool_failed")?;
    assert!(reply.text().contains("it is not linked"), "{}", reply.text());
    Ok(())
}

#[test]
fn log_level_unknown() -> Result<()> {
    fails("log_level_unknown", "trap/guest_abi").map(drop)
}

#[test]
fn option_unknown() -> Result<()> {
    fails("option_unknown", "trap/guest_abi").map(drop)
}

#[test]
fn answer_unknown() -> Result<()> {
    fails("answer_unknown", "trap/guest_abi").map(drop)
}

#[test]
fn answer_misaligned() -> Result<()> {
    fails("answer_misaligned", "trap/guest_abi").map(drop)
}

#[test]
fn answer_past_memory() -> Result<()> {
    fails("answer_past_memory", "trap/guest_abi").map(drop)
}

/// Numbers that are handles: none, a reader, one that was given back, a writer, none, none.
const HANDLES: [&str; 7] = ["0", "1", "2", "3", "77", "-1", "2147483647"];
/// Numbers of bytes and positions.
const NUMBERS: [&str; 6] = ["0", "1", "-1", "1048576", "1048577", "2147483647"];
/// Ranges of memory: nothing, one byte, a megabyte of it, beyond its end, nothing beyond its end.
const RANGES: [&str; 6] = ["0 0", "0 1", "196608 1048576", "1310719 2", "-1 -1", "-1 0"];
/// 64 bits.
const LONGS: [&str; 5] = ["0", "1", "-1", "9223372036854775807", "-9223372036854775807"];

/// Every import, in the order of the guest's own table, with every value in every place.
fn presses() -> Vec<String> {
    let mut all = Vec::new();
    for range in RANGES {
        all.extend(NUMBERS.map(|index| format!("0 {range} {index} 0")));
        all.push(format!("0 {range} 0 9"));
        all.extend(RANGES.map(|key| format!("4 {range} {key}")));
        all.extend(HANDLES.map(|handle| format!("5 {handle} {range}")));
        all.extend(["0", "3", "4", "-1"].map(|level| format!("8 {level} {range}")));
        all.extend(["0", "1", "2", "-1"].map(|option| format!("9 1 {option} 1 {range}")));
    }
    for handle in HANDLES {
        all.extend(NUMBERS.map(|max| format!("1 {handle} {max}")));
        all.extend(LONGS.map(|offset| format!("2 {handle} {offset} 1048576")));
        all.extend(["3", "6", "7"].map(|import| format!("{import} {handle}")));
    }
    for done in LONGS {
        all.extend(LONGS.map(|total| format!("9 {done} 1 {total} 0 0")));
    }
    all
}

/// Each ends in one of the ways that there are, and none of them is a panic or a lost runner.
#[test]
fn presses_every_import() -> Result<()> {
    /// As many as may be under way at once.
    const AT_ONCE: usize = 8;
    let mut stage = staged("presses_every_import")?;
    let data = stage.import_text("some text\n")?;
    let presses = presses();
    let mut ends = std::collections::BTreeMap::<String, usize>::new();
    for some in presses.chunks(AT_ONCE) {
        let sent = some.iter().map(|press| {
            stage.client.send_call("attack", json!({"press": press, "data": data})).map(|id| (press, id))
        });
        let sent = sent.collect::<Result<Vec<_>>>()?;
        for (press, id) in sent {
            let reply = stage.client.reply(id, helix_tests::client::ANSWER_WITHIN)?;
            let end = if reply.is_error { failure(&reply) } else { reply.status().to_owned() };
            let known =
                ["trap/guest_abi", "trap/import_misuse", "gate/output_unfinished", "gate/output_count"];
            let typed = known.contains(&end.as_str()) || end.starts_with("limit/") || end == "succeeded";
            assert!(typed, "`{press}` ended as {end}: {}", reply.text());
            *ends.entry(end).or_default() += 1;
        }
    }
    println!("{} presses: {ends:?}", presses.len());
    assert!(ends.len() >= 4, "the guest does not press what it should: {ends:?}");
    assert!(!stage.world.log().contains("panicked"), "a runner panicked:\n{}", stage.world.log());
    stage.finish()
}
