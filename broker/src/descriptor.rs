//! Descriptors of glommio's sockets and files: the one place with `unsafe`.
//!
//! Justification: glommio offers its sockets and files only as numbers, and takes listening sockets
//! only as numbers. Without this, every send and every append would go through the ring, which was
//! measured at 5 to 7 microseconds against 0.3 for an append of 512 bytes; and ports could not be
//! bound before the cores start, since glommio's own `bind` sets `SO_REUSEPORT`, with which two
//! brokers would share a port in silence; and where `io_uring` is forbidden, glommio could only
//! panic. And a file is synced by the very descriptor that wrote it, opened by whichever way: the
//! kernel reports a failed write-back to the descriptors that were open then, and to no later one
//! for certain.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};

/// The descriptor of `owner`, for as long as `owner` is borrowed.
#[expect(unsafe_code, reason = "see the head of this file")]
pub fn borrow(owner: &impl AsRawFd) -> BorrowedFd<'_> {
    // SAFETY: the descriptor belongs to `owner`, which keeps it open at least as long as it is
    // borrowed, and the result cannot outlive that borrow. It is not -1: glommio hands out only
    // sockets and files that were opened.
    unsafe { BorrowedFd::borrow_raw(owner.as_raw_fd()) }
}

/// The listening socket as one that waits through the ring of this core.
#[expect(unsafe_code, reason = "see the head of this file")]
pub fn adopt_listener(listener: std::net::TcpListener) -> glommio::net::TcpListener {
    // SAFETY: `into_raw_fd` gives the only owner of an open descriptor away, and the new listener
    // becomes its only owner.
    unsafe { glommio::net::TcpListener::from_raw_fd(listener.into_raw_fd()) }
}

/// An open file as one that reads and syncs through the ring of this core. It costs a tenth of the
/// memory of one that glommio opened, which remembers its path.
#[expect(unsafe_code, reason = "see the head of this file")]
pub fn adopt_file(file: OwnedFd) -> glommio::io::BufferedFile {
    // SAFETY: as for listening sockets: the only owner gives it away, and the new one closes it.
    unsafe { glommio::io::BufferedFile::from_raw_fd(file.into_raw_fd()) }
}

/// Whether this process may have an `io_uring` at all.
///
/// glommio ends the process with a panic where it may not, so this is asked first.
///
/// # Errors
/// What the kernel says: not permitted, or not there.
#[expect(unsafe_code, reason = "see the head of this file")]
pub fn try_ring() -> io::Result<()> {
    let mut parameters = rustix::io_uring::io_uring_params::default();
    // SAFETY: all parameters are zero, so the kernel is handed no memory and no descriptor of ours;
    // the ring it makes is closed when its descriptor is dropped, and was never mapped.
    let ring = unsafe { rustix::io_uring::io_uring_setup(1, &mut parameters) }?;
    drop(ring);
    Ok(())
}

/// A connected socket as one that belongs to no core, and may go to any.
///
/// # Errors
/// When the process has no descriptor left.
pub fn release_stream(stream: glommio::net::TcpStream) -> io::Result<std::net::TcpStream> {
    let owned = borrow(&stream).try_clone_to_owned()?;
    drop(stream);
    Ok(std::net::TcpStream::from(owned))
}
