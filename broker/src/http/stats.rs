//! `/stats`: what all cores count, as JSON or as text.

use super::Refused;
use super::incoming::Incoming;
use crate::shard::breath::breathe;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use protocol::http::query::Query;
use protocol::http::response::Response;
use protocol::stats::text::Heading;
use protocol::stats::{Filter, merge, pieces};

/// The answer in the form, and as narrow, as the query says.
pub(super) async fn stats(incoming: &mut Incoming<'_>) -> Result<Response, Refused> {
    let shard = incoming.shard;
    let query = incoming.head.query().map_err(|_| Refused::INVALID_REQUEST)?;
    let filter = filter_in(&query);
    let parts = shard.gather(&filter).await;
    let memory = crate::stats::memory_of(&parts, shard.config.memory_bytes_per_shard);
    let mut stats = merge(parts);
    stats.memory = Some(memory);
    filter.apply(&mut stats);
    if query.get("format") == Some("json") {
        return Ok(Response::json(join(pieces::json(stats)).await));
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
    Ok(Response::nsq_text(join(pieces::text(stats, heading)).await))
}

/// Puts pieces together, and lets others have their turn every so often.
async fn join(pieces: impl Iterator<Item = String>) -> String {
    let mut whole = String::new();
    let mut since_turn = 0;
    for piece in pieces {
        whole.push_str(&piece);
        since_turn += piece.len();
        if BYTES_AT_ONCE < since_turn {
            since_turn = 0;
            breathe().await;
        }
    }
    whole
}

/// Bytes of an answer that are made before others have their turn; less than 0.1 ms.
const BYTES_AT_ONCE: usize = 32 << 10;

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
    fn a_moment_is_written_as_gos_rfc_3339() {
        let east = TimeZone::fixed(jiff::tz::offset(2));
        assert_eq!(rfc3339(1_795_352_238, &TimeZone::UTC), "2026-11-22T12:57:18Z");
        assert_eq!(rfc3339(1_795_352_238, &east), "2026-11-22T14:57:18+02:00");
    }
}
