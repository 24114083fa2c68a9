//! The command line against a real service: signing in, what goes where, exit codes, names, refusals.

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::support::{Facility, Server, cli::Cli};

const REQUEST: &[&str] = &[
    "integrations",
    "create",
    "--vendor",
    "Custom",
    "--name",
    "Climate computer",
    "--description",
    "Delivers the climate of greenhouse 1.",
    "--scopes",
    "equipment:read,sensors:write",
];

// A first sign-in with a one-time password sets one's own; the session is a private file, gone after signing out.
#[test]
fn sessions_are_kept_in_private_and_end() {
    let mut server = Server::prepare(&[]);
    let admins = server.bootstrap("Greenhouse", ["alice@example.org", "bob@example.org"]);
    server.launch("127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0");
    let cli = Cli::new(&server.admin_url);
    let (email, one_time) = &admins[0];
    let said = cli.run(&["whoami"]).expect(3);
    assert!(said.err.contains("sensorgate login") && said.out.is_empty(), "{said:?}");

    let said = cli.piped(&["login", email, "--password-stdin"], one_time).expect(3);
    assert!(said.err.contains("second line"), "{said:?}");
    let own = "correct horse battery alice";
    let said = cli.piped(&["login", email, "--password-stdin"], &format!("{one_time}\n{own}\n")).expect(0);
    assert!(said.out.is_empty() && said.err.contains("Signed in"), "{said:?}");
    let mut secrets = vec![one_time.clone(), own.to_owned()];
    for file in cli.files() {
        let mode = std::fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", file.display());
        if let Ok(kept) = serde_json::from_str::<Value>(&std::fs::read_to_string(&file).unwrap()) {
            secrets.push(kept["access_token"].as_str().expect("a token").to_owned());
        }
    }
    assert_eq!(secrets.len(), 3, "one session is kept");
    assert_eq!(std::fs::metadata(cli.state.path().join("sensorgate")).unwrap().permissions().mode() & 0o777, 0o700);

    assert_eq!(cli.json(&["whoami"])["email"], email.as_str());
    assert_eq!(cli.ok(&["whoami"]).line("E-mail"), email);
    let said = cli.piped(&["password", "--password-stdin"], &format!("wrong\n{own} 2\n")).expect(1);
    assert!(said.err.contains("current_password") && said.err.contains("validation_failed"), "{said:?}");
    cli.piped(&["password", "--password-stdin"], &format!("{own}\n{own} 2\n")).expect(0);

    cli.ok(&["logout"]);
    assert!(cli.files().iter().all(|file| file.ends_with("current")), "{:?}", cli.files());
    cli.run(&["whoami"]).expect(3);
    cli.piped(&["login", email, "--password-stdin"], own).expect(3);

    // A token for scripts: nothing is kept.
    let token = cli.piped(&["login", email, "--password-stdin", "--print-token"], &format!("{own} 2")).expect(0).out;
    cli.run(&["whoami"]).expect(3);
    let mut command = cli.command(&["whoami", "-o", "json"]);
    command.env("SENSORGATE_TOKEN", token.trim());
    assert_eq!(crate::support::cli::said(command, "").expect(0).json()["email"], email.as_str());
    for secret in secrets {
        assert!(!server.log().contains(&secret), "no secret in the server's log");
    }
}

// A session that others could read is not used; one that the service no longer knows is not kept.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_cannot_be_trusted_are_not_used() {
    let facility = Facility::new().await;
    let [alice, _] = Cli::of(&facility);
    let session = |cli: &Cli| cli.files().into_iter().find(|file| !file.ends_with("current"));
    let file = session(&alice).expect("a session");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
    let said = alice.run(&["whoami"]).expect(3);
    assert!(said.err.contains("can be read by others"), "{said:?}");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    alice.ok(&["whoami"]);

    let text = std::fs::read_to_string(&file).unwrap();
    let mut kept: Value = serde_json::from_str(&text).unwrap();
    kept["access_token"] = Value::from("sga_unknown");
    std::fs::write(&file, kept.to_string()).unwrap();
    let said = alice.run(&["whoami"]).expect(3);
    assert!(said.err.contains("not_signed_in") && said.err.contains("sensorgate login"), "{said:?}");
    assert_eq!(session(&alice), None, "it is not kept");
}

