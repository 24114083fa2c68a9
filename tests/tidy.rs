//! The house rules, as tests: who may import whom, how long things may be, what may not be called what, and that
//! every metric and every configuration key is written down. The table is explained in `docs/architecture.md`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use syn::{spanned::Spanned, visit::Visit};

/// Room, and the rooms that it may import. `telemetry` and `model` are open to all.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("telemetry", &[]),
    ("listener", &[]),
    ("control", &[]),
    ("store", &[]),
    ("issuer", &[]),
    ("spool", &[]),
    ("auth", &[]),
    ("ingest", &["auth", "spool", "journal"]),
    ("journal", &["auth"]),
    ("request_log", &["journal"]),
    ("http", &["ingest", "auth", "listener", "journal"]),
    ("mqtt", &["ingest", "auth", "listener", "journal"]),
    ("bridge", &["ingest", "auth", "journal"]),
    ("delivery", &["spool", "store"]),
    ("quarantine", &["delivery", "ingest", "auth", "spool"]),
    ("webhook", &["control", "journal"]),
    ("rest", &["control", "store", "webhook"]),
    ("integration_api", &["rest", "control", "auth", "store", "webhook"]),
    ("admin", &["rest", "control", "store", "listener", "request_log", "quarantine", "webhook"]),
];
/// Single files with an arrow of their own.
const MAY_ALSO: &[(&str, &str)] = &[("src/auth/sync.rs", "control")];
/// What the commands that talk to a service may know of it: its API alone. `local` are those that work in its process.
const COMMANDS_MAY_IMPORT: &[&str] = &["cli", "config", "model"];
/// Rooms that wire everything and that nobody imports.
const ROOTS: &[&str] = &["app", "config", "demo", "main", "lib", "cli"];

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;
const LINE_CHARS_MAX: usize = 120;
const EMPTY_NAMES: &[&str] =
    &["utils", "util", "common", "helpers", "helper", "manager", "misc", "v2", "core", "types"];
const EMPTY_TYPE_PARTS: &[&str] = &["Manager", "Helper", "Util", "Impl"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn files_under(folder: &str, extension: &str) -> Vec<(String, String)> {
    let mut files: Vec<_> = walkdir::WalkDir::new(root().join(folder))
        .into_iter()
        .filter_map(Result::ok)
        .filter(|entry| entry.path().extension().is_some_and(|e| e == extension))
        .map(|entry| entry.path().strip_prefix(root()).expect("below the root").display().to_string())
        .map(|name| (name.clone(), read(&name)))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no .{extension} file below {folder}: the rule would prove nothing");
    files
}

fn sources() -> Vec<(String, String)> {
    ["src", "loadtest/src", "xtask/src"].into_iter().flat_map(|folder| files_under(folder, "rs")).collect()
}

fn is_test_file(name: &str) -> bool {
    name.ends_with("tests.rs") || name.contains("/tests/") || name.ends_with("contract.rs")
}

fn none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

/// The code of a file without its inline test module, which by custom stands last.
fn without_tests(text: &str) -> &str {
    text.find("\n#[cfg(test)]\nmod tests {").map_or(text, |at| &text[..at])
}

fn room_of(name: &str) -> Option<&str> {
    Some(name.strip_prefix("src/")?.split('/').next()?.trim_end_matches(".rs"))
}

fn targets(line: &str) -> impl Iterator<Item = &str> {
    let word = |rest: &str| rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    line.split("crate::").skip(1).map(move |rest| &rest[..word(rest)])
}

fn forbidden_imports(name: &str, text: &str) -> Vec<String> {
    let Some(room) = room_of(name).filter(|room| !ROOTS.contains(room)) else { return Vec::new() };
    let Some((_, allowed)) = MAY_IMPORT.iter().find(|(r, _)| *r == room) else {
        return vec![format!("{name}: room {room} is not in the table")];
    };
    let mut broken = Vec::new();
    for (number, line) in without_tests(text).lines().enumerate().filter(|(_, l)| !l.trim_start().starts_with("//")) {
        for target in targets(line) {
            let is_room = MAY_IMPORT.iter().any(|(r, _)| *r == target) || ROOTS.contains(&target);
            let fine = target == room
                || ["model", "telemetry"].contains(&target)
                || allowed.contains(&target)
                || MAY_ALSO.contains(&(name, target));
            if is_room && !fine {
                broken.push(format!("{name}:{}: {room} may not import {target}", number + 1));
            }
        }
    }
    broken
}

#[test]
fn rooms_import_only_as_the_table_says() {
    let files = files_under("src", "rs");
    let broken: Vec<_> = files
        .iter()
        .filter(|(name, _)| !is_test_file(name))
        .flat_map(|(name, text)| forbidden_imports(name, text))
        .collect();
    none("imports against the table (a new arrow needs an ADR)", &broken);
    assert_eq!(forbidden_imports("src/spool/x.rs", "use crate::store::Store;").len(), 1, "the rule itself works");
}

#[test]
fn commands_know_the_service_by_its_api_alone() {
    let mut broken = Vec::new();
    for (name, text) in files_under("src/cli", "rs").iter().filter(|(name, _)| !name.starts_with("src/cli/local/")) {
        let imports = without_tests(text).lines().flat_map(targets);
        broken.extend(imports.filter(|room| !COMMANDS_MAY_IMPORT.contains(room)).map(|room| format!("{name}: {room}")));
    }
    none("imports of a command that talks to a service", &broken);
}

#[test]
fn model_is_pure() {
    let impure = ["std::fs", "std::net::Tcp", "tokio", "SystemTime::now", "Instant::now", "rusqlite"];
    let mut broken = Vec::new();
    for (name, text) in files_under("src/model", "rs") {
        broken.extend(impure.iter().filter(|word| text.contains(**word)).map(|word| format!("{name}: {word}")));
    }
    none("model does no I/O and reads no clock", &broken);
}

#[test]
fn files_are_short() {
    let broken: Vec<_> = sources()
        .iter()
        .filter(|(name, _)| !is_test_file(name))
        .map(|(name, text)| (name, without_tests(text).lines().count()))
        .filter(|(_, lines)| *lines > FILE_LINES_MAX)
        .map(|(name, lines)| format!("{name}: {lines} lines"))
        .collect();
    none(&format!("files over {FILE_LINES_MAX} lines"), &broken);
}

#[test]
fn lines_are_narrow() {
    let mut broken = Vec::new();
    for (name, text) in sources() {
        let wide = |line: &str| line.chars().count() > LINE_CHARS_MAX && !line.contains('"');
        broken.extend(text.lines().enumerate().filter(|(_, l)| wide(l)).map(|(n, _)| format!("{name}:{}", n + 1)));
    }
    none(&format!("lines over {LINE_CHARS_MAX} characters"), &broken);
}

struct Functions<'a> {
    file: &'a str,
    long: Vec<String>,
}

