//! An integration's own equipment over `/v1/equipment`, the taxonomy, and what stands behind the same gate.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Facility, Integration, batch, facility::send, now_s};

const SCOPES: [&str; 4] = ["sensors:write", "equipment:read", "equipment:write", "taxonomies:read"];

async fn call(facility: &Facility, who: &Integration, method: Method, path: &str, body: Option<Value>) -> Answer {
    let request = facility.request(who, method, path);
    send(match body {
        Some(body) => request.json(&body),
        None => request,
    })
    .await
}

async fn get(facility: &Facility, who: &Integration, path: &str) -> Answer {
    call(facility, who, Method::GET, path, None).await
}

async fn post(facility: &Facility, who: &Integration, path: &str, body: Value) -> Answer {
    call(facility, who, Method::POST, path, Some(body)).await
}

fn ids(answer: &Answer) -> Vec<String> {
    answer.json["items"].as_array().expect("items").iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
}

/// A batch of one reading by external id.
fn reading(external_id: &str, value: f64) -> Value {
    json!({"readings": [{"external_id": external_id, "metric": "temperature", "value": value, "timestamp": now_s()}]})
}

// S062, S063, S276–S279, S281: registered over /v1, usable by the next request, changed, retired and brought back.
#[tokio::test]
async fn an_integration_keeps_its_own_registry() {
    let facility = Facility::new().await;
    let owner = facility.active(&SCOPES).await;
    facility.limit(&owner, 1_000).await;
    let body = json!({
        "kind": "sensor", "type": "climate_sensor", "external_id": "AA:BB/01 ü", "name": "Row 4", "room": "House 2",
        "location": "post 12",
    });
    let made = post(&facility, &owner, "/v1/equipment", body.clone()).await.expect(201);
    assert_eq!((made.json["integration_id"].as_str(), made.header("etag")), (Some(owner.id.as_str()), Some("\"1\"")));
    assert!(made.header("x-ratelimit-remaining").is_some() && made.header("x-request-id").is_some());
    let path = made.header("location").expect("a location").to_owned();
    assert_eq!(path, format!("/v1/equipment/{}", made.json["id"].as_str().unwrap()));
    for (field, value) in body.as_object().unwrap() {
        assert_eq!(&made.json[field], value, "{field}");
    }
    facility.ingest(&owner, &reading("AA:BB/01 ü", 20.5)).await.expect(200);
    assert_eq!(facility.stored(&owner, "AA%3ABB%2F01%20%C3%BC", "temperature", 1).await.len(), 1);
    let seen = get(&facility, &owner, &path).await.expect(200);
    assert_eq!(seen.json["last_values"]["temperature"]["value"], 20.5, "{}", seen.text);
    assert_eq!(seen.json["last_seen_at"], seen.json["last_values"]["temperature"]["timestamp"]);
    let found = get(&facility, &owner, "/v1/equipment?external_id=AA%3ABB%2F01%20%C3%BC").await.expect(200);
    assert_eq!(found.json["items"], json!([seen.json]), "one form everywhere");
    let admin = facility.get(&format!("/admin{path}")).await.expect(200);
    assert_eq!(admin.json, seen.json, "the same resource on the admin side");

    let patch = |body: Value, tag: &'static str| {
        send(facility.request(&owner, Method::PATCH, &path).header("If-Match", tag).json(&body))
    };
    let renamed = patch(json!({"external_id": "new", "name": null}), "\"1\"").await.expect(200);
    assert_eq!((renamed.json["external_id"].as_str(), renamed.header("etag")), (Some("new"), Some("\"2\"")));
    assert_eq!(patch(json!({"room": "x"}), "\"1\"").await.expect(412).code(), "version_conflict");
    let unknown = facility.ingest(&owner, &reading("AA:BB/01 ü", 21.0)).await.expect(422);
    assert_eq!(unknown.json["errors"][0]["code"], "unknown_equipment");
    for _ in 0..2 {
        let retired = call(&facility, &owner, Method::POST, &format!("{path}/retire"), None).await.expect(200);
        assert_eq!(retired.json["status"], "retired");
    }
    let refused = facility.ingest(&owner, &reading("new", 21.0)).await.expect(422);
    assert_eq!(refused.json["errors"][0]["code"], "equipment_retired");
    patch(json!({"status": "active"}), "*").await.expect(200);
    facility.ingest(&owner, &reading("new", 22.0)).await.expect(200);

    let taken = post(&facility, &owner, "/v1/equipment", json!({"kind": "sensor", "external_id": "new"})).await;
    assert_eq!(taken.expect(409).code(), "conflict");
    let wrong = json!({"kind": "robot", "external_id": "", "colour": "green", "integration_id": owner.id});
    let refused = post(&facility, &owner, "/v1/equipment", wrong).await.expect(422);
    let fields: Vec<_> = refused.json["errors"].as_array().unwrap().iter().map(|one| one["field"].clone()).collect();
    assert_eq!(fields, ["colour", "integration_id"], "the form first, as on the admin side: {}", refused.text);
    let refused = post(&facility, &owner, "/v1/equipment", json!({"kind": "robot"})).await.expect(422);
    assert_eq!(refused.json["errors"][0]["field"], "kind", "{}", refused.text);

    let log = facility.get(&format!("/admin/v1/audit-log?target={}", made.json["id"].as_str().unwrap())).await;
    let entries: Vec<_> = log.json["items"].as_array().expect("items").clone();
    let actions: Vec<_> = entries.iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["equipment_create", "equipment_update", "equipment_retire", "equipment_return"]);
    for entry in &entries {
        assert!(entry["actor"].is_null() && entry["actor_integration"] == owner.id.as_str(), "{entry}");
        assert!(entry["ip"] == "127.0.0.1" && entry["request_id"].is_string(), "{entry}");
    }
    assert_eq!(entries[1]["before"]["external_id"], "AA:BB/01 ü");
    assert_eq!(facility.get("/admin/v1/audit-log/verify").await.expect(200).json["ok"], true);
}

