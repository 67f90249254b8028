//! Pictures of a tally: an HTML page with SVG plots for people, one PNG for a glance.
//!
//! The same counts give the same bytes: no time, no random ids, numbers with fixed digits.

mod html;
mod png;
mod svg;

use crate::stats::{Counted, Position};

pub use html::html;
pub use png::png;

/// Most points of a line: more cannot be seen.
const POINTS_MAX: usize = 240;

/// Most bars of a histogram.
const BARS_MAX: u64 = 60;

/// A histogram's bar: from, to (both included), count.
pub type Bar = (u64, u64, u64);

/// Points of a file's plots by position.
fn positions(file: &Counted) -> Vec<Position> {
    Position::coarse(&file.tally, POINTS_MAX)
}

/// Reads by length.
fn length_bars(file: &Counted) -> Vec<Bar> {
    let (least, most) = (file.summary.length_min, file.summary.length_max);
    if file.summary.reads == 0 {
        return Vec::new();
    }
    let width = round_width((most - least) / BARS_MAX + 1);
    let start = least / width * width;
    let mut bars: Vec<Bar> = (0..=(most - start) / width)
        .map(|bar| (start + bar * width, start + (bar + 1) * width - 1, 0))
        .collect();
    for (length, reads) in file.tally.lengths.counts() {
        let bar = usize::try_from((length - start) / width).unwrap_or(usize::MAX);
        if let Some(bar) = bars.get_mut(bar) {
            bar.2 += reads;
        }
    }
    bars
}

/// The next of 1, 2, 5, 10, 20, 50, …: a width that a person can read.
fn round_width(least: u64) -> u64 {
    let mut power = 1;
    loop {
        for step in [1, 2, 5] {
            if step * power >= least {
                return step * power;
            }
        }
        power *= 10;
    }
}

/// Reads by the quality of their mean error, up to the highest that occurs.
fn quality_bars(file: &Counted) -> Vec<Bar> {
    let counts = &file.tally.read_scores;
    let end = counts.iter().rposition(|&count| count > 0).map_or(0, |last| last.max(40) + 1);
    (0..).zip(counts.iter().take(end)).map(|(score, &count)| (score, score, count)).collect()
}

/// Reads by GC percentage, two to a bar.
fn gc_bars(file: &Counted) -> Vec<Bar> {
    let counts = file.tally.read_gc.chunks(2);
    (0..).zip(counts).map(|(bar, counts)| (2 * bar, (2 * bar + 1).min(100), counts.iter().sum())).collect()
}

/// A count with a thin space between thousands.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// A count in four characters or so.
fn short(count: f64) -> String {
    for (unit, suffix) in [(1e9, "G"), (1e6, "M"), (1e3, "k")] {
        if count >= unit {
            let scaled = format!("{:.1}", count / unit);
            return format!("{}{suffix}", scaled.strip_suffix(".0").unwrap_or(&scaled));
        }
    }
    format!("{count:.0}")
}

/// About `count` round values from `least` to `most`.
fn ticks(least: f64, most: f64, count: f64) -> Vec<f64> {
    let rough = ((most - least) / count).max(f64::MIN_POSITIVE);
    let power = 10_f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    let step = steps.into_iter().find(|step| *step >= rough * 0.999).unwrap_or(rough).max(1.0);
    let mut at = (least / step).ceil() * step;
    let mut ticks = Vec::new();
    while at <= most * 1.000_001 && ticks.len() < 50 {
        ticks.push(at);
        at += step;
    }
    ticks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_made_for_reading() {
        assert_eq!(grouped(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(grouped(999), "999");
        assert_eq!(short(1500.0), "1.5k");
        assert_eq!(short(2e6), "2M");
        assert_eq!(short(0.0), "0");
        assert_eq!(ticks(0.0, 41.0, 5.0), [0.0, 10.0, 20.0, 30.0, 40.0]);
        assert_eq!(ticks(1.0, 150.0, 6.0), [50.0, 100.0, 150.0]);
        assert_eq!((round_width(1), round_width(3), round_width(11)), (1, 5, 20));
    }
}
