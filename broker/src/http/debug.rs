//! `/debug/...`: what the process knows of itself, in the places where Go's runtime shows its own.
//!
//! Does not know: what stands on the pages; that is [`startup::debug`]'s.

use super::Refused;
use super::incoming::Incoming;
use protocol::http::response::{Response, Status};
use startup::debug::Page;

/// A page; 501 with what to do instead for the one that there is not.
pub(super) fn page(page: Page) -> Response {
    let response = Response::debug_page(page.content_type(), page.body());
    if page.is_offered() { response } else { response.with_status(Status::NotImplemented) }
}

/// There are no locks to look at, so any number is fine and nothing follows. What is none is refused
/// in Go's words.
pub(super) fn set_block_rate(incoming: &Incoming<'_>) -> Result<Response, Refused> {
    let query = incoming.head.query().map_err(|_| Refused::INVALID_REQUEST)?;
    let rate = query.get("rate").unwrap_or_default();
    let digits = rate.strip_prefix(['+', '-']).unwrap_or(rate);
    let reason = if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        "invalid syntax"
    } else if rate.parse::<i64>().is_err() {
        "value out of range"
    } else {
        return Ok(Response::empty());
    };
    let text = format!("invalid block rate : strconv.Atoi: parsing {rate:?}: {reason}");
    Ok(Response::text(text).with_status(Status::BadRequest))
}