// S278–S280: read, write and the taxonomy are three scopes; nobody writes the taxonomy.
#[tokio::test]
async fn each_verb_has_its_scope() {
    let facility = Facility::new().await;
    let reader = facility.active(&["equipment:read"]).await;
    let writer = facility.active(&["equipment:write"]).await;
    let guest = facility.active(&["taxonomies:read"]).await;
    let new = json!({"kind": "sensor", "external_id": "a"});
    assert_eq!(post(&facility, &reader, "/v1/equipment", new.clone()).await.expect(403).code(), "insufficient_scope");
    let made = post(&facility, &writer, "/v1/equipment", new).await.expect(201);
    let path = made.header("location").unwrap().to_owned();
    assert_eq!(get(&facility, &writer, &path).await.expect(403).code(), "insufficient_scope");
    get(&facility, &reader, "/v1/equipment").await.expect(200);
    for (method, path) in [
        (Method::POST, "/v1/equipment/bulk".to_owned()),
        (Method::PATCH, path.clone()),
        (Method::POST, format!("{path}/retire")),
        (Method::DELETE, path.clone()),
    ] {
        call(&facility, &reader, method.clone(), &path, Some(json!({}))).await.expect(403);
    }
    let types = get(&facility, &guest, "/v1/taxonomies/equipment-types").await.expect(200);
    assert_eq!(types.json, facility.get("/admin/v1/taxonomies/equipment-types").await.json);
    assert!(types.json["items"].as_array().unwrap().iter().any(|one| one["name"] == "climate_sensor"));
    get(&facility, &reader, "/v1/taxonomies/equipment-types").await.expect(403);
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        let refused = call(&facility, &guest, method, "/v1/taxonomies/equipment-types", Some(json!({}))).await;
        assert_eq!((refused.status, refused.header("allow")), (405, Some("GET,HEAD")), "{}", refused.text);
    }
    let refused = call(&facility, &writer, Method::DELETE, &path, None).await.expect(405);
    assert!(refused.header("allow").is_some_and(|allow| allow.contains("PATCH")), "equipment is never deleted");
    get(&facility, &guest, "/v1/taxonomies/varieties").await.expect(404);
}

