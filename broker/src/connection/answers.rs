//! The answers a connection owes, in the order of its commands.
//!
//! Clients match answers to commands by position, so the answer to a publish that went to another
//! core must wait for its place, and later ones must wait for it (NSQ behaviour). Errors take part,
//! messages and heartbeats do not.

use std::collections::VecDeque;

/// The place of one answer in its connection's order. Only grows; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AnswerPlace(u64);

/// The places whose answers were not sent to the output yet.
#[derive(Debug)]
pub struct Answers<A> {
    /// `None`: promised, not known yet. Invariant: the first one is `None`, or there is none.
    places: VecDeque<Option<A>>,
    /// The place of the first one.
    first: u64,
}

impl<A> Default for Answers<A> {
    fn default() -> Self {
        Self { places: VecDeque::new(), first: 0 }
    }
}

impl<A> Answers<A> {
    /// How many answers wait for another.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether every answer promised so far was given.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Keeps a place for an answer that will be known later.
    pub fn promise(&mut self) -> AnswerPlace {
        let place = self.first + self.places.len() as u64;
        self.places.push_back(None);
        AnswerPlace(place)
    }

    /// Gives the answer of a place that was promised; `emit` gets it, and those behind it that
    /// waited for it, in order.
    pub fn fulfil(&mut self, place: AnswerPlace, answer: A, mut emit: impl FnMut(A)) {
        let index = usize::try_from(place.0 - self.first).expect("few answers wait");
        self.places[index] = Some(answer);
        while let Some(Some(_)) = self.places.front() {
            let answer = self.places.pop_front().flatten().expect("it is known");
            self.first += 1;
            emit(answer);
        }
    }

    /// Gives an answer that is known now; it goes out at once if no other is waited for.
    pub fn give(&mut self, answer: A, emit: impl FnOnce(A)) {
        if self.places.is_empty() {
            self.first += 1;
            emit(answer);
        } else {
            self.places.push_back(Some(answer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_leave_in_the_order_of_their_commands() {
        let mut answers = Answers::default();
        let mut sent = Vec::new();
        answers.give("a", |answer| sent.push(answer));
        let b = answers.promise();
        let c = answers.promise();
        answers.give("d", |answer| sent.push(answer));
        answers.fulfil(c, "c", |answer| sent.push(answer));
        assert_eq!(sent, ["a"]);
        answers.fulfil(b, "b", |answer| sent.push(answer));
        assert_eq!(sent, ["a", "b", "c", "d"]);
        assert!(answers.is_empty());
        answers.give("e", |answer| sent.push(answer));
        let f = answers.promise();
        answers.fulfil(f, "f", |answer| sent.push(answer));
        assert_eq!(sent, ["a", "b", "c", "d", "e", "f"]);
    }
}
