//! A client's socket on this core.
//!
//! Waiting goes through the ring; sending is first tried without waiting, straight from where the
//! bytes lie. A socket can leave for another core: what travels is a duplicate of its descriptor.

use super::attention::Attention;
use super::layers::{Layers, Opened};
use super::output::Output;
use crate::descriptor;
use glommio::net::TcpStream;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, sendmsg};
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

    /// This side's address, as text.
    pub fn local_address(&self) -> String {
        let address = self.stream.borrow().local_addr();
        address.map_or_else(|_| String::new(), |here| startup::listen::shown(here).to_string())
    }

    /// Reads what is there into `buffer`; ready with 0 when the peer has closed.
    pub fn poll_read(
        &self,
        attention: &mut Attention<'_, '_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut stream = self.stream.borrow_mut();
        match attention {
            Attention::Wait(context) => Pin::new(&mut *stream).poll_read(context, buffer),
            Attention::Look => {
                match recv(descriptor::borrow(&*stream), buffer, RecvFlags::DONTWAIT) {
                    Ok((length, _)) => Poll::Ready(Ok(length)),
                    Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Poll::Pending,
                    Err(error) => Poll::Ready(Err(error.into())),
                }
            }
        }
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

    /// Sends at most `bytes_max` of the first piece of `output`, as much of it as the system takes
    /// without waiting; [`Sent::Blocked`] when that is nothing.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn send_some(&self, output: &mut Output, bytes_max: usize) -> io::Result<Sent> {
        let piece = output.first();
        let piece = &piece[..piece.len().min(bytes_max)];
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match rustix::net::send(descriptor::borrow(&*self.stream.borrow()), piece, flags) {
            Ok(sent) => output.sent(sent),
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => return Ok(Sent::Blocked),
            Err(error) => return Err(error.into()),
        }
        Ok(Sent::All)
    }

    /// Seals and sends as much as the system takes without waiting.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn send_sealed(&self, layers: &mut Layers, output: &mut Output) -> io::Result<Sent> {
        loop {
            layers.seal(output);
            if self.send(layers.wire())? == Sent::Blocked {
                return Ok(Sent::Blocked);
            }
            if output.is_empty() || layers.is_shaking_hands() {
                return Ok(Sent::All);
            }
        }
    }

    /// Opens what came before, or else reads what is there into `buffer` and opens that; appends
    /// what is inside to `plain`. [`Opened::NeedsInput`] is said after one read, so that others have
    /// their turn before the next.
    ///
    /// # Errors
    /// When the connection is broken, or what came cannot be opened: that is of the kind
    /// `InvalidData`, and what is to be told the peer is on the wire.
    pub fn poll_open(
        &self,
        attention: &mut Attention<'_, '_>,
        buffer: &mut [u8],
        layers: &mut Layers,
        plain: &mut Vec<u8>,
    ) -> Poll<io::Result<Opened>> {
        let broken =
            |broken: super::layers::Broken| io::Error::new(io::ErrorKind::InvalidData, broken.0);
        let opened = layers.open(&[], plain).map_err(broken)?;
        if opened != Opened::NeedsInput {
            return Poll::Ready(Ok(opened));
        }
        match ready!(self.poll_read(attention, buffer))? {
            0 => Poll::Ready(Ok(Opened::End)),
            length => Poll::Ready(layers.open(&buffer[..length], plain).map_err(broken)),
        }
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
