//! The quarterly access review from the command line alone.

use crate::support::{Facility, batch, cli::Cli, now_s};

// S315, S316, S317, S320, S322, S323, S325: make it, answer the six questions, sign it off, take it out.
#[tokio::test(flavor = "multi_thread")]
async fn the_quarterly_review_runs_from_the_command_line() {
    let facility = Facility::new().await;
    let [alice, bob] = Cli::of(&facility);
    let sender = facility.active(&["sensors:write", "crm:read"]).await;
    facility.sensor(&sender, "s").await;
    facility.ingest(&sender, &batch("s", 2, now_s())).await.expect(200);

    let end = now_s() + 1;
    while now_s() < end {
        tokio::task::yield_now().await;
    }
    let end = jiff::Timestamp::from_second(end).expect("a time").to_string();
    let made = alice.json(&["review", "create", "--from", "90d", "--to", &end]);
    let id = made["id"].as_str().expect("an id").to_owned();
    let report = &made["report"]["integrations"][0];
    assert_eq!(report["usage"]["readings_accepted"], 2, "{report}");
    alice.run(&["review", "sign-off", &id, "--yes"]).expect(5);

    for question in ["in_use", "scopes", "credentials", "rate_limits", "ip_allowlist", "contacts"] {
        alice.ok(&["review", "answer", &id, question]);
    }
    let name = "Climate computer";
    let finding = ["review", "answer", &id, "scopes", "--integration", name, "--to-do", "--note", "Take crm:read away"];
    alice.ok(&finding);
    let unsaid = bob.run(&["review", "sign-off", &id]).expect(2);
    assert!(unsaid.err.contains("--yes"), "{unsaid:?}");
    bob.ok(&["review", "sign-off", &id, "--yes"]);
    alice.run(&finding).expect(5);

    let folder = tempfile::tempdir().expect("a folder");
    for format in ["json", "csv", "html"] {
        let file = folder.path().join(format!("review.{format}"));
        let name = file.to_str().expect("UTF-8");
        alice.ok(&["review", "export", &id, "--format", format, "--file", name]);
        let text = std::fs::read_to_string(&file).expect("the export");
        assert!(text.contains("Take crm:read away") && text.contains("bob@example.org"), "{format}: {text}");
        assert!(!text.contains(&sender.api_key) && !text.contains(&sender.client_secret), "{format}");
    }
    let shown = alice.ok(&["review", "show", &id]);
    assert!(shown.line("Signed at").starts_with("20"), "{shown:?}");
    assert!(alice.ok(&["review", "list"]).out.contains(&id));
}
