//! The overview: four plots on one small picture, in a palette so that it stays small.

use embedded_graphics::Pixel;
use embedded_graphics::geometry::{OriginDimensions, Point, Size};
use embedded_graphics::mono_font::ascii::{FONT_7X13, FONT_10X20};
use embedded_graphics::mono_font::{MonoFont, MonoTextStyle};
use embedded_graphics::pixelcolor::{Gray8, GrayColor as _};
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::{Line, PrimitiveStyle, Rectangle};
use embedded_graphics::text::{Alignment, Text};

use super::{Bar, gc_bars, length_bars, positions, quality_bars, short, ticks};
use crate::stats::{Counted, Position};

const WIDTH: u32 = 1000;
const HEIGHT: u32 = 600;

/// Colours by index: what is drawn as "grey" is a place in this list.
const PALETTE: [[u8; 3]; 10] = [
    [255, 255, 255],
    [27, 36, 48],
    [90, 102, 117],
    [223, 228, 234],
    [37, 99, 168],
    [194, 65, 12],
    [188, 212, 237],
    [253, 240, 240],
    [254, 246, 234],
    [238, 248, 241],
];
const PAPER: u8 = 0;
const INK: u8 = 1;
const SOFT: u8 = 2;
const RULE: u8 = 3;
/// One for each file.
const LINES: [u8; 2] = [4, 5];
const BAND: u8 = 6;
const ZONES: [u8; 3] = [7, 8, 9];

struct Canvas {
    pixels: Vec<u8>,
}

impl OriginDimensions for Canvas {
    fn size(&self) -> Size {
        Size::new(WIDTH, HEIGHT)
    }
}

impl DrawTarget for Canvas {
    type Color = Gray8;
    type Error = std::convert::Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Gray8>>>(&mut self, pixels: I) -> Result<(), Self::Error> {
        for Pixel(point, color) in pixels {
            let (Ok(x), Ok(y)) = (u32::try_from(point.x), u32::try_from(point.y)) else { continue };
            if x < WIDTH && y < HEIGHT {
                let index = usize::try_from(y * WIDTH + x).unwrap_or(usize::MAX);
                if let Some(pixel) = self.pixels.get_mut(index) {
                    *pixel = color.luma();
                }
            }
        }
        Ok(())
    }
}

impl Canvas {
    fn draw(&mut self, what: &impl Drawable<Color = Gray8>) {
        // Its error is infallible.
        what.draw(self).map(|_| ()).ok();
    }

    fn text(&mut self, text: &str, at: Point, font: &MonoFont<'_>, color: u8, alignment: Alignment) {
        self.draw(&Text::with_alignment(text, at, MonoTextStyle::new(font, Gray8::new(color)), alignment));
    }

    fn fill(&mut self, corner: Point, size: Size, color: u8) {
        self.draw(&Rectangle::new(corner, size).into_styled(PrimitiveStyle::with_fill(Gray8::new(color))));
    }

    fn stroke(&mut self, from: Point, to: Point, color: u8, width: u32) {
        self.draw(&Line::new(from, to).into_styled(PrimitiveStyle::with_stroke(Gray8::new(color), width)));
    }
}

/// One plot's place on the canvas, and its ranges.
struct Plot {
    corner: Point,
    size: Size,
    x: (f64, f64),
    y: (f64, f64),
}

impl Plot {
    fn at(&self, x: f64, y: f64) -> Point {
        let share = |value: f64, (least, most): (f64, f64)| {
            ((value - least) / (most - least).max(1e-9)).clamp(0.0, 1.0)
        };
        Point::new(
            self.corner.x + pixels(share(x, self.x) * f64::from(self.size.width)),
            self.corner.y + pixels((1.0 - share(y, self.y)) * f64::from(self.size.height)),
        )
    }

    fn axes(&self, canvas: &mut Canvas, title: &str) {
        canvas.text(title, self.corner - Point::new(0, 8), &FONT_7X13, INK, Alignment::Left);
        for tick in ticks(self.y.0, self.y.1, 4.0) {
            let (left, right) = (self.at(self.x.0, tick), self.at(self.x.1, tick));
            canvas.stroke(left, right, RULE, 1);
            canvas.text(&short(tick), left + Point::new(-6, 4), &FONT_7X13, SOFT, Alignment::Right);
        }
        for tick in ticks(self.x.0, self.x.1, f64::from(self.size.width) / 70.0) {
            let foot = self.at(tick, self.y.0);
            canvas.stroke(foot, foot + Point::new(0, 4), SOFT, 1);
            canvas.text(&short(tick), foot + Point::new(0, 17), &FONT_7X13, SOFT, Alignment::Center);
        }
        canvas.stroke(self.at(self.x.0, self.y.0), self.at(self.x.1, self.y.0), SOFT, 1);
    }

    fn line(&self, canvas: &mut Canvas, points: &[(f64, f64)], color: u8) {
        for pair in points.windows(2) {
            if let [(x0, y0), (x1, y1)] = *pair {
                canvas.stroke(self.at(x0, y0), self.at(x1, y1), color, 3);
            }
        }
    }
}

