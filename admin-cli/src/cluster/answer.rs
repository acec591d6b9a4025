//! What a cluster said, and who of it said nothing.
//!
//! Knows: that some processes fail while others answer, and that all may. Does not know: what was
//! asked.

use std::fmt;

use crate::address::Address;

/// A process that did not answer, or refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Its HTTP address, as it was asked.
    pub(crate) address: Address,
    /// Why, for people: `connection refused`, or what it refused with, such as `TOPIC_NOT_FOUND`.
    pub(crate) reason: String,
    /// The same in the words of NSQ's own tools, which name the whole request.
    pub(crate) in_nsq_words: String,
    /// The status of its answer when it answered with another than 200.
    pub(crate) status: Option<u16>,
}

impl Failure {
    /// Whether it answered that it does not have what was asked for.
    pub(crate) fn is_not_found(&self) -> bool {
        self.status == Some(404)
    }

    /// Whether there is no process at its address.
    pub(crate) fn nobody_listens(&self) -> bool {
        self.status.is_none() && self.reason == "connection refused"
    }
}

impl fmt::Display for Failure {
    /// A sentence without its full stop: `10.0.0.2:4151 does not answer: connection refused`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.status.is_some() { "refuses" } else { "does not answer" };
        write!(f, "{} {verb}: {}", self.address, self.reason)
    }
}

/// Which of the two daemons was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Daemon {
    Nsqd,
    Nsqlookupd,
}

impl fmt::Display for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nsqd => "nsqd",
            Self::Nsqlookupd => "nsqlookupd",
        })
    }
}

/// Nobody who was asked answered. Also when nobody could be asked: then there are no failures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Silence {
    pub(crate) daemon: Daemon,
    pub(crate) failures: Vec<Failure>,
}

impl Silence {
    /// Whether all of them answered that they do not have what was asked for.
    pub(crate) fn is_not_found(&self) -> bool {
        !self.failures.is_empty() && self.failures.iter().all(Failure::is_not_found)
    }
}

impl fmt::Display for Silence {
    /// In the words of NSQ's tools: `failed to query any nsqd: ` and a line for each failure.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed to query any {}: {}", self.daemon, in_nsq_words(&self.failures, "\n"))
    }
}

/// Failures as NSQ's tools list them.
pub(crate) fn in_nsq_words(failures: &[Failure], between: &str) -> String {
    let words: Vec<&str> = failures.iter().map(|failure| failure.in_nsq_words.as_str()).collect();
    words.join(between)
}

/// What those who answered said together, and who did not answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer<T> {
    pub(crate) value: T,
    /// In the order in which they were asked.
    pub(crate) failures: Vec<Failure>,
}

impl<T> Answer<T> {
    /// The same answer with something else made of its value.
    pub(crate) fn map<U>(self, change: impl FnOnce(T) -> U) -> Answer<U> {
        Answer { value: change(self.value), failures: self.failures }
    }
}

/// The outcome of a question to several processes.
pub(crate) type Asked<T> = Result<Answer<T>, Silence>;

/// All answers with the addresses they came from; nobody's answer is an error, and so is nobody to
/// ask (NSQ behaviour).
pub(super) fn gather<T>(
    daemon: Daemon,
    answers: Vec<(Address, Result<T, Failure>)>,
) -> Asked<Vec<(Address, T)>> {
    let mut gathered = Answer { value: Vec::with_capacity(answers.len()), failures: Vec::new() };
    for (address, answer) in answers {
        match answer {
            Ok(value) => gathered.value.push((address, value)),
            Err(failure) => gathered.failures.push(failure),
        }
    }
    if gathered.value.is_empty() {
        return Err(Silence { daemon, failures: gathered.failures });
    }
    Ok(gathered)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(address: &str, status: Option<u16>) -> Failure {
        Failure {
            address: address.parse().unwrap(),
            reason: "why".into(),
            in_nsq_words: format!("{address} words"),
            status,
        }
    }

    #[test]
    fn some_answers_are_an_answer_with_failures_beside_it() {
        let answers = vec![
            ("a:1".parse().unwrap(), Ok(1)),
            ("b:1".parse().unwrap(), Err(failure("b:1", None))),
            ("c:1".parse().unwrap(), Ok(3)),
        ];
        let answer = gather(Daemon::Nsqd, answers).unwrap();
        assert_eq!(answer.failures, [failure("b:1", None)]);
        assert_eq!(answer.map(|all| all.iter().map(|one| one.1).sum::<i32>()).value, 4);
    }

    #[test]
    fn no_answer_is_silence_also_when_nobody_was_asked() {
        let answers: Vec<(Address, Result<(), _>)> = vec![
            ("a:1".parse().unwrap(), Err(failure("a:1", None))),
            ("b:1".parse().unwrap(), Err(failure("b:1", Some(404)))),
        ];
        let silence = gather(Daemon::Nsqlookupd, answers).unwrap_err();
        assert_eq!(silence.to_string(), "failed to query any nsqlookupd: a:1 words\nb:1 words");
        assert!(!silence.is_not_found());
        let nobody = gather::<()>(Daemon::Nsqd, Vec::new()).unwrap_err();
        assert_eq!(nobody.to_string(), "failed to query any nsqd: ");
        assert!(!nobody.is_not_found());
    }

    #[test]
    fn a_failure_says_whether_it_answered() {
        assert_eq!(failure("a:1", None).to_string(), "a:1 does not answer: why");
        assert_eq!(failure("a:1", Some(500)).to_string(), "a:1 refuses: why");
        assert!(failure("a:1", Some(404)).is_not_found());
    }
}
