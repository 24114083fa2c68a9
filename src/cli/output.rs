//! Answers on standard output in the form that was asked for; everything else on standard error.

use std::io::{self, IsTerminal, Write};

use serde_json::Value;

use super::{
    client::{Answer, Listing},
    error::{Error, Result},
    options::{Form, Options},
    table::{self, Card, Column},
};

/// Writes answers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Printer {
    pub(super) form: Form,
    quiet: bool,
    look: table::Look,
}

impl Printer {
    pub(super) fn new(options: &Options, no_colour: bool) -> Self {
        let on_terminal = io::stdout().is_terminal();
        let look = table::Look { on_terminal, colour: on_terminal && !no_colour };
        Self { form: options.output, quiet: options.quiet, look }
    }

    /// A list. `readable` may amend an item for people; programs get it as it came.
    ///
    /// # Errors
    /// When standard output does not take it.
    pub(super) fn list(&self, listing: &Listing, columns: &[Column<'_>], readable: impl Fn(&mut Value)) -> Result {
        match self.form {
            Form::Table => {
                let mut items = listing.values.clone();
                items.iter_mut().for_each(readable);
                if items.is_empty() {
                    self.note("There are none.");
                } else {
                    print(&table::draw(&items, columns, self.look))?;
                }
            }
            Form::Json => print(&listing_json(listing)?)?,
            Form::Ndjson => {
                let mut out = io::stdout().lock();
                for item in &listing.items {
                    writeln!(out, "{item}")?;
                }
            }
            Form::Csv => csv(columns, &listing.values)?,
        }
        if listing.has_more {
            let shown = listing.items.len();
            self.note(&format!("These are {shown}, and there are more: --limit N or --all."));
        }
        Ok(())
    }

    /// One object: as a card for people.
    ///
    /// # Errors
    /// When standard output does not take it.
    pub(super) fn one(&self, answer: &Answer, readable: impl FnOnce(&Value) -> Card) -> Result {
        match self.form {
            Form::Table => print(readable(&answer.json).draw(self.look).trim_end()),
            _ => self.as_programs_like_it(answer),
        }
    }

    /// A list within another answer: as a table for people.
    ///
    /// # Errors
    /// When standard output does not take it.
    pub(super) fn part(&self, answer: &Answer, name: &str, columns: &[Column<'_>]) -> Result {
        if self.form != Form::Table {
            return self.as_programs_like_it(answer);
        }
        let items = answer.json[name].as_array().map_or(&[][..], Vec::as_slice);
        if items.is_empty() { Ok(()) } else { print(&table::draw(items, columns, self.look)) }
    }

    /// What was done: a sentence on standard error for people, the service's answer for programs.
    ///
    /// # Errors
    /// When standard output does not take it.
    pub(super) fn done(&self, answer: &Answer, sentence: &str) -> Result {
        self.warnings(&answer.json);
        self.done_as_seen(answer, sentence)
    }

    /// Likewise, where the warnings have been read already.
    ///
    /// # Errors
    /// When standard output does not take it.
    pub(super) fn done_as_seen(&self, answer: &Answer, sentence: &str) -> Result {
        self.note(sentence);
        if self.form == Form::Table { Ok(()) } else { self.as_programs_like_it(answer) }
    }

    /// A card to be read before a question, on standard error.
    pub(super) fn aside(&self, card: &Card) {
        self.note(&card.draw(table::Look { colour: false, ..self.look }));
    }

    /// What was made: likewise, with its id on standard output.
    ///
    /// # Errors
    /// When standard output does not take it.
    pub(super) fn made(&self, answer: &Answer, sentence: &str) -> Result {
        self.done(answer, sentence)?;
        if self.form == Form::Table { print(&table::text(&answer.json["id"])) } else { Ok(()) }
    }

    /// Secrets that are shown this once: to standard output and nowhere else.
    ///
    /// # Errors
    /// When standard output does not take them.
    pub(super) fn secrets(&self, answer: &Answer, secrets: &[(&'static str, &Value)], sentence: &str) -> Result {
        if self.form == Form::Table {
            let mut card = Card::default();
            for (name, value) in secrets.iter().filter(|(_, value)| !value.is_null()) {
                card.line(name, value);
            }
            // First, so that nothing that goes wrong later can lose them.
            print(card.draw(self.look).trim_end())?;
            self.warnings(&answer.json);
            self.note(sentence);
        } else {
            self.done(answer, sentence)?;
        }
        self.note("Secrets are shown this once. Store them in your secrets manager before you close this window.");
        Ok(())
    }

    /// The warnings that an answer carries, on standard error.
    pub(super) fn warnings(&self, object: &Value) {
        for warning in object["warnings"].as_array().into_iter().flatten() {
            self.note(&format!("warning: {}", table::text(&warning["message"])));
        }
    }

    /// Something that is not the answer, on standard error.
    #[allow(clippy::print_stderr, reason = "what is not the answer belongs there")]
    pub(super) fn note(&self, text: &str) {
        if !self.quiet {
            eprintln!("{text}");
        }
    }

    fn as_programs_like_it(&self, answer: &Answer) -> Result {
        if answer.text.is_empty() {
            return Ok(());
        }
        match self.form {
            Form::Table | Form::Json => print(&pretty(&answer.text)?),
            Form::Ndjson => print(&answer.text),
            Form::Csv => {
                let names: Vec<String> =
                    answer.json.as_object().map(|o| o.keys().cloned().collect()).unwrap_or_default();
                let columns: Vec<Column<'_>> = names.iter().map(|name| Column::new("", name)).collect();
                csv(&columns, std::slice::from_ref(&answer.json))
            }
        }
    }
}

/// A line, or several, on standard output.
///
/// # Errors
/// When standard output does not take it.
pub(super) fn print(text: &str) -> Result {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

/// JSON as it came, indented. Order and numbers stay.
fn pretty(text: &str) -> Result<String> {
    let mut bytes = Vec::new();
    let mut writer = serde_json::Serializer::pretty(&mut bytes);
    serde_transcode::transcode(&mut serde_json::Deserializer::from_str(text), &mut writer)
        .map_err(|error| Error::Strange { url: "the service".to_owned(), what: error.to_string() })?;
    Ok(String::from_utf8(bytes).expect("JSON is written as UTF-8"))
}

/// All pages as one, in the form of the service's lists.
fn listing_json(listing: &Listing) -> Result<String> {
    let items: Vec<&str> = listing.items.iter().map(|item| item.get()).collect();
    let beside: String =
        listing.beside.iter().map(|(name, value)| format!(",{}:{value}", Value::from(name.as_str()))).collect();
    pretty(&format!("{{\"items\":[{}]{beside}}}", items.join(",")))
}

fn csv(columns: &[Column<'_>], items: &[Value]) -> Result {
    let mut writer = csv::Writer::from_writer(io::stdout().lock());
    writer.write_record(columns.iter().map(|column| column.field)).map_err(io::Error::from)?;
    for item in items {
        writer
            .write_record(columns.iter().map(|column| spreadsheet_text(column.value(item))))
            .map_err(io::Error::from)?;
    }
    Ok(writer.flush()?)
}

/// A value as a field of CSV. A text that a spreadsheet would take for a formula begins with an apostrophe.
fn spreadsheet_text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) => format!("'{text}"),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            let joined: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            spreadsheet_text(&Value::from(joined.join(" ")))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_keeps_its_order_and_its_numbers() {
        let text = pretty(r#"{"z":1.0,"a":[20.10,1e3],"m":18446744073709551615}"#).unwrap();
        let squeezed: String = text.split_whitespace().collect();
        assert_eq!(squeezed, r#"{"z":1.0,"a":[20.1,1000.0],"m":18446744073709551615}"#);
    }

    #[test]
    fn a_spreadsheet_takes_nothing_for_a_formula() {
        for (value, field) in [
            (json!("=1+1"), "'=1+1"),
            (json!("@SUM(A1)"), "'@SUM(A1)"),
            (json!(["-a", "b"]), "'-a b"),
            (json!(-3.5), "-3.5"),
            (json!(null), ""),
            (json!("plain"), "plain"),
        ] {
            assert_eq!(spreadsheet_text(&value), field);
        }
    }
}
