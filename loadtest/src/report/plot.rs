//! Plots as SVG, made by hand: bars and lines are all that the report needs.

use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 32.0;
const TOP: f64 = 34.0;

/// Colours and type, for light and dark. Series are told apart by more than hue: each has its name in the legend.
pub(super) const STYLE: &str = include_str!("plot.css");

/// A finished plot.
#[derive(Debug, Clone)]
pub(super) struct Plot {
    body: String,
    height: f64,
    title: String,
}

impl Plot {
    /// To stand inside a page that has [`STYLE`].
    pub(super) fn inline(&self) -> String {
        format!(
            "<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"{}\">{}</svg>",
            self.height,
            escape(&self.title),
            self.body
        )
    }

    /// A file of its own, on paper, in light colours only: a picture in a README has no colour scheme.
    pub(super) fn standalone(&self) -> String {
        let style = STYLE.split("@media").next().unwrap_or(STYLE);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{h}\" viewBox=\"0 0 {WIDTH} {h}\">\
             <title>{}</title><style>{style}</style><rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>{}</svg>\n",
            escape(&self.title),
            self.body,
            h = self.height
        )
    }
}

/// One bar.
#[derive(Debug, Clone)]
pub(super) struct Bar {
    pub(super) label: String,
    pub(super) value: f64,
    /// A floor is drawn in grey: it is there to be compared with.
    pub(super) is_floor: bool,
}

/// Horizontal bars with their values.
pub(super) fn bars(title: &str, unit: &str, bars: &[Bar]) -> Plot {
    const ROW: f64 = 30.0;
    let labels = 190.0;
    let most = bars.iter().map(|bar| bar.value).fold(f64::MIN_POSITIVE, f64::max);
    let scale = (WIDTH - labels - 110.0) / most;
    let mut body = heading(title);
    for (row, bar) in bars.iter().enumerate() {
        let y = TOP + 10.0 + ROW * row as f64;
        let class = if bar.is_floor { "floor" } else { "f0" };
        let length = (bar.value * scale).max(1.0);
        let value = super::goals::number(bar.value, unit);
        push(
            &mut body,
            format_args!(
                "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\
                 <rect class=\"{class}\" x=\"{labels}\" y=\"{y}\" width=\"{length:.1}\" height=\"20\" rx=\"2\"/>\
                 <text x=\"{:.1}\" y=\"{}\">{}</text>",
                labels - 8.0,
                y + 15.0,
                escape(&bar.label),
                labels + length + 6.0,
                y + 15.0,
                escape(&value)
            ),
        );
    }
    Plot { body, height: TOP + 20.0 + ROW * bars.len() as f64, title: title.to_owned() }
}

/// One line.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// An axis.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    pub(super) label: String,
    pub(super) is_logarithmic: bool,
    /// Given ticks; empty: chosen by the data.
    pub(super) ticks: Vec<(f64, String)>,
}

impl Axis {
    pub(super) fn linear(label: &str) -> Self {
        Self { label: label.to_owned(), is_logarithmic: false, ticks: Vec::new() }
    }
}

/// Lines over a common axis; `marks` are drawn as dashed verticals.
pub(super) fn lines(title: &str, x: &Axis, y: &Axis, lines: &[Line], marks: &[f64]) -> Plot {
    const HEIGHT: f64 = 260.0;
    let bottom = HEIGHT - 46.0;
    let points = || lines.iter().flat_map(|line| line.points.iter().copied());
    let x_range = range(points().map(|point| point.0), x.is_logarithmic);
    let y_range = range(points().map(|point| point.1).chain((!y.is_logarithmic).then_some(0.0)), y.is_logarithmic);
    let place_x = |value: f64| LEFT + share(value, x_range, x.is_logarithmic) * (WIDTH - LEFT - RIGHT);
    let place_y = |value: f64| bottom - share(value, y_range, y.is_logarithmic) * (bottom - TOP - 14.0);

    let mut body = heading(title);
    for (value, label) in ticks(y, y_range) {
        let at = place_y(value);
        push(
            &mut body,
            format_args!(
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
                 <text class=\"dim\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                at + 4.0
            ),
        );
    }
    for (value, label) in ticks(x, x_range) {
        push(
            &mut body,
            format_args!(
                "<text class=\"dim\" x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>",
                place_x(value),
                bottom + 18.0
            ),
        );
    }
    for at in marks.iter().filter(|at| **at >= x_range.0 && **at <= x_range.1).map(|at| place_x(*at)) {
        push(
            &mut body,
            format_args!("<line class=\"mark\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>"),
        );
    }
    for (number, line) in lines.iter().enumerate() {
        let path: Vec<String> =
            line.points.iter().map(|(x, y)| format!("{:.1},{:.1}", place_x(*x), place_y(*y))).collect();
        push(&mut body, format_args!("<polyline class=\"line s{}\" points=\"{}\"/>", number % 4, path.join(" ")));
    }
    legend(&mut body, lines);
    push(
        &mut body,
        format_args!(
            "<text class=\"dim\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\
             <text class=\"dim\" x=\"4\" y=\"{}\">{}</text>",
            WIDTH - RIGHT,
            HEIGHT - 6.0,
            escape(&x.label),
            TOP + 2.0,
            escape(&y.label)
        ),
    );
    Plot { body, height: HEIGHT, title: title.to_owned() }
}

