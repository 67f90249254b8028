//! What a guest that took its runner over would try, tried by the runner itself: `helixmcp doctor`
//! and the tests believe a wall only when something ran against it.

#![expect(clippy::disallowed_methods, reason = "a probe does what nobody else may: that is its purpose")]

use std::fs::{self, File};
use std::io::{self, Error};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::FileExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::mpsc;

use crate::protocol::{Attempt, Done, HOST_BYTES};
use crate::{process, walls};

/// A port at which nobody listens: without a wall the answer is another refusal.
const PORT: u16 = 9;

/// Pages are not used before they are written to.
const PAGE_BYTES: usize = 4096;

/// Makes one attempt.
pub fn probe(attempt: Attempt, file: Option<OwnedFd>) -> Done {
    if let Err(message) = walls::close() {
        return Done::Fault { message };
    }
    match attempt {
        Attempt::ReadEnvironment => environment(),
        // The limit ends the process, or refuses the memory: what is left to say is that it did not.
        Attempt::WriteBeyond { limit_bytes } => match file {
            Some(file) => told(write_beyond(&File::from(file), limit_bytes)),
            None => Done::Fault { message: "no file to write into".to_owned() },
        },
        Attempt::AllocateBeyond => match process::limit_file().map(|()| allocate(2 * HOST_BYTES)) {
            Ok(done) => done,
            Err(message) => Done::Fault { message },
        },
        other => told(attempted(&other)),
    }
}

fn attempted(attempt: &Attempt) -> io::Result<String> {
    match attempt {
        Attempt::OpenFile => File::open("/dev/zero").map(|_file| "/dev/zero is open".to_owned()),
        Attempt::WriteFile => {
            File::options().write(true).open("/dev/null").map(|_file| "/dev/null is open".to_owned())
        }
        Attempt::ListFolder => fs::read_dir("/").map(|list| format!("/ has {} entries", list.count())),
        Attempt::UnixSocket => UnixDatagram::unbound().map(|_socket| "there is a socket".to_owned()),
        Attempt::InternetSocket => socket(),
        Attempt::BindTcp => {
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map(|_listener| "a port is bound".to_owned())
        }
        Attempt::ConnectTcp => {
            TcpStream::connect((Ipv4Addr::LOCALHOST, PORT)).map(|_stream| "connected".to_owned())
        }
        Attempt::ConnectAbstract { name } => SocketAddr::from_abstract_name(name)
            .and_then(|address| UnixStream::connect_addr(&address))
            .map(|_stream| "connected".to_owned()),
        // Comes back only when it failed.
        Attempt::Execute => Err(Command::new("/proc/self/exe").arg("--version").exec()),
        Attempt::Fork => Command::new("/proc/self/exe")
            .arg("--version")
            .spawn()
            .and_then(|mut child| child.wait())
            .map(|status| format!("another process ended with {status}")),
        Attempt::SignalParent => signal_parent(),
        Attempt::StartThreads { count } => threads(*count),
        Attempt::UseMemory { bytes } => use_memory(*bytes),
        Attempt::ChangeRoot => rustix::process::chroot("/")
            .map(|()| "this process may change its root".to_owned())
            .map_err(Error::from),
        Attempt::TraceParent
        | Attempt::IoUring
        | Attempt::ShareMemory
        | Attempt::GrowMemoryDown
        | Attempt::NewCode => raw(attempt),
        Attempt::ReadEnvironment | Attempt::WriteBeyond { .. } | Attempt::AllocateBeyond => {
            Err(Error::other("tried elsewhere"))
        }
    }
}

/// A wall refuses in one of these words; anything else means that the attempt got past it.
fn told(result: io::Result<String>) -> Done {
    match result {
        Ok(how) => Done::Probed { refused: false, how },
        Err(error) => {
            let refusals = [libc::EACCES, libc::EPERM, libc::ENOSYS, libc::EAGAIN];
            let refused = error.raw_os_error().is_some_and(|code| refusals.contains(&code));
            Done::Probed { refused, how: error.to_string() }
        }
    }
}

fn environment() -> Done {
    let count = std::env::vars_os().count();
    Done::Probed { refused: count == 0, how: format!("the environment has {count} variables") }
}

