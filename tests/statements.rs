//! A house rule: every statement of the manuals has a test that names it, or a reason why not, in `docs/statements.md`.
//! Only tests are read here: what the code says of itself proves nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

const PAGE: &str = "docs/statements.md";
const REASON: &str = "No test:";
const STATEMENTS: u32 = 329;
const DECISIONS: u32 = 45;
/// Tests that a row lists; the others are counted.
const LISTED: usize = 4;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The test code of the project, by file: test files whole, of others the inline module that stands last by custom.
fn test_code() -> Vec<(String, String)> {
    let mut files = Vec::new();
    for folder in ["src", "tests", "loadtest", "xtask"] {
        for entry in walkdir::WalkDir::new(root().join(folder)).into_iter().filter_map(Result::ok) {
            let name = entry.path().strip_prefix(root()).expect("below the root").display().to_string();
            if !name.ends_with(".rs") || name.contains("node_modules") || name == "tests/statements.rs" {
                continue;
            }
            let text = fs::read_to_string(entry.path()).unwrap_or_else(|error| panic!("{name}: {error}"));
            let is_test = name.starts_with("tests/") || name.contains("/tests/") || name.ends_with("/tests.rs");
            match text.find("\n#[cfg(test)]\nmod tests {") {
                _ if is_test => files.push((name, text)),
                Some(at) => files.push((name, text[at..].to_owned())),
                None => {}
            }
        }
    }
    files.sort();
    files
}

/// What a comment names: `S112`, `S040–S047`, `A27`. None where the line has no comment.
fn named(line: &str) -> Vec<String> {
    let Some((_, comment)) = line.split_once("//") else { return Vec::new() };
    let words: Vec<&str> = comment.split(|c: char| !c.is_ascii_alphanumeric() && c != '–' && c != '-').collect();
    let mut names = Vec::new();
    for word in words {
        let mut ends = word.split(['–', '-']).map(parsed);
        match (ends.next().flatten(), ends.next(), ends.next()) {
            (Some((kind, one)), None, _) => names.push(label(kind, one)),
            (Some((kind, one)), Some(Some((other, two))), None) if kind == other && one < two => {
                names.extend((one..=two).map(|number| label(kind, number)));
            }
            _ => {}
        }
    }
    names
}

/// `S` and three digits, or `A` and one or two.
fn parsed(word: &str) -> Option<(char, u32)> {
    let kind = word.chars().next()?;
    let digits = word.get(1..)?;
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.parse().ok()?;
    let fits = match kind {
        'S' => digits.len() == 3 && (1..=STATEMENTS).contains(&number),
        'A' => digits.len() <= 2 && (1..=DECISIONS).contains(&number),
        _ => false,
    };
    (is_number && fits).then_some((kind, number))
}

fn label(kind: char, number: u32) -> String {
    if kind == 'S' { format!("S{number:03}") } else { format!("A{number}") }
}

fn function(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let line = ["pub ", "pub(super) ", "pub(crate) ", "async "]
        .iter()
        .fold(line, |line, word| line.strip_prefix(word).unwrap_or(line));
    let rest = line.strip_prefix("fn ")?;
    rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()
}

/// Where a comment at `at` belongs: the function that it stands above, or else the one that it stands in.
fn owner<'a>(lines: &[&'a str], at: usize) -> Option<&'a str> {
    let is_between = |line: &&str| {
        let line = line.trim_start();
        line.is_empty() || line.starts_with("//") || line.starts_with("#[") || line.starts_with(['(', ')', ']', '"'])
    };
    if lines[at].starts_with("//!") {
        return None;
    }
    let below = lines[at + 1..].iter().find(|line| !is_between(line)).and_then(|line| function(line));
    below.or_else(|| lines[..at].iter().rev().find_map(|line| function(line)))
}

/// The tests that name each statement or decision, as `file::function`.
fn proofs() -> BTreeMap<String, BTreeSet<String>> {
    let mut proofs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (file, text) in test_code() {
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            for name in named(line) {
                let module = file.trim_end_matches(".rs").trim_end_matches("/tests");
                // A file's first words may speak for all of its tests.
                let test = owner(&lines, at).map_or_else(|| module.to_owned(), |test| format!("{module}::{test}"));
                proofs.entry(name).or_default().insert(test);
            }
        }
    }
    proofs
}

fn cell(tests: &BTreeSet<String>) -> String {
    let mut listed: Vec<String> = tests.iter().take(LISTED).map(|test| format!("`{test}`")).collect();
    if tests.len() > LISTED {
        listed.push(format!("and {} more", tests.len() - LISTED));
    }
    listed.join(", ")
}

/// The page with its last column as the tests have it. Reasons stay where there is no test.
fn page(text: &str) -> String {
    let proofs = proofs();
    let rows = text.lines().map(|line| {
        let name = line.strip_prefix("| ").and_then(|rest| rest.split(' ').next()).unwrap_or_default();
        if parsed(name).is_none() {
            return line.to_owned();
        }
        let columns: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let (last, others) = columns.split_last().expect("a row has columns");
        let proof = proofs.get(name).map_or_else(|| kept(last), cell);
        format!("| {} | {proof} |", others.join(" | "))
    });
    rows.map(|row| row + "\n").collect()
}

fn kept(proof: &str) -> String {
    if proof.starts_with(REASON) { proof.to_owned() } else { String::new() }
}

#[test]
fn every_statement_has_a_test_or_a_reason() {
    let text = fs::read_to_string(root().join(PAGE)).expect("the page of statements");
    let page = page(&text);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(root().join(PAGE), &page).expect("the page written");
    } else {
        assert!(text == page, "UPDATE_DOCS=1 cargo test --test statements writes {PAGE} anew");
    }
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| S") || line.starts_with("| A")).collect();
    let names: Vec<&str> = rows.iter().filter_map(|row| row[2..].split(' ').next()).collect();
    let statements = (1..=STATEMENTS).map(|number| label('S', number));
    let expected: Vec<String> = statements.chain((1..=DECISIONS).map(|number| label('A', number))).collect();
    assert_eq!(names, expected, "each once, in order");
    let without: Vec<&str> =
        rows.iter().filter(|row| row.starts_with("| S") && row.ends_with("|  |")).map(|row| &row[2..6]).collect();
    assert!(without.is_empty(), "neither a test that names it nor a reason ({REASON} …): {without:?}");
    let bare: Vec<&&str> = rows.iter().filter(|row| row.starts_with("| A") && !row.contains("](")).collect();
    assert!(bare.is_empty(), "decisions that no page explains: {bare:?}");
}

#[test]
fn names_are_read_out_of_comments() {
    assert_eq!(named("// S112, S113: at once"), ["S112", "S113"]);
    assert_eq!(named("    let x = 1; // S040–S042 with A27"), ["S040", "S041", "S042", "A27"]);
    for line in ["let s = \"S112\";", "// S999 S1 A46 SHA-256 A4-paper USA1", "// AS112"] {
        assert!(named(line).is_empty(), "{line}");
    }
    let lines = ["// S001", "#[tokio::test]", "async fn above() {", "    // S002", "    let x = 1;", "}"];
    assert_eq!((owner(&lines, 0), owner(&lines, 3)), (Some("above"), Some("above")));
}
