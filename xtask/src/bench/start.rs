//! `cold-start`, `idle` and `runner`: what it costs to begin, and to be there.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use helix_tests::{World, wait, world};
use serde_json::{Value, json};

use super::measure::{self, Paired, Took, timed};
use super::peers::{self, Peer};
use super::{Row, Size, mib, shown};

/// Toolpacks in a home that is well used, and by which letter each is told from the others.
const TOOLPACKS: usize = 10;
const LETTERS: &[u8; TOOLPACKS] = b"abdefghijk";

/// More than the bare server takes, in milliseconds.
const COLD_REACH_MS: f64 = 30.0;
const IDLE_REACH_MB: f64 = 40.0;
const RUNNER_REACH: f64 = 5.0;

/// How long a host may take to leave.
const LEAVE_WITHIN: Duration = Duration::from_secs(20);

/// A world with ten toolpacks of real size, compiled already.
fn ten() -> Result<World> {
    let mut world = World::new()?;
    let template = world::toolpack("reads-qc")?;
    for letter in *LETTERS {
        let name = format!("reads-q{}", char::from(letter));
        world.allow(&name, &renamed(template.clone(), letter)?)?;
    }
    world.start()?;
    let mut peer = Peer::start(world.serve()?)?;
    peer.greet()?;
    check_tools(&peer.request("tools/list", &json!({}))?).with_context(|| world.log())?;
    Ok(world)
}

/// The same toolpack with another last letter in its name and its tools': as large as a real one,
/// and another. Names stand in it as text, or as the number that eight letters are.
fn renamed(mut component: Vec<u8>, letter: u8) -> Result<Vec<u8>> {
    for name in [&b"fastq_stats"[..], b"fastq_filter", b"reads-qc"] {
        let mut other = name.to_vec();
        if let Some(last) = other.last_mut() {
            *last = letter;
        }
        let mut found = replace(&mut component, name, &other);
        if let (Ok(name), Ok(other)) = (name.try_into(), other.as_slice().try_into()) {
            found += replace(&mut component, &constant(name), &constant(other));
        }
        ensure!(found > 0, "reads-qc no longer names {}", String::from_utf8_lossy(name));
    }
    Ok(component)
}

/// Replaces bytes by others, as many, and counts how often.
fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) -> usize {
    let places: Vec<usize> = bytes
        .windows(from.len())
        .enumerate()
        .filter(|(_, window)| *window == from)
        .map(|(at, _)| at)
        .collect();
    for at in &places {
        if let Some(place) = bytes.get_mut(*at..at + to.len()) {
            place.copy_from_slice(to);
        }
    }
    places.len()
}

/// Eight letters as the operand of `i64.const`: a signed LEB128, here always of ten bytes.
fn constant(letters: [u8; 8]) -> [u8; 10] {
    let number = u64::from_le_bytes(letters);
    std::array::from_fn(|place| {
        let bits = (number >> (7 * place)).to_le_bytes()[0] & 0x7f;
        if place < 9 { bits | 0x80 } else { bits }
    })
}

fn check_tools(list: &Value) -> Result<()> {
    let tools = list["tools"].as_array().context("no tools")?;
    let ours =
        tools.iter().filter_map(|tool| tool["name"].as_str()).filter(|name| name.starts_with("fastq_"));
    let count = ours.count();
    ensure!(count == 2 * TOOLPACKS, "{count} tools of ten toolpacks");
    Ok(())
}

/// From the start of what a client starts to its list of tools; no host runs yet, what is compiled
/// is kept.
pub fn cold(size: Size) -> Result<Vec<Row>> {
    let mut world = ten()?;
    world.kill_host()?;
    let paired = Paired::time(
        size.of(15, 1),
        |_| {
            let took = listed(world.serve()?, check_tools)?;
            leave(&world)?;
            Ok(took)
        },
        |_| listed(Command::new(peers::program("bare_echo")?), |_| Ok(())),
    )?;
    world.start_host()?;
    let attach = Paired::time(
        size.of(15, 1),
        |_| listed(world.serve()?, check_tools),
        |_| listed(Command::new(peers::program("bare_echo")?), |_| Ok(())),
    )?;
    let more = |paired: &Paired| {
        let pairs = paired.ours.iter().zip(&paired.theirs);
        let differences = pairs.map(|(us, them)| us.wall.as_secs_f64() - them.wall.as_secs_f64());
        measure::median(differences.collect()) * 1e3
    };
    let (us, them) = paired.walls();
    let (attached, _) = attach.walls();
    let figures = format!(
        "start to tools/list with ten toolpacks: no host yet {}, a host runs already {} ({:.1} ms more than the \
         echo), bare echo {}",
        shown(us),
        shown(attached),
        more(&attach),
        shown(them)
    );
    world.finish()?;
    Ok(vec![Row::number("cold-start", more(&paired), "ms", COLD_REACH_MS, figures)])
}

