//! The figures for programs: every round, not only the middle one.

use serde_json::{Value, json};

use super::QUANTILES;
use crate::compare::Measured;
use crate::work::Done;

/// Everything, with what stands above the tables.
pub(crate) fn render(machine: &str, all: &[Measured]) -> Value {
    let scenarios: Vec<Value> = all.iter().map(scenario).collect();
    let machine: Vec<&str> = machine.lines().map(|line| line.trim_start_matches("- ")).collect();
    json!({ "machine": machine, "scenarios": scenarios })
}

fn scenario(measured: &Measured) -> Value {
    let rows: Vec<Value> = measured
        .rows
        .iter()
        .map(|row| {
            let contenders: Vec<Value> = row
                .rounds
                .iter()
                .map(|(who, rounds)| {
                    let rounds: Vec<Value> = rounds.iter().map(round).collect();
                    json!({ "broker": who.name, "rounds": rounds })
                })
                .collect();
            let ceiling = row.ceiling.as_ref().map(round);
            json!({ "row": row.row.label, "brokers": contenders, "generator_alone": ceiling })
        })
        .collect();
    json!({ "scenario": measured.scenario.name, "shows": measured.scenario.shows, "missing": measured.missing, "rows": rows })
}

fn round(done: &Done) -> Value {
    let waits = done.waits.as_ref().map(|waits| {
        let at: Vec<u64> = QUANTILES.iter().map(|&at| waits.value_at_quantile(at)).collect();
        json!({ "p50": at[0], "p99": at[1], "p99.9": at[2], "most": waits.max() })
    });
    json!({
        "messages": done.messages,
        "seconds": done.time.as_secs_f64(),
        "processor_seconds": done.processor_time.as_secs_f64(),
        "waits_us": waits,
        "peak_bytes": done.peak_bytes,
        "written_bytes": done.written_bytes,
        "bytes_each": done.bytes_each,
    })
}
