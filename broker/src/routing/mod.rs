//! Which core, and the way there. Only this folder, and the code that answers requests, knows that
//! there is more than one core.

pub mod mailbox;
pub mod outbox;
pub mod placement;
pub mod request;
