//! What a client may do, as an authorization server said, and until when.
//!
//! Knows: the rule by which grants cover a command, and what was found before. Does not know: who
//! is asked, or how.
//!
//! Rules (NSQ behaviour): SUB needs an authorization with `subscribe` whose topic matches, and one
//! of whose channels matches; a publish needs one with `publish`, and one of its channels must match
//! the empty name. Expressions are searched for, not anchored. What is past its time is asked for
//! again at the next command that needs it; a consumer that only consumes is never asked about.
//!
//! An expression costs a thousand times what a comparison does, so it is looked at once for each
//! topic that a client publishes to, and forgotten: ten thousand clients keep names, not automata.

use crate::clock::Tick;
use protocol::authorization::{Grants, Permission, Secret};
use protocol::name::{ChannelName, TopicName};
use regex::bytes::{Regex, RegexBuilder};
use std::collections::BTreeSet;
use std::time::Duration;

/// An answer with more expressions than this is refused: all of them are looked at for each topic
/// that a client names, on the core that serves it.
const EXPRESSIONS_MAX: usize = 1_000;
/// Bytes that one expression may take once it is compiled.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// Whether a client may do what it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Granted,
    /// It may not.
    Denied,
    /// It was not asked for yet: AUTH must come first.
    Unknown,
    /// What it was granted is past its time.
    Expired,
}

/// See the head of this file. Moves with its connection.
#[derive(Debug, Default)]
pub struct Authorization {
    /// What the client said about itself.
    secret: Option<Secret>,
    granted: Option<Granted>,
}

#[derive(Debug)]
struct Granted {
    grants: Grants,
    expires: Tick,
    /// Where publishing was found to be granted.
    publishes: BTreeSet<TopicName>,
    /// The last of these that was asked about: most clients publish to one.
    last: Option<TopicName>,
}

impl Authorization {
    /// What the client said about itself, if it did.
    pub fn secret(&self) -> Option<&Secret> {
        self.secret.as_ref()
    }

    /// The client says something about itself.
    pub fn introduce(&mut self, secret: Secret) {
        self.secret = Some(secret);
    }

    /// An authorization server has answered.
    pub fn grant(&mut self, grants: Grants, now: Tick) {
        let expires = now.plus(Duration::from_secs(grants.ttl_seconds));
        self.granted = Some(Granted { grants, expires, publishes: BTreeSet::new(), last: None });
    }

    /// What it was granted last, past its time or not.
    pub fn grants(&self) -> Option<&Grants> {
        self.granted.as_ref().map(|granted| &granted.grants)
    }

    /// Whether it was granted anything.
    pub fn has_any(&self) -> bool {
        self.grants().is_some_and(|grants| !grants.authorizations.is_empty())
    }

    /// Whether it may publish to a topic.
    pub fn may_publish(&mut self, topic: TopicName, now: Tick) -> Verdict {
        let granted = match self.current(now) {
            Ok(granted) => granted,
            Err(verdict) => return verdict,
        };
        if granted.last == Some(topic) {
            return Verdict::Granted;
        }
        if !granted.publishes.contains(&topic) {
            if !covers(&granted.grants, Permission::Publish, topic.as_str(), "") {
                return Verdict::Denied;
            }
            granted.publishes.insert(topic);
        }
        granted.last = Some(topic);
        Verdict::Granted
    }

    /// Whether it may subscribe to a channel.
    pub fn may_subscribe(&mut self, topic: TopicName, channel: ChannelName, now: Tick) -> Verdict {
        match self.current(now) {
            Ok(Granted { grants, .. }) => {
                let (topic, channel) = (topic.as_str(), channel.as_str());
                let is_covered = covers(grants, Permission::Subscribe, topic, channel);
                if is_covered { Verdict::Granted } else { Verdict::Denied }
            }
            Err(verdict) => verdict,
        }
    }

    fn current(&mut self, now: Tick) -> Result<&mut Granted, Verdict> {
        match &mut self.granted {
            Some(granted) if granted.expires < now => Err(Verdict::Expired),
            Some(granted) => Ok(granted),
            None => Err(Verdict::Unknown),
        }
    }
}

/// Whether one of the authorizations is for this.
fn covers(grants: &Grants, permission: Permission, topic: &str, channel: &str) -> bool {
    // What cannot be compiled was refused when it came.
    let matches = |expression: &str, name: &str| {
        compile(expression).is_ok_and(|expression| expression.is_match(name.as_bytes()))
    };
    grants.authorizations.iter().any(|authorization| {
        authorization.permissions.contains(&permission)
            && matches(&authorization.topic, topic)
            && authorization.channels.iter().any(|expression| matches(expression, channel))
    })
}

