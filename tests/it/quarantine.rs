//! Readings that did not get into the store, at the socket: kept where an integration asks for it, sent again, let go.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    Answer, Facility, Integration,
    mqtt::{Gateway, Library},
    now_s,
};

async fn keep(facility: &Facility, who: &Integration, keep: bool) {
    let path = format!("/admin/v1/integrations/{}", who.id);
    let changed = facility.admin(&facility.alice, Method::PATCH, &path, Some(json!({"keep_rejected": keep}))).await;
    assert_eq!(changed.expect(200).json["keep_rejected"], keep);
}

/// What is held, once there is as much as `count`.
async fn held(facility: &Facility, query: &str, count: usize) -> Vec<Value> {
    let mut items = Vec::new();
    for _ in 0..200 {
        let page = facility.get(&format!("/admin/v1/quarantine{query}")).await.expect(200);
        items = page.json["items"].as_array().expect("items").clone();
        if items.len() >= count {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(items.len(), count, "{items:?}");
    items
}

async fn replay(facility: &Facility, body: Value) -> Answer {
    facility.post("/admin/v1/quarantine/replay", body).await
}

fn counts(answer: &Answer) -> [u64; 3] {
    ["replayed", "held", "missing"].map(|name| answer.json[name].as_u64().unwrap_or_else(|| panic!("{}", answer.text)))
}

fn reading(external_id: &str, value: f64, at: i64) -> Value {
    json!({"external_id": external_id, "metric": "temperature", "value": value, "timestamp": at})
}

// S281 and S063: the sensor that was installed before it was registered, over both transports, over a kill.
#[tokio::test(flavor = "multi_thread")]
async fn a_sensor_registered_too_late_is_caught_up_with() {
    let mut facility = Facility::new().await;
    let sender = facility.active(&["sensors:write"]).await;
    let other = facility.active(&["sensors:write"]).await;
    facility.sensor(&sender, "known").await;
    keep(&facility, &sender, true).await;
    let at = now_s();
    let mixed = json!({"readings": [reading("known", 20.0, at), reading("late", 21.0, at - 2), reading("late", 999_999.0, at)]});
    facility.ingest(&sender, &mixed).await.expect(207);
    let mut session = Gateway::open(Library::Rumqttc, 5, &facility.server, &sender, "gateway").await;
    session.exchange(&json!({"readings": [reading("late", 22.0, at - 1)]})).await;
    facility.ingest(&other, &mixed).await.expect(422);
    let checked = facility.request(&sender, Method::POST, "/v1/sensors/readings?validate_only=true");
    crate::support::facility::send(checked.json(&json!({"readings": [reading("only asked", 1.0, at)]})))
        .await
        .expect(422);

    let items = held(&facility, &format!("?integration_id={}", sender.id), 3).await;
    held(&facility, "", 3).await;
    let first = &items[0];
    let entry: Value = serde_json::from_str(first["entry"].as_str().unwrap()).unwrap();
    assert_eq!(entry, reading("late", 21.0, at - 2), "as it was sent");
    for (field, value) in [
        ("kind", "rejected"),
        ("code", "unknown_equipment"),
        ("field", "external_id"),
        ("external_id", "late"),
        ("metric", "temperature"),
        ("transport", "http"),
        ("integration_id", &sender.id),
    ] {
        assert_eq!(first[field], value, "{field}: {first}");
    }
    assert!(first["request_id"].is_string() && first["received_at"].is_string() && first["reason"].is_string());
    assert_eq!(items[2]["transport"], "mqtt");
    let one = facility.get(&format!("/admin/v1/quarantine/{}", first["id"].as_str().unwrap())).await.expect(200);
    assert_eq!(&one.json, first);

    // The same again is the same row; a kill loses nothing of what is in the file.
    facility.ingest(&sender, &json!({"readings": [reading("late", 21.0, at - 2)]})).await.expect(422);
    for _ in 0..200 {
        if held(&facility, "?external_id=late", 3).await[0]["seen"] == 2 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    facility.server.kill_9();
    facility.server.restart();
    let by_filter = json!({"filter": {"integration_id": sender.id, "code": "unknown_equipment"}});
    let again = replay(&facility, by_filter.clone()).await.expect(200);
    assert_eq!(counts(&again), [0, 3, 0], "{}", again.text);
    assert_eq!(again.json["items"][0]["code"], "unknown_equipment");
    facility.sensor(&sender, "late").await;
    let done = replay(&facility, by_filter.clone()).await.expect(200);
    assert_eq!(counts(&done), [2, 1, 0], "{}", done.text);
    let outcome =
        |text: &str| done.json["items"].as_array().unwrap().iter().filter(|one| one["outcome"] == text).count();
    assert_eq!((outcome("replayed"), outcome("rejected")), (2, 1));
    assert_eq!(facility.stored(&sender, "late", "temperature", 2).await, [(at - 2, 21.0), (at - 1, 22.0)]);
    let left = held(&facility, "", 1).await;
    assert_eq!((left[0]["code"].as_str(), left[0]["replays"].as_u64()), (Some("value_out_of_range"), Some(2)));
    let ids: Vec<_> = items.iter().map(|item| item["id"].clone()).collect();
    let repeated = replay(&facility, json!({"ids": ids})).await.expect(200);
    assert_eq!(counts(&repeated), [0, 1, 2], "what is gone is gone: {}", repeated.text);
    assert_eq!(facility.stored(&sender, "late", "temperature", 2).await.len(), 2, "once each");

    let without = facility.post("/admin/v1/quarantine/discard", json!({"ids": [left[0]["id"]]})).await.expect(422);
    assert_eq!(without.json["errors"][0]["field"], "reason");
    let discard = json!({"ids": [left[0]["id"]], "reason": "a broken probe"});
    let gone = facility.post("/admin/v1/quarantine/discard", discard.clone()).await.expect(200);
    assert_eq!((&gone.json["discarded"], &gone.json["missing"]), (&json!(1), &json!(0)));
    let gone = facility.post("/admin/v1/quarantine/discard", discard).await.expect(200);
    assert_eq!((&gone.json["discarded"], &gone.json["missing"]), (&json!(0), &json!(1)));
    held(&facility, "", 0).await;

    let log = facility.get("/admin/v1/audit-log?order=desc").await.expect(200);
    let entries = log.json["items"].as_array().unwrap();
    let of = |action: &str| entries.iter().filter(|one| one["action"] == action).cloned().collect::<Vec<_>>();
    assert_eq!((of("quarantine_replay").len(), of("quarantine_discard").len()), (3, 1), "{}", log.text);
    let discarded = &of("quarantine_discard")[0];
    assert_eq!(
        (&discarded["reason"], &discarded["after"]["items"][0]["id"]),
        (&json!("a broken probe"), &left[0]["id"])
    );
    let kept =
        of("integration_update").into_iter().find(|one| !one["after"]["keep_rejected"].is_null()).expect("audited");
    assert_eq!((&kept["before"]["keep_rejected"], &kept["after"]["keep_rejected"]), (&json!(false), &json!(true)));

    keep(&facility, &sender, false).await;
    facility.ingest(&sender, &json!({"readings": [reading("unkept", 1.0, at)]})).await.expect(422);
    keep(&facility, &sender, true).await;
    facility.ingest(&sender, &json!({"readings": [reading("kept", 1.0, at)]})).await.expect(422);
    assert_eq!(held(&facility, "", 1).await[0]["external_id"], "kept");
}

// S008, S115: another organisation sees nothing of it, and of a suspended integration nothing becomes durable.
#[tokio::test]
async fn what_is_held_is_the_organisations_own_and_waits_for_a_live_integration() {
    let facility = Facility::new().await;
    let sender = facility.active(&["sensors:write"]).await;
    keep(&facility, &sender, true).await;
    facility.ingest(&sender, &json!({"readings": [reading("x", 1.0, now_s())]})).await.expect(422);
    let id = held(&facility, "", 1).await[0]["id"].clone();
    facility.sensor(&sender, "x").await;
    let path = |action: &str| format!("/admin/v1/integrations/{}/{action}", sender.id);
    facility.post(&path("suspend"), json!({"reason": "drill"})).await.expect(200);
    let refused = replay(&facility, json!({"ids": [id]})).await.expect(200);
    assert_eq!((counts(&refused), &refused.json["items"][0]["outcome"]), ([0, 1, 0], &json!("not_active")));
    facility.post_as_bob(&path("reactivate"), json!({})).await.expect(200);
    assert_eq!(counts(&replay(&facility, json!({"ids": [id]})).await.expect(200)), [1, 0, 0]);

    let nobody = "01970000-0000-7000-8000-000000000000";
    facility.get(&format!("/admin/v1/quarantine?integration_id={nobody}")).await.expect(404);
    for unknown in ["rejected-99", "refused-1", "nonsense"] {
        facility.get(&format!("/admin/v1/quarantine/{unknown}")).await.expect(404);
    }
    for (body, field) in [
        (json!({}), "ids"),
        (json!({"ids": []}), "ids"),
        (json!({"ids": ["x"]}), "ids[0]"),
        (json!({"ids": ["rejected-1"], "filter": {}}), "ids"),
        (json!({"filter": {"kind": "lost"}}), "filter.kind"),
        (json!({"filter": {"colour": "green"}}), "filter.colour"),
        (json!({"filter": {}, "limit": 501}), "limit"),
    ] {
        let refused = replay(&facility, body.clone()).await.expect(422);
        assert_eq!(refused.json["errors"][0]["field"], field, "{body}: {}", refused.text);
    }
    for bad in ["limit=0", "limit=201", "kind=lost", "cursor=AAAA", "from=yesterday"] {
        facility.get(&format!("/admin/v1/quarantine?{bad}")).await.expect(400);
    }
    let stranger = facility.request(&sender, Method::GET, "/v1/quarantine");
    crate::support::facility::send(stranger).await.expect(401);
}

// What is kept has a limit, and what has no room is dropped and counted: the batch is answered as ever.
#[tokio::test]
async fn what_is_kept_has_a_limit() {
    let variables = [
        ("SENSORGATE__QUARANTINE__REJECTED_ROWS_MAX", "5"),
        ("SENSORGATE__QUARANTINE__REJECTED_ROWS_PER_INTEGRATION_MAX", "3"),
    ];
    let facility = Facility::with(&variables).await;
    let sender = facility.active(&["sensors:write"]).await;
    keep(&facility, &sender, true).await;
    let entries: Vec<_> = (0..10).map(|n| reading("nobody", f64::from(n), now_s())).collect();
    let answer = facility.ingest(&sender, &json!({"readings": entries})).await.expect(422);
    assert_eq!(answer.json["rejected"], 10);
    held(&facility, "", 3).await;
    let metrics = facility.get("/metrics").await.expect(200).text;
    for line in [
        "sensorgate_quarantine_rejected_total{outcome=\"kept\"} 3",
        "sensorgate_quarantine_rejected_total{outcome=\"full\"} 7",
        "sensorgate_quarantine_rejected_rows 3",
    ] {
        assert!(
            metrics.contains(line),
            "{line} in {}",
            metrics.lines().filter(|l| l.contains("quarantine")).collect::<Vec<_>>().join("\n")
        );
    }
}
