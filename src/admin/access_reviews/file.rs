//! A review as a file: CSV for spreadsheets, HTML for people and paper. Both are made of the stored report and the
//! answers alone, so that a signed review gives the same bytes for ever.

use std::fmt::Write;

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use serde_json::Value;

use super::{super::export::cell, question, time};
use crate::control::review::AccessReview;

const STYLE: &str = "body{font:15px/1.45 sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#111}\
h1{font-size:1.6rem}h2{margin-top:2.2rem;border-bottom:2px solid #444}h3{margin:1.4rem 0 .3rem}\
table{border-collapse:collapse;width:100%}td,th{border:1px solid #999;padding:.25rem .5rem;text-align:left;\
vertical-align:top;overflow-wrap:anywhere}th{width:18rem;background:#eee}.flag{font-weight:bold}\
@media print{body{margin:0;max-width:none;font-size:10pt}h2,h3{break-after:avoid}tr{break-inside:avoid}}";

/// One fact of a review.
struct Fact {
    section: &'static str,
    /// The integration, member or event that it is about.
    subject: String,
    item: String,
    value: String,
    /// What deserves a look.
    flag: &'static str,
}

pub(super) fn csv(review: &AccessReview, report: &Value) -> Response {
    let mut text = "section,subject,item,value,flag\r\n".to_owned();
    for fact in facts(review, report) {
        let columns = [fact.section, &fact.subject, &fact.item, &fact.value, fact.flag].map(cell);
        text.push_str(&columns.join(","));
        text.push_str("\r\n");
    }
    let disposition = "attachment; filename=\"access-review.csv\"";
    ([(CONTENT_TYPE, "text/csv; charset=utf-8"), (CONTENT_DISPOSITION, disposition)], text).into_response()
}

pub(super) fn html(review: &AccessReview, report: &Value) -> Response {
    let title = format!("Access review of {}", words(&report["organisation"]));
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{0}</title><style>{STYLE}</style></head>\
         <body><h1>{0}</h1><p>Who and what may reach this facility's data from outside, how much of it was used in the \
         period, and what the reviewers found.</p>",
        escaped(&title)
    );
    let (mut section, mut subject, mut is_open) = ("", String::new(), false);
    for fact in facts(review, report) {
        if fact.section != section || fact.subject != subject {
            if is_open {
                page.push_str("</table>");
            }
            if fact.section != section {
                write_in(&mut page, format_args!("<h2>{}</h2>", escaped(fact.section)));
            }
            if !fact.subject.is_empty() {
                write_in(&mut page, format_args!("<h3>{}</h3>", escaped(&fact.subject)));
            }
            page.push_str("<table>");
            (section, subject, is_open) = (fact.section, fact.subject.clone(), true);
        }
        let flag =
            if fact.flag.is_empty() { String::new() } else { format!(" <span class=\"flag\">[{}]</span>", fact.flag) };
        let (item, value) = (escaped(&fact.item), escaped(&fact.value));
        write_in(&mut page, format_args!("<tr><th scope=\"row\">{item}</th><td>{value}{flag}</td></tr>"));
    }
    page.push_str(if is_open { "</table></body></html>" } else { "</body></html>" });
    let policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
        frame-ancestors 'none'";
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, policy),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, page).into_response()
}

fn write_in(page: &mut String, row: std::fmt::Arguments<'_>) {
    page.write_fmt(row).expect("a text in memory takes any row");
}

/// `text` as it stands in HTML, within an element or a quoted attribute.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