// S021, S022, S072, S197: a request, its approval by somebody else, and credentials on standard output, once.
#[tokio::test(flavor = "multi_thread")]
async fn an_integration_comes_to_life() {
    let facility = Facility::new().await;
    let [alice, bob] = Cli::of(&facility);
    let made = alice.ok(REQUEST);
    let id = made.out.trim();
    assert!(made.err.contains("another administrator"), "{made:?}");

    // S022
    assert_eq!(alice.json(&["integrations", "pending"])["items"], serde_json::json!([]));
    let pending = bob.ok(&["integrations", "pending"]);
    assert!(pending.out.contains("Climate computer") && pending.out.contains("alice@example.org"), "{pending:?}");

    // S067: the rule holds for the command line as well.
    let refused = alice.run(&["integrations", "approve", "Climate computer", "--yes"]).expect(1);
    assert!(refused.err.contains("self_approval") && refused.err.contains("request "), "{refused:?}");
    // S072: what is approved is shown; without a terminal it needs a word.
    let unsure = bob.run(&["integrations", "approve", "Climate computer"]).expect(2);
    for shown in ["Delivers the climate", "sensors:write", "alice@example.org", "--yes"] {
        assert!(unsure.err.contains(shown), "{shown} in {unsure:?}");
    }
    // S073
    let stale = bob.run(&["integrations", "approve", id, "--yes", "--if-match", "99"]).expect(5);
    assert!(stale.err.contains("version_conflict"), "{stale:?}");
    bob.ok(&["integrations", "approve", id, "--yes"]);
    let again = bob.run(&["integrations", "approve", id, "--yes"]).expect(5);
    assert!(again.err.contains("invalid_state"), "{again:?}");

    let activated = alice.ok(&["integrations", "activate", id]);
    let (key, secret) = (activated.line("api_key"), activated.line("client_secret"));
    assert!(key.starts_with("grq_live_") && !secret.is_empty(), "{activated:?}");
    assert!(!activated.err.contains(key) && !activated.err.contains(secret), "S197: on standard output alone");
    let integration = facility.token(activated.line("client_id"), secret).await;
    assert!(!integration.is_empty());

    // S194: no command shows them again.
    for words in [
        vec!["integrations", "show", id],
        vec!["integrations", "list"],
        vec!["integrations", "history", id],
        vec!["audit", "list", "--all"],
    ] {
        for form in ["table", "json", "ndjson", "csv"] {
            let said = alice.ok(&[words.as_slice(), &["--output", form]].concat());
            assert!(!said.out.contains(key) && !said.out.contains(secret), "{words:?} {form}");
            assert!(said.out.contains(id), "{words:?} {form}: {said:?}");
        }
    }
    assert!(!facility.server.log().contains(key) && !facility.server.log().contains(secret));
}

