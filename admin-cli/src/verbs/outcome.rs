//! How a verb that lists or changes things tells what became of it.
//!
//! Knows: that failures go to standard error beside results on standard output, and which exit code
//! they give. Does not know: what was asked.

use protocol::json::to_go_json;
use serde::Serialize;

use super::columns::counted;
use crate::cluster::{Answer, Changed, Failure};
use crate::terminal::{Ending, Output, note, visible};

/// What the help of such a verb ends with.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  not done: no process answers, or one refuses; standard error says which and why
  2  flags are wrong
  3  not done: the answer to the question was no, or nobody was there to ask
  4  done or shown in part: some processes failed; standard error names them
";

/// A process that failed, in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct FailureReport {
    pub(crate) address: String,
    pub(crate) error: String,
}

impl FailureReport {
    /// All of them.
    pub(crate) fn list(failures: &[Failure]) -> Vec<Self> {
        let report = |failure: &Failure| Self {
            address: failure.address.to_string(),
            error: failure.reason.clone(),
        };
        failures.iter().map(report).collect()
    }
}

/// A result on standard output: text for people, or one line of JSON.
pub(crate) async fn show(
    is_json: bool,
    json: &impl Serialize,
    text: impl FnOnce() -> String,
) -> Result<(), Ending> {
    let text = match is_json {
        true => format!("{}\n", to_go_json(json)),
        false => visible(&text()).into_owned(),
    };
    Output::open().write(text.as_bytes()).await
}

/// Says who failed, which makes of a success one in part.
pub(crate) fn end(failures: &[Failure]) -> Result<(), Ending> {
    for failure in failures {
        note(&failure.to_string());
    }
    if failures.is_empty() { Ok(()) } else { Err(Ending::Partial) }
}

/// What became of a change, in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ChangeReport<'a> {
    pub(crate) topic: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) channel: Option<&'a str>,
    /// What was done: `created`, `deleted` and so on.
    pub(crate) change: &'a str,
    /// The nsqlookupds that did it.
    pub(crate) nsqlookupds: Vec<String>,
    /// The nsqds that did it.
    pub(crate) nsqds: Vec<String>,
    pub(crate) failed: Vec<FailureReport>,
}

/// Shows what became of one change. `name` is what was changed, `change` the word for what was done.
/// Who does not have it is no failure while somebody else had it.
pub(crate) async fn show_change(
    is_json: bool,
    name: Name<'_>,
    change: &str,
    mut answer: Answer<Changed>,
) -> Result<(), Ending> {
    let changed = answer.value;
    if !changed.is_empty() {
        answer.failures.retain(|failure| !failure.is_not_found());
    }
    let report = ChangeReport {
        topic: name.topic,
        channel: name.channel,
        change,
        nsqlookupds: changed.lookups.iter().map(ToString::to_string).collect(),
        nsqds: changed.brokers.iter().map(ToString::to_string).collect(),
        failed: FailureReport::list(&answer.failures),
    };
    let nothing = changed.is_empty();
    show(is_json, &report, || {
        if nothing { String::new() } else { format!("{change} {name} {}\n", places(&changed)) }
    })
    .await?;
    if nothing {
        let reasons: String =
            answer.failures.iter().map(|failure| format!("\n  {failure}")).collect();
        let text = format!("{name} was not {change}: no process has it{reasons}");
        return Err(Ending::Failed(text));
    }
    end(&answer.failures)
}

/// A topic, or a channel of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Name<'a> {
    pub(crate) topic: &'a str,
    pub(crate) channel: Option<&'a str>,
}

impl std::fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.channel {
            None => f.write_str(self.topic),
            Some(channel) => write!(f, "{}/{channel}", self.topic),
        }
    }
}

/// `at 2 nsqlookupds and 1 nsqd`.
fn places(changed: &Changed) -> String {
    let count = |addresses: &[_], one| {
        let count = i128::try_from(addresses.len()).expect("addresses fit into memory");
        (count != 0).then(|| counted(count, one))
    };
    let places = [count(&changed.lookups, "nsqlookupd"), count(&changed.brokers, "nsqd")]
        .into_iter()
        .flatten();
    format!("at {}", places.collect::<Vec<_>>().join(" and "))
}

/// The worse of two outcomes, for a verb that does several things one after the other.
pub(crate) fn worse(one: Result<(), Ending>, other: Result<(), Ending>) -> Result<(), Ending> {
    match (one, other) {
        (Ok(()), other) => other,
        (one, Ok(())) => one,
        // A part was done, whichever of them failed wholly.
        (Err(Ending::Partial), Err(Ending::Failed(text)))
        | (Err(Ending::Failed(text)), Err(Ending::Partial)) => {
            note(&text);
            Err(Ending::Partial)
        }
        (Err(one), Err(_)) => Err(one),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted() {
        let at = |text: &str| text.parse().unwrap();
        let changed = Changed { lookups: vec![at("a:1"), at("b:1")], brokers: vec![at("c:1")] };
        assert_eq!(places(&changed), "at 2 nsqlookupds and 1 nsqd");
        let changed = Changed { lookups: Vec::new(), ..changed };
        assert_eq!(places(&changed), "at 1 nsqd");
    }
}
