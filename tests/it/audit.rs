//! The audit log from the outside: taken out, proved without the service, and found out when somebody was at it.

use std::path::Path;

use reqwest::Method;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::{Facility, cli::Cli, now_s};

/// A facility in whose log something has happened.
async fn busy() -> Facility {
    let facility = Facility::with(&[("SENSORGATE__CONTROL__AUDIT_CHECKPOINT_ENTRIES", "4")]).await;
    let sender = facility.active(&["sensors:write"]).await;
    facility.sensor(&sender, "=cmd()").await;
    let path = format!("/admin/v1/integrations/{}", sender.id);
    facility.post(&format!("{path}/suspend"), json!({"reason": "=HYPERLINK(\"x\")"})).await.expect(200);
    facility.post(&format!("{path}/reactivate"), json!({})).await.expect(403);
    facility
}

/// Changes the database as somebody would who knows how the chain is made, but has no old checkpoint.
fn rewrite(data: &Path) {
    use sha2::{Digest, Sha256};
    let sql = Connection::open(data.join("control.db")).unwrap();
    sql.execute_batch("DROP TRIGGER audit_is_fixed").unwrap();
    let rows: Vec<(u64, String)> = sql
        .prepare("SELECT seq, body FROM audit_entries ORDER BY seq")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let mut previous = [0_u8; 32];
    for (seq, body) in rows {
        let body = body.replace("self_reactivation", "version_conflict_");
        let text = [b"sensorgate-audit-v1".as_slice(), &seq.to_be_bytes(), &previous, body.as_bytes()].concat();
        previous = Sha256::digest(text).into();
        sql.execute("UPDATE audit_entries SET body = ?1, hash = ?2 WHERE seq = ?3", (body, previous, seq)).unwrap();
    }
}

// S288, S325: taken out, proved on the server and without it; each export is an entry itself.
#[tokio::test(flavor = "multi_thread")]
async fn an_exported_log_proves_itself_and_a_rewritten_one_is_found_out() {
    let mut facility = busy().await;
    facility.server.expect_error("does not meet its signed head");
    let [alice, _] = Cli::of(&facility);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (log, checkpoints) = (path("log.ndjson"), path("checkpoints.ndjson"));
    alice.ok(&["audit", "export", "--file", &log]);
    let kept = alice.ok(&["audit", "checkpoints", "--output", "ndjson"]).out;
    std::fs::write(&checkpoints, &kept).unwrap();
    let key = serde_json::from_str::<Value>(kept.lines().next().unwrap()).unwrap()["public_key"].clone();
    let key = key.as_str().unwrap();

    let text = std::fs::read_to_string(&log).unwrap();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(last["entry"]["action"], "audit_log_export");
    assert_eq!(last["entry"]["after"]["format"], "ndjson");
    let csv = alice.ok(&["audit", "export", "--format", "csv"]).out;
    assert!(csv.contains("\"'=HYPERLINK(\"\"x\"\")\""), "no cell is a formula: {csv}");

    let data = facility.server.data.display().to_string();
    let nobody = Cli::new("http://127.0.0.1:9");
    for arguments in [
        vec!["--data-dir", &data],
        vec!["--data-dir", &data, "--checkpoints", &checkpoints, "--public-key", key],
        vec!["--file", &log],
        vec!["--file", &log, "--checkpoints", &checkpoints, "--public-key", key],
    ] {
        let said = nobody.ok(&[vec!["audit", "verify"], arguments].concat());
        assert_eq!(said.line("Whole"), "yes", "{said:?}");
    }
    alice.ok(&["audit", "verify"]);
    alice.ok(&["audit", "verify", "--checkpoints", &checkpoints]);
    let other_key = "00".repeat(32);
    let said =
        nobody.run(&["audit", "verify", "--file", &log, "--checkpoints", &checkpoints, "--public-key", &other_key]);
    assert_eq!(said.expect(1).line("Fault"), "checkpoint_forged");

    rewrite(&facility.server.data);
    let said = nobody.run(&["audit", "verify", "--data-dir", &data]).expect(1);
    assert_eq!(said.line("Whole"), "no");
    assert!(said.err.contains("not what was written"), "{said:?}");
    let said = alice.run(&["audit", "verify", "--checkpoints", &checkpoints]).expect(1);
    assert_eq!(said.line("Fault"), "checkpoint_unmet");
    alice.run(&["audit", "verify"]).expect(1);
    let cut: String = text.lines().take(5).map(|line| format!("{line}\n")).collect();
    let part = path("part.ndjson");
    std::fs::write(&part, cut).unwrap();
    nobody.ok(&["audit", "verify", "--file", &part]);
    let said = nobody.run(&["audit", "verify", "--file", &part, "--checkpoints", &checkpoints]).expect(1);
    assert_eq!((said.line("Fault"), said.line("First bad entry")), ("entry_missing", "6"));
    nobody.ok(&["audit", "verify", "--file", &part, "--checkpoints", &checkpoints, "--part"]);
}

