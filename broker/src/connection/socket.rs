//! A client's socket on this core.
//!
//! Waiting goes through the ring; sending is first tried without waiting, straight from where the
//! bytes lie. A socket can leave for another core: what travels is a duplicate of its descriptor.

use super::output::Output;
use crate::descriptor;
use glommio::net::TcpStream;
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
use std::cell::RefCell;
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_lite::{AsyncRead, AsyncWrite};

/// See the head of this file.
#[derive(Debug)]
pub struct Socket {
    stream: RefCell<TcpStream>,
}

/// How far sending got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Nothing waits any more.
    All,
    /// The peer must read first.
    Blocked,
}

impl Socket {
    /// Takes a connected socket in on this core.
    ///
    /// # Errors
    /// When the socket cannot be set to work without blocking.
    pub fn adopt(stream: std::net::TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream: RefCell::new(TcpStream::from(socket2::Socket::from(stream))) })
    }

    /// A second descriptor of the same socket, to be adopted by another core.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn duplicate(&self) -> io::Result<std::net::TcpStream> {
        let stream = self.stream.borrow();
        Ok(std::net::TcpStream::from(descriptor::borrow(&*stream).try_clone_to_owned()?))
    }

    /// Reads what is there into `buffer`; ready with 0 when the peer has closed.
    pub fn poll_read(
        &self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_read(context, buffer)
    }

    /// Sends as much as the system takes without waiting.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn send(&self, output: &mut Output) -> io::Result<Sent> {
        while !output.is_empty() {
            let (slices, count) = output.slices();
            let sent = sendmsg(
                descriptor::borrow(&*self.stream.borrow()),
                &slices[..count],
                &mut SendAncillaryBuffer::default(),
                SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
            );
            match sent {
                Ok(sent) => output.sent(sent),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return Ok(Sent::Blocked),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Sent::All)
    }

    /// Sends the first piece of `output` when the system takes bytes again.
    pub fn poll_send(
        &self,
        context: &mut Context<'_>,
        output: &mut Output,
    ) -> Poll<io::Result<()>> {
        let mut stream = self.stream.borrow_mut();
        let sent = ready!(Pin::new(&mut *stream).poll_write(context, output.first()))?;
        output.sent(sent);
        Poll::Ready(Ok(()))
    }

    /// Ends one or both directions. The peer may have ended them before.
    pub fn shut_down(&self, how: Shutdown) {
        let how = match how {
            Shutdown::Read => rustix::net::Shutdown::Read,
            Shutdown::Write => rustix::net::Shutdown::Write,
            Shutdown::Both => rustix::net::Shutdown::Both,
        };
        // Fails only when the connection is gone already, which is what was wanted.
        rustix::net::shutdown(descriptor::borrow(&*self.stream.borrow()), how).ok();
    }
}
