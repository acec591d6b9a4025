//! `/livez` and `/readyz`: whether this process should be started anew, and whether clients should
//! be sent here. NSQ has no such routes; its `/ping` says only what the disk does.

use super::about::nothing_but_health;
use crate::shard::Shard;
use futures_lite::FutureExt;
use protocol::http::response::{Response, Status};
use protocol::stats::merge;
use std::rc::Rc;
use std::time::Duration;

/// A core that is alive answers within this, however much it has to do: a turn takes milliseconds.
const ALIVE_WITHIN: Duration = Duration::from_secs(5);
/// A core that clients should be sent to answers within this.
const READY_WITHIN: Duration = Duration::from_secs(1);

const NO_ANSWER: &str = "not all cores answer";

/// 200 while every core answers; else 503: nothing but a new start will help.
pub(super) async fn live(shard: &Rc<Shard>) -> Response {
    match health_within(shard, ALIVE_WITHIN).await {
        Some(_) => Response::text("OK"),
        None => not(NO_ANSWER),
    }
}

/// 200 when every core has recovered its topics and answers, the disk takes what it is given, and
/// the broker is neither draining nor stopping; else 503 with the reason.
pub(super) async fn ready(shard: &Rc<Shard>) -> Response {
    let (is_stopping, is_draining) = {
        let state = shard.state.borrow();
        (state.stopping, state.draining)
    };
    if is_stopping {
        return not("stopping");
    }
    if is_draining {
        return not("draining");
    }
    match health_within(shard, READY_WITHIN).await {
        Some(health) if health == "OK" => Response::text("OK"),
        Some(health) => Response::text(health).with_status(Status::ServiceUnavailable),
        // A core answers when it has recovered.
        None => not(NO_ANSWER),
    }
}

fn not(reason: &str) -> Response {
    Response::text(format!("NOK - {reason}")).with_status(Status::ServiceUnavailable)
}

/// What the cores say of their disks; `None` when one of them says nothing.
async fn health_within(shard: &Rc<Shard>, limit: Duration) -> Option<String> {
    let health = async { Some(merge(shard.gather(&nothing_but_health()).await).health) };
    let too_late = async {
        glommio::timer::sleep(limit).await;
        None
    };
    health.or(too_late).await
}