/// The picture's bytes.
///
/// # Errors
/// None that a picture in memory can have.
pub fn png(files: &[Counted]) -> Result<Vec<u8>, png::EncodingError> {
    let mut canvas = Canvas { pixels: vec![PAPER; usize::try_from(WIDTH * HEIGHT).unwrap_or_default()] };
    heading(&mut canvas, files);
    let along: Vec<Vec<Position>> = files.iter().map(positions).collect();
    quality(&mut canvas, &along);
    for (left, title, bars) in [
        (60, "Read lengths (bp)", bars_of(files, length_bars)),
        (390, "Quality of reads (Phred)", bars_of(files, quality_bars)),
        (720, "GC of reads (%)", bars_of(files, gc_bars)),
    ] {
        histogram(&mut canvas, left, title, &bars);
    }
    encode(&canvas)
}

fn heading(canvas: &mut Canvas, files: &[Counted]) {
    for ((file, color), y) in files.iter().zip(LINES).zip([26, 48]) {
        let s = &file.summary;
        let text = format!(
            "{} reads, {} bases, N50 {}, GC {:.1} %, Q30 {:.1} %",
            short(s.reads as f64),
            short(s.bases as f64),
            short(s.n50 as f64),
            s.gc_percent,
            s.q30_percent
        );
        canvas.fill(Point::new(60, y - 11), Size::new(18, 10), color);
        let name = file.sample.as_deref().map_or(String::new(), |sample| format!("{sample} "));
        let name = format!("{name}reads {}: {text}", file.index + 1);
        canvas.text(&name, Point::new(88, y), &FONT_10X20, INK, Alignment::Left);
    }
}

fn quality(canvas: &mut Canvas, along: &[Vec<Position>]) {
    let all = || along.iter().flatten();
    let most = all().map(|at| f64::from(at.quality_q3)).fold(41.0, f64::max) + 1.0;
    let end = all().map(|at| at.to as f64).fold(2.0, f64::max);
    let plot = Plot { corner: Point::new(60, 92), size: Size::new(910, 220), x: (1.0, end), y: (0.0, most) };
    for ((low, high), color) in [(0.0, 20.0), (20.0, 30.0), (30.0, most)].into_iter().zip(ZONES) {
        let corner = plot.at(1.0, high);
        let height = plot.at(1.0, low).y - corner.y;
        canvas.fill(corner, Size::new(plot.size.width, height.unsigned_abs()), color);
    }
    // Two bands on one another could not be told apart.
    if let [only] = along {
        plot.axes(canvas, "Quality by position in the read: mean, and the middle half of the bases");
        for at in only {
            let top = plot.at(at.from as f64, f64::from(at.quality_q3));
            let bottom = plot.at(at.to as f64 + 1.0, f64::from(at.quality_q1));
            let size = bottom - top;
            canvas.fill(top, Size::new(size.x.unsigned_abs().max(1), size.y.unsigned_abs().max(2)), BAND);
        }
    } else {
        plot.axes(canvas, "Mean quality by position in the read");
    }
    for (positions, color) in along.iter().zip(LINES) {
        let middle = |at: &Position| ((at.from + at.to) as f64 / 2.0, at.quality_mean);
        plot.line(canvas, &positions.iter().map(middle).collect::<Vec<_>>(), color);
    }
}

fn bars_of(files: &[Counted], bars: fn(&Counted) -> Vec<Bar>) -> Vec<Vec<Bar>> {
    files.iter().map(bars).collect()
}

fn histogram(canvas: &mut Canvas, left: i32, title: &str, files: &[Vec<Bar>]) {
    let all = || files.iter().flatten();
    let start = all().map(|bar| bar.0 as f64).fold(f64::MAX, f64::min);
    let end = all().map(|bar| bar.1 as f64 + 1.0).fold(0.0, f64::max);
    let most = all().map(|bar| bar.2 as f64).fold(1.0, f64::max) * 1.05;
    let x = if start < end { (start, end) } else { (0.0, 1.0) };
    let plot = Plot { corner: Point::new(left, 392), size: Size::new(250, 160), x, y: (0.0, most) };
    plot.axes(canvas, title);
    for (bars, color) in files.iter().zip(LINES) {
        if files.len() == 1 {
            for bar in bars {
                let (top, bottom) = (plot.at(bar.0 as f64, bar.2 as f64), plot.at(bar.1 as f64 + 1.0, 0.0));
                let size = bottom - top;
                let width = size.x.unsigned_abs().saturating_sub(1).max(1);
                canvas.fill(top, Size::new(width, size.y.unsigned_abs()), color);
            }
        } else {
            let middle = |bar: &Bar| ((bar.0 + bar.1 + 1) as f64 / 2.0, bar.2 as f64);
            plot.line(canvas, &bars.iter().map(middle).collect::<Vec<_>>(), color);
        }
    }
}

fn encode(canvas: &Canvas) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, WIDTH, HEIGHT);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(PALETTE.concat());
    encoder.set_compression(png::Compression::Balanced);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&canvas.pixels)?;
    writer.finish()?;
    Ok(bytes)
}

fn pixels(value: f64) -> i32 {
    #[expect(clippy::cast_possible_truncation, reason = "within the canvas")]
    let pixels = value.round() as i32;
    pixels
}
