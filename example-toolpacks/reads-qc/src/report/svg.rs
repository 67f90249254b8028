//! Plots as SVG. Colours are classes, so that the page decides them for light and dark.

use std::fmt::Write as _;

use super::{Bar, short, ticks};
use crate::stats::Position;

// About the size at which a page shows two of them side by side, so that text keeps its size.
const WIDTH: f64 = 540.0;
const HEIGHT: f64 = 250.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 48.0;

/// Axes with their ranges, and what was drawn on them.
struct Plot {
    x: (f64, f64),
    y: (f64, f64),
    body: String,
}

impl Plot {
    fn new(x: (f64, f64), y: (f64, f64)) -> Self {
        Self { x, y, body: String::new() }
    }

    fn at_x(&self, value: f64) -> f64 {
        LEFT + (value - self.x.0) / (self.x.1 - self.x.0).max(1e-9) * (WIDTH - LEFT - RIGHT)
    }

    fn at_y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - (value - self.y.0) / (self.y.1 - self.y.0).max(1e-9) * (HEIGHT - TOP - BOTTOM)
    }

    fn add(&mut self, svg: &std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        self.body.write_fmt(*svg).ok();
    }

    fn rect(&mut self, class: &str, (x0, x1): (f64, f64), (y0, y1): (f64, f64), title: &str) {
        let (left, right, top, bottom) = (self.at_x(x0), self.at_x(x1), self.at_y(y1), self.at_y(y0));
        let (width, height) = ((right - left).max(0.2), (bottom - top).max(0.0));
        let title = if title.is_empty() { String::new() } else { format!("<title>{title}</title>") };
        self.add(&format_args!(
            r#"<rect class="{class}" x="{left:.1}" y="{top:.1}" width="{width:.1}" height="{height:.1}">{title}</rect>"#
        ));
    }

    fn points(&self, points: impl Iterator<Item = (f64, f64)>) -> String {
        let mut text = String::new();
        for (x, y) in points {
            write!(text, "{:.1},{:.1} ", self.at_x(x), self.at_y(y)).ok();
        }
        text
    }

    fn line(&mut self, class: &str, points: impl Iterator<Item = (f64, f64)>) {
        let points = self.points(points);
        self.add(&format_args!(r#"<polyline class="line {class}" points="{}"/>"#, points.trim_end()));
    }

    fn area(&mut self, class: &str, points: impl Iterator<Item = (f64, f64)>) {
        let points = self.points(points);
        self.add(&format_args!(r#"<polygon class="{class}" points="{}"/>"#, points.trim_end()));
    }

    /// Grid, axes and their names around what was drawn.
    fn finish(self, label: &str, x_name: &str, y_name: &str) -> String {
        let mut svg = format!(
            r#"<svg viewBox="0 0 {WIDTH:.0} {HEIGHT:.0}" role="img" aria-label="{label}" preserveAspectRatio="xMidYMid meet">"#
        );
        let bottom = HEIGHT - BOTTOM;
        for tick in ticks(self.y.0, self.y.1, 5.0) {
            let (y, right, text) = (self.at_y(tick), WIDTH - RIGHT, short(tick));
            let (text_x, text_y) = (LEFT - 8.0, y + 4.0);
            write!(svg, r#"<line class="grid" x1="{LEFT:.1}" y1="{y:.1}" x2="{right:.1}" y2="{y:.1}"/><text class="tick end" x="{text_x:.1}" y="{text_y:.1}">{text}</text>"#).ok();
        }
        svg.push_str(&self.body);
        for tick in ticks(self.x.0, self.x.1, 8.0) {
            let (x, text) = (self.at_x(tick), short(tick));
            let (end, text_y) = (bottom + 4.0, bottom + 18.0);
            write!(svg, r#"<line class="axis" x1="{x:.1}" y1="{bottom:.1}" x2="{x:.1}" y2="{end:.1}"/><text class="tick mid" x="{x:.1}" y="{text_y:.1}">{text}</text>"#).ok();
        }
        let (right, x_middle, y_middle) = (WIDTH - RIGHT, (LEFT + WIDTH - RIGHT) / 2.0, (TOP + bottom) / 2.0);
        let x_name_y = HEIGHT - 8.0;
        write!(svg, r#"<line class="axis" x1="{LEFT:.1}" y1="{bottom:.1}" x2="{right:.1}" y2="{bottom:.1}"/><text class="name mid" x="{x_middle:.1}" y="{x_name_y:.1}">{x_name}</text><text class="name mid" transform="translate(13 {y_middle:.1}) rotate(-90)">{y_name}</text></svg>"#).ok();
        svg
    }
}

/// Middle of a bin, to draw it at.
fn middle(position: &Position) -> f64 {
    (position.from + position.to) as f64 / 2.0
}

fn x_range(positions: &[Position]) -> (f64, f64) {
    (1.0, positions.last().map_or(2.0, |last| middle(last).max(2.0)))
}

/// Median, mean and quartiles of the quality along the read.
pub fn quality(positions: &[Position]) -> String {
    let most = positions.iter().map(|at| at.quality_q3).max().unwrap_or_default().max(41);
    let x = x_range(positions);
    let mut plot = Plot::new(x, (0.0, f64::from(most) + 1.0));
    plot.rect("zone low", x, (0.0, 20.0), "");
    plot.rect("zone fair", x, (20.0, 30.0), "");
    plot.rect("zone high", x, (30.0, f64::from(most) + 1.0), "");
    let upper = positions.iter().map(|at| (middle(at), f64::from(at.quality_q3)));
    let lower = positions.iter().rev().map(|at| (middle(at), f64::from(at.quality_q1)));
    plot.area("band", upper.chain(lower));
    plot.line("median", positions.iter().map(|at| (middle(at), f64::from(at.quality_median))));
    plot.line("mean", positions.iter().map(|at| (middle(at), at.quality_mean)));
    plot.finish("Quality by position in the read", "position in the read (bp)", "quality (Phred)")
}

/// Shares of the bases along the read.
pub fn composition(positions: &[Position]) -> String {
    type Share = fn(&Position) -> f64;
    let shares: [(&str, Share); 5] = [
        ("base-a", |at| at.a_percent),
        ("base-c", |at| at.c_percent),
        ("base-g", |at| at.g_percent),
        ("base-t", |at| at.t_percent),
        ("base-n", |at| at.n_percent),
    ];
    let most = positions.iter().flat_map(|at| shares.map(|(_, share)| share(at))).fold(50.0, f64::max);
    let mut plot = Plot::new(x_range(positions), (0.0, most));
    for (class, share) in shares {
        plot.line(class, positions.iter().map(|at| (middle(at), share(at))));
    }
    plot.finish("Base composition by position in the read", "position in the read (bp)", "bases (%)")
}

/// A histogram of reads.
pub fn histogram(bars: &[Bar], label: &str, x_name: &str) -> String {
    let most = bars.iter().map(|bar| bar.2).max().unwrap_or_default().max(1);
    let x = match (bars.first(), bars.last()) {
        (Some(first), Some(last)) => (first.0 as f64, last.1 as f64 + 1.0),
        _ => (0.0, 1.0),
    };
    let mut plot = Plot::new(x, (0.0, most as f64 * 1.05));
    let gap = bars.first().map_or(0.0, |bar| (bar.1 - bar.0 + 1) as f64 * 0.06);
    for &(from, to, count) in bars.iter().filter(|bar| bar.2 > 0) {
        let range = if from == to { from.to_string() } else { format!("{from}–{to}") };
        let title = format!("{range}: {count} reads");
        plot.rect("bar", (from as f64 + gap, to as f64 + 1.0 - gap), (0.0, count as f64), &title);
    }
    plot.finish(label, x_name, "reads")
}
