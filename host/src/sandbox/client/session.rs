//! One runner and the socket to it. Dropping a session kills its runner.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use rustix::process::Pid;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::Pace;
use super::cgroup::{Cgroup, Room};
use super::pool::{Ended, Reaper};
use crate::sandbox::protocol::{DESCRIPTORS_A_MESSAGE, Event, FRAME_BYTES_MAX, Standing, Wall, Walls};

/// How long a runner may take to exit once it has closed its socket.
const EXIT_WALL: Duration = Duration::from_secs(2);

/// How long a killed runner may take to be no more: the kernel takes back its memory first.
const GONE_WALL: Duration = Duration::from_secs(30);

/// How much nicer than the host a runner is that lets others come first: for processor time of one of
/// them it has a tenth.
const YIELDS_BY: i32 = 10;

/// By what the wall of system calls ends a runner.
const SIGSYS: i32 = 31;

/// And the one of output bytes, behind our own count.
const SIGXFSZ: i32 = 25;

/// Why a runner gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    #[error("the runner cannot be started: {0}")]
    Start(#[source] io::Error),
    #[error("the runner was lost{}", by(*.signal))]
    Died {
        signal: Option<i32>,
        /// Whether it had taken all that it was sent. If not, it had not begun with it.
        heard: bool,
    },
    #[error("policy requires the wall `{}`, and runners here lack it: {why}", .wall.name())]
    Unwalled { wall: Wall, why: String },
    #[error("the runner was killed and does not go away, so its outputs are not kept")]
    Stays,
    #[error("the runner was lost: its socket failed: {0}")]
    Socket(#[source] io::Error),
    #[error("the runner spoke out of turn")]
    OutOfTurn,
    #[error("a file for an output cannot be made: {0}")]
    Output(#[source] io::Error),
    #[error("what the guest asked for cannot be had: {0}")]
    Asked(#[source] io::Error),
    #[error("the time is over")]
    Wall,
}

fn by(signal: Option<i32>) -> String {
    match signal {
        Some(SIGSYS) => " (it asked the system for what no runner may)".to_owned(),
        Some(SIGXFSZ) => " (it wrote more than it may)".to_owned(),
        Some(signal) => format!(" (signal {signal})"),
        None => String::new(),
    }
}

/// A process that is killed and reaped when it is dropped.
#[derive(Debug)]
pub struct Process {
    child: Option<Child>,
    cgroup: Option<Cgroup>,
    reaper: Reaper,
}

impl Process {
    pub fn new(child: Child, reaper: Reaper) -> Self {
        Self { child: Some(child), cgroup: None, reaper }
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut().and_then(|child| child.try_wait().ok().flatten())
    }

    fn kill(&mut self, gone: Option<oneshot::Sender<()>>) {
        if let Some(mut child) = self.child.take() {
            // It may have exited already; then there is nothing to kill, only to reap.
            drop(child.kill());
            self.reaper.reap(child, self.cgroup.take(), gone);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill(None);
    }
}

/// A runner that has been started, and the host's end of its socket.
#[derive(Debug)]
pub struct Session {
    process: Process,
    stream: UnixStream,
    /// What it compiles for, once it has said so.
    pub engine: String,
    walls: Walls,
    /// Held while the runner has work; a spare has none.
    permit: Option<(OwnedSemaphorePermit, Ended)>,
    /// The number of the border that let it in.
    border: u64,
}

impl Session {
    /// Takes over a started process and waits until it speaks.
    pub async fn begin(process: Process, stream: std::os::unix::net::UnixStream) -> Result<Self, Lost> {
        stream.set_nonblocking(true).map_err(Lost::Socket)?;
        let stream = UnixStream::from_std(stream).map_err(Lost::Socket)?;
        let none = || Standing::Missing("it has not spoken".to_owned());
        let walls = Walls { landlock: none(), seccomp: none() };
        let mut session = Self { process, stream, engine: String::new(), walls, permit: None, border: 0 };
        match session.next().await? {
            Event::Hello { engine, walls } => (session.engine, session.walls) = (engine, walls),
            _ => return Err(Lost::OutOfTurn),
        }
        Ok(session)
    }

    /// The walls that it built around itself.
    pub fn walls(&self) -> &Walls {
        &self.walls
    }

    /// This session, its runner in a cgroup of its own.
    pub fn enclosed(mut self, parents: &[PathBuf], room: Room) -> io::Result<Self> {
        if let Some(child) = &self.process.child {
            self.process.cgroup = Some(Cgroup::enclose(parents, child.id(), room)?);
        }
        Ok(self)
    }

    /// Kills the runner and waits until it is no more: until then it could write to its outputs.
    pub async fn end(mut self) -> Result<(), Lost> {
        let (gone, is_gone) = oneshot::channel();
        self.process.kill(Some(gone));
        match tokio::time::timeout(GONE_WALL, is_gone).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Lost::Stays),
        }
    }

    /// This session, unless its runner died while it waited for work.
    pub fn if_alive(mut self) -> Option<Self> {
        self.process.ended().is_none().then_some(self)
    }

    /// Lets it compete for processors like this from now on. It may have had to yield already, and does
    /// so to its end then: a priority that was given up is had back by nobody without privileges.
    pub fn keep_pace(&self, pace: Pace) {
        let child = self.process.child.as_ref().filter(|_child| pace == Pace::Yields);
        if let Some(pid) = child.and_then(|child| Pid::from_raw(child.id().cast_signed())) {
            let own = rustix::process::getpriority_process(None).unwrap_or(0);
            // Each leads a group of its own: of a process alone it would be the first thread's. A host
            // that may not has runners that compete as others do.
            rustix::process::setpriority_pgrp(Some(pid), own + YIELDS_BY).ok();
        }
    }

    pub fn hold(&mut self, permit: OwnedSemaphorePermit, border: u64, ended: Ended) {
        self.permit = Some((permit, ended));
        self.border = border;
    }

    /// The number of the border that let it in.
    pub fn border(&self) -> u64 {
        self.border
    }

    /// Sends a message and its descriptors.
    pub async fn send<T: Serialize>(&mut self, message: &T, files: &[BorrowedFd<'_>]) -> Result<(), Lost> {
        let sent = self.try_send(message, files).await;
        match sent {
            Ok(()) => Ok(()),
            // A runner that has died says more by its signal than by a broken socket. It is reset once
            // where the runner left something unread, and broken from then on.
            Err(error) => match error.kind() {
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Err(self.died(false).await),
                _ => Err(Lost::Socket(error)),
            },
        }
    }

    async fn try_send<T: Serialize>(&mut self, message: &T, files: &[BorrowedFd<'_>]) -> io::Result<()> {
        let body = serde_json::to_vec(message)?;
        let length = u32::try_from(body.len()).map_err(io::Error::other)?;
        let count = u32::try_from(files.len()).map_err(io::Error::other)?;
        let mut frame = Vec::with_capacity(8 + body.len());
        frame.extend_from_slice(&length.to_le_bytes());
        frame.extend_from_slice(&count.to_le_bytes());
        frame.extend_from_slice(&body);
        self.stream.write_all(&frame).await?;
        for batch in files.chunks(DESCRIPTORS_A_MESSAGE) {
            self.stream.async_io(Interest::WRITABLE, || send_descriptors(&self.stream, batch)).await?;
        }
        Ok(())
    }

    /// The next thing that the runner says.
    pub async fn next(&mut self) -> Result<Event, Lost> {
        match self.receive().await {
            Ok(event) => Ok(event),
            Err(error) => match error.kind() {
                io::ErrorKind::UnexpectedEof => Err(self.died(true).await),
                // The kernel's word for a socket that was closed with something in it unread.
                io::ErrorKind::ConnectionReset => Err(self.died(false).await),
                io::ErrorKind::InvalidData => Err(Lost::OutOfTurn),
                _ => Err(Lost::Socket(error)),
            },
        }
    }

    async fn receive<T: DeserializeOwned>(&mut self) -> io::Result<T> {
        let length = self.stream.read_u32_le().await?;
        let descriptors = self.stream.read_u32_le().await?;
        let length = usize::try_from(length).map_err(io::Error::other)?;
        if length > FRAME_BYTES_MAX || descriptors != 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        serde_json::from_slice(&body).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// What a runner died of. It closed its socket, so it is about to be gone.
    async fn died(&mut self, heard: bool) -> Lost {
        use std::os::unix::process::ExitStatusExt;
        let gone = async {
            loop {
                if let Some(status) = self.process.ended() {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let status = tokio::time::timeout(EXIT_WALL, gone).await;
        Lost::Died { signal: status.ok().and_then(|status| status.signal()), heard }
    }
}

fn send_descriptors(stream: &UnixStream, files: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_A_MESSAGE))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(files)) {
        return Err(io::Error::other("too many descriptors for one message"));
    }
    rustix::net::sendmsg(stream, &[IoSlice::new(&[0])], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}