/// How long a server takes from its start to its list of tools.
fn listed(command: Command, check: impl Fn(&Value) -> Result<()>) -> Result<Took> {
    let start = Instant::now();
    let mut peer = Peer::start(command)?;
    peer.greet()?;
    let list = peer.request("tools/list", &json!({}))?;
    let wall = start.elapsed();
    check(&list)?;
    Ok(Took { wall, cpu: Duration::ZERO })
}

/// Has the background host of a home leave, and waits until it has.
fn leave(world: &World) -> Result<()> {
    let lock = world.home().join("host.sock");
    for host in hosts(world) {
        let ended = Command::new("kill").args(["-TERM", &host.to_string()]).status()?;
        ensure!(ended.success(), "the host cannot be told to leave");
    }
    let left = wait::until(LEAVE_WITHIN, || (hosts(world).is_empty() && !lock.exists()).then_some(()));
    left.context("the host did not leave")
}

/// The hosts of a home.
fn hosts(world: &World) -> Vec<u32> {
    let home = world.home();
    let home = home.as_os_str().as_encoded_bytes();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_string_lossy().parse::<u32>().ok());
    let is_host = |id: &u32| {
        let words = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        let mut words = words.split(|byte| *byte == 0);
        words.clone().any(|word| word == home) && words.any(|word| word == b"host")
    };
    ids.filter(is_host).collect()
}

/// Memory of a host that has ten toolpacks and nothing to do.
pub fn idle(_size: Size) -> Result<Vec<Row>> {
    let mut world = ten()?;
    world.kill_host()?;
    world.start_host()?;
    let mut peer = Peer::start(world.serve()?)?;
    peer.greet()?;
    check_tools(&peer.request("tools/list", &json!({}))?)?;
    let host = world.host_pid().context("no host")?;
    let rss = measure::memory(host, "status", "VmRSS")?;
    let own = measure::memory(host, "status", "RssAnon")?;
    let relay = measure::memory(peer.id(), "status", "VmRSS")?;
    let spare: u64 = measure::children(host)
        .iter()
        .map(|runner| measure::memory(*runner, "status", "VmRSS").unwrap_or_default())
        .sum();
    let figures = format!(
        "host {:.1} MB resident (of it {:.1} MB its own, the rest its file); beside it the spare runner {:.1} MB \
         and each client's relay {:.1} MB, of the same file",
        mb(rss),
        mb(own),
        mb(spare),
        mb(relay)
    );
    drop(peer);
    world.finish()?;
    Ok(vec![Row::number("idle", mb(rss), "MB", IDLE_REACH_MB, figures)])
}

fn mb(bytes: u64) -> f64 {
    mib(bytes) * 1.048_576
}

/// A runner from its start to its first word, against `/bin/true` from start to end.
pub fn runner(size: Size) -> Result<Vec<Row>> {
    let binary = world::binary()?;
    let paired = Paired::time(
        size.of(200, 5),
        |_| {
            let mut wall = Duration::ZERO;
            let took = timed(&[], || {
                wall = hello_of(&binary)?;
                Ok(())
            })?;
            Ok(Took { wall, ..took })
        },
        |_| {
            timed(&[], || {
                let ended = Command::new("/bin/true").status()?;
                ensure!(ended.success(), "/bin/true failed");
                Ok(())
            })
        },
    )?;
    let (us, them) = paired.walls();
    let figures = format!("a runner that says hello {}, /bin/true {}", shown(us), shown(them));
    Ok(vec![Row::ratio("runner", &paired, RUNNER_REACH, figures)])
}

fn hello_of(binary: &std::path::Path) -> Result<Duration> {
    let (mut ours, theirs) = UnixStream::pair()?;
    let start = Instant::now();
    let mut command = Command::new(binary);
    command.arg("runner").env_clear().current_dir("/").stdin(Stdio::from(OwnedFd::from(theirs)));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    // The command holds the other end: without it, a runner that dies at once would hang us.
    drop(command);
    let mut head = [0; 8];
    ours.read_exact(&mut head).context("the runner said nothing")?;
    let wall = start.elapsed();
    let mut rest = Vec::new();
    ours.shutdown(std::net::Shutdown::Write)?;
    ours.read_to_end(&mut rest)?;
    child.wait()?;
    ensure!(String::from_utf8_lossy(&rest).contains("hello"), "no hello");
    Ok(wall)
}
