//! A host that ends while its steps run, and the one after it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use helixmcp::backend::{BackendError, FoundState, StepEnded};

use super::engine::request;
use super::lab::{Lab, lines, text};

/// Waits until a new file `go` in the step's `out/`, so that a test decides when it ends.
const UNTIL_TOLD: &str = "echo up > /work/out/up; while [ ! -e /work/out/go ]; do sleep 0.1; done; echo done";

#[tokio::test]
async fn a_step_that_outlives_its_host_is_found_and_waited_for() -> Result<()> {
    let lab = Lab::open().await?;
    let order = lab.order(UNTIL_TOLD)?;
    let id = lab.backend.submit(&order).await?;
    // Whoever waits is dropped in the middle of it.
    let out = lab.folders()?.first().context("no folder")?.join("1/0-script/1/out");
    tokio::select! {
        done = lab.backend.wait(&order, &id) => panic!("{done:?}"),
        up = lines(&out.join("up"), 1) => up?,
    }

    let next = lab.again().await?;
    let found = next.find(&order.labels).await?.context("it is not found")?;
    assert_eq!((found.id.as_str(), found.state), (id.as_str(), FoundState::Running));
    assert_eq!(next.submit(&order).await?, id, "what is there is not made again");
    std::fs::write(out.join("go"), "")?;
    let done = next.wait(&order, &found.id).await?;
    assert_eq!((done.ended, text(&done.stdout).as_str()), (StepEnded::Exited { code: 0 }, "done\n"));

    // And once more after its end: the same answer, as often as it is asked for.
    let last = lab.again().await?;
    assert_eq!(last.find(&order.labels).await?.map(|found| found.state), Some(FoundState::Ended));
    assert_eq!(last.submit(&order).await?, id);
    assert_eq!(text(&last.wait(&order, &id).await?.stdout), "done\n");
    Ok(())
}

#[tokio::test]
async fn the_deadline_counts_from_the_start_and_not_from_the_adoption() -> Result<()> {
    let lab = Lab::open().await?;
    let mut order = lab.order("while true; do echo tick >> /work/out/ticks; sleep 1; done")?;
    order.wall = Duration::from_secs(600);
    let id = lab.backend.submit(&order).await?;
    let out = lab.folders()?.first().context("no folder")?.join("1/0-script/1/out");
    lines(&out.join("ticks"), 5).await?;
    order.wall = Duration::from_secs(3);
    let began = Instant::now();
    let done = lab.again().await?.wait(&order, &id).await?;
    assert_eq!(done.ended, StepEnded::TimedOut);
    // The grace of a stop and a loaded machine, but no three seconds more.
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    Ok(())
}

/// I-8: two submissions of one step are one container.
#[tokio::test]
async fn i8_a_step_submitted_twice_is_one_container() -> Result<()> {
    let lab = Lab::open().await?;
    let order = lab.order(UNTIL_TOLD)?;
    let (one, other) = tokio::join!(lab.backend.submit(&order), lab.backend.submit(&order));
    assert_eq!(one?, other?);
    let there = lab.backend.of_home(&lab.home).await?;
    assert_eq!(there.iter().map(|(labels, _)| labels.clone()).collect::<Vec<_>>(), [order.labels.clone()]);
    lab.backend.clear(&order.labels).await?;
    assert!(lab.is_clear().await?, "also what still runs is cleared");
    Ok(())
}

/// The engine refuses a second container of a name, whoever asks and however they were found.
#[tokio::test]
async fn i8_a_name_that_is_taken_by_another_is_refused() -> Result<()> {
    let lab = Lab::open().await?;
    let order = lab.order("true")?;
    let labels = &order.labels;
    let name = format!("helix-{}-{}-1-0-1", labels.home, labels.run);
    let body = serde_json::json!({"Image": order.image.to_string(), "Entrypoint": ["true"], "Cmd": []});
    let made = request("POST", &format!("/containers/create?name={name}"), &body.to_string())?;
    let id = made["Id"].as_str().context(made.to_string())?.to_owned();
    let refused = lab.backend.submit(&order).await;
    request("DELETE", &format!("/containers/{id}?force=1"), "")?;
    assert!(
        matches!(&refused, Err(BackendError::Refused { code: "container_name_taken", .. })),
        "{refused:?}"
    );
    Ok(())
}

#[tokio::test]
async fn i8_two_containers_of_one_step_are_told_apart_by_nobody() -> Result<()> {
    let lab = Lab::open().await?;
    let order = lab.order(UNTIL_TOLD)?;
    lab.backend.submit(&order).await?;
    let labels = serde_json::json!({
        "helix.home": order.labels.home, "helix.run": order.labels.run, "helix.attempt": "1",
        "helix.step": "0", "helix.try": "1",
    });
    let body =
        serde_json::json!({"Image": order.image.to_string(), "Entrypoint": ["true"], "Labels": labels});
    request("POST", "/containers/create", &body.to_string())?;
    for answer in
        [lab.backend.submit(&order).await.map(|_| ()), lab.backend.find(&order.labels).await.map(|_| ())]
    {
        assert!(matches!(&answer, Err(BackendError::Ambiguous { count: 2, .. })), "{answer:?}");
    }
    lab.backend.clear(&order.labels).await?;
    assert!(lab.is_clear().await?, "both go");
    Ok(())
}

#[tokio::test]
async fn a_container_that_vanished_is_lost_and_not_ended() -> Result<()> {
    let lab = Lab::open().await?;
    let order = lab.order(UNTIL_TOLD)?;
    let id = lab.backend.submit(&order).await?;
    let waiting = lab.backend.wait(&order, &id);
    let removing = async {
        let out = lab.folders()?.first().context("no folder")?.join("1/0-script/1/out");
        lines(&out.join("up"), 1).await?;
        request("DELETE", &format!("/containers/{id}?force=1"), "")
    };
    let (done, removed) = tokio::join!(waiting, removing);
    removed?;
    assert!(matches!(&done, Err(BackendError::Lost { .. })), "{done:?}");
    assert_eq!(lab.backend.find(&order.labels).await?, None);
    Ok(())
}
