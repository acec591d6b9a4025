//! The figures as a picture: how many times nsqd's rate, and which part of its processor time.
//!
//! Bars grow from the line of "the same" to both sides, on a scale of doublings, so that twice as
//! much and half as much look alike.

use std::fmt::Write as _;

use super::summaries;
use crate::compare::Measured;

const WIDTH: f64 = 860.0;
const LABEL_WIDTH: f64 = 360.0;
const LINE: f64 = 34.0;
const BAR: f64 = 12.0;
/// Doublings that fit on each side of the middle.
const DOUBLINGS: f64 = 6.0;

/// A bar of the figure.
struct Bar {
    label: String,
    /// Ours, of nsqd's.
    rate: Option<f64>,
    cost: Option<f64>,
}

/// An SVG picture of all rows that compare ours with nsqd.
pub(crate) fn render(all: &[Measured]) -> String {
    let bars: Vec<Bar> = all.iter().flat_map(bars).collect();
    let height = LINE * bars.len() as f64 + 70.0;
    let middle = LABEL_WIDTH + (WIDTH - LABEL_WIDTH) / 2.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\" role=\"img\" \
         aria-label=\"ringnsq beside nsqd\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    let mut add = |text: String| writeln!(svg, "{text}").expect("a string takes text");
    add(
        "<text x=\"12\" y=\"24\" font-size=\"14\" font-weight=\"600\">ringnsq beside nsqd 1.3.0</text>\n\
         <rect x=\"12\" y=\"36\" width=\"12\" height=\"12\" fill=\"#1f6feb\"/><text x=\"30\" y=\"46\">messages a second: right is more</text>\n\
         <rect x=\"252\" y=\"36\" width=\"12\" height=\"12\" fill=\"#2da44e\"/><text x=\"270\" y=\"46\">CPU a message: left is less</text>"
            .to_owned(),
    );
    let base = 60.0;
    for doubling in -5..=5_i32 {
        let x = position(2_f64.powi(doubling), middle);
        let name = match doubling {
            0 => "the same".to_owned(),
            1.. => format!("x{}", 1 << doubling),
            _ => format!("1/{}", 1 << -doubling),
        };
        let color = if doubling == 0 { "#57606a" } else { "#d0d7de" };
        add(format!(
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{base}\" y2=\"{}\" stroke=\"{color}\"/>\
             <text x=\"{x:.1}\" y=\"{}\" fill=\"#57606a\" font-size=\"10\" text-anchor=\"middle\">{name}</text>",
            height - 4.0,
            base - 4.0,
        ));
    }
    for (index, bar) in bars.iter().enumerate() {
        let y = base + 4.0 + LINE * index as f64;
        add(format!(
            "<text x=\"12\" y=\"{:.1}\">{}</text>",
            y + LINE / 2.0,
            bar.label.replace('&', "&amp;").replace('<', "&lt;")
        ));
        for (value, offset, color) in [(bar.rate, 2.0, "#1f6feb"), (bar.cost, 2.0 + BAR, "#2da44e")]
        {
            let Some(value) = value.filter(|value| 0.0 < *value) else { continue };
            let x = position(value, middle);
            let (left, width) = (x.min(middle), (x - middle).abs().max(1.0));
            add(format!(
                "<rect x=\"{left:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"{color}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" font-size=\"10\" text-anchor=\"{}\">{value:.2}</text>",
                y + offset,
                BAR - 2.0,
                if x < middle { left - 3.0 } else { left + width + 3.0 },
                y + offset + 9.0,
                if x < middle { "end" } else { "start" },
            ));
        }
    }
    svg + "</svg>\n"
}

fn position(ratio: f64, middle: f64) -> f64 {
    let half = (WIDTH - LABEL_WIDTH) / 2.0;
    middle + ratio.log2().clamp(-DOUBLINGS, DOUBLINGS) / DOUBLINGS * (half - 30.0)
}

fn bars(measured: &Measured) -> Vec<Bar> {
    measured
        .rows
        .iter()
        .filter_map(|row| {
            let all = summaries(row);
            let nsqd = all.first().filter(|first| first.name.starts_with("nsqd"))?;
            let ours = all.iter().find(|summary| summary.name.starts_with("ours"))?;
            let rate = ours.rate.zip(nsqd.rate).map(|(ours, nsqd)| ours / nsqd);
            let cost = ours.cost.zip(nsqd.cost).map(|(ours, nsqd)| ours / nsqd);
            rate?;
            let label = format!("{}: {}", measured.scenario.name, row.row.label);
            Some(Bar { label, rate, cost })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twice_and_half_lie_as_far_from_the_middle() {
        assert_eq!(position(1.0, 500.0), 500.0);
        let (twice, half) = (position(2.0, 500.0), position(0.5, 500.0));
        assert!((twice - 500.0 - (500.0 - half)).abs() < 1e-9 && 500.0 < twice);
        assert_eq!(position(1e9, 500.0), position(64.0, 500.0));
    }
}
