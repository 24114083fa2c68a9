//! Two administrators who try to get around the rule of two with the command line.

use crate::support::{
    Facility,
    cli::{Cli, Said, said},
};

#[track_caller]
fn refused(said: Said, code: &str) {
    let said = said.expect(1);
    assert!(said.err.contains(code) && said.out.is_empty(), "{said:?}");
}

fn requested(cli: &Cli) -> String {
    let words = ["--vendor", "Custom", "--name", "Climate computer", "--description", "Greenhouse 1", "--yes"];
    let made = cli.ok(&[&["integrations", "create", "--scopes", "sensors:write"], &words[..]].concat());
    made.out.trim().to_owned()
}

// S066, S067, S068: the requester cannot approve, by whatever name, session or e-mail address.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_approves_their_own_request() {
    let facility = Facility::new().await;
    let [alice, bob] = Cli::of(&facility);
    let id = requested(&alice);
    for name in [id.as_str(), "Climate computer", &id[..30]] {
        refused(alice.run(&["integrations", "approve", name, "--yes"]), "self_approval");
        refused(alice.run(&["integrations", "approve", name, "--yes", "--if-match", "*"]), "self_approval");
    }
    // Another session of the same person is the same person.
    let mut scripted = alice.command(&["integrations", "approve", &id, "--yes"]);
    scripted.env("SENSORGATE_TOKEN", &facility.alice);
    refused(said(scripted, ""), "self_approval");
    // So is the same person under another address.
    alice.ok(&["users", "update", "alice@example.org", "--email", "somebody.else@example.org"]);
    refused(alice.run(&["integrations", "approve", &id, "--yes"]), "self_approval");
    // Without their permission the other one cannot help, and nobody takes their own back.
    bob.ok(&["users", "remove", "somebody.else@example.org", "--yes"]);
    alice.run(&["integrations", "approve", &id, "--yes"]).expect(3);
    alice.piped(&["login", "somebody.else@example.org", "--password-stdin"], &facility.passwords[0]).expect(0);
    refused(alice.run(&["integrations", "approve", &id, "--yes"]), "permission_denied");
    assert_eq!(bob.json(&["integrations", "show", &id])["status"], "requested");
    let log = bob.ok(&["audit", "list", "--all"]);
    assert!(log.out.matches("_refused").count() >= 9, "every attempt stands in the audit log: {}", log.out);
}

// S128: whoever suspended cannot reactivate, with a new key or a staged one.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_reactivates_what_they_suspended() {
    let facility = Facility::new().await;
    let [alice, bob] = Cli::of(&facility);
    let id = facility.active(&["sensors:write"]).await.id;
    alice.ok(&["integrations", "suspend", &id, "--reason", "A test", "--yes"]);
    refused(alice.run(&["integrations", "reactivate", &id, "--yes"]), "self_reactivation");
    alice.ok(&["integrations", "regenerate-key", &id, "--yes"]);
    refused(alice.run(&["integrations", "reactivate", &id, "--keep-staged", "--yes"]), "self_reactivation");
    // No other step leads there.
    for step in ["approve", "activate"] {
        let words: &[&str] = if step == "approve" { &["--yes"] } else { &[] };
        let said = alice.run(&[&["integrations", step, &id], words].concat()).expect(5);
        assert!(said.err.contains("invalid_state"), "{step}: {said:?}");
    }
    alice.ok(&["integrations", "update", &id, "--rpm", "600"]);
    assert_eq!(bob.json(&["integrations", "show", &id])["status"], "suspended");
    assert_eq!(bob.json(&["integrations", "reactivate", &id, "--keep-staged", "--yes"])["status"], "active");
}

// api.md §6: neither a puppet nor a colleague's reset password makes one person two.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_makes_a_second_administrator_of_themselves() {
    let facility = Facility::new().await;
    let [alice, bob] = Cli::of(&facility);
    let id = requested(&alice);
    let url = &facility.server.admin_url;
    let take_over = |email: &str, one_time: &str| {
        let cli = Cli::new(url);
        cli.piped(&["login", email, "--password-stdin"], &format!("{one_time}\na password of the puppet\n")).expect(0);
        cli
    };

    let one_time = alice.ok(&["users", "create", "puppet@example.org", "--grant"]);
    let puppet = take_over("puppet@example.org", one_time.line("one_time_password"));
    refused(puppet.run(&["integrations", "approve", &id, "--yes"]), "permission_denied");
    refused(alice.run(&["users", "confirm", "puppet@example.org", "--yes"]), "self_confirmation");
    refused(puppet.run(&["users", "confirm", "puppet@example.org", "--yes"]), "permission_denied");

    let one_time = alice.ok(&["users", "reset-password", "bob@example.org", "--yes"]);
    let as_bob = take_over("bob@example.org", one_time.line("one_time_password"));
    bob.run(&["whoami"]).expect(3);
    refused(as_bob.run(&["integrations", "approve", &id, "--yes"]), "permission_denied");
    refused(as_bob.run(&["users", "confirm", "puppet@example.org", "--yes"]), "permission_denied");
    refused(alice.run(&["users", "confirm", "bob@example.org", "--yes"]), "self_confirmation");
    assert_eq!(alice.json(&["integrations", "show", &id])["status"], "requested");
}

// S077: of many approvals at once exactly one is the approval.
#[tokio::test(flavor = "multi_thread")]
async fn one_approval_of_many_at_once_counts() {
    let facility = Facility::new().await;
    let [alice, bob] = Cli::of(&facility);
    let id = requested(&alice);
    let ended: Vec<Said> = std::thread::scope(|scope| {
        let approve = |cli: &'_ Cli| cli.run(&["integrations", "approve", &id, "--yes"]);
        let threads: Vec<_> = (0..6).map(|n| if n % 3 == 0 { &alice } else { &bob }).collect();
        let threads: Vec<_> = threads.into_iter().map(|cli| scope.spawn(move || approve(cli))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(ended.iter().filter(|said| said.code == 0).count(), 1, "{ended:?}");
    assert!(ended.iter().all(|said| [0, 1, 5].contains(&said.code)), "{ended:?}");
    let shown = alice.json(&["integrations", "show", &id]);
    assert_ne!(shown["approved_by"], shown["requested_by"]);
}