impl Functions<'_> {
    fn measure(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let lines = block.span().end().line - block.span().start().line;
        if lines > FUNCTION_LINES_MAX {
            self.long.push(format!("{}: fn {} has {lines} lines", self.file, signature.ident));
        }
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.measure(&item.sig, &item.block);
        syn::visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.measure(&item.sig, &item.block);
        syn::visit::visit_impl_item_fn(self, item);
    }
}

#[test]
fn functions_are_short() {
    let mut broken = Vec::new();
    for (name, text) in sources().into_iter().filter(|(name, _)| !is_test_file(name)) {
        let file = syn::parse_file(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut functions = Functions { file: &name, long: Vec::new() };
        functions.visit_file(&file);
        broken.append(&mut functions.long);
    }
    none(&format!("functions over {FUNCTION_LINES_MAX} lines"), &broken);
}

fn declared_type(line: &str) -> Option<&str> {
    let line = line.trim_start().trim_start_matches("pub ").trim_start_matches("pub(super) ");
    let rest = ["struct ", "enum ", "trait "].iter().find_map(|keyword| line.strip_prefix(keyword))?;
    rest.split(|c: char| !c.is_alphanumeric()).next()
}

#[test]
fn nothing_has_a_name_that_says_nothing() {
    let mut broken = Vec::new();
    for (name, text) in sources() {
        let parts = name.split('/').map(|part| part.trim_end_matches(".rs"));
        broken.extend(parts.filter(|part| EMPTY_NAMES.contains(part)).map(|part| format!("{name}: {part}")));
        for ident in text.lines().filter_map(declared_type) {
            if EMPTY_TYPE_PARTS.iter().any(|part| ident.contains(part)) {
                broken.push(format!("{name}: {ident}"));
            }
        }
    }
    none("names that say nothing", &broken);
}

#[test]
fn nothing_is_left_undone() {
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("unimple", "mented!"), concat!("to", "do!(")];
    let mut broken = Vec::new();
    for (name, text) in sources() {
        broken.extend(words.iter().filter(|word| text.contains(**word)).map(|word| format!("{name}: {word}")));
    }
    none("left undone", &broken);
}

