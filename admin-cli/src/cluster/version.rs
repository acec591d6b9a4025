//! Which of two versions is the older one.
//!
//! Knows: semantic versions, as far as their order goes. What is none counts as older than any
//! (NSQ behaviour).

use std::cmp::Ordering;

/// A version to compare others with.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    numbers: [u64; 3],
    stage: Stage,
}

/// What stands behind a `-`. A version without it comes after all that have it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Before(Vec<Part>),
    #[default]
    Release,
}

/// One part between dots: numbers come before words.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Number(u64),
    Word(String),
}

impl Ord for Part {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(one), Self::Number(other)) => one.cmp(other),
            (Self::Word(one), Self::Word(other)) => one.cmp(other),
            (Self::Number(_), Self::Word(_)) => Ordering::Less,
            (Self::Word(_), Self::Number(_)) => Ordering::Greater,
        }
    }
}

impl PartialOrd for Part {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Version {
    /// Reads `1.3.0-rc.1+build`; what is no version is `0.0.0`.
    pub(super) fn of(text: &str) -> Self {
        Self::parse(text).unwrap_or_default()
    }

    fn parse(text: &str) -> Option<Self> {
        let text = text.split_once('+').map_or(text, |(version, _)| version);
        let (numbers, stage) = match text.split_once('-') {
            Some((numbers, stage)) => {
                let parts = stage.split('.').map(|part| match part.parse() {
                    Ok(number) => Part::Number(number),
                    Err(_) => Part::Word(part.to_owned()),
                });
                (numbers, Stage::Before(parts.collect()))
            }
            None => (text, Stage::Release),
        };
        let numbers: Vec<u64> =
            numbers.split('.').map(|number| number.parse().ok()).collect::<Option<_>>()?;
        Some(Self { numbers: numbers.try_into().ok()?, stage })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_stand_in_their_order_and_what_is_none_comes_first() {
        let ordered = [
            "unknown",
            "0.3.8",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-rc.2",
            "1.0.0-rc.11",
            "1.0.0",
            "1.2.1",
            "1.3.0",
            "1.10.0",
        ];
        for pair in ordered.windows(2) {
            assert!(Version::of(pair[0]) < Version::of(pair[1]), "{pair:?}");
        }
        for same in ["1.3", "", "v1.3.0", "0.0.0"] {
            assert_eq!(Version::of(same), Version::of("unknown"), "{same}");
        }
        assert_eq!(Version::of("1.3.0+a"), Version::of("1.3.0+b"));
    }
}