// S111, S139: what is dangerous is asked about, in words that name the integration and the consequence.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_dangerous_is_asked_about() {
    let facility = Facility::new().await;
    let integration = facility.active(&["sensors:write"]).await;
    let sensor = facility.sensor(&integration, "AA:BB:01").await;
    let [alice, bob] = Cli::of(&facility);
    let unconfirmed = |cli: &Cli, words: &[&str], consequence: &str| {
        let said = cli.run(words).expect(2);
        assert!(said.err.contains("--yes") && said.err.contains("Nothing was done"), "{words:?}: {said:?}");
        assert!(said.err.contains(consequence) && said.out.is_empty(), "{words:?}: {said:?}");
    };
    let id = integration.id.as_str();
    unconfirmed(&alice, &["integrations", "regenerate-key", id], "Climate computer");
    unconfirmed(&alice, &["integrations", "suspend", id, "--reason", "x"], "another administrator has to");
    unconfirmed(&alice, &["integrations", "revoke", "Climate computer"], "never comes back");
    unconfirmed(&alice, &["integrations", "allowlist", "disable", id], "any address");
    unconfirmed(&alice, &["equipment", "retire", "AA:BB:01"], "new ones are refused");
    unconfirmed(&alice, &["users", "deactivate", "bob@example.org"], "bob@example.org");
    unconfirmed(&alice, &["users", "remove", "bob@example.org"], "bob@example.org");
    unconfirmed(&alice, &["users", "reset-password", "bob@example.org"], "bob@example.org");
    assert_eq!(alice.json(&["integrations", "show", id])["status"], "active", "nothing was done");
    assert_eq!(alice.json(&["equipment", "show", &sensor])["status"], "active");

    // S128: whoever suspended cannot reactivate, whatever the way.
    alice.ok(&["integrations", "suspend", id, "--reason", "Calls from an unknown address", "--yes"]);
    unconfirmed(&bob, &["integrations", "reactivate", id], "Calls from an unknown address");
    let refused = alice.run(&["integrations", "reactivate", id, "--yes"]).expect(1);
    assert!(refused.err.contains("self_reactivation"), "{refused:?}");
    let reactivated = bob.json(&["integrations", "reactivate", id, "--yes"]);
    assert_eq!(reactivated["status"], "active");
    let revoked = bob.json(&["integrations", "revoke", id, "--yes", "--reason", "Contract ended"]);
    assert_eq!((&revoked["status"], &revoked["revoke_reason"]), (&"revoked".into(), &"Contract ended".into()));
}

// Exit codes that a script can rely on, and sentences that say what to do.
#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_say_what_happened() {
    let facility = Facility::new().await;
    let [alice, _] = Cli::of(&facility);
    alice.ok(REQUEST);
    for (code, words, sentence) in [
        (1, vec!["integrations", "update", "Climate computer", "--scopes", "sensors:read"], "validation_failed"),
        (2, vec!["integrations", "frobnicate"], "unrecognized subcommand"),
        (2, vec!["integrations", "update", "Climate computer"], "say what to change"),
        (2, vec!["audit", "list", "--from", "yesterday"], "24h"),
        (2, vec!["whoami", "--url", "http://gate.example.org"], "--insecure-http"),
        (2, vec!["login", "alice@example.org"], "--password-stdin"),
        (4, vec!["integrations", "show", "nonsense"], "sensorgate integrations list"),
        (4, vec!["integrations", "show", "01900000-0000-7000-8000-000000000000"], "sensorgate integrations list"),
        (4, vec!["users", "show", "nobody@example.org"], "sensorgate users list"),
        (4, vec!["equipment", "show", "AA:BB:99"], "sensorgate equipment list"),
        (5, vec!["integrations", "activate", "Climate computer"], "invalid_state"),
        (5, vec!["integrations", "update", "Climate computer", "--rpm", "9", "--if-match", "77"], "version_conflict"),
        (6, vec!["login", "a@b.org", "--password-stdin", "--url", "http://127.0.0.1:1"], "cannot reach"),
    ] {
        let said = alice.piped(&words, "some password").expect(code);
        assert!(said.err.contains(sentence) && said.out.is_empty(), "{words:?}: {said:?}");
    }
}

// Names: an id, the unique beginning of one, or the exact name.
#[tokio::test(flavor = "multi_thread")]
async fn integrations_are_named_as_people_name_them() {
    let facility = Facility::new().await;
    let [alice, _] = Cli::of(&facility);
    let id = alice.ok(REQUEST).out.trim().to_owned();
    for name in [id.as_str(), &id[..35], "Climate computer"] {
        assert_eq!(alice.json(&["integrations", "show", name])["id"], id.as_str(), "{name}");
    }
    alice.run(&["integrations", "show", "climate computer"]).expect(4);
    let twin = alice.ok(REQUEST).out.trim().to_owned();
    let said = alice.run(&["integrations", "show", "Climate computer"]).expect(2);
    assert!(said.err.contains(&id) && said.err.contains(&twin), "{said:?}");
    // What is revoked gives way to what is not.
    alice.ok(&["integrations", "revoke", &twin, "--yes"]);
    assert_eq!(alice.json(&["integrations", "show", "Climate computer"])["id"], id.as_str());
}
