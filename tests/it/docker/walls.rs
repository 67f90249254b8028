//! What a step can reach, seen from inside.

use anyhow::Result;
use helixmcp::backend::{CaptureError, StepEnded, captured, harvest};

use super::lab::{Lab, name, text};

#[tokio::test]
async fn a_step_reads_its_inputs_and_its_captures_become_objects() -> Result<()> {
    let lab = Lab::open().await?;
    let (input, path) = lab.object(b"reads\n")?;
    let mut order = lab.order(
        "echo said; echo warned >&2; cat /work/in/a.txt /work/in/deep/b.txt > /work/out/both.txt;
         mkdir /work/out/more; cp /work/in/a.txt /work/out/more/same.txt; pwd; hostname",
    )?;
    order.mounts = vec![(name("a.txt")?, path.clone()), (name("deep/b.txt")?, path)];
    order.captures = vec![name("both.txt")?, name("more/same.txt")?];
    let done = lab.run(&order).await?;
    assert_eq!(done.ended, StepEnded::Exited { code: 0 }, "{}", text(&done.stderr));
    assert_eq!(text(&done.stdout), "said\n/work\nstep\n");
    assert_eq!(text(&done.stderr), "warned\n");
    assert!(!done.cut);

    let both = harvest(&lab.store, &done.out, &name("both.txt")?, 1000)?;
    assert_eq!((both.size_bytes, both.digest), (12, helix_ids::Digest::of(b"reads\nreads\n")));
    let same = harvest(&lab.store, &done.out, &name("more/same.txt")?, 1000)?;
    assert_eq!(same.digest, input, "the same bytes are one object");
    // Moved, not copied; and a host that starts after one which had moved it finds it.
    assert!(!done.out.join("both.txt").exists());
    assert_eq!(harvest(&lab.store, &done.out, &name("both.txt")?, 1000)?, both);
    let (_file, seal) = lab.store.open_object(&both.digest, Some(&both.seal))?;
    assert_eq!(seal, both.seal, "its seal holds, so that nobody hashes it again");

    assert!(!lab.is_clear().await?);
    lab.backend.clear(&order.labels).await?;
    assert!(lab.is_clear().await?);
    lab.store.open_object(&both.digest, Some(&both.seal))?;
    Ok(())
}

#[tokio::test]
async fn a_step_writes_to_its_output_and_scratch_alone() -> Result<()> {
    let lab = Lab::open().await?;
    let (input, path) = lab.object(b"reads\n")?;
    let mut order = lab.order(
        "for place in /work/in/a.txt /work/in/new /work/new /new /bin/new /dev/new /proc/sys/kernel/hostname; do
             (echo x > $place) 2>/dev/null && echo wrote $place;
         done;
         rm -f /work/in/a.txt 2>/dev/null; chmod 777 /work/in/a.txt 2>/dev/null && echo changed;
         echo x > /tmp/new && echo x > /work/out/new && echo ok; cp /bin/busybox /tmp/sh && /tmp/sh true",
    )?;
    order.mounts = vec![(name("a.txt")?, path)];
    let done = lab.run(&order).await?;
    assert_eq!(text(&done.stdout), "ok\n");
    // The scratch space runs no programs.
    assert_eq!(done.ended, StepEnded::Exited { code: 126 }, "{}", text(&done.stderr));
    lab.store.open_object(&input, None)?;
    Ok(())
}

#[tokio::test]
async fn a_step_has_no_network() -> Result<()> {
    let lab = Lab::open().await?;
    assert_eq!(lab.say("ls /sys/class/net; tail -n +3 /proc/net/dev | cut -d: -f1").await?, "lo\n    lo\n");
    Ok(())
}

