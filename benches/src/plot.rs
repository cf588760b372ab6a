//! Plots as SVG (W3C SVG 1.1): bars with the range of the rounds, distributions, and curves.
//!
//! A small writer of our own: three kinds of plots need a few rectangles, lines and words, and a plotting library would still
//! leave their layout to us. Colours are those of Okabe and Ito, which people with any colour vision tell apart; lines also
//! differ in their markers.

use std::fmt::Write as _;

/// Width of a plot, in pixels as all measures here.
const WIDTH: f64 = 860.0;
/// Where the plotted area of lines starts and ends.
const LEFT: f64 = 80.0;
const RIGHT: f64 = 640.0;
const TOP: f64 = 52.0;
const BOTTOM: f64 = 380.0;
const HEIGHT: f64 = 440.0;
/// Height of the row of one bar.
const ROW: f64 = 30.0;
/// Width of a letter of the text, about.
const LETTER: f64 = 7.0;

const COLOURS: [&str; 8] = ["#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#7f7f7f", "#b8a800"];

/// A value and the range it was found in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ranged {
    /// The value that is drawn.
    pub value: f64,
    /// Where its whisker starts.
    pub min: f64,
    /// Where its whisker ends.
    pub max: f64,
}

/// One bar, or why there is none.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// What it is of.
    pub label: String,
    /// The number of its colour.
    pub colour: usize,
    /// Its length, or what to write in its place.
    pub value: Result<Ranged, String>,
}

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// What it is of.
    pub label: String,
    /// The number of its colour.
    pub colour: usize,
    /// Points by rising x.
    pub points: Vec<(f64, Ranged)>,
    /// Whether to mark each point, and its range.
    pub marked: bool,
}

/// What is along an axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// Written beside it, with the unit.
    pub label: String,
    /// In powers of ten; from 0 otherwise.
    pub is_logarithmic: bool,
}

/// A scale from values to the length of an axis.
struct Scale {
    low: f64,
    high: f64,
    is_logarithmic: bool,
    ticks: Vec<f64>,
}

impl Scale {
    fn over(values: impl Iterator<Item = f64> + Clone, is_logarithmic: bool) -> Scale {
        let high = values.clone().fold(0.0, f64::max);
        let least = values.filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min);
        if is_logarithmic && least.is_finite() {
            return Scale::powers(least, high);
        }
        let high = if high > 0.0 { high } else { 1.0 };
        // 1, 2 or 5 times a power of ten, so that there are four to eight of them.
        let power = 10f64.powf((high / 4.0).log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|step| step * power).find(|step| high / step <= 7.0).unwrap_or(power);
        let count = (high / step).ceil().max(1.0) as usize;
        Scale { low: 0.0, high: count as f64 * step, is_logarithmic: false, ticks: (0..=count).map(|n| n as f64 * step).collect() }
    }

    fn powers(least: f64, high: f64) -> Scale {
        let (low, top) = (least.log10().floor() as i32, high.log10().ceil() as i32);
        let steps: &[f64] = if top - low <= 3 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let ticks: Vec<f64> = (low..=top).flat_map(|power| steps.iter().map(move |step| step * 10f64.powi(power))).collect();
        // From the last tick below to the first above.
        let low = ticks.iter().copied().filter(|tick| *tick <= least).fold(0.0, f64::max);
        let top = ticks.iter().copied().filter(|tick| *tick >= high).fold(f64::INFINITY, f64::min);
        let (low, top) = if low < top { (low, top) } else { (low, low * 10.0) };
        let ticks = ticks.into_iter().chain([top]).filter(|tick| *tick >= low && *tick <= top);
        let mut ticks: Vec<f64> = ticks.collect();
        ticks.dedup();
        Scale { low, high: top, is_logarithmic: true, ticks }
    }

    /// Where a value is, from 0 to 1.
    fn at(&self, value: f64) -> f64 {
        let part = if self.is_logarithmic {
            (value.max(self.low) / self.low).log10() / (self.high / self.low).log10()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        part.clamp(0.0, 1.0)
    }
}

