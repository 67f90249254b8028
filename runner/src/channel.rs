//! The runner's end of the socket: blocking, and the only thing it holds besides what it is sent.

use std::io::{self, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::protocol::{DESCRIPTORS_A_MESSAGE, DESCRIPTORS_MAX, FRAME_BYTES_MAX};

/// One socket to the host.
pub struct Channel {
    stream: UnixStream,
}

impl Channel {
    /// The socket that the host put in place of standard input.
    pub fn from_stdin() -> io::Result<Self> {
        let stream = io::stdin().as_fd().try_clone_to_owned()?;
        Ok(Self { stream: UnixStream::from(stream) })
    }

    /// Sends one frame.
    pub fn send<T: Serialize>(&mut self, message: &T) -> io::Result<()> {
        let body = serde_json::to_vec(message)?;
        if body.len() > FRAME_BYTES_MAX {
            return Err(io::Error::other("a frame is larger than the host would take"));
        }
        let length = u32::try_from(body.len()).map_err(io::Error::other)?;
        let mut frame = Vec::with_capacity(8 + body.len());
        frame.extend_from_slice(&length.to_le_bytes());
        frame.extend_from_slice(&0_u32.to_le_bytes());
        frame.extend_from_slice(&body);
        self.stream.write_all(&frame)
    }

    /// Waits for one frame and its descriptors. The host is trusted here, but for its sizes.
    pub fn receive<T: DeserializeOwned>(&mut self) -> io::Result<(T, Vec<OwnedFd>)> {
        let (mut length, mut count) = ([0; 4], [0; 4]);
        self.stream.read_exact(&mut length)?;
        self.stream.read_exact(&mut count)?;
        let length = usize::try_from(u32::from_le_bytes(length)).map_err(io::Error::other)?;
        let count = usize::try_from(u32::from_le_bytes(count)).map_err(io::Error::other)?;
        if length > FRAME_BYTES_MAX || count > DESCRIPTORS_MAX {
            return Err(io::Error::other("the host sent a frame beyond the protocol's caps"));
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        let mut descriptors = Vec::with_capacity(count);
        while descriptors.len() < count {
            self.receive_descriptors(&mut descriptors)?;
        }
        Ok((serde_json::from_slice(&body)?, descriptors))
    }

    fn receive_descriptors(&self, descriptors: &mut Vec<OwnedFd>) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_A_MESSAGE))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0; 1];
        let received = rustix::net::recvmsg(
            &self.stream,
            &mut [IoSliceMut::new(&mut byte)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        if received.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let before = descriptors.len();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        if descriptors.len() == before {
            return Err(io::Error::other("a message came without its descriptors"));
        }
        Ok(())
    }
}