fn write_beyond(file: &File, limit_bytes: u64) -> io::Result<String> {
    process::limit_output(limit_bytes).map_err(Error::other)?;
    file.write_all_at(&[1], limit_bytes.saturating_sub(1))?;
    file.write_all_at(&[1], limit_bytes)?;
    Ok(format!("byte {limit_bytes} was written"))
}

fn allocate(bytes: u64) -> Done {
    let mut memory: Vec<u8> = Vec::new();
    let asked = memory.try_reserve_exact(usize::try_from(bytes).unwrap_or(usize::MAX));
    match asked {
        Ok(()) => Done::Probed { refused: false, how: format!("there are {} bytes", memory.capacity()) },
        Err(error) => Done::Probed { refused: true, how: error.to_string() },
    }
}

fn use_memory(bytes: u64) -> io::Result<String> {
    let length = usize::try_from(bytes).map_err(Error::other)?;
    let mut memory = Vec::new();
    memory.try_reserve_exact(length).map_err(Error::other)?;
    memory.resize(length, 0_u8);
    memory.iter_mut().step_by(PAGE_BYTES).for_each(|byte| *byte = 1);
    // Read again, or nothing of it would have to be done.
    let pages: usize = memory.iter().step_by(PAGE_BYTES).map(|byte| usize::from(*byte)).sum();
    Ok(format!("{pages} pages were used"))
}

/// Threads that all live until the last has been started.
fn threads(count: u64) -> io::Result<String> {
    let (end, ended) = mpsc::channel::<()>();
    let ended = std::sync::Mutex::new(ended);
    std::thread::scope(|scope| {
        for _ in 0..count {
            let wait = || drop(ended.lock().map(|ended| ended.recv()));
            if let Err(error) = std::thread::Builder::new().stack_size(64 * 1024).spawn_scoped(scope, wait) {
                drop(end);
                return Err(error);
            }
        }
        drop(end);
        Ok(format!("{count} threads ran at once"))
    })
}

/// No signal is sent: 0 only asks whether one could be.
fn signal_parent() -> io::Result<String> {
    let parent = rustix::process::getppid().ok_or_else(|| Error::other("there is no parent"))?;
    rustix::process::test_kill_process(parent)?;
    Ok("signals reach the parent".to_owned())
}

#[expect(
    unsafe_code,
    reason = "attempts for which there is no safe function, because nobody should make them"
)]
fn socket() -> io::Result<String> {
    // SAFETY: it takes numbers alone; the descriptor ends with the process.
    taken(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0) }.into(), "there is a socket")
}

#[expect(
    unsafe_code,
    reason = "attempts for which there is no safe function, because nobody should make them"
)]
fn raw(attempt: &Attempt) -> io::Result<String> {
    let none = std::ptr::null_mut::<libc::c_void>();
    match attempt {
        Attempt::TraceParent => {
            // SAFETY: seizing stops nobody, and ends with this process.
            let seized = unsafe { libc::ptrace(libc::PTRACE_SEIZE, libc::getppid(), none, none) };
            taken(seized, "the parent is traced")
        }
        Attempt::IoUring => {
            // SAFETY: without a place to write to, the kernel refuses it at the latest.
            taken(unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, none) }, "there is a ring")
        }
        Attempt::ShareMemory => map(libc::PROT_READ, libc::MAP_SHARED, "there is shared memory"),
        Attempt::GrowMemoryDown => {
            let flags = libc::MAP_PRIVATE | libc::MAP_GROWSDOWN;
            map(libc::PROT_READ | libc::PROT_WRITE, flags, "there is memory that grows down")
        }
        _ => map(libc::PROT_READ | libc::PROT_EXEC, libc::MAP_PRIVATE, "there is memory to execute"),
    }
}

#[expect(
    unsafe_code,
    reason = "attempts for which there is no safe function, because nobody should make them"
)]
fn map(protection: libc::c_int, flags: libc::c_int, got: &str) -> io::Result<String> {
    // SAFETY: new memory at a place of the kernel's choice, which nobody uses.
    let memory = unsafe {
        libc::mmap(std::ptr::null_mut(), PAGE_BYTES, protection, flags | libc::MAP_ANONYMOUS, -1, 0)
    };
    if memory == libc::MAP_FAILED { Err(Error::last_os_error()) } else { Ok(got.to_owned()) }
}

fn taken(result: libc::c_long, got: &str) -> io::Result<String> {
    if result < 0 { Err(Error::last_os_error()) } else { Ok(got.to_owned()) }
}