// S274, S278: of others' equipment there is nothing to see, to change, or to learn.
#[tokio::test]
async fn equipment_of_others_does_not_exist() {
    let facility = Facility::new().await;
    let owner = facility.active(&SCOPES).await;
    let other = facility.active(&SCOPES).await;
    facility.limit(&other, 1_000).await;
    let theirs = facility.sensor(&owner, "theirs").await;
    let own = facility.sensor(&other, "own").await;
    let nobody = "01970000-0000-7000-8000-000000000000";
    let mut seen = Vec::new();
    for id in [theirs.as_str(), nobody] {
        let path = format!("/v1/equipment/{id}");
        let mut answers = vec![
            get(&facility, &other, &path).await.expect(404),
            call(&facility, &other, Method::PATCH, &path, Some(json!({"room": "x"}))).await.expect(404),
            call(&facility, &other, Method::PATCH, &path, Some(json!({"kind": "robot"}))).await.expect(404),
            call(&facility, &other, Method::POST, &format!("{path}/retire"), None).await.expect(404),
        ];
        let stale = facility.request(&other, Method::PATCH, &path).header("If-Match", "\"99\"");
        answers.push(send(stale.json(&json!({"room": "x"}))).await.expect(404));
        let bulk = json!({"equipment": [{"id": id, "room": "x"}]});
        answers.push(post(&facility, &other, "/v1/equipment/bulk", bulk).await.expect(422));
        let reading = json!({"readings": [{"equipment_id": id, "metric": "co2", "value": 400}]});
        answers.push(facility.ingest(&other, &reading).await.expect(422));
        // All but the request's own id and the id that was asked for is the same.
        let text = |answer: Answer| {
            let request_id = answer.header("x-request-id").unwrap().to_owned();
            answer.text.replace(&request_id, "").replace(id, "")
        };
        seen.push(answers.into_iter().map(text).collect::<Vec<_>>());
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(ids(&get(&facility, &other, "/v1/equipment").await.expect(200)), [own]);
    assert!(ids(&get(&facility, &other, "/v1/equipment?external_id=theirs").await.expect(200)).is_empty());
    // The same external id is free to everybody (A35).
    post(&facility, &other, "/v1/equipment", json!({"kind": "sensor", "external_id": "theirs"})).await.expect(201);
    let named = json!({"equipment": [{"external_id": "x", "kind": "sensor", "integration_id": owner.id}]});
    let refused = post(&facility, &other, "/v1/equipment/bulk", named).await.expect(422);
    assert_eq!(refused.json["errors"][0]["code"], "integration_id_invalid", "{}", refused.text);
    let unchanged = facility.get(&format!("/admin/v1/equipment/{theirs}")).await.expect(200);
    assert_eq!((unchanged.json["version"].as_u64(), unchanged.json["status"].as_str()), (Some(1), Some("active")));
}

// S276, S279: partial success in the shape of the readings' answer, audited as one, judged by the next batch at once.
#[tokio::test]
async fn a_bulk_answers_as_a_batch_of_readings_does() {
    let facility = Facility::new().await;
    let owner = facility.active(&SCOPES).await;
    facility.limit(&owner, 1_000).await;
    let bulk = |entries: Vec<Value>| post(&facility, &owner, "/v1/equipment/bulk", json!({"equipment": entries}));
    let entry = |name: &str| json!({"external_id": name, "kind": "sensor", "room": "House 1"});
    let good = bulk(vec![entry("a"), entry("b")]).await.expect(200);
    assert_eq!((&good.json["accepted"], &good.json["created"]), (&json!(2), &json!(2)));
    assert_eq!(good.json["request_id"].as_str(), good.header("x-request-id"));
    let mixed =
        bulk(vec![entry("a"), json!(7), entry("c"), json!({"external_id": "b", "room": null})]).await.expect(207);
    let counts = ["received", "accepted", "rejected", "created", "updated", "unchanged"];
    assert_eq!(counts.map(|name| mixed.json[name].as_u64().unwrap()), [4, 3, 1, 1, 1, 1]);
    assert_eq!(mixed.json["errors"][0]["index"], 1);
    facility.ingest(&owner, &reading("c", 20.0)).await.expect(200);
    bulk(vec![json!({}), json!([])]).await.expect(422);
    assert_eq!(bulk(vec![]).await.expect(400).code(), "empty_batch");
    let many = (0..501).map(|n| entry(&format!("m{n}"))).collect();
    assert_eq!(bulk(many).await.expect(413).code(), "batch_too_large");
    bulk((0..500).map(|n| entry(&format!("m{n}"))).collect()).await.expect(200);
    let log = facility.get(&format!("/admin/v1/audit-log?action=equipment_bulk&target={}", owner.id)).await.expect(200);
    let entries = log.json["items"].as_array().unwrap();
    assert_eq!(entries.len(), 3, "{}", log.text);
    let changed = entries[1]["after"]["equipment"].as_array().unwrap();
    assert_eq!(changed.len(), 2, "what was unchanged is no change: {}", entries[1]);
    assert_eq!((&changed[1]["before"]["room"], &changed[1]["after"]["room"]), (&json!("House 1"), &Value::Null));
    assert!(entries.iter().all(|entry| entry["actor_integration"] == owner.id.as_str()));
}

// api.md §1, for what else is posted: the same key and body get the same answer, and the work is done once.
#[tokio::test]
async fn an_idempotency_key_registers_once() {
    let mut facility = Facility::new().await;
    let owner = facility.active(&SCOPES).await;
    let keyed = |facility: &Facility, path: &str, key: &str, body: Value| {
        send(facility.request(&owner, Method::POST, path).header("Idempotency-Key", key).json(&body))
    };
    let new = || json!({"kind": "sensor", "name": "without external id"});
    let first = keyed(&facility, "/v1/equipment", "k1", new()).await.expect(201);
    let again = keyed(&facility, "/v1/equipment", "k1", new()).await.expect(201);
    assert_eq!(
        (&again.json, again.header("etag"), again.header("location")),
        (&first.json, first.header("etag"), first.header("location"))
    );
    assert_eq!((first.header("idempotency-replayed"), again.header("idempotency-replayed")), (None, Some("true")));
    assert_ne!(first.header("x-request-id"), again.header("x-request-id"));
    assert_eq!(ids(&get(&facility, &owner, "/v1/equipment").await.expect(200)).len(), 1);
    let other = keyed(&facility, "/v1/equipment", "k1", json!({"kind": "monitor"})).await.expect(422);
    assert_eq!(other.code(), "idempotency_key_reused");
    let bulk = json!({"equipment": [{"external_id": "b", "kind": "sensor"}]});
    let first = keyed(&facility, "/v1/equipment/bulk", "k1", bulk.clone()).await.expect(200);
    let again = keyed(&facility, "/v1/equipment/bulk", "k1", bulk).await.expect(200);
    assert_eq!((&again.json["created"], &first.json["created"]), (&json!(1), &json!(1)), "the stored answer");
    assert_eq!(again.json["request_id"].as_str(), again.header("x-request-id"), "with a request id of its own");
    // What was refused can be asked again.
    keyed(&facility, "/v1/equipment", "k2", json!({"kind": "robot"})).await.expect(422);
    keyed(&facility, "/v1/equipment", "k2", new()).await.expect(201);
    assert_eq!(keyed(&facility, "/v1/equipment", "", new()).await.expect(400).code(), "idempotency_key_invalid");
    assert!(facility.server.terminate().success());
    facility.server.restart();
    let kept = keyed(&facility, "/v1/equipment", "k2", new()).await.expect(201);
    assert_eq!(kept.header("idempotency-replayed"), Some("true"), "also over a restart");
}

// S278: pages stay stable while equipment is registered, and their limits are the contract's.
#[tokio::test]
async fn pages_are_stable_under_inserts() {
    let facility = Facility::new().await;
    let owner = facility.active(&SCOPES).await;
    facility.limit(&owner, 1_000).await;
    let register = async |from: usize, to: usize| {
        let entries: Vec<_> =
            (from..to).map(|n| json!({"external_id": format!("s{n}"), "kind": "sensor", "room": "R"})).collect();
        post(&facility, &owner, "/v1/equipment/bulk", json!({"equipment": entries})).await.expect(200);
    };
    register(0, 25).await;
    let (mut names, mut cursor, mut next) = (Vec::new(), String::new(), 25);
    loop {
        let page = get(&facility, &owner, &format!("/v1/equipment?limit=10{cursor}")).await.expect(200);
        names.extend(
            page.json["items"].as_array().unwrap().iter().map(|one| one["external_id"].as_str().unwrap().to_owned()),
        );
        if next < 40 {
            register(next, next + 5).await;
            next += 5;
        }
        match page.json["next_cursor"].as_str() {
            Some(to) => cursor = format!("&cursor={to}"),
            None => break,
        }
    }
    assert_eq!(names, (0..40).map(|n| format!("s{n}")).collect::<Vec<_>>(), "each once, in order, the later ones too");
    for bad in ["limit=0", "limit=201", "limit=x", "cursor=%25", "colour=green", "kind=robot", "room=a&room=b"] {
        let refused = get(&facility, &owner, &format!("/v1/equipment?{bad}")).await.expect(400);
        assert_eq!(refused.code(), "invalid_parameter", "{bad}");
    }
}

// S113, S115: once a suspend has returned, no write of equipment succeeds and nothing is changed.
#[tokio::test(flavor = "multi_thread")]
async fn a_suspend_that_has_returned_ends_writes_too() {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    };
    let facility = Arc::new(Facility::with(&[("SENSORGATE__AUTH__FAILURES_PER_MINUTE", "1000000")]).await);
    let owner = facility.active(&SCOPES).await;
    facility.limit(&owner, 10_000).await;
    let (stop, down) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (early, late) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut writers = Vec::new();
    for writer in 0..8 {
        let (facility, owner) = (facility.clone(), owner.clone());
        let (stop, down, early, late) = (stop.clone(), down.clone(), early.clone(), late.clone());
        #[allow(clippy::disallowed_methods)]
        writers.push(tokio::spawn(async move {
            let mut n = 0;
            while !stop.load(Ordering::SeqCst) {
                n += 1;
                let after = down.load(Ordering::SeqCst);
                let new = json!({"kind": "sensor", "external_id": format!("w{writer}-{n}")});
                let answer = post(&facility, &owner, "/v1/equipment", new).await;
                assert!(matches!(answer.status, 201 | 401), "{}", answer.text);
                if answer.status == 201 {
                    if after { &late } else { &early }.fetch_add(1, Ordering::SeqCst);
                }
            }
        }));
    }
    while early.load(Ordering::SeqCst) < 50 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    facility
        .post(&format!("/admin/v1/integrations/{}/suspend", owner.id), json!({"reason": "drill"}))
        .await
        .expect(200);
    down.store(true, Ordering::SeqCst);
    let count = async || {
        let path = "/admin/v1/audit-log?action=equipment_create&order=desc&limit=1";
        facility.get(path).await.expect(200).json["items"][0]["seq"].as_u64().unwrap()
    };
    let at_barrier = count().await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    stop.store(true, Ordering::SeqCst);
    for writer in writers {
        writer.await.expect("no panic");
    }
    assert_eq!((late.load(Ordering::SeqCst), count().await), (0, at_barrier));
}