/// A number on an axis: `0.5`, `20`, `1.5k`, `2M`.
fn short(value: f64) -> String {
    let (value, unit) = match value.abs() {
        v if v >= 1e9 => (value / 1e9, "G"),
        v if v >= 1e6 => (value / 1e6, "M"),
        v if v >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    // Six digits behind the point at most, none of them a zero at the end.
    let digits = format!("{value:.6}");
    format!("{}{unit}", digits.trim_end_matches('0').trim_end_matches('.'))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The words and shapes of one plot.
struct Drawing(String);

impl Drawing {
    fn new(title: &str, height: f64) -> Drawing {
        let mut text = String::new();
        let _ = write!(
            text,
            r##"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" font-family="Helvetica, Arial, sans-serif" font-size="13" fill="#222">
<rect width="{WIDTH}" height="{height}" fill="#fff"/>
"##
        );
        let mut drawing = Drawing(text);
        drawing.words(16.0, 26.0, "start", 16, title);
        drawing
    }

    fn words(&mut self, x: f64, y: f64, anchor: &str, size: u32, text: &str) {
        let text = escaped(text);
        let _ = writeln!(self.0, r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" font-size="{size}">{text}</text>"#);
    }

    fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), colour: &str, width: f64) {
        let _ = writeln!(self.0, r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" stroke="{colour}" stroke-width="{width}"/>"#);
    }

    fn path(&mut self, points: &[(f64, f64)], colour: &str) {
        let points: Vec<_> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(self.0, r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2"/>"#, points.join(" "));
    }

    /// A circle, square, triangle or diamond.
    fn marker(&mut self, kind: usize, x: f64, y: f64, colour: &str) {
        let _ = match kind % 4 {
            0 => writeln!(self.0, r#"<circle cx="{x:.1}" cy="{y:.1}" r="4" fill="{colour}"/>"#),
            1 => writeln!(self.0, r#"<rect x="{:.1}" y="{:.1}" width="7" height="7" fill="{colour}"/>"#, x - 3.5, y - 3.5),
            kind => {
                let points = if kind == 2 { [(0, -5), (5, 4), (-5, 4), (0, -5)] } else { [(0, -5), (5, 0), (0, 5), (-5, 0)] };
                let points = points.map(|(dx, dy)| format!("{:.1},{:.1}", x + f64::from(dx), y + f64::from(dy)));
                writeln!(self.0, r#"<polygon points="{}" fill="{colour}"/>"#, points.join(" "))
            }
        };
    }

    fn finish(mut self) -> String {
        self.0 += "</svg>\n";
        self.0
    }
}

fn colour(number: usize) -> &'static str {
    COLOURS[number % COLOURS.len()]
}

/// Horizontal bars with whiskers. `unit` is written below the axis.
pub fn bars(title: &str, unit: &str, bars: &[Bar]) -> String {
    let longest = bars.iter().map(|bar| bar.label.chars().count()).max().unwrap_or(0);
    let left = (longest as f64 * LETTER + 24.0).clamp(80.0, 300.0);
    let right = WIDTH - 130.0;
    let bottom = TOP + ROW * bars.len() as f64;
    let scale = Scale::over(bars.iter().filter_map(|bar| bar.value.as_ref().ok()).map(|ranged| ranged.max), false);
    let x = |value: f64| left + scale.at(value) * (right - left);
    let mut drawing = Drawing::new(title, bottom + 52.0);
    for tick in &scale.ticks {
        drawing.line((x(*tick), TOP - 4.0), (x(*tick), bottom + 4.0), "#ddd", 1.0);
        drawing.words(x(*tick), bottom + 20.0, "middle", 12, &short(*tick));
    }
    drawing.words((left + right) / 2.0, bottom + 40.0, "middle", 13, unit);
    for (row, bar) in bars.iter().enumerate() {
        let middle = TOP + ROW * (row as f64 + 0.5);
        drawing.words(left - 8.0, middle + 4.0, "end", 13, &bar.label);
        match &bar.value {
            Ok(Ranged { value, min, max }) => {
                let width = x(*value) - left;
                let _ = writeln!(
                    drawing.0,
                    r#"<rect x="{left:.1}" y="{:.1}" width="{width:.1}" height="{:.1}" fill="{}"/>"#,
                    middle - ROW * 0.35,
                    ROW * 0.7,
                    colour(bar.colour)
                );
                drawing.line((x(*min), middle), (x(*max), middle), "#222", 1.5);
                for end in [*min, *max] {
                    drawing.line((x(end), middle - 5.0), (x(end), middle + 5.0), "#222", 1.5);
                }
                drawing.words(x(*max) + 8.0, middle + 4.0, "start", 13, &crate::report::number(*value));
            }
            Err(why) => {
                // What does not fit would run out of the plot.
                let room = ((WIDTH - left) / LETTER) as usize - 4;
                let cut: String = why.chars().take(room).collect();
                let dots = if cut.len() < why.len() { "..." } else { "" };
                drawing.words(left + 6.0, middle + 4.0, "start", 12, &format!("{cut}{dots}"));
            }
        }
    }
    drawing.line((left, TOP - 4.0), (left, bottom + 4.0), "#222", 1.0);
    drawing.finish()
}

/// Lines over two axes, with a legend beside them.
pub fn lines(title: &str, x_axis: &Axis, y_axis: &Axis, lines: &[Line]) -> String {
    let points = || lines.iter().flat_map(|line| &line.points);
    let x_scale = Scale::over(points().map(|(x, _)| *x), x_axis.is_logarithmic);
    let y_scale = Scale::over(points().map(|(_, y)| y.max), y_axis.is_logarithmic);
    let x = |value: f64| LEFT + x_scale.at(value) * (RIGHT - LEFT);
    let y = |value: f64| BOTTOM - y_scale.at(value) * (BOTTOM - TOP);
    let mut drawing = Drawing::new(title, HEIGHT);
    for tick in &x_scale.ticks {
        drawing.line((x(*tick), TOP), (x(*tick), BOTTOM), "#ddd", 1.0);
        drawing.words(x(*tick), BOTTOM + 18.0, "middle", 12, &short(*tick));
    }
    for tick in &y_scale.ticks {
        drawing.line((LEFT, y(*tick)), (RIGHT, y(*tick)), "#ddd", 1.0);
        drawing.words(LEFT - 8.0, y(*tick) + 4.0, "end", 12, &short(*tick));
    }
    drawing.line((LEFT, BOTTOM), (RIGHT, BOTTOM), "#222", 1.0);
    drawing.line((LEFT, TOP), (LEFT, BOTTOM), "#222", 1.0);
    drawing.words((LEFT + RIGHT) / 2.0, BOTTOM + 42.0, "middle", 13, &x_axis.label);
    let middle = (TOP + BOTTOM) / 2.0;
    let label = escaped(&y_axis.label);
    let _ = writeln!(
        drawing.0,
        r#"<text transform="translate(22,{middle:.1}) rotate(-90)" text-anchor="middle" font-size="13">{label}</text>"#
    );
    for (number, line) in lines.iter().enumerate() {
        let colour = colour(line.colour);
        let path: Vec<_> = line.points.iter().map(|(at, ranged)| (x(*at), y(ranged.value))).collect();
        drawing.path(&path, colour);
        if line.marked {
            for (at, ranged) in &line.points {
                drawing.line((x(*at), y(ranged.min)), (x(*at), y(ranged.max)), colour, 1.0);
                drawing.marker(line.colour, x(*at), y(ranged.value), colour);
            }
        }
        let row = TOP + 10.0 + 22.0 * number as f64;
        drawing.line((RIGHT + 16.0, row), (RIGHT + 40.0, row), colour, 3.0);
        if line.marked {
            drawing.marker(line.colour, RIGHT + 28.0, row, colour);
        }
        drawing.words(RIGHT + 48.0, row + 4.0, "start", 13, &line.label);
    }
    drawing.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranged(value: f64) -> Ranged {
        Ranged { value, min: value * 0.9, max: value * 1.1 }
    }

    /// Opening and closing tags pair up, and no value is not a number.
    fn assert_well_formed(svg: &str) {
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
        for tag in ["<line", "<rect", "<polyline", "<circle", "<polygon"] {
            for part in svg.split(tag).skip(1) {
                assert!(part.split_once('>').is_some_and(|(inside, _)| inside.ends_with('/')), "{tag} {part}");
            }
        }
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn a_longer_value_is_a_longer_bar_and_a_failure_is_none() {
        let bar = |label: &str, value| Bar { label: label.into(), colour: 0, value };
        let svg =
            bars("a < b", "kframes/s", &[bar("one", Ok(ranged(10.0))), bar("two", Ok(ranged(20.0))), bar("three", Err("x".repeat(500)))]);
        assert_well_formed(&svg);
        assert!(svg.contains("a &lt; b") && svg.contains("kframes/s") && svg.contains("x..."));
        let widths: Vec<f64> = svg
            .lines()
            .filter(|line| line.starts_with("<rect x="))
            .map(|line| line.split("width=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap())
            .collect();
        assert_eq!(widths.len(), 2);
        assert!((widths[1] / widths[0] - 2.0).abs() < 0.01, "{widths:?}");
    }

    #[test]
    fn nothing_and_zeros_can_be_plotted() {
        assert_well_formed(&bars("", "", &[]));
        let zero = Ranged { value: 0.0, min: 0.0, max: 0.0 };
        assert_well_formed(&bars("", "", &[Bar { label: String::new(), colour: 99, value: Ok(zero) }]));
        let axis = |is_logarithmic| Axis { label: "x & y".into(), is_logarithmic };
        for points in [vec![], vec![(0.0, zero)], vec![(1.0, ranged(1.0))], vec![(1e-3, ranged(1e-3)), (1e9, ranged(1e9))]] {
            for (x, y) in [(false, false), (true, false), (true, true)] {
                let line = Line { label: "a".into(), colour: 2, points: points.clone(), marked: true };
                assert_well_formed(&lines("", &axis(x), &axis(y), &[line]));
            }
        }
    }

    #[test]
    fn ticks_are_round_and_few() {
        for high in [0.013, 0.9, 1.0, 7.3, 99.0, 100.0, 1234.0, 8.8e6] {
            let scale = Scale::over([high].into_iter(), false);
            assert!(scale.high >= high && (3..=9).contains(&scale.ticks.len()), "{high}: {:?}", scale.ticks);
        }
        let scale = Scale::over([3.0, 800.0].into_iter(), true);
        assert_eq!((scale.low, scale.high), (2.0, 1000.0));
        assert!(scale.at(2.0) == 0.0 && scale.at(1000.0) == 1.0 && (scale.at(44.72) - 0.5).abs() < 0.01);
        assert_eq!([0.0, 0.25, 2.0, 1500.0, 12_500.0, 2e6, 3e9].map(short), ["0", "0.25", "2", "1500", "12.5k", "2M", "3G"]);
    }
}
