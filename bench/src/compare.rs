//! The contenders of a row in turn, each over a new folder, several times.
//!
//! They alternate within one run, because a machine that is busy or warm at another hour tells more
//! about the hour than about the broker. Whoever goes later finds a warmer machine: they take turns
//! at that too.

use std::net::SocketAddr;

use crate::contender::Contender;
use crate::contestant::Contestant;
use crate::plan::Plan;
use crate::scenario::{Row, Scenario};
use crate::work::{self, Done};

/// What was measured of a scenario.
pub(crate) struct Measured {
    pub(crate) scenario: &'static Scenario,
    pub(crate) rows: Vec<MeasuredRow>,
}

/// What was measured of a row.
pub(crate) struct MeasuredRow {
    pub(crate) row: &'static Row,
    /// Every round of each contender, in the order of the row's.
    pub(crate) rounds: Vec<(Contender, Vec<Done>)>,
    /// What the generator reaches without a broker, where that can be said.
    pub(crate) ceiling: Option<Done>,
}

/// Measures these scenarios; `tell` is told what happens next.
pub(crate) fn measure(
    scenarios: &[&'static Scenario],
    plan: &Plan,
    null: SocketAddr,
    mut tell: impl FnMut(&str),
) -> Vec<Measured> {
    let total: usize = scenarios
        .iter()
        .flat_map(|scenario| scenario.rows)
        .map(|row| row.contenders.len() * plan.rounds)
        .sum();
    let mut number = 0;
    let mut one_row = |scenario: &Scenario, row: &'static Row| {
        let mut rounds: Vec<_> = row.contenders.iter().map(|who| (*who, Vec::new())).collect();
        let count = rounds.len();
        for round in 0..plan.rounds {
            for step in 0..count {
                let (who, found) = &mut rounds[(round + step) % count];
                number += 1;
                tell(&format!(
                    "[{number}/{total}] {}: {}: {} ({} of {})",
                    scenario.name,
                    row.label,
                    who.name,
                    round + 1,
                    plan.rounds
                ));
                let (program, flags) = who.program(&plan.programs);
                let broker = Contestant::start(&program, &flags, &plan.data);
                found.push(work::run(row.work, broker, plan));
            }
        }
        MeasuredRow { row, rounds, ceiling: work::ceiling(row.work, null, plan) }
    };
    scenarios
        .iter()
        .map(|&scenario| {
            let rows = scenario.rows.iter().map(|row| one_row(scenario, row)).collect();
            Measured { scenario, rows }
        })
        .collect()
}
