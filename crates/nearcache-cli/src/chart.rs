//! A chart of lines as SVG, inline or as a file of its own. Knows axes and points, and nothing of what they mean.

use std::fmt::Write as _;

use crate::text::escape;

/// Of a file.
const WIDTH: f64 = 580.0;
/// Of a chart in a page: on a phone it is about as wide, so that its text stays readable.
const INLINE: f64 = 440.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 66.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 46.0;

/// Styles of a file; what is inline has those of its page.
const STYLE: &str = include_str!("chart.css");

/// Up to how many points of a line are marked each.
const MARKED: usize = 40;

/// From where to where, in the units of the points, and what is written beside it.
pub struct Axis {
    /// What the figures are.
    pub name: &'static str,
    /// The least that is shown.
    pub from: f64,
    /// The most that is shown.
    pub to: f64,
    /// Where something is written, and what.
    pub ticks: Vec<(f64, String)>,
}

impl Axis {
    /// From nothing to a round number that is not below `most`.
    pub fn linear(name: &'static str, most: f64, show: impl Fn(f64) -> String) -> Self {
        let most = if most > 0.0 { most } else { 1.0 };
        let step = round_up(most / 5.0);
        let steps = (most / step - 1e-9).ceil();
        Self {
            name,
            from: 0.0,
            to: steps * step,
            ticks: (0..=steps as u32)
                .map(|number| (f64::from(number) * step, show(f64::from(number) * step)))
                .collect(),
        }
    }

    /// Whole powers of ten around all of these; points are logarithms.
    pub fn decades(name: &'static str, range: (f64, f64), show: impl Fn(f64) -> String) -> Self {
        let from = range.0.floor();
        let to = range.1.ceil().max(from + 1.0);
        let every = ((to - from) / 8.0).ceil().max(1.0);
        let count = ((to - from) / every).floor() as u32;
        let at = |number: u32| from + f64::from(number) * every;
        Self {
            name,
            from,
            to,
            ticks: (0..=count)
                .map(|number| (at(number), show(10f64.powf(at(number)))))
                .collect(),
        }
    }

    /// Where a value lies, from 0 to 1.
    fn share(&self, value: f64) -> f64 {
        let share = (value - self.from) / (self.to - self.from);
        if share.is_finite() {
            share.clamp(0.0, 1.0)
        } else {
            0.0
        }
    }
}

/// 1, 2 or 5 times a power of ten.
fn round_up(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    let factor = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|factor| factor * power >= value * (1.0 - 1e-9));
    factor.unwrap_or(10.0) * power
}

/// The points of one line.
pub struct Line {
    /// Its class in the style sheet.
    pub class: &'static str,
    /// Along and up, in the units of the axes.
    pub points: Vec<(f64, f64)>,
    /// Whether each point is marked, where they are few.
    pub marked: bool,
}

/// The chart, as a figure with a caption.
pub fn chart(title: &str, caption: &str, x: &Axis, y: &Axis, lines: &[Line]) -> String {
    let mut svg = format!(
        "<figure><svg viewBox=\"0 0 {INLINE} {HEIGHT}\" role=\"img\" aria-label=\"{}\">{}</svg>",
        escape(title),
        drawing(INLINE, title, x, y, lines)
    );
    if !caption.is_empty() {
        let _ = write!(svg, "<figcaption>{}</figcaption>", escape(caption));
    }
    svg + "</figure>"
}

/// The chart as a file of its own; `legend` has a class and a text for each line that is explained.
pub fn file(
    title: &str,
    legend: &[(&'static str, String)],
    x: &Axis,
    y: &Axis,
    lines: &[Line],
) -> String {
    const ROW: f64 = 18.0;
    let height = HEIGHT + ROW * legend.len() as f64 + 8.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         role=\"img\" aria-label=\"{}\">\n<style>\n{STYLE}</style>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>{}\n",
        escape(title),
        drawing(WIDTH, title, x, y, lines)
    );
    for (number, (class, text)) in (0u32..).zip(legend) {
        let at = HEIGHT + ROW * f64::from(number);
        let (from, to, text_at) = (LEFT, LEFT + 22.0, LEFT + 30.0);
        let _ = writeln!(
            svg,
            "<g class=\"{class}\"><polyline points=\"{from},{at} {to},{at}\"/></g><text x=\"{text_at}\" y=\"{}\">{}</text>",
            at + 4.0,
            escape(text)
        );
    }
    svg + "</svg>\n"
}

/// What is drawn, without what it is drawn on.
fn drawing(width: f64, title: &str, x: &Axis, y: &Axis, lines: &[Line]) -> String {
    let (bottom, right) = (HEIGHT - BOTTOM, width - RIGHT);
    let across = |value: f64| LEFT + x.share(value) * (right - LEFT);
    let up = |value: f64| bottom - y.share(value) * (bottom - TOP);
    let mut svg = format!(
        "<text class=\"title\" x=\"{LEFT}\" y=\"16\">{}</text>",
        escape(title)
    );
    for (value, label) in &y.ticks {
        let at = up(*value);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/><text x=\"{:.1}\" \
             y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 8.0,
            at + 4.0,
            escape(label)
        );
    }
    for (value, label) in &x.ticks {
        let at = across(*value);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/><text x=\"{at:.1}\" \
             y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            bottom + 17.0,
            escape(label)
        );
    }
    let _ = write!(
        svg,
        "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{bottom}\" y2=\"{bottom}\"/><text x=\"{:.1}\" y=\"{:.1}\" \
         text-anchor=\"middle\">{}</text><text x=\"{right}\" y=\"16\" text-anchor=\"end\">{}</text>",
        (LEFT + right) / 2.0,
        HEIGHT - 8.0,
        escape(x.name),
        escape(y.name)
    );
    for line in lines {
        let at = |&(left, height): &(f64, f64)| format!("{:.1},{:.1}", across(left), up(height));
        let points: Vec<String> = line.points.iter().map(at).collect();
        let _ = write!(
            svg,
            "<g class=\"{}\"><polyline points=\"{}\"/>",
            line.class,
            points.join(" ")
        );
        if line.marked && line.points.len() <= MARKED {
            for &(left, height) in &line.points {
                let (cx, cy) = (across(left), up(height));
                let _ = write!(svg, "<circle cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"3\"/>");
            }
        }
        svg += "</g>";
    }
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        let axis = Axis::linear("", 73.0, |value| value.to_string());
        assert!((axis.to - 80.0).abs() < 1e-9 && axis.ticks.len() == 5);
        assert!((Axis::linear("", 0.0, |_| String::new()).to - 1.0).abs() < 1e-9);
        let axis = Axis::decades("", (-0.3, 4.2), |value| value.to_string());
        assert!((axis.from + 1.0).abs() < 1e-9 && (axis.to - 5.0).abs() < 1e-9);
        assert!((axis.share(f64::NAN)).abs() < 1e-9);
    }
}