// S281: renaming and retiring lose nothing, over a kill and a restart.
#[tokio::test]
async fn history_survives_rename_retirement_and_restart() {
    let mut facility = Facility::new().await;
    let owner = facility.active(&SCOPES).await;
    let id = facility.sensor(&owner, "first").await;
    let at = now_s();
    facility.ingest(&owner, &batch("first", 20, at - 100)).await.expect(200);
    let path = format!("/v1/equipment/{id}");
    call(&facility, &owner, Method::PATCH, &path, Some(json!({"external_id": "second"}))).await.expect(200);
    facility.ingest(&owner, &batch("second", 10, at - 10)).await.expect(200);
    call(&facility, &owner, Method::POST, &format!("{path}/retire"), None).await.expect(200);
    // The first name is free for another sensor, whose history is its own.
    post(&facility, &owner, "/v1/equipment", json!({"kind": "sensor", "external_id": "first"})).await.expect(201);
    facility.ingest(&owner, &batch("first", 3, at - 5)).await.expect(200);
    facility.server.kill_9();
    facility.server.restart();
    assert_eq!(facility.stored(&owner, "second", "temperature", 30).await.len(), 30);
    assert_eq!(facility.stored(&owner, "first", "temperature", 3).await.len(), 3);
    let refused = facility.ingest(&owner, &batch("second", 1, at)).await.expect(422);
    assert_eq!(refused.json["errors"][0]["code"], "equipment_retired");
    let kept = get(&facility, &owner, &path).await.expect(200);
    assert_eq!((kept.json["status"].as_str(), kept.json["external_id"].as_str()), (Some("retired"), Some("second")));
    assert_eq!(kept.json["last_values"]["temperature"]["value"], 20.09, "{}", kept.text);
}