#[tokio::test]
async fn a_step_has_no_privileges() -> Result<()> {
    let lab = Lab::open().await?;
    let said = lab
        .say(
            "id -u; id -g; grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status | tr -d '\\t ';
             ls /dev | tr '\\n' ' '; ulimit -c; ulimit -n; (mknod /work/out/x b 8 0) 2>/dev/null || echo no device",
        )
        .await?;
    let none = "0".repeat(16);
    let capabilities: String =
        ["Inh", "Prm", "Eff", "Bnd", "Amb"].iter().map(|set| format!("Cap{set}:{none}\n")).collect();
    let devices = "core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero ";
    let devices = [devices, devices.trim_start_matches("core ")].map(|devices| {
        format!("65534\n65534\n{capabilities}NoNewPrivs:1\nSeccomp:2\n{devices}0\n4096\nno device\n")
    });
    assert!(devices.contains(&said), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_step_has_a_fixed_environment() -> Result<()> {
    let lab = Lab::open().await?;
    let mut order = lab.order("env | sort | grep -v -e ^PATH= -e ^PWD= -e ^SHLVL=")?;
    order.environment = vec![("THREADS".to_owned(), "2".to_owned())];
    let said = text(&lab.run(&order).await?.stdout);
    let ours = ["HOME=/tmp", "HOSTNAME=step", "LC_ALL=C.UTF-8", "SOURCE_DATE_EPOCH=0", "THREADS=2", "TZ=UTC"];
    // What else is there the image sets, and its digest stands for it.
    for line in ours {
        assert!(said.lines().any(|there| there == line), "{line} is not in\n{said}");
    }
    Ok(())
}

#[tokio::test]
async fn a_step_runs_its_own_command_and_nothing_of_the_images() -> Result<()> {
    let lab = Lab::open().await?;
    let mut order = lab.order("")?;
    order.argv = ["echo", "$HOME", "; exit 7", "", "\"'"].map(str::to_owned).to_vec();
    let done = lab.run(&order).await?;
    assert_eq!(
        (done.ended, text(&done.stdout).as_str()),
        (StepEnded::Exited { code: 0 }, "$HOME ; exit 7  \"'\n")
    );
    Ok(())
}

#[tokio::test]
async fn captures_that_are_no_plain_files_are_refused() -> Result<()> {
    let lab = Lab::open().await?;
    let order = lab.order(
        "cd /work/out; ln -s /etc/passwd link; ln -s . loop; ln -s /etc etc; mkfifo pipe; mkdir folder;
         echo x > one; ln one two; echo 123456 > large; echo fine > fine; ln -s nowhere broken;
         mkdir deep; ln -s ../fine deep/fine",
    )?;
    let done = lab.run(&order).await?;
    assert_eq!(done.ended, StepEnded::Exited { code: 0 }, "{}", text(&done.stderr));
    let link = "a symbolic link, or beneath one";
    for (capture, expected) in [
        ("link", link),
        ("broken", link),
        ("loop/fine", link),
        ("etc/passwd", link),
        ("deep/fine", link),
        ("pipe", "no regular file"),
        ("folder", "a folder"),
        ("one", "a file with more names than one"),
        ("two", "a file with more names than one"),
    ] {
        match harvest(&lab.store, &done.out, &name(capture)?, 6) {
            Err(CaptureError::Unfit { what, .. }) => assert_eq!(what, expected, "{capture}"),
            other => panic!("{capture}: {other:?}"),
        }
    }
    let taken = |capture| captured(&done.out, capture, 6);
    assert!(matches!(taken(&name("large")?), Err(CaptureError::TooLarge { .. })));
    assert!(matches!(taken(&name("nothing")?), Err(CaptureError::NotMade { .. })));
    assert!(matches!(taken(&name("fine/x")?), Err(CaptureError::NotMade { .. })));
    assert_eq!(taken(&name("fine")?)?.size_bytes, 5);
    // And of `out` itself: whoever can replace it by a link leads nobody elsewhere.
    let moved = done.out.with_file_name("elsewhere");
    std::fs::rename(&done.out, &moved)?;
    std::os::unix::fs::symlink(&moved, &done.out)?;
    assert!(taken(&name("fine")?).is_err());
    assert_eq!(lab.store.stored()?, [], "nothing of them is in the store");
    Ok(())
}

#[tokio::test]
async fn what_a_step_builds_is_cleared_however_deep_and_odd() -> Result<()> {
    let lab = Lab::open().await?;
    let mut order = lab.order(
        "cd /work/out; mkdir shut; touch shut/x; chmod 0 shut; touch \"$(printf 'a\\nb\\377')\"; ln -s / root;
         mkfifo pipe; touch -- -rf; i=0; while [ $i -lt 1500 ]; do mkdir d && cd d || exit 1; i=$((i+1)); done",
    )?;
    order.memory_bytes *= 4;
    // Deeper than any capture can lie is too much.
    assert_eq!(lab.run(&order).await?.ended, StepEnded::OutTooLarge);
    lab.backend.clear(&order.labels).await?;
    assert!(lab.is_clear().await?);
    Ok(())
}