/// Whether every expression can be looked for. May take long where there are many.
///
/// # Errors
/// The first that cannot, and why, for the operator.
pub fn check_expressions(grants: &Grants) -> Result<(), String> {
    let count: usize = grants.authorizations.iter().map(|one| 1 + one.channels.len()).sum();
    if EXPRESSIONS_MAX < count {
        return Err(format!("{count} expressions are more than {EXPRESSIONS_MAX}"));
    }
    for authorization in &grants.authorizations {
        let topic = &authorization.topic;
        compile(topic).map_err(|error| format!("unable to compile topic {topic:?} {error}"))?;
        for channel in &authorization.channels {
            compile(channel)
                .map_err(|error| format!("unable to compile channel {channel:?} {error}"))?;
        }
    }
    Ok(())
}

fn compile(expression: &str) -> Result<Regex, String> {
    if let Some(part) = read_otherwise_by_go(expression) {
        return Err(format!("{part} has another meaning here than in Go's expressions"));
    }
    // Names are ASCII, and so are Go's `\d`, `\w` and `\s`; only what speaks of other letters needs
    // their tables.
    let with_unicode = |unicode| {
        let mut builder = RegexBuilder::new(expression);
        builder.unicode(unicode).size_limit(COMPILED_BYTES_MAX).build()
    };
    with_unicode(false).or_else(|_| with_unicode(true)).map_err(|error| error.to_string())
}

