//! Tables and cards for people. What others have named cannot steer the terminal: control characters are spelt out.

use std::fmt::Write as _;

use comfy_table::{Cell, Color, ColumnConstraint, ContentArrangement, Table, Width, presets::NOTHING};
use serde_json::Value;

/// How things may look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    /// Its width is kept to.
    pub(super) on_terminal: bool,
    pub(super) colour: bool,
}

/// A column of a list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column<'a> {
    title: &'static str,
    /// Name of the field; dots lead into objects. The column's name in CSV.
    pub(super) field: &'a str,
    /// Never broken into lines nor shortened: ids are there to be copied.
    whole: bool,
}

impl<'a> Column<'a> {
    pub(super) const fn new(title: &'static str, field: &'a str) -> Self {
        Self { title, field, whole: false }
    }

    /// A column that keeps its width whatever the terminal's.
    pub(super) const fn whole(title: &'static str, field: &'a str) -> Self {
        Self { title, field, whole: true }
    }

    /// The item's value in this column.
    pub(super) fn value<'v>(&self, item: &'v Value) -> &'v Value {
        self.field.split('.').fold(item, |value, name| &value[name])
    }
}

/// A value as a line of text; nothing is a dash, and times are to the second.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) if is_time(text) => {
            text.split('.').next().map(|head| format!("{head}Z")).unwrap_or_default()
        }
        _ => exact(value),
    }
}

/// RFC 3339 in UTC with a fraction, as the service writes times.
fn is_time(text: &str) -> bool {
    text.contains('.') && text.ends_with('Z') && text.parse::<jiff::Timestamp>().is_ok()
}

/// A value as a line of text; nothing is a dash.
fn exact(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => harmless(text),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

/// `text` without anything that a terminal acts upon.
pub(super) fn harmless(text: &str) -> String {
    let is_steering =
        |c: char| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c) || ('\u{2066}'..='\u{2069}').contains(&c);
    text.chars().fold(String::with_capacity(text.len()), |mut safe, c| {
        if is_steering(c) {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
        safe
    })
}

/// The colour that a state is known by.
fn colour_of(text: &str) -> Option<Color> {
    Some(match text {
        "active" | "ok" | "pass" | "delivered" | "stored" => Color::Green,
        "requested" | "approved" | "pending" | "retired" => Color::Yellow,
        "suspended" | "revoked" | "fail" | "failed" | "refused" | "dead" => Color::Red,
        _ => return None,
    })
}

/// `items` in `columns`.
pub(super) fn draw(items: &[Value], columns: &[Column<'_>], look: Look) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(columns.iter().map(|column| column.title));
    for item in items {
        table.add_row(columns.iter().map(|column| {
            let value = column.value(item);
            let text = if column.whole { exact(value) } else { text(value) };
            let colour = colour_of(&text).filter(|_| look.colour);
            let cell = Cell::new(text);
            if let Some(colour) = colour { cell.fg(colour) } else { cell }
        }));
    }
    for (index, column) in columns.iter().enumerate() {
        if let Some(drawn) = table.column_mut(index) {
            drawn.set_padding((0, if index + 1 == columns.len() { 0 } else { 2 }));
            if column.whole {
                drawn.set_constraint(ColumnConstraint::ContentWidth);
            } else {
                drawn.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(8)));
            }
        }
    }
    if look.on_terminal {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    } else {
        table.set_content_arrangement(ContentArrangement::Disabled).force_no_tty();
    }
    if look.colour {
        table.enforce_styling();
    }
    table.trim_fmt()
}

/// One object, a line a field.
#[derive(Debug, Default)]
pub(super) struct Card(Vec<(String, String)>);

impl Card {
    /// A field and its value.
    pub(super) fn line(&mut self, title: &str, value: &Value) -> &mut Self {
        self.say(title, text(value))
    }

    /// Likewise, if there is a value.
    pub(super) fn some(&mut self, title: &str, value: &Value) -> &mut Self {
        if value.is_null() || value.as_array().is_some_and(Vec::is_empty) { self } else { self.line(title, value) }
    }

    /// A field in words of ours.
    pub(super) fn say(&mut self, title: &str, words: impl Into<String>) -> &mut Self {
        self.0.push((title.to_owned(), words.into()));
        self
    }

    pub(super) fn draw(&self, look: Look) -> String {
        let width = self.0.iter().map(|(title, _)| title.chars().count()).max().unwrap_or(0);
        self.0.iter().fold(String::new(), |mut drawn, (title, words)| {
            let words = match colour_of(words).filter(|_| look.colour) {
                Some(Color::Green) => format!("\u{1b}[32m{words}\u{1b}[0m"),
                Some(Color::Yellow) => format!("\u{1b}[33m{words}\u{1b}[0m"),
                Some(_) => format!("\u{1b}[31m{words}\u{1b}[0m"),
                None => words.clone(),
            };
            writeln!(drawn, "{title:width$}  {words}").expect("a String takes everything");
            drawn
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        let item = json!({"name": "a\u{1b}[2Jb\nc\u{202e}d", "status": "active"});
        let plain = Look { on_terminal: false, colour: false };
        let drawn = draw(&[item], &[Column::new("NAME", "name"), Column::new("STATUS", "status")], plain);
        assert!(!drawn.contains('\u{1b}') && !drawn.contains('\u{202e}'), "{drawn}");
        assert_eq!(drawn.lines().count(), 2, "{drawn}");
    }

    #[test]
    fn columns_are_aligned() {
        let items = [json!({"a": "x", "b": {"c": [1, 2]}}), json!({"a": "longer", "b": {}})];
        let plain = Look { on_terminal: false, colour: false };
        let drawn = draw(&items, &[Column::whole("A", "a"), Column::new("B", "b.c")], plain);
        assert_eq!(drawn, "A       B\nx       1, 2\nlonger  -");
    }
}
