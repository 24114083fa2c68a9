use reqwest::Method;
use serde_json::{Value, json};

use super::api::Api;
use crate::model::{EquipmentNumber, MetricNumber, Quality, SeriesId};

// S275–S277, S281, S282
#[tokio::test]
async fn equipment_is_registered_changed_retired_and_brought_back() {
    let api = Api::start().await;
    let integration = api.request_integration(&api.ann).await.id();
    let body = json!({
        "integration_id": integration, "kind": "sensor", "type": "climate_sensor", "external_id": "AA:BB/01 ü",
        "name": "Row 4", "room": "House 2", "location": "post 12",
    });
    let created = api.post("/admin/v1/equipment", &api.ann, body.clone()).await;
    assert_eq!(created.status, 201, "{}", created.text);
    let path = created.header("location").to_owned();
    for (field, value) in body.as_object().unwrap() {
        assert_eq!(&created.json[field], value, "{field}");
    }
    assert_eq!((created.json["status"].as_str(), created.json["last_seen_at"].is_null()), (Some("active"), true));
    assert_eq!(api.post("/admin/v1/equipment", &api.ann, body).await.code(), (409, "conflict"));

    let patch = |body: Value, tag: &'static str| {
        api.send(api.call(Method::PATCH, &path, &api.bob).header("if-match", tag).json(&body))
    };
    let renamed = patch(json!({ "external_id": "new", "name": null }), "\"1\"").await;
    assert_eq!((renamed.json["external_id"].as_str(), renamed.header("etag")), (Some("new"), "\"2\""));
    assert!(renamed.json["name"].is_null() && renamed.json["room"] == "House 2");
    assert_eq!(patch(json!({ "room": "x" }), "\"1\"").await.code(), (412, "version_conflict"));
    for _ in 0..2 {
        let retired = api.send(api.call(Method::POST, &format!("{path}/retire"), &api.ann)).await;
        assert_eq!((retired.status, retired.json["status"].as_str()), (200, Some("retired")));
    }
    assert_eq!(api.patch(&path, &api.ann, json!({ "status": "active" })).await.json["status"], "active");
    let unknown = json!({ "kind": "gateway", "type": "vent", "id": "x", "external_id": "" });
    assert_eq!(api.patch(&path, &api.ann, unknown).await.fields(), ["id"], "the form first");
    let bad = json!({ "kind": "gateway", "external_id": "" });
    assert_eq!(api.patch(&path, &api.ann, bad).await.fields(), ["kind", "external_id"]);
    let missing = api.post("/admin/v1/equipment", &api.ann, json!({})).await;
    assert_eq!(missing.fields(), ["integration_id", "kind"]);
}

#[tokio::test]
async fn lists_filter_and_show_when_equipment_was_last_seen() {
    let api = Api::start().await;
    let integration = api.request_integration(&api.ann).await.id();
    for i in 0..5 {
        let kind = if i == 4 { "actuator" } else { "sensor" };
        let room = format!("R{}", i % 2);
        let body = json!({ "integration_id": integration, "kind": kind, "external_id": format!("S{i}"), "room": room });
        assert_eq!(api.post("/admin/v1/equipment", &api.ann, body).await.status, 201);
    }
    let first = SeriesId::new(EquipmentNumber(1), MetricNumber(2));
    api.store.put(first, 1_767_607_200_000_000, 50.0, Quality::Good);
    api.store.put(SeriesId::new(EquipmentNumber(1), MetricNumber(1)), 1_767_607_100_000_000, 20.0, Quality::Good);
    let all = api.pages("/admin/v1/equipment?limit=2", &api.ann).await;
    assert_eq!(all.len(), 5);
    assert_eq!(all[0]["last_seen_at"], "2026-01-05T10:00:00Z");
    assert!(all[1]["last_seen_at"].is_null());
    api.store.is_down.store(true, std::sync::atomic::Ordering::Relaxed);
    let blind = api.get("/admin/v1/equipment?limit=1", &api.ann).await;
    assert!(blind.status == 200 && blind.json["items"][0]["last_seen_at"].is_null(), "{}", blind.text);
    for (query, count) in [
        ("kind=actuator", 1),
        ("room=R1", 2),
        ("status=retired", 0),
        ("q=s3", 1),
        ("external_id=S3", 1),
        ("external_id=s3", 0),
        (&format!("integration_id={integration}"), 5),
    ] {
        assert_eq!(api.pages(&format!("/admin/v1/equipment?{query}"), &api.ann).await.len(), count, "{query}");
    }
}

#[tokio::test]
async fn a_bulk_answers_as_a_batch_of_readings_does() {
    let api = Api::start().await;
    let integration = api.request_integration(&api.ann).await.id();
    let bulk = |entries: Vec<Value>| api.post("/admin/v1/equipment/bulk", &api.ann, json!({ "equipment": entries }));
    let entry =
        |external_id: &str| json!({ "integration_id": integration, "kind": "sensor", "external_id": external_id });

    let good = bulk(vec![entry("A"), entry("B")]).await;
    assert_eq!((good.status, good.json["accepted"].as_u64(), good.json["created"].as_u64()), (200, Some(2), Some(2)));
    let id = good.json["items"][1]["id"].as_str().unwrap().to_owned();

    let mut wrong_kind = entry("C");
    wrong_kind["kind"] = json!("robot");
    let mut extra = entry("D");
    extra["colour"] = json!("green");
    let mixed = bulk(vec![
        entry("A"),
        wrong_kind,
        json!(7),
        extra,
        json!({ "id": id, "room": "House 3" }),
        json!({ "external_id": "E", "kind": "sensor" }),
    ])
    .await;
    assert_eq!(mixed.status, 207, "{}", mixed.text);
    assert_eq!(mixed.json["request_id"], mixed.header("x-request-id"));
    let counts = ["received", "accepted", "rejected", "created", "updated", "unchanged"];
    assert_eq!(counts.map(|name| mixed.json[name].as_u64().unwrap()), [6, 2, 4, 0, 1, 1]);
    let errors: Vec<_> = mixed.json["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| (error["index"].as_u64().unwrap(), error["code"].as_str().unwrap(), error["field"].as_str()))
        .collect();
    assert_eq!(
        errors,
        [
            (1, "kind_invalid", Some("kind")),
            (2, "not_an_object", None),
            (3, "unknown_field", Some("colour")),
            (5, "integration_id_invalid", Some("integration_id")),
        ]
    );
    assert_eq!(api.get(&format!("/admin/v1/equipment/{id}"), &api.ann).await.json["room"], "House 3");

    let none = bulk(vec![json!({}), json!([])]).await;
    assert_eq!((none.status, none.json["rejected"].as_u64()), (422, Some(2)), "{}", none.text);
    assert_eq!(bulk(vec![]).await.code(), (400, "empty_batch"));
    assert_eq!(bulk((0..501).map(|i| entry(&format!("X{i}"))).collect()).await.code(), (413, "batch_too_large"));
    assert_eq!(api.pages("/admin/v1/equipment?q=X", &api.ann).await.len(), 0, "nothing of it was saved");
    assert_eq!(bulk((0..500).map(|i| entry(&format!("X{i}"))).collect()).await.json["created"], 500);
    let missing = api.post("/admin/v1/equipment/bulk", &api.ann, json!({ "items": [] })).await;
    assert_eq!(missing.fields(), ["equipment", "items"]);
}
