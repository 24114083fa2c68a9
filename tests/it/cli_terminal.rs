//! The command line at a terminal: what it asks, what it does not show, how wide it draws.

use rexpect::session::{PtySession, spawn_command};

use crate::support::{Facility, Server, cli::Cli};

/// How long an answer may take, in milliseconds.
const PATIENCE_MS: u64 = 60_000;

fn at_terminal(cli: &Cli, words: &[&str]) -> PtySession {
    spawn_command(cli.command(words), Some(PATIENCE_MS)).expect("a terminal")
}

/// The rest of what a command says, and its exit code.
fn end(mut session: PtySession) -> (String, i32) {
    let said = session.exp_eof().expect("it ends");
    match session.process().wait().expect("it has ended") {
        rexpect::process::WaitStatus::Exited(_, code) => (said, code),
        other => panic!("{other:?}: {said}"),
    }
}

// Passwords are read from the terminal without showing them; a one-time password is changed on the way.
#[test]
fn a_first_sign_in_asks_for_a_password_of_ones_own() {
    let mut server = Server::prepare(&[]);
    let admins = server.bootstrap("Greenhouse", ["alice@example.org", "bob@example.org"]);
    server.launch("127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0");
    let cli = Cli::new(&server.admin_url);
    let (email, one_time) = &admins[0];
    let own = "correct horse battery alice";

    let mut session = at_terminal(&cli, &["login"]);
    let mut said = session.exp_string("E-mail address: ").unwrap();
    session.send_line(email).unwrap();
    said += &session.exp_string(&format!("Password of {email}: ")).unwrap();
    session.send_line(one_time).unwrap();
    said += &session.exp_string("New password (at least 12 characters): ").unwrap();
    session.send_line(own).unwrap();
    said += &session.exp_string("The same again: ").unwrap();
    session.send_line("something else").unwrap();
    let (rest, code) = end(session);
    assert!(code == 2 && rest.contains("differ"), "{said}{rest}");
    assert!(!said.contains(one_time) && !said.contains(own), "no password is shown: {said}");

    let mut session = at_terminal(&cli, &["login", email]);
    session.exp_string("Password of").unwrap();
    session.send_line(one_time).unwrap();
    for question in ["New password", "The same again"] {
        said += &session.exp_string(question).unwrap();
        session.send_line(own).unwrap();
    }
    let (rest, code) = end(session);
    assert!(code == 0 && rest.contains("Signed in"), "{said}{rest}");
    assert!(!said.contains(own) && !rest.contains(own), "no password is shown: {said}{rest}");
    cli.ok(&["whoami"]);
}

// S111, S139: the person is asked, and no is an answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_can_say_no() {
    let facility = Facility::new().await;
    let integration = facility.active(&["sensors:write"]).await;
    let [alice, bob] = Cli::of(&facility);
    let id = integration.id.as_str();

    for (answer, expected) in [("n", 2), ("", 2), ("y", 0)] {
        let mut session = at_terminal(&alice, &["integrations", "suspend", id]);
        session.exp_string("Why is Climate computer suspended: ").unwrap();
        session.send_line("Strange calls").unwrap();
        session.exp_string("Go on? [y/N] ").unwrap();
        session.send_line(answer).unwrap();
        let (said, code) = end(session);
        assert_eq!(code, expected, "{answer:?}: {said}");
        let status = alice.json(&["integrations", "show", id])["status"].clone();
        assert_eq!(status, if expected == 0 { "suspended" } else { "active" }, "{answer:?}: {said}");
    }

    for (answer, expected) in [("y", 2), ("Climate computer", 0)] {
        let mut session = at_terminal(&bob, &["integrations", "revoke", id]);
        session.exp_string("Type \"Climate computer\" to go on: ").unwrap();
        session.send_line(answer).unwrap();
        let (said, code) = end(session);
        assert_eq!(code, expected, "{answer:?}: {said}");
    }
    assert_eq!(alice.json(&["integrations", "show", id])["status"], "revoked");
}

// Tables keep to the terminal's width, and colours to terminals that want them.
#[tokio::test(flavor = "multi_thread")]
async fn tables_fit_the_terminal() {
    let facility = Facility::new().await;
    facility.active(&["sensors:write", "equipment:read", "equipment:write", "inventory:read", "orders:read"]).await;
    let [alice, _] = Cli::of(&facility);
    let drawn = |no_color: bool| {
        let binary = env!("CARGO_BIN_EXE_sensorgate");
        let words = format!("stty cols 110; exec {binary} integrations list");
        let mut command = alice.command(&[]);
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &words]).envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        shell.env("TERM", "xterm-256color").env_remove("NO_COLOR").env_remove("SENSORGATE_TOKEN");
        if no_color {
            shell.env("NO_COLOR", "1");
        }
        command.env_clear();
        let (said, code) = end(spawn_command(shell, Some(PATIENCE_MS)).expect("a terminal"));
        assert_eq!(code, 0, "{said}");
        said
    };
    let plain = drawn(true);
    assert!(!plain.contains('\u{1b}'), "{plain:?}");
    let widest = plain.lines().map(|line| line.trim_end().chars().count()).max();
    assert!(widest.is_some_and(|widest| widest <= 110), "{widest:?} in {plain}");
    assert!(plain.contains("NAME") && plain.contains("orders:read"), "{plain}");
    assert!(drawn(false).contains("\u{1b}["), "a terminal shows colours");
    assert!(!alice.ok(&["integrations", "list"]).out.contains('\u{1b}'), "a pipe gets none");
}

// The completion script loads in bash, and completes nouns, verbs, options and values.
#[test]
fn bash_completes_commands() {
    let script = Cli::new("http://127.0.0.1:1").ok(&["completion", "bash"]).out;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sensorgate.bash");
    std::fs::write(&file, script).unwrap();
    for (words, completed) in [
        (&["sensorgate", "integ"][..], "integrations"),
        (&["sensorgate", "integrations", "susp"], "suspend"),
        (&["sensorgate", "integrations", "suspend", "--rea"], "--reason"),
        (&["sensorgate", "integrations", "list", "--status", "susp"], "suspended"),
    ] {
        let (last, line) = (words.len() - 1, words.join(" "));
        let words = format!(
            "set -e; source {}; COMP_WORDS=({line}); COMP_CWORD={last}; COMP_LINE='{line}'; \
             _sensorgate sensorgate '{}' '{}'; echo \"${{COMPREPLY[@]}}\"",
            file.display(),
            words[last],
            words[last - 1],
        );
        let output = std::process::Command::new("bash").args(["--norc", "-c", &words]).output().expect("bash");
        let said = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(said.split_whitespace().any(|word| word == completed), "{line}: {said}{errors}");
    }
}