// S275, S283 with A36: four kinds, all of which may report unless the configuration says otherwise.
#[tokio::test]
async fn the_configuration_says_which_kinds_may_report_what() {
    let facility = Facility::with(&[("SENSORGATE__METRICS__CO2__KINDS", "[\"sensor\", \"monitor\"]")]).await;
    let owner = facility.active(&SCOPES).await;
    for kind in ["sensor", "controller", "actuator", "monitor"] {
        post(&facility, &owner, "/v1/equipment", json!({"kind": kind, "external_id": kind})).await.expect(201);
        let of =
            |metric: &str, value: f64| json!({"readings": [{"external_id": kind, "metric": metric, "value": value}]});
        facility.ingest(&owner, &of("temperature", 20.0)).await.expect(200);
        let co2 = facility.ingest(&owner, &of("co2", 400.0)).await;
        if matches!(kind, "sensor" | "monitor") {
            co2.expect(200);
        } else {
            let error = co2.expect(422).json["errors"][0].clone();
            assert_eq!((&error["code"], &error["field"]), (&json!("metric_not_allowed"), &json!("metric")), "{error}");
        }
    }
    for kind in ["Sensor", "gateway", "", "sensors"] {
        post(&facility, &owner, "/v1/equipment", json!({"kind": kind})).await.expect(422);
    }
    let limits = get(&facility, &owner, "/v1/limits").await.expect(200);
    let metrics = limits.json["metrics"].as_array().unwrap();
    let kinds = |name: &str| metrics.iter().find(|one| one["name"] == name).unwrap()["kinds"].clone();
    assert_eq!(kinds("co2"), json!(["sensor", "monitor"]));
    assert_eq!(kinds("temperature"), json!(["sensor", "controller", "actuator", "monitor"]));
}
