//! The contenders of a row in turn, each over a new folder, several times.
//!
//! They alternate within one run, because a machine that is busy or warm at another hour tells more
//! about the hour than about the broker. Whoever goes later finds a warmer machine: they take turns
//! at that too.

use std::net::SocketAddr;

use crate::contender::Contender;
use crate::contestant::Contestant;
use crate::peers::Peer;
use crate::plan::Plan;
use crate::scenario::{Row, Scenario};
use crate::work::{self, Done};

/// What was measured of a scenario.
pub(crate) struct Measured {
    pub(crate) scenario: &'static Scenario,
    /// Programs that would be used and are not installed: what needs them was left out.
    pub(crate) missing: Vec<&'static str>,
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
        .map(|row| contenders(row, plan).count() * plan.rounds)
        .sum();
    let mut number = 0;
    let mut one_row = |scenario: &Scenario, row: &'static Row| {
        let mut rounds: Vec<_> = contenders(row, plan).map(|who| (*who, Vec::new())).collect();
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
                let (program, mut flags) = who.program(&plan.programs);
                flags.extend(row.work.flags(plan));
                found.push(if let Some(peer) = who.peer() {
                    let broker = Contestant::start_peer(peer, &program, &flags, &plan.data);
                    work::run_by_peer(peer, row.work, &broker, plan)
                } else {
                    work::run(row.work, Contestant::start(&program, &flags, &plan.data), plan)
                });
            }
        }
        // A peer has a ceiling of its own.
        let is_nsq = row.contenders.iter().all(|who| who.peer().is_none());
        let ceiling = if is_nsq { work::ceiling(row.work, null, plan) } else { None };
        MeasuredRow { row, rounds, ceiling }
    };
    scenarios
        .iter()
        .map(|&scenario| {
            let missing = missing(scenario, plan);
            let rows = scenario.rows.iter().filter(|row| contenders(row, plan).next().is_some());
            let rows = rows.map(|row| one_row(scenario, row)).collect();
            Measured { scenario, missing, rows }
        })
        .collect()
}

/// Those of a row that can take part: what they need is installed, and there are cores for them.
fn contenders(row: &'static Row, plan: &Plan) -> impl Iterator<Item = &'static Contender> {
    row.contenders
        .iter()
        .filter(|who| who.cores <= plan.cores && missing_for(row, who, plan).next().is_none())
}

/// Which programs keep a contender from a row, because they are not installed.
fn missing_for(row: &Row, who: &Contender, plan: &Plan) -> impl Iterator<Item = &'static str> {
    let needed = row.work.needs().into_iter().chain(who.peer().map(Peer::program));
    needed.filter(|name| plan.programs.installed(name).is_none())
}

/// The programs that a scenario would have, each once.
fn missing(scenario: &Scenario, plan: &Plan) -> Vec<&'static str> {
    let of_row =
        |row: &'static Row| row.contenders.iter().flat_map(move |who| missing_for(row, who, plan));
    let mut names: Vec<_> = scenario.rows.iter().flat_map(of_row).collect();
    names.sort_unstable();
    names.dedup();
    names
}