/// Everything that a review says, in the order that people read it.
fn facts(review: &AccessReview, report: &Value) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut add = |section, subject: &str, item: &str, value: String, flag| {
        facts.push(Fact { section, subject: subject.to_owned(), item: item.to_owned(), value, flag });
    };
    for (item, name) in [("Organisation", "organisation"), ("From", "from"), ("To (exclusive)", "to")] {
        add("Review", "", item, words(&report[name]), "");
    }
    add("Review", "", "Generated at", words(&report["generated_at"]), "");
    add("Review", "", "Generated by", words(&report["generated_by"]), "");
    add("Review", "", "SHA-256 of the report", review.sha256.clone(), "");
    let head = &report["audit_head"];
    add("Review", "", "Audit log up to", format!("entry {}, hash {}", words(&head["seq"]), words(&head["hash"])), "");
    let signed =
        review.signed.map(|deed| format!("{} by {}", time::format(deed.at_us), name_of(report, &deed.by.to_string())));
    let (signed, flag) = signed.map_or(("no".to_owned(), "not signed off"), |signed| (signed, ""));
    add("Review", "", "Signed off", signed, flag);
    for (key, answer) in &review.answers {
        let (name, about) = key.split_once('/').map_or((key.as_str(), None), |(name, id)| (name, Some(id)));
        let subject = about.map_or_else(|| "For the whole".to_owned(), |id| integration_name(report, id));
        let verdict = if answer.ok { "In order." } else { "To be done." };
        let by = name_of(report, &answer.by.to_string());
        let value = format!("{verdict} {} ({by}, {})", answer.note, time::format(answer.at_us));
        add("Answers", &subject, question(name), value, if answer.ok { "" } else { "to be done" });
    }
    for (section, list, title) in
        [("Integrations", "integrations", "name"), ("Administrators", "administrators", "email")]
    {
        for object in report[list].as_array().into_iter().flatten() {
            let subject = format!("{} ({})", words(&object[title]), words(&object["id"]));
            for (item, value) in object.as_object().into_iter().flatten() {
                expand(&mut |item: &str, value, flag| add(section, &subject, item, value, flag), item, value);
            }
        }
    }
    for event in report["events"].as_array().into_iter().flatten() {
        let subject = format!("{} {}", words(&event["at"]), words(&event["action"]));
        for (item, value) in event.as_object().into_iter().flatten() {
            if !["at", "action"].contains(&item.as_str()) && !value.is_null() {
                add("Events", &subject, item, words(value), "");
            }
        }
    }
    for note in report["notes"].as_array().into_iter().flatten() {
        add("Notes", "", "Note", words(note), "");
    }
    facts
}

/// The facts of one field: those of lists and of objects that are no person one by one.
fn expand(add: &mut impl FnMut(&str, String, &'static str), item: &str, value: &Value) {
    let readable = item.replace('_', " ");
    match value {
        Value::Object(object)
            if !object.contains_key("email") && ["usage", "credential", "limits", "allowlist"].contains(&item) =>
        {
            for (name, inner) in object {
                expand(add, &format!("{item}: {name}"), inner);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for inner in items {
                let flag = if inner["unused"] == true {
                    "unused"
                } else if inner["as_approved"] == false {
                    "not as approved"
                } else {
                    ""
                };
                add(&readable, words(inner), flag);
            }
        }
        other => {
            let flag = match (item, other) {
                ("usage: unused", Value::Bool(true)) => "unused",
                ("allowlist: enabled", Value::Bool(false)) => "no allowlist",
                ("sensitive", Value::Array(marks)) if !marks.is_empty() => "sensitive",
                (_, Value::Object(person)) if person.get("active") == Some(&Value::Bool(false)) => "not active",
                _ => "",
            };
            add(&readable, words(other), flag);
        }
    }
}

/// A value as people read it.
fn words(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().map(words).collect::<Vec<_>>().join(", "),
        Value::Object(object) => object
            .iter()
            .map(|(name, value)| format!("{}: {}", name.replace('_', " "), words(value)))
            .collect::<Vec<_>>()
            .join("; "),
    }
}

fn integration_name(report: &Value, id: &str) -> String {
    let mut all = report["integrations"].as_array().into_iter().flatten();
    all.find(|integration| integration["id"] == id).map_or_else(|| id.to_owned(), |found| words(&found["name"]))
}

fn name_of(report: &Value, id: &str) -> String {
    let mut all = report["administrators"].as_array().into_iter().flatten();
    all.find(|person| person["id"] == id).map_or_else(|| id.to_owned(), |found| words(&found["email"]))
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn no_text_becomes_markup() {
        assert_eq!(escaped("<b a=\"x\" b='y'>&"), "&lt;b a=&quot;x&quot; b=&#39;y&#39;&gt;&amp;");
    }
}
