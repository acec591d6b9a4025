//! The broker: topics, channels, their log, and the connections of clients.
//!
//! Every part lives on one core and shares no lock with another.

pub mod descriptor;
pub mod limits;
pub mod log;
pub mod message;
pub mod message_id;
