//! nsqadmin's own routes below `/api`, which scripts know.
//!
//! Rule (NSQ behaviour): what could be had is shown, with a `message` that begins with `WARNING: `
//! about what could not; only when nobody answers there is nothing but an error, 502
//! `UPSTREAM_ERROR: ...`.
//!
//! | Where do I look for | |
//! |---|---|
//! | what is shown | [`show`] |
//! | what is changed, and who is told | [`change`] |

pub(super) mod change;
pub(super) mod show;

use protocol::http::response::{Response, Status};
use protocol::json::to_go_json;
use serde::Serialize;
use tracing::{error, warn};

use crate::cluster::answer::in_nsq_words;
use crate::cluster::{Asked, Failure, Silence};

/// 200 with JSON.
pub(super) fn json(value: &impl Serialize) -> Response {
    Response::json(to_go_json(value))
}

/// An error with any text.
pub(super) fn refused(status: Status, text: &str) -> Response {
    #[derive(Serialize)]
    struct Error<'a> {
        message: &'a str,
    }
    json(&Error { message: text }).with_status(status)
}

/// The `message` of an answer: what failed, part after part.
#[derive(Default)]
struct Warnings(Vec<String>);

impl Warnings {
    /// Keeps what failed beside a value.
    fn note(&mut self, failures: &[Failure]) {
        if !failures.is_empty() {
            let words = in_nsq_words(failures, "\n");
            warn!("{words}");
            self.0.push(words);
        }
    }

    /// The value of what was asked, or the answer when nobody said anything. `doing` is what stands in
    /// the log behind `failed to `.
    fn take<T>(&mut self, asked: Asked<T>, doing: &str) -> Result<T, Response> {
        let answer = asked.map_err(|silence| silent(&silence, doing))?;
        self.note(&answer.failures);
        Ok(answer.value)
    }

    fn message(&self) -> String {
        if self.0.is_empty() { String::new() } else { format!("WARNING: {}", self.0.join("; ")) }
    }
}

/// The answer when nobody answered.
fn silent(silence: &Silence, doing: &str) -> Response {
    error!("failed to {doing} - {silence}");
    refused(Status::BadGateway, &format!("UPSTREAM_ERROR: {silence}"))
}
