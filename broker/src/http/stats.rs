//! `/stats`: what all cores count, as JSON or as text.

use super::Refused;
use super::incoming::Incoming;
use crate::routing::request::{Answer, Question};
use crate::shard::Shard;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use protocol::http::query::Query;
use protocol::http::response::Response;
use protocol::json::to_go_json;
use protocol::stats::text::{Heading, render};
use protocol::stats::{Filter, MemoryStats, Stats, merge};
use std::rc::Rc;

/// The answer in the form, and as narrow, as the query says.
pub(super) async fn stats(incoming: &mut Incoming<'_>) -> Result<Response, Refused> {
    let shard = incoming.shard;
    let query = incoming.head.query().map_err(|_| Refused::INVALID_REQUEST)?;
    let filter = filter_in(&query);
    let parts = ask_all(shard, &filter).await;
    let memory = memory(&parts, shard.config.memory_bytes_per_shard);
    let mut stats = merge(parts);
    stats.memory = Some(memory);
    filter.apply(&mut stats);
    if query.get("format") == Some("json") {
        return Ok(Response::json(to_go_json(&stats)));
    }
    let now = shard.clock.now();
    // The library keeps the zone, and looks at its small file again only every few minutes.
    let zone = TimeZone::system();
    let heading = Heading {
        version_line: &startup::version::line("nsqd"),
        start_time: &rfc3339(shard.config.started_at, &zone),
        uptime: now.tick.since(crate::clock::Tick(0)),
        now: now.wall.0 / 1_000_000_000,
    };
    Ok(Response::nsq_text(render(&stats, heading)))
}

/// Asks every core at the same time, and waits for all of them.
pub(super) async fn ask_all(shard: &Rc<Shard>, filter: &Filter) -> Vec<Stats> {
    let placement = shard.state.borrow().placement;
    let asked: Vec<_> = placement
        .all()
        .map(|to| {
            let (shard, question) = (shard.clone(), Question::Stats(filter.clone()));
            glommio::spawn_local(async move { shard.ask(to, question).await })
        })
        .collect();
    let mut parts = Vec::with_capacity(asked.len());
    for answer in asked {
        match answer.await {
            Answer::Stats(part) => parts.push(*part),
            other => unreachable!("a question for statistics is not answered with {other:?}"),
        }
    }
    parts
}

/// What a request leaves away. An empty name is no name, and a switch that is neither on nor off is
/// on (NSQ behaviour).
fn filter_in(query: &Query) -> Filter {
    let name = |key| query.get(key).filter(|name| !name.is_empty()).map(str::to_owned);
    let switch = |key| !matches!(query.get(key), Some("false" | "0"));
    Filter {
        topic: name("topic"),
        channel: name("channel"),
        include_clients: switch("include_clients"),
        include_mem: switch("include_mem"),
    }
}

/// The memory of all cores under the names of Go's runtime, as far as they have a meaning here.
///
/// In use is what the cores hold of messages; it is let go of at the budget, which so takes the
/// place of the size at which garbage would be collected. Nothing is collected, so there is neither
/// a pause nor a run, and objects and idle bytes are the allocator's own affair.
fn memory(parts: &[Stats], budget_per_shard: usize) -> MemoryStats {
    let held = parts.iter().filter_map(|part| part.memory.as_ref());
    let budget = budget_per_shard.saturating_mul(parts.len());
    MemoryStats {
        heap_in_use_bytes: held.map(|memory| memory.heap_in_use_bytes).sum(),
        next_gc_bytes: u64::try_from(budget).unwrap_or(u64::MAX),
        ..MemoryStats::default()
    }
}

/// A moment in seconds since 1970 as `2026-11-22T12:57:18Z`, or with the offset of another zone.
fn rfc3339(unix_seconds: i64, zone: &TimeZone) -> String {
    let Ok(moment) = Timestamp::from_second(unix_seconds) else {
        // A clock set beyond the year 9999; the number still says when it was.
        return unix_seconds.to_string();
    };
    let offset = zone.to_offset(moment);
    if offset.seconds() == 0 {
        moment.to_string()
    } else {
        moment.display_with_offset(offset).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_name_is_no_name_and_an_odd_switch_is_on() {
        let filter = |raw: &str| filter_in(&Query::parse(raw).unwrap());
        let everything = Filter::default();
        assert_eq!(filter(""), everything);
        assert_eq!(filter("topic=&channel="), everything);
        for on in ["true", "1", "yes", ""] {
            assert_eq!(filter(&format!("include_clients={on}&include_mem={on}")), everything);
        }
        for off in ["false", "0"] {
            let query = format!("topic=t&channel=c&include_clients={off}&include_mem={off}");
            let narrow = Filter {
                topic: Some("t".to_string()),
                channel: Some("c".to_string()),
                include_clients: false,
                include_mem: false,
            };
            assert_eq!(filter(&query), narrow);
        }
    }

    #[test]
    fn memory_is_the_sum_of_the_cores_and_the_budget_that_of_all() {
        let part = |bytes| Stats {
            memory: Some(MemoryStats { heap_in_use_bytes: bytes, ..MemoryStats::default() }),
            ..Stats::default()
        };
        let sum = memory(&[part(7), Stats::default(), part(5)], 100);
        assert_eq!((sum.heap_in_use_bytes, sum.next_gc_bytes), (12, 300));
    }

    #[test]
    fn a_moment_is_written_as_gos_rfc_3339() {
        let east = TimeZone::fixed(jiff::tz::offset(2));
        assert_eq!(rfc3339(1_795_352_238, &TimeZone::UTC), "2026-11-22T12:57:18Z");
        assert_eq!(rfc3339(1_795_352_238, &east), "2026-11-22T14:57:18+02:00");
    }
}
