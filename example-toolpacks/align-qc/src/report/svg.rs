//! Plots as SVG. Colours are classes, so that the page decides them for light and dark.

use std::fmt::Write as _;

use super::{escaped, short, ticks};

const WIDTH: f64 = 1020.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 46.0;

/// Height of a horizontal bar with its gap, and room for the names beside them.
const BAR: f64 = 22.0;
const BAR_NAME: f64 = 200.0;
const BAR_NAME_CHARACTERS: usize = 28;

/// A stretch of a reference: from, to (not included), mean depth, greatest depth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    pub from: u64,
    pub to: u64,
    pub mean: f64,
    pub most: f64,
}

/// Depth along a reference of `bases` bases: an area of means and a line of maxima, in steps.
pub fn coverage(points: &[Point], bases: u64, label: &str) -> String {
    let most = points.iter().map(|point| point.most).fold(1.0, f64::max);
    let at_x = |base: u64| LEFT + base as f64 / bases.max(1) as f64 * (WIDTH - LEFT - RIGHT);
    let bottom = HEIGHT - BOTTOM;
    let at_y = |depth: f64| bottom - depth / (most * 1.05) * (bottom - TOP);
    let mut svg = begin(HEIGHT, label);
    for tick in ticks(most, 4.0) {
        let (y, right, text) = (at_y(tick), WIDTH - RIGHT, short(tick));
        let (text_x, text_y) = (LEFT - 8.0, y + 4.0);
        write!(svg, r#"<line class="grid" x1="{LEFT:.1}" y1="{y:.1}" x2="{right:.1}" y2="{y:.1}"/><text class="tick end" x="{text_x:.1}" y="{text_y:.1}">{text}</text>"#).ok();
    }
    let steps = |value: fn(&Point) -> f64| {
        let mut text = String::new();
        for point in points {
            let y = at_y(value(point));
            write!(text, "{:.1},{y:.1} {:.1},{y:.1} ", at_x(point.from), at_x(point.to)).ok();
        }
        text
    };
    let (means, maxima) = (steps(|point| point.mean), steps(|point| point.most));
    let (start, end) = (at_x(0), at_x(points.last().map_or(0, |last| last.to)));
    write!(svg, r#"<polygon class="mean" points="{start:.1},{bottom:.1} {means}{end:.1},{bottom:.1}"/><polyline class="most" points="{}"/>"#, maxima.trim_end()).ok();
    for tick in ticks(bases as f64, 8.0) {
        let x = LEFT + tick / bases.max(1) as f64 * (WIDTH - LEFT - RIGHT);
        let (end, text_y, text) = (bottom + 4.0, bottom + 18.0, short(tick));
        write!(svg, r#"<line class="axis" x1="{x:.1}" y1="{bottom:.1}" x2="{x:.1}" y2="{end:.1}"/><text class="tick mid" x="{x:.1}" y="{text_y:.1}">{text}</text>"#).ok();
    }
    let (right, middle, side, name_y) =
        (WIDTH - RIGHT, (LEFT + WIDTH - RIGHT) / 2.0, (TOP + bottom) / 2.0, HEIGHT - 8.0);
    write!(svg, r#"<line class="axis" x1="{LEFT:.1}" y1="{bottom:.1}" x2="{right:.1}" y2="{bottom:.1}"/><text class="name mid" x="{middle:.1}" y="{name_y:.1}">position on the reference</text><text class="name mid" transform="translate(13 {side:.1}) rotate(-90)">depth</text></svg>"#).ok();
    svg
}

/// Horizontal bars: name, value, and the words that stand behind the bar.
pub fn bars(bars: &[(String, f64, String)], label: &str) -> String {
    let most = bars.iter().map(|bar| bar.1).fold(f64::MIN_POSITIVE, f64::max);
    let count = u32::try_from(bars.len()).unwrap_or_default();
    let mut svg = begin(f64::from(count) * BAR + 8.0, label);
    for ((name, value, words), row) in bars.iter().zip(0_u32..) {
        let y = f64::from(row) * BAR + 4.0;
        let (text_y, name_x) = (y + 13.0, BAR_NAME - 8.0);
        let width = (value / most * (WIDTH - BAR_NAME - 180.0)).max(0.5);
        let words_x = BAR_NAME + width + 6.0;
        let mut short_name: String = name.chars().take(BAR_NAME_CHARACTERS).collect();
        if short_name.len() < name.len() {
            short_name.push('…');
        }
        let (short_name, words) = (escaped(&short_name), escaped(words));
        write!(svg, r#"<text class="name end" x="{name_x:.1}" y="{text_y:.1}">{short_name}</text><rect class="bar" x="{BAR_NAME:.1}" y="{y:.1}" width="{width:.1}" height="16"/><text class="tick" x="{words_x:.1}" y="{text_y:.1}">{words}</text>"#).ok();
    }
    svg.push_str("</svg>");
    svg
}

fn begin(height: f64, label: &str) -> String {
    let label = escaped(label);
    format!(
        r#"<svg viewBox="0 0 {WIDTH:.0} {height:.0}" role="img" aria-label="{label}" preserveAspectRatio="xMidYMid meet">"#
    )
}
