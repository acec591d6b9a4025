//! What was measured, in numbers: the median of the rounds, and how far they lie apart.

pub(crate) mod figure;
pub(crate) mod json;
pub(crate) mod table;

use crate::compare::MeasuredRow;
use crate::work::Done;

/// One contender at one kind of work: medians.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Summary {
    pub(crate) name: &'static str,
    /// Messages a second.
    pub(crate) rate: Option<f64>,
    /// The greatest rate less the smallest, of the median.
    pub(crate) spread: Option<f64>,
    /// The broker's processor time in microseconds a message.
    pub(crate) cost: Option<f64>,
    /// The broker's processor time, of one core's.
    pub(crate) load: f64,
    /// Seconds of the work.
    pub(crate) seconds: f64,
    /// Microseconds at [`QUANTILES`], and at most.
    pub(crate) waits: Option<[f64; 4]>,
    pub(crate) peak_mebibytes: f64,
    pub(crate) written_mebibytes: f64,
    pub(crate) bytes_each: Option<f64>,
}

/// Those waits that are told, before the greatest.
pub(crate) const QUANTILES: [f64; 3] = [0.5, 0.99, 0.999];

/// The contenders of a row, in its order.
pub(crate) fn summaries(measured: &MeasuredRow) -> Vec<Summary> {
    measured.rounds.iter().map(|(who, rounds)| summary(who.name, rounds)).collect()
}

fn summary(name: &'static str, rounds: &[Done]) -> Summary {
    let of = |value: &dyn Fn(&Done) -> Option<f64>| {
        let values: Option<Vec<f64>> = rounds.iter().map(value).collect();
        values.filter(|values| !values.is_empty())
    };
    let middle = |value: &dyn Fn(&Done) -> Option<f64>| of(value).map(median);
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let has_messages = |done: &Done| 0 < done.messages;
    let rate =
        |done: &Done| has_messages(done).then(|| done.messages as f64 / done.time.as_secs_f64());
    let wait = |index: usize| {
        middle(&|done: &Done| {
            let waits = done.waits.as_ref()?;
            let quantile = QUANTILES.get(index);
            Some(quantile.map_or(waits.max(), |&at| waits.value_at_quantile(at)) as f64)
        })
    };
    let spread = of(&rate).map(|rates| {
        let (low, high) = rates
            .iter()
            .fold((f64::MAX, 0.0_f64), |(low, high), rate| (low.min(*rate), high.max(*rate)));
        (high - low) / median(rates)
    });
    let load = |done: &Done| Some(done.processor_time.as_secs_f64() / done.time.as_secs_f64());
    Summary {
        name,
        rate: middle(&rate),
        spread,
        cost: middle(&|done| {
            has_messages(done)
                .then(|| done.processor_time.as_secs_f64() * 1e6 / done.messages as f64)
        }),
        load: middle(&load).unwrap_or(0.0),
        seconds: middle(&|done| Some(done.time.as_secs_f64())).unwrap_or(0.0),
        waits: wait(0).map(|half| {
            [half, wait(1).unwrap_or(0.0), wait(2).unwrap_or(0.0), wait(3).unwrap_or(0.0)]
        }),
        peak_mebibytes: middle(&|done| Some(mebibytes(done.peak_bytes))).unwrap_or(0.0),
        written_mebibytes: middle(&|done| Some(mebibytes(done.written_bytes))).unwrap_or(0.0),
        bytes_each: middle(&|done| done.bytes_each),
    }
}

/// The middle of some values, or what is between the two in the middle.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle - 1], values[middle])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_median_is_the_middle_or_between_the_two_middle_values() {
        for (values, expected) in
            [(&[3.0][..], 3.0), (&[9.0, 1.0, 2.0], 2.0), (&[4.0, 1.0, 2.0, 100.0], 3.0)]
        {
            assert_eq!(median(values.iter().copied()), expected, "{values:?}");
        }
    }

    #[test]
    fn a_summary_is_of_medians() {
        let rounds =
            [(100, 2, 10), (400, 2, 20), (900, 3, 90)].map(|(messages, seconds, milliseconds)| {
                Done {
                    messages,
                    time: Duration::from_secs(seconds),
                    processor_time: Duration::from_millis(milliseconds),
                    peak_bytes: messages << 20,
                    ..Done::default()
                }
            });
        let summary = summary("a", &rounds);
        // Rates 50, 200 and 300; costs 100, 50 and 100.
        assert_eq!(summary.rate, Some(200.0));
        assert_eq!(summary.spread, Some(1.25));
        assert_eq!(summary.cost, Some(100.0));
        assert_eq!(summary.load, 0.01);
        assert_eq!(summary.peak_mebibytes, 400.0);
        assert_eq!((summary.waits, summary.bytes_each), (None, None));
    }
}
