//! A client's socket on this core.
//!
//! It is waited for with all others of the core ([`super::readiness`]), read from when something came,
//! and sent to without waiting, straight from where the bytes lie. A socket can leave for another core:
//! what travels is a duplicate of its descriptor.

use super::layers::{Layers, Opened};
use super::output::Output;
use super::readiness::{Readiness, Watch};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, sendmsg};
use std::io;
use std::net::{Shutdown, TcpStream};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// See the head of this file.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    watch: Watch,
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
    /// When the socket cannot be set to work without blocking, or not be watched.
    pub fn adopt(stream: TcpStream, readiness: &Rc<Readiness>) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let watch = readiness.watch(&stream)?;
        Ok(Self { stream, watch })
    }

    /// A second descriptor of the same socket, to be adopted by another core.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn duplicate(&self) -> io::Result<TcpStream> {
        self.stream.try_clone()
    }

    /// This side's address, as text.
    pub fn local_address(&self) -> String {
        let address = self.stream.local_addr();
        address.map_or_else(|_| String::new(), |here| startup::listen::shown(here).to_string())
    }

    /// Reads what is there into `buffer`; ready with 0 when the peer has closed.
    pub fn poll_read(
        &self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        while self.watch.can_read(context) {
            match recv(&self.stream, &mut *buffer, RecvFlags::DONTWAIT) {
                Ok((length, _)) => {
                    if length < buffer.len() {
                        self.watch.has_read_all();
                    }
                    return Poll::Ready(Ok(length));
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => self.watch.has_nothing_to_read(),
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
        Poll::Pending
    }

    /// Reading by the clock: what comes wakes nobody until [`Self::unmute`], and each time that
    /// something may be there [`Self::may_have_come`] says so.
    ///
    /// # Errors
    /// None that is known.
    pub fn mute(&self) -> io::Result<()> {
        self.watch.mute(&self.stream)
    }

    /// What comes, and what came meanwhile, wakes who waits for it.
    ///
    /// # Errors
    /// None that is known.
    pub fn unmute(&self) -> io::Result<()> {
        self.watch.unmute(&self.stream)
    }

    /// See [`Self::mute`].
    pub fn may_have_come(&self) {
        self.watch.may_have_come();
    }

    /// Sends as much as the system takes without waiting.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn send(&self, output: &mut Output) -> io::Result<Sent> {
        while !output.is_empty() {
            let (slices, count) = output.slices();
            let sent = sendmsg(
                &self.stream,
                &slices[..count],
                &mut SendAncillaryBuffer::default(),
                SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
            );
            match sent {
                Ok(sent) => output.sent(sent),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => {
                    self.watch.has_no_room();
                    return Ok(Sent::Blocked);
                }
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
        match rustix::net::send(&self.stream, piece, flags) {
            Ok(sent) => output.sent(sent),
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => {
                self.watch.has_no_room();
                return Ok(Sent::Blocked);
            }
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
        context: &mut Context<'_>,
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
        match ready!(self.poll_read(context, buffer))? {
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
        while self.watch.can_write(context) {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match rustix::net::send(&self.stream, output.first(), flags) {
                Ok(sent) => {
                    output.sent(sent);
                    return Poll::Ready(Ok(()));
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => self.watch.has_no_room(),
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
        Poll::Pending
    }

    /// Ends one or both directions. The peer may have ended them before.
    pub fn shut_down(&self, how: Shutdown) {
        let how = match how {
            Shutdown::Read => rustix::net::Shutdown::Read,
            Shutdown::Write => rustix::net::Shutdown::Write,
            Shutdown::Both => rustix::net::Shutdown::Both,
        };
        // Fails only when the connection is gone already, which is what was wanted.
        rustix::net::shutdown(&self.stream, how).ok();
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.watch.leave(&self.stream);
    }
}
