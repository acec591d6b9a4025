//! The bounds that a broker puts on what its clients may send and ask for.
//!
//! Knows: every number of the V2 protocol that a flag can change, and the few that none can. Does
//! not know: the flags' names, nor who holds a client to its bounds.
//! The defaults are NSQ's.

use std::time::Duration;

/// The longest command line, line feed included. A longer one drops the connection without a frame.
pub const LINE_BYTES_MAX: usize = 16_384;

/// The shortest heartbeat interval that a client may ask for.
pub const HEARTBEAT_INTERVAL_MIN: Duration = Duration::from_secs(1);

/// The shortest message timeout that a client may ask for.
pub const MESSAGE_TIMEOUT_MIN: Duration = Duration::from_secs(1);

/// The smallest output buffer that a client may ask for, in bytes.
pub const OUTPUT_BUFFER_BYTES_MIN: usize = 64;

/// The largest sample rate that a client may ask for, in percent.
pub const SAMPLE_RATE_MAX: u8 = 99;

/// What one broker allows its clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest message body, in bytes. The smallest is 1.
    pub max_message_bytes: usize,
    /// The largest body of IDENTIFY, AUTH and MPUB, in bytes. The smallest is 1.
    pub max_body_bytes: usize,
    /// The largest ready count; the smallest is 0.
    pub max_ready_count: u64,
    /// The longest delay of a requeued or deferred message. REQ is clamped to it, DPUB refused.
    pub max_requeue_delay: Duration,
    /// How long a message stays in flight with a client that asked for nothing else.
    pub message_timeout: Duration,
    /// The longest message timeout that a client may ask for, and the longest time in flight that
    /// TOUCH can reach.
    pub max_message_timeout: Duration,
    /// The heartbeat interval of a client that asked for nothing else.
    pub heartbeat_interval: Duration,
    /// The longest heartbeat interval that a client may ask for.
    pub max_heartbeat_interval: Duration,
    /// The output buffer of a client that asked for nothing else, in bytes.
    pub default_output_buffer_bytes: usize,
    /// The largest output buffer that a client may ask for, in bytes.
    pub max_output_buffer_bytes: usize,
    /// How long messages may wait in the output buffer of a client that asked for nothing else.
    pub default_output_buffer_timeout: Duration,
    /// The shortest output buffer timeout that a client may ask for.
    pub min_output_buffer_timeout: Duration,
    /// The longest output buffer timeout that a client may ask for.
    pub max_output_buffer_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message_bytes: 1_048_576,
            max_body_bytes: 5_242_880,
            max_ready_count: 2_500,
            max_requeue_delay: Duration::from_hours(1),
            message_timeout: Duration::from_mins(1),
            max_message_timeout: Duration::from_mins(15),
            heartbeat_interval: Duration::from_secs(30),
            max_heartbeat_interval: Duration::from_mins(1),
            default_output_buffer_bytes: 16_384,
            max_output_buffer_bytes: 65_536,
            default_output_buffer_timeout: Duration::from_millis(250),
            min_output_buffer_timeout: Duration::from_millis(25),
            max_output_buffer_timeout: Duration::from_secs(30),
        }
    }
}

impl Limits {
    /// How many messages one MPUB may hold: what fits into the largest body when each message has
    /// four bytes of size and one of content, behind four bytes of count.
    pub fn max_batch_messages(&self) -> usize {
        self.max_body_bytes.saturating_sub(4) / 5
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_batch_limit_is_that_of_nsq() {
        assert_eq!(Limits::default().max_batch_messages(), 1_048_575);
        assert_eq!(Limits { max_body_bytes: 3, ..Limits::default() }.max_batch_messages(), 0);
    }
}
