//! Rules for texts that people write. They are kept byte for byte; nothing is trimmed or folded (S017).

use super::{Error, FieldError};

/// Characters of a name, at most.
pub(super) const NAME_CHARS_MAX: usize = 200;
/// Characters of a description or a reason, at most.
pub(super) const PROSE_CHARS_MAX: usize = 4_000;

/// One line: not blank, at most `chars_max` characters, no control characters.
pub(super) fn check_line(field: &str, text: &str, chars_max: usize, errors: &mut Vec<FieldError>) {
    if text.chars().any(char::is_control) {
        errors.push(FieldError::new(field, "must not contain control characters"));
    } else {
        check_length(field, text, chars_max, errors);
    }
}

/// Prose: not blank, at most [`PROSE_CHARS_MAX`] characters, no control characters but tabs and ends of line.
pub(super) fn check_prose(field: &str, text: &str, errors: &mut Vec<FieldError>) {
    if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        errors.push(FieldError::new(field, "must not contain control characters other than tabs and ends of line"));
    } else {
        check_length(field, text, PROSE_CHARS_MAX, errors);
    }
}

fn check_length(field: &str, text: &str, chars_max: usize, errors: &mut Vec<FieldError>) {
    if text.chars().all(char::is_whitespace) {
        errors.push(FieldError::new(field, "must not be blank"));
    } else if text.chars().count() > chars_max {
        errors.push(FieldError::new(field, format!("must have at most {chars_max} characters")));
    }
}

/// A reason that may be left out; a blank one counts as left out.
pub(super) fn optional_reason(field: &str, reason: Option<String>) -> Result<Option<String>, Error> {
    let reason = reason.filter(|reason| !reason.chars().all(char::is_whitespace));
    let mut errors = Vec::new();
    if let Some(reason) = &reason {
        check_prose(field, reason, &mut errors);
    }
    Error::of_fields(errors)?;
    Ok(reason)
}

/// A reason that must be given (S108).
pub(super) fn required_reason(field: &str, reason: &str) -> Result<(), Error> {
    let mut errors = Vec::new();
    check_prose(field, reason, &mut errors);
    Error::of_fields(errors)
}

/// `text` in quotes, for a message: shortened, and nothing in it can break a line or a terminal.
pub(super) fn quote(text: &str) -> String {
    const SHOWN_CHARS: usize = 64;
    let shown: String = text.chars().take(SHOWN_CHARS).collect();
    let more = if text.chars().nth(SHOWN_CHARS).is_some() { "…" } else { "" };
    format!("\"{}{more}\"", shown.escape_debug())
}
