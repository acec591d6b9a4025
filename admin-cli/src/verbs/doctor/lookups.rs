//! The nsqlookupds that nsqd is to register with: whether they are there, which version they are, and
//! whether their clocks agree with ours.

use super::finding::{Finding, Verdict};
use super::peers::{self, Introduction};
use crate::address::Address;

/// Clocks that are further apart make times in messages and logs misleading.
const SKEW_SECONDS_MAX: u64 = 5;

const CHECK: &str = "nsqlookupd";

/// What one nsqlookupd answered.
#[derive(Clone, Debug)]
pub(super) struct Lookup {
    address: Address,
    answer: Result<Answer, String>,
}

#[derive(Clone, Debug)]
enum Answer {
    /// To nsqd's protocol.
    Protocol,
    /// Over HTTP, with how many seconds its clock is ahead of ours.
    Http { introduction: Introduction, ahead: Option<i64> },
}

/// Asks at the address that nsqd registers at.
pub(super) async fn probe_tcp(address: &Address) -> Lookup {
    let answer = peers::ping_lookup(address).await.map(|()| Answer::Protocol);
    Lookup { address: address.clone(), answer }
}

/// Asks at the address that consumers look topics up at.
pub(super) async fn probe_http(address: &Address) -> Lookup {
    let answer = peers::info(address.as_str()).await.map(|introduction| {
        let now = jiff::Timestamp::now().as_second();
        Answer::Http { ahead: introduction.clock.map(|clock| clock - now), introduction }
    });
    Lookup { address: address.clone(), answer }
}

/// Judges all that were named. One that is down hides nothing as long as another answers.
pub(super) fn judge(lookups: &[Lookup]) -> Vec<Finding> {
    if lookups.is_empty() {
        let found =
            "none was named (--lookupd-tcp-address, --lookupd-http-address), so none was asked";
        return vec![Finding::fine(CHECK, found)];
    }
    let nobody_answers = lookups.iter().all(|lookup| lookup.answer.is_err());
    let is_down = if nobody_answers { Verdict::Wrong } else { Verdict::Warning };
    lookups.iter().map(|lookup| judge_one(lookup, is_down)).collect()
}

fn judge_one(lookup: &Lookup, is_down: Verdict) -> Finding {
    let address = &lookup.address;
    match &lookup.answer {
        Err(reason) => Finding {
            check: CHECK,
            verdict: is_down,
            found: format!("{address} does not answer: {reason}"),
            advice: Some(
                "consumers that ask it do not find nsqd: check that nsqlookupd runs there, that a \
                 firewall lets nsqd through, and that this is the right port (by default 4160 for \
                 --lookupd-tcp-address, 4161 for --lookupd-http-address)"
                    .to_owned(),
            ),
        },
        Ok(Answer::Protocol) => Finding::fine(CHECK, format!("{address} answers nsqd's PING")),
        Ok(Answer::Http { introduction, .. }) if introduction.has_ports => Finding {
            check: CHECK,
            verdict: is_down.max(Verdict::Warning),
            found: format!("{address} is an nsqd ({}), not an nsqlookupd", introduction.version),
            advice: Some("name the HTTP address of nsqlookupd (port 4161 by default)".to_owned()),
        },
        Ok(Answer::Http { introduction, ahead: Some(ahead) })
            if SKEW_SECONDS_MAX < ahead.unsigned_abs() =>
        {
            let direction = if *ahead < 0 { "behind" } else { "ahead of" };
            Finding::warning(
                CHECK,
                format!(
                    "{address} is version {}; its clock is {} s {direction} this one",
                    introduction.version,
                    ahead.unsigned_abs()
                ),
                "times of messages and of log lines cannot be compared: let both machines keep time \
                 (chrony, systemd-timesyncd)",
            )
        }
        Ok(Answer::Http { introduction, ahead }) => {
            let clock = if ahead.is_some() { ", and its clock agrees" } else { "" };
            Finding::fine(CHECK, format!("{address} is version {}{clock}", introduction.version))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(answer: Result<Answer, String>) -> Lookup {
        Lookup { address: "a:4161".parse().unwrap(), answer }
    }

    fn down() -> Lookup {
        lookup(Err("Connection refused".into()))
    }

    fn http(has_ports: bool, ahead: Option<i64>) -> Lookup {
        let introduction = Introduction { version: "1.3.0".into(), has_ports, clock: Some(1) };
        lookup(Ok(Answer::Http { introduction, ahead }))
    }

    #[test]
    fn one_that_is_down_is_a_warning_until_none_is_left() {
        use Verdict::{Fine, Warning, Wrong};
        for (lookups, verdicts) in [
            (vec![], vec![Fine]),
            (vec![lookup(Ok(Answer::Protocol)), down()], vec![Fine, Warning]),
            (vec![down(), http(false, Some(0))], vec![Warning, Fine]),
            (vec![down(), down()], vec![Wrong, Wrong]),
        ] {
            let found: Vec<_> = judge(&lookups).iter().map(|finding| finding.verdict).collect();
            assert_eq!(found, verdicts);
        }
        assert_eq!(judge(&[down()])[0].found, "a:4161 does not answer: Connection refused");
    }

    #[test]
    fn versions_and_clocks_are_told() {
        for (lookup, verdict, found) in [
            (http(false, None), Verdict::Fine, "a:4161 is version 1.3.0"),
            (http(false, Some(-5)), Verdict::Fine, "a:4161 is version 1.3.0, and its clock agrees"),
            (
                http(false, Some(6)),
                Verdict::Warning,
                "a:4161 is version 1.3.0; its clock is 6 s ahead of this one",
            ),
            (
                http(false, Some(-90)),
                Verdict::Warning,
                "a:4161 is version 1.3.0; its clock is 90 s behind this one",
            ),
            (http(true, None), Verdict::Warning, "a:4161 is an nsqd (1.3.0), not an nsqlookupd"),
        ] {
            let finding = judge_one(&lookup, Verdict::Warning);
            assert_eq!((finding.verdict, finding.found.as_str()), (verdict, found));
        }
    }
}