/// The part of an expression that Go's library reads as something else than ours, without either
/// complaining: what an operator meant by it is what Go makes of it, so it must not be taken.
///
/// Inside a class Go knows neither further classes nor `&&`, `--` and `~~`; and `\<`, `\>` and
/// `\b{` are a sign, a sign, and a boundary before a sign.
fn read_otherwise_by_go(expression: &str) -> Option<&'static str> {
    let mut rest = expression;
    let mut is_in_class = false;
    while let Some(first) = rest.chars().next() {
        let behind = &rest[first.len_utf8()..];
        let starts = |with: &str| rest.starts_with(with);
        if first == '\\' {
            for part in [r"\<", r"\>", r"\b{"] {
                if starts(part) {
                    return Some(part);
                }
            }
            let escaped = behind.chars().next().map_or(0, char::len_utf8);
            rest = &behind[escaped..];
            continue;
        }
        if is_in_class {
            for part in ["&&", "--", "~~"] {
                if starts(part) {
                    return Some(part);
                }
            }
            if first == '[' && !starts("[:") {
                return Some("[");
            }
            if starts("[:") {
                // A named class, such as `[:alpha:]`.
                rest = rest.split_once(":]").map_or("", |(_, behind)| behind);
                continue;
            }
            is_in_class = first != ']';
        } else if first == '[' {
            is_in_class = true;
            // A bracket that stands first is one of the class's signs.
            let behind = behind.strip_prefix('^').unwrap_or(behind);
            rest = behind.strip_prefix(']').unwrap_or(behind);
            continue;
        }
        rest = behind;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::authorization::Authorization as Grant;

    fn topic(name: &str) -> TopicName {
        TopicName::parse(name.as_bytes()).unwrap()
    }

    fn channel(name: &str) -> ChannelName {
        ChannelName::parse(name.as_bytes()).unwrap()
    }

    fn grant(topic: &str, channels: &[&str], permissions: &[Permission]) -> Grant {
        Grant {
            topic: topic.to_owned(),
            channels: channels.iter().map(|&channel| channel.to_owned()).collect(),
            permissions: permissions.to_vec(),
        }
    }

    fn granted(authorizations: Vec<Grant>) -> Authorization {
        let mut authorization = Authorization::default();
        let grants = Grants { ttl_seconds: 10, authorizations, ..Grants::default() };
        authorization.grant(grants, Tick(0));
        authorization
    }

    const BOTH: &[Permission] = &[Permission::Subscribe, Permission::Publish];

    #[test]
    fn a_publish_is_a_channel_without_a_name() {
        for (expression, channels, permissions, publish, subscribe) in [
            (".*", &[".*"][..], BOTH, Verdict::Granted, Verdict::Granted),
            ("^t$", &["^c$", "^$"], BOTH, Verdict::Granted, Verdict::Granted),
            ("^t$", &["^c$"], BOTH, Verdict::Denied, Verdict::Granted),
            (".*", &[], BOTH, Verdict::Denied, Verdict::Denied),
            ("", &[""], BOTH, Verdict::Granted, Verdict::Granted),
            ("^u", &[".*"], BOTH, Verdict::Denied, Verdict::Denied),
            (".*", &[".*"], &[Permission::Publish], Verdict::Granted, Verdict::Denied),
            (".*", &[".*"], &[Permission::Subscribe], Verdict::Denied, Verdict::Granted),
            (".*", &[".*"], &[], Verdict::Denied, Verdict::Denied),
        ] {
            let mut authorization = granted(vec![grant(expression, channels, permissions)]);
            let found = [
                authorization.may_publish(topic("t"), Tick(0)),
                authorization.may_subscribe(topic("t"), channel("c"), Tick(0)),
            ];
            assert_eq!(found, [publish, subscribe], "{expression} {channels:?} {permissions:?}");
        }
    }

    #[test]
    fn one_authorization_must_cover_all_of_a_command() {
        let mut authorization = granted(vec![
            grant("^a", &["^x$"], BOTH),
            grant("^b", &["^y$", "^$"], BOTH),
            grant("mid", &["^$"], BOTH),
        ]);
        let mut may = |name, of| authorization.may_subscribe(topic(name), channel(of), Tick(0));
        assert_eq!(may("a1", "x"), Verdict::Granted);
        assert_eq!(may("a1", "y"), Verdict::Denied);
        assert_eq!(may("b1", "y"), Verdict::Granted);
        for (name, verdict) in [
            ("b1", Verdict::Granted),
            ("amidst", Verdict::Granted),
            ("a1", Verdict::Denied),
            ("b1", Verdict::Granted),
            ("b2", Verdict::Granted),
        ] {
            assert_eq!(authorization.may_publish(topic(name), Tick(0)), verdict, "{name}");
        }
        let known = authorization.granted.unwrap().publishes;
        assert_eq!(known, ["amidst", "b1", "b2"].map(topic).into());
    }

    #[test]
    fn grants_end_after_their_time_and_none_are_worth_nothing() {
        let mut authorization = Authorization::default();
        assert_eq!(authorization.may_publish(topic("t"), Tick(0)), Verdict::Unknown);
        let end = Tick(10_000_000_000);
        authorization = granted(vec![grant(".*", &[".*"], BOTH)]);
        assert_eq!(authorization.may_publish(topic("t"), end), Verdict::Granted);
        assert_eq!(authorization.may_publish(topic("t"), Tick(end.0 + 1)), Verdict::Expired);
        authorization.grant(Grants { ttl_seconds: u64::MAX, ..Grants::default() }, end);
        // It was asked for again, and nothing is left of it.
        assert!(!authorization.has_any());
        assert_eq!(authorization.may_publish(topic("t"), end), Verdict::Denied);
    }

    #[test]
    fn expressions_are_gos_or_refused() {
        let is_good = |expression: &str| {
            let in_topic =
                Grants { authorizations: vec![grant(expression, &[], BOTH)], ..Grants::default() };
            let in_channel = Grants {
                authorizations: vec![grant("", &[expression], BOTH)],
                ..Grants::default()
            };
            let good = check_expressions(&in_topic).is_ok();
            assert_eq!(check_expressions(&in_channel).is_ok(), good, "{expression}");
            good
        };
        for expression in [
            "",
            ".*",
            "^(a|b)$",
            r"^[.a-zA-Z0-9_-]+(#ephemeral)?$",
            r"(?i)topic",
            r"\d{3,5}\w*\s?",
            r"[[:alpha:]]x",
            r"[]a]",
            r"[^]a]",
            r"[\[a]",
            r"a&&b--c~~",
            r"\p{Greek}",
            r"[\p{L}\d]",
            r"\.\-\_\#\/",
            r"(?P<name>a)(?:b)",
            r"a*?",
            r"\bx\b",
            r"\Aa\z",
            // Go refuses it, so nobody has it.
            "a**",
        ] {
            assert!(is_good(expression), "{expression}");
        }
        for expression in [
            "(",
            "*",
            "[a",
            r"(?=a)",
            r"(a)\1",
            r"[a[b]]",
            r"[a&&b]",
            r"[a--b]",
            r"[a~~b]",
            r"\<a",
            r"a\>",
            r"\b{start}",
            r"(a{1000}){1000}",
            // Go knows these three.
            r"\Qa.b\E",
            r"\101",
            "a{,3}",
        ] {
            assert!(!is_good(expression), "{expression}");
        }
        let many = vec![grant("a", &["b"], BOTH); EXPRESSIONS_MAX / 2 + 1];
        let many = Grants { authorizations: many, ..Grants::default() };
        assert!(check_expressions(&many).unwrap_err().contains("1002 expressions"));
    }
}