#[test]
fn every_source_file_says_what_it_is() {
    let broken: Vec<_> = sources()
        .into_iter()
        .filter(|(name, text)| !is_test_file(name) && !text.starts_with("//!"))
        .map(|(name, _)| name)
        .collect();
    none("files without a first sentence (//!)", &broken);
}

const METRICS_TABLE: &str = "| metric | kind | meaning |\n|---|---|---|\n";

/// `docs/operations.md` with the table of metrics, which stands last, as the code has it.
fn operations_page() -> String {
    let text = read("docs/operations.md");
    let at = text.find(METRICS_TABLE).expect("docs/operations.md ends in the table of metrics");
    let mut page = text[..at + METRICS_TABLE.len()].to_owned();
    for (kind, name, help) in sensorgate::telemetry::metrics::ALL {
        page += &format!("| `{name}` | {kind} | {help} |\n");
    }
    page
}

#[test]
fn every_metric_is_documented() {
    let page = operations_page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(root().join("docs/operations.md"), &page).expect("docs/operations.md written");
    }
    assert_eq!(read("docs/operations.md"), page, "UPDATE_DOCS=1 cargo test --test tidy writes the table anew");
    assert!(sensorgate::telemetry::metrics::ALL.iter().all(|(_, name, _)| name.starts_with("sensorgate_")));
}

#[test]
fn every_configuration_key_has_a_comment() {
    let text = read("config/default.toml");
    let mut broken = Vec::new();
    let mut previous = "";
    for (number, line) in text.lines().enumerate() {
        let is_key = !line.starts_with(['#', '[', ' ', '"', ']', '{']) && line.contains(" = ");
        if is_key && !previous.starts_with('#') {
            broken.push(format!("config/default.toml:{}: {line}", number + 1));
        }
        previous = line;
    }
    none("keys without a comment right above", &broken);
}

/// `docs/errors.md` as the table of codes has it.
fn errors_page() -> String {
    use sensorgate::model::{EntryCode, ProblemCode};
    let mut page = String::from(ERRORS_HEAD);
    for problem in ProblemCode::ALL {
        let retry = if problem.is_retryable() { "yes, unchanged, after a wait" } else { "not unchanged" };
        page += &format!(
            "\n### `{}`\n\n{} {}\n\n- **Cause:** {}\n- **Remedy:** {}\n- **Retry:** {retry}\n",
            problem.code(),
            problem.status(),
            problem.title(),
            problem.cause(),
            problem.remedy(),
        );
    }
    page += "\n## Codes of single entries\n\nThey stand in `errors` of a batch's answer, with `index`, `field` and `message`.\n\n";
    page += "| code | meaning | remedy | retry |\n|---|---|---|---|\n";
    for code in EntryCode::ALL {
        let retry = if code.is_retryable() { "yes, later" } else { "not unchanged" };
        page += &format!("| `{}` | {} | {} | {retry} |\n", code.as_str(), code.cause(), code.remedy());
    }
    page
}

const ERRORS_HEAD: &str = "\
# Error codes

Every refusal is `application/problem+json` (RFC 9457) with a stable `code`; its `type` leads to `/problems/{code}` on the
service itself. `detail` says what was wrong in this case; `request_id` finds it in the logs. This page is made from the
code's own table: `UPDATE_DOCS=1 cargo test --test tidy` writes it.

## Codes of whole requests
";

#[test]
fn every_error_code_is_documented() {
    let page = errors_page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(root().join("docs/errors.md"), &page).expect("docs/errors.md written");
    }
    assert_eq!(read("docs/errors.md"), page, "UPDATE_DOCS=1 cargo test --test tidy writes it anew");
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut pages = files_under("docs", "md");
    pages.push(("README.md".to_owned(), read("README.md")));
    let mut broken = Vec::new();
    for (name, text) in pages {
        let folder: PathBuf = Path::new(&name).parent().unwrap_or(Path::new("")).to_owned();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap_or("");
            let local = !path.is_empty() && !path.contains(':') && !path.starts_with('/');
            if local && !root().join(&folder).join(path).exists() {
                broken.push(format!("{name}: {target}"));
            }
        }
    }
    none("links that lead nowhere", &broken);
}

#[test]
fn no_path_of_a_developers_machine_is_written_down() {
    let needles = [concat!("/wo", "rk/"), concat!("/ro", "ot/")];
    let mut broken = Vec::new();
    for (name, text) in sources().into_iter().chain(files_under("docs", "md")).chain(files_under("tests", "rs")) {
        broken
            .extend(needles.iter().filter(|needle| text.contains(**needle)).map(|needle| format!("{name}: {needle}")));
    }
    none("paths of a machine", &broken);
}