// S287: whatever changes something is one entry, with who, from where and by which call.
#[tokio::test(flavor = "multi_thread")]
async fn each_changing_call_is_exactly_one_entry() {
    let facility = Facility::new().await;
    let me = facility.get("/admin/v1/me").await.expect(200);
    let entries = async || {
        let log = facility.get("/admin/v1/audit-log?order=desc&limit=2").await.expect(200);
        // What a call cut off follows as an entry of the server.
        let cuts = usize::from(log.json["items"][0]["action"] == "integration_cut");
        (log.json["items"][0]["seq"].as_u64().unwrap() - cuts as u64, log.json["items"][cuts].clone(), cuts as u64)
    };
    let user = json!({"email": "carol@example.org", "name": "Carol"});
    let carol = facility.post("/admin/v1/users", user).await.expect(201);
    let carol = format!("/admin/v1/users/{}", carol.json["id"].as_str().unwrap());
    let id = facility.requested(&["sensors:write"]).await;
    let path = format!("/admin/v1/integrations/{id}");
    let at = |call: &str| format!("{path}{call}");
    let machine = json!({"integration_id": id, "kind": "sensor", "external_id": "s", "name": "s"});
    let (alice, bob) = (&facility.alice, &facility.bob);
    let tomorrow = jiff::Timestamp::from_second(now_s() + 86_400).unwrap().to_string();
    let grant = json!({"rpm": 100, "until": tomorrow, "reason": "move"});
    let mut table = vec![
        (alice, Method::PATCH, path.clone(), json!({"rate_limit_rpm": 70}), "integration_update", 200),
        (alice, Method::POST, at("/approve"), json!({}), "integration_approve_refused", 403),
        (bob, Method::POST, at("/approve"), json!({}), "integration_approve", 200),
        (bob, Method::POST, at("/activate"), json!({}), "integration_activate", 200),
        (
            alice,
            Method::POST,
            at("/api-key"),
            json!({"cause": "routine_rotation"}),
            "integration_api_key_regenerate",
            200,
        ),
        (
            alice,
            Method::PUT,
            at("/ip-allowlist"),
            json!({"enabled": true, "entries": ["127.0.0.0/8"]}),
            "integration_ip_allowlist_update",
            200,
        ),
        (alice, Method::POST, at("/grants"), grant, "", 200),
        (alice, Method::POST, "/admin/v1/equipment".to_owned(), machine, "equipment_create", 201),
        (alice, Method::POST, at("/suspend"), json!({"reason": "drill"}), "integration_suspend", 200),
        (alice, Method::POST, at("/reactivate"), json!({}), "integration_reactivate_refused", 403),
        (bob, Method::POST, at("/reactivate"), json!({}), "integration_reactivate", 200),
        (bob, Method::POST, at("/revoke"), json!({"reason": "over"}), "integration_revoke", 200),
        (alice, Method::PATCH, carol.clone(), json!({"name": "Caroline"}), "user_update", 200),
        (alice, Method::POST, format!("{carol}/password-reset"), json!({}), "", 200),
    ];
    for (who, method, path, body, action, status) in table.drain(..) {
        let (before, _, cuts) = entries().await;
        let answer = facility.admin(who, method, &path, Some(body)).await.expect(status);
        let (after, entry, _) = entries().await;
        assert_eq!(after, before + cuts + 1, "{path}: {entry}");
        assert!(entry["action"].as_str().unwrap().starts_with(action), "{path}: {entry}");
        assert_eq!(entry["request_id"].as_str(), answer.header("x-request-id"), "{path}");
        assert_eq!(entry["ip"], "127.0.0.1", "{path}");
        assert!(entry["actor"].is_string(), "{path}");
        let expected = if who == alice { me.json["id"] == entry["actor"] } else { me.json["id"] != entry["actor"] };
        assert!(expected, "{path}: {entry}");
    }
    let verdict = facility.get("/admin/v1/audit-log/verify").await.expect(200);
    assert_eq!(verdict.json["ok"], true, "{}", verdict.text);
}
