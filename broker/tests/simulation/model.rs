//! What is owed, on a page: for every channel the messages that it owes, how often each was sent,
//! and what it waits for.
//!
//! Times are in milliseconds. Knows no log, no disk and no checkpoint.

use std::collections::BTreeMap;

/// A message by the number that is in its body; numbers are never used again.
pub(crate) type Number = u32;

/// Where a message is, for a channel. One that is nowhere is finished, or was dropped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Place {
    Waiting,
    InFlight { visit: u32, sent: u64, deadline: u64 },
    Deferred { due: u64 },
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Owed {
    pub(crate) place: Place,
    /// How often it was sent.
    pub(crate) attempts: u16,
    /// It must come. What is not certain may come: a crash left it open.
    pub(crate) is_certain: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct ModelChannel {
    pub(crate) is_paused: bool,
    pub(crate) owed: BTreeMap<Number, Owed>,
}

/// A message that no channel has yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unclaimed {
    pub(crate) due: Option<u64>,
    pub(crate) is_certain: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) is_paused: bool,
    pub(crate) waiting: BTreeMap<Number, Unclaimed>,
    pub(crate) channels: BTreeMap<&'static str, ModelChannel>,
}

impl Model {
    /// The topic hands over what waits in it, if it may and somebody is there.
    pub(crate) fn release(&mut self) {
        if self.is_paused || self.channels.is_empty() {
            return;
        }
        for (number, Unclaimed { due, is_certain }) in std::mem::take(&mut self.waiting) {
            let place = due.map_or(Place::Waiting, |due| Place::Deferred { due });
            for channel in self.channels.values_mut() {
                channel.owed.insert(number, Owed { place, attempts: 0, is_certain });
            }
        }
    }

    pub(crate) fn pass_time(&mut self, now: u64) {
        for owed in self.channels.values_mut().flat_map(|channel| channel.owed.values_mut()) {
            if owed.place.wakes_at().is_some_and(|at| at <= now) {
                owed.place = Place::Waiting;
            }
        }
    }

    /// A new process: nobody holds anything any more.
    pub(crate) fn restart(&mut self) {
        for owed in self.channels.values_mut().flat_map(|channel| channel.owed.values_mut()) {
            if let Place::InFlight { .. } = owed.place {
                owed.place = Place::Waiting;
            }
        }
    }

    /// When something certain happens next.
    pub(crate) fn wakes_at(&self) -> Option<u64> {
        let owed = self.channels.values().flat_map(|channel| channel.owed.values());
        owed.filter(|owed| owed.is_certain).filter_map(|owed| owed.place.wakes_at()).min()
    }

    /// Whether a channel has a message to get, now or when the topic hands it over.
    pub(crate) fn owes(&self, channel: &str, number: Number) -> bool {
        self.channels.get(channel).is_some_and(|channel| channel.owed.contains_key(&number))
            || self.waiting.contains_key(&number)
    }

    /// The same of what must come.
    pub(crate) fn owes_certainly(&self, channel: &str, number: Number) -> bool {
        let owed = self.channels.get(channel).and_then(|channel| channel.owed.get(&number));
        owed.is_some_and(|owed| owed.is_certain)
            || self.waiting.get(&number).is_some_and(|unclaimed| unclaimed.is_certain)
    }

    /// The messages that must come.
    pub(crate) fn needed_certainly(&self) -> impl Iterator<Item = Number> + '_ {
        let owed = self.channels.values().flat_map(|channel| &channel.owed);
        let owed = owed.filter(|(_, owed)| owed.is_certain).map(|(number, _)| *number);
        let waiting = self.waiting.iter().filter(|(_, unclaimed)| unclaimed.is_certain);
        owed.chain(waiting.map(|(number, _)| *number))
    }
}

impl Place {
    fn wakes_at(self) -> Option<u64> {
        match self {
            Self::InFlight { deadline: at, .. } | Self::Deferred { due: at } => Some(at),
            Self::Waiting => None,
        }
    }
}

impl ModelChannel {
    pub(crate) fn in_flight_of(&self, visit: u32) -> u64 {
        let theirs =
            |owed: &&Owed| matches!(owed.place, Place::InFlight { visit: v, .. } if v == visit);
        self.owed.values().filter(theirs).count() as u64
    }

    /// How many wait, are in flight, are deferred.
    pub(crate) fn counts(&self) -> (u64, u64, u64) {
        let mut counts = (0, 0, 0);
        for owed in self.owed.values() {
            match owed.place {
                Place::Waiting => counts.0 += 1,
                Place::InFlight { .. } => counts.1 += 1,
                Place::Deferred { .. } => counts.2 += 1,
            }
        }
        counts
    }

    /// Whether there is one that must be delivered as soon as somebody can take it.
    pub(crate) fn has_waiting(&self) -> bool {
        self.owed.values().any(|owed| owed.is_certain && owed.place == Place::Waiting)
    }
}