fn legend(body: &mut String, lines: &[Line]) {
    if lines.len() < 2 {
        return;
    }
    let mut x = LEFT;
    for (number, line) in lines.iter().enumerate() {
        push(
            body,
            format_args!(
                "<rect class=\"f{}\" x=\"{x:.0}\" y=\"243\" width=\"10\" height=\"10\"/>\
                 <text class=\"dim\" x=\"{:.0}\" y=\"252\">{}</text>",
                number % 4,
                x + 14.0,
                escape(&line.name)
            ),
        );
        x += 34.0 + 7.0 * line.name.chars().count() as f64;
    }
}

fn heading(title: &str) -> String {
    format!("<text class=\"title\" x=\"4\" y=\"18\">{}</text>", escape(title))
}

fn push(body: &mut String, text: std::fmt::Arguments<'_>) {
    body.write_fmt(text).expect("a String takes what is written");
}

fn range(values: impl Iterator<Item = f64>, is_logarithmic: bool) -> (f64, f64) {
    let (low, high) = values
        .filter(|value| value.is_finite() && (!is_logarithmic || *value > 0.0))
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    if low > high {
        return if is_logarithmic { (1.0, 10.0) } else { (0.0, 1.0) };
    }
    if is_logarithmic {
        return (10f64.powf(low.log10().floor()), 10f64.powf((high.log10() + 1e-9).ceil()));
    }
    if low == high { (low.min(0.0), high + 1.0) } else { (low, high) }
}

fn share(value: f64, (low, high): (f64, f64), is_logarithmic: bool) -> f64 {
    if is_logarithmic {
        (value.max(low).log10() - low.log10()) / (high.log10() - low.log10()).max(1e-9)
    } else {
        (value - low) / (high - low)
    }
}

fn ticks(axis: &Axis, (low, high): (f64, f64)) -> Vec<(f64, String)> {
    if !axis.ticks.is_empty() {
        return axis.ticks.iter().filter(|(value, _)| *value >= low && *value <= high).cloned().collect();
    }
    if axis.is_logarithmic {
        let (from, to) = (low.log10().round() as i32, high.log10().round() as i32);
        return (from..=to).map(|power| 10f64.powi(power)).map(|value| (value, short(value))).collect();
    }
    let rough = (high - low) / 5.0;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].iter().map(|m| m * power).find(|step| *step >= rough).unwrap_or(rough);
    let first = (low / step).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last).map(|number| number as f64 * step).map(|value| (value, short(value))).collect()
}

/// A number as short as it can be: 1.5 M, 20 k, 0.2.
fn short(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        size if size >= 1e9 => (value / 1e9, " G"),
        size if size >= 1e6 => (value / 1e6, " M"),
        size if size >= 1e4 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let text = format!("{scaled:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text}{unit}")
}

/// For text inside HTML and SVG.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within_the_range() {
        let axis = Axis::linear("s");
        let labels = |low, high| ticks(&axis, (low, high)).into_iter().map(|tick| tick.1).collect::<Vec<_>>();
        assert_eq!(labels(0.0, 10.0), ["0", "2", "4", "6", "8", "10"]);
        assert_eq!(labels(0.0, 1_600_000.0), ["0", "500 k", "1 M", "1.5 M"]);
        let log = Axis { is_logarithmic: true, ..axis };
        let range = range([0.03, 45.0].into_iter(), true);
        assert_eq!(ticks(&log, range).len(), 5);
    }

    #[test]
    fn odd_data_makes_no_odd_numbers() {
        for points in [vec![], vec![(0.0, 0.0)], vec![(1.0, 5.0), (1.0, 5.0)]] {
            let line = Line { name: "a<b".into(), points };
            let log = Axis { is_logarithmic: true, ..Axis::linear("y") };
            let plot = lines("t", &Axis::linear("x"), &Axis::linear("y"), &[line.clone(), line.clone()], &[0.5]);
            let text = plot.standalone() + &lines("t", &Axis::linear("x"), &log, &[line], &[]).standalone();
            assert!(!text.contains("NaN") && !text.contains("inf") && text.contains("a&lt;b"), "{text}");
        }
    }
}
