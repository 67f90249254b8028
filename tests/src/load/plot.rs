//! The samples for people who would rather look: an SVG with one small chart for each column.

use std::fmt::Write;

use super::sample::{Column, Sample};

const WIDTH: u64 = 900;
const CHART_HEIGHT: u64 = 120;
const GAP: u64 = 40;
const LEFT: u64 = 90;

/// What is drawn, and in which unit.
const COLUMNS: [(&str, Column); 6] = [
    ("memory of the host, KiB", |sample| sample.rss_kib),
    ("descriptors", |sample| sample.descriptors),
    ("threads", |sample| sample.threads),
    ("runners", |sample| sample.runners),
    ("temporary files", |sample| sample.temporary),
    ("calls so far", |sample| sample.calls),
];

/// The charts, one under the other.
#[must_use]
pub fn svg(samples: &[Sample]) -> String {
    let mut svg = String::new();
    let height = (CHART_HEIGHT + GAP) * COLUMNS.len() as u64 + GAP;
    let total = WIDTH + LEFT + 20;
    // Writing to a text cannot fail.
    let _written = write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{total}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (row, (name, value)) in (0..).zip(COLUMNS) {
        chart(&mut svg, GAP + row * (CHART_HEIGHT + GAP), name, samples, value);
    }
    svg.push_str("</svg>\n");
    svg
}

fn chart(svg: &mut String, top: u64, name: &str, samples: &[Sample], value: Column) {
    let most = samples.iter().map(value).max().unwrap_or(0).max(1);
    let last = samples.last().map_or(1, |sample| sample.at.as_millis().max(1));
    let bottom = top + CHART_HEIGHT;
    let mut points = String::new();
    for sample in samples {
        let x = u128::from(LEFT) + u128::from(WIDTH) * sample.at.as_millis() / last;
        let y = bottom - CHART_HEIGHT * value(sample) / most;
        let _written = write!(points, "{x},{y} ");
    }
    let right = LEFT + WIDTH;
    let seconds = last / 1000;
    let (above, beside, below) = (top - 8, LEFT - 6, bottom + 14);
    let _written = write!(
        svg,
        "<text x=\"{LEFT}\" y=\"{above}\" font-weight=\"bold\">{name}</text>\n\
         <path d=\"M{LEFT},{top} V{bottom} H{right}\" fill=\"none\" stroke=\"#888\"/>\n\
         <text x=\"{beside}\" y=\"{top}\" text-anchor=\"end\" dy=\"8\">{most}</text>\n\
         <text x=\"{beside}\" y=\"{bottom}\" text-anchor=\"end\">0</text>\n\
         <text x=\"{right}\" y=\"{below}\" text-anchor=\"end\">{seconds} s</text>\n\
         <polyline points=\"{}\" fill=\"none\" stroke=\"#0b62a4\" stroke-width=\"1.5\"/>\n",
        points.trim_end()
    );
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_sample_is_a_point_of_every_chart() {
        let sample = |at| Sample { at: Duration::from_secs(at), rss_kib: 10 * at, ..Sample::default() };
        let svg = svg(&(1..=4).map(sample).collect::<Vec<_>>());
        assert_eq!(svg.matches("<polyline").count(), COLUMNS.len());
        // The last sample is the most: at the right end and at the top of its chart.
        assert!(svg.contains(&format!(" {},{GAP}\"", LEFT + WIDTH)), "{svg}");
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
    }
}
