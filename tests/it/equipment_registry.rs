//! The registry on the administrators' side: as a file out and in again, by room, and names of every kind.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    Answer, Facility, Integration, batch,
    facility::send,
    mqtt::{Gateway, Library},
    now_s,
};

/// External ids that something on the way might trip over; at most 128 bytes each.
fn nasty() -> Vec<String> {
    let mut names: Vec<String> = [
        "AA:BB:CC:01",
        "aa:bb:cc:01",
        "greenhouse/1/row 4",
        " leading and trailing ",
        "comma, \"quote\"; semicolon",
        "=1+1",
        " =cmd|' /C calc'!A0",
        "+49",
        "-1",
        "@SUM(A1)",
        "'apostrophe",
        "''two",
        "＝wide",
        "ünïcödé",
        "u\u{308}", // decomposed: another name than the composed one
        "ü",
        "温度センサー",
        "🌱",
        "\u{200d}zero width",
        "rtl \u{202e}abc",
        "%2F%00",
        "../../etc/passwd",
        "null",
        "0",
        "{\"a\":1}",
        "<script>alert(1)</script>",
        "'; DROP TABLE equipment; --",
        "a\\b\\\\c",
        "#hash?query&amp=1",
        "LIKE %_",
    ]
    .map(str::to_owned)
    .to_vec();
    names.push("x".repeat(128));
    names.push("é".repeat(64));
    names
}

async fn import(facility: &Facility, query: &str, csv: impl Into<String>) -> Answer {
    let url = format!("{}/admin/v1/equipment/import{query}", facility.server.admin_url);
    let request = facility.client.post(url).bearer_auth(&facility.alice).header("Content-Type", "text/csv");
    send(request.body(csv.into())).await
}

async fn export(facility: &Facility, query: &str) -> Answer {
    facility.get(&format!("/admin/v1/equipment/export{query}")).await.expect(200)
}

fn counts(answer: &Answer) -> [u64; 6] {
    ["received", "accepted", "created", "updated", "unchanged", "rejected"]
        .map(|name| answer.json[name].as_u64().unwrap_or_else(|| panic!("{name}: {}", answer.text)))
}

/// All equipment of an integration by external id.
async fn by_external_id(facility: &Facility, who: &Integration) -> BTreeMap<String, Value> {
    let (mut found, mut cursor) = (BTreeMap::new(), String::new());
    loop {
        let path = format!("/admin/v1/equipment?integration_id={}&limit=200{cursor}", who.id);
        let page = facility.get(&path).await.expect(200);
        for one in page.json["items"].as_array().expect("items") {
            found.insert(one["external_id"].as_str().unwrap_or_default().to_owned(), one.clone());
        }
        match page.json["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return found,
        }
    }
}

// S276, S282: byte for byte, over HTTP, MQTT and CSV; upper and lower case are two names.
#[tokio::test(flavor = "multi_thread")]
async fn external_ids_keep_every_byte() {
    let facility = Facility::new().await;
    let owner = facility.active(&["sensors:write", "equipment:read", "equipment:write"]).await;
    facility.limit(&owner, 10_000).await;
    let names = nasty();
    let entries: Vec<_> = names.iter().map(|name| json!({"external_id": name, "kind": "sensor"})).collect();
    let request = facility.request(&owner, Method::POST, "/v1/equipment/bulk");
    let made = send(request.json(&json!({"equipment": entries}))).await.expect(200);
    assert_eq!(made.json["created"].as_u64(), Some(names.len() as u64));
    let known = by_external_id(&facility, &owner).await;
    assert_eq!(known.keys().collect::<Vec<_>>(), {
        let mut sorted: Vec<_> = names.iter().collect();
        sorted.sort();
        sorted
    });
    for name in &names {
        let query: String = form_urlencoded::byte_serialize(name.as_bytes()).collect();
        let path = format!("/v1/equipment?external_id={query}");
        let found = send(facility.request(&owner, Method::GET, &path)).await.expect(200);
        let items = found.json["items"].as_array().expect("items");
        assert_eq!((items.len(), items[0]["external_id"].as_str()), (1, Some(name.as_str())), "{name:?}");
    }
    let readings = |value: f64, at: i64| -> Value {
        let one = |name: &String| json!({"external_id": name, "metric": "co2", "value": value, "timestamp": at});
        json!({"readings": names.iter().map(one).collect::<Vec<_>>()})
    };
    facility.ingest(&owner, &readings(400.0, now_s() - 60)).await.expect(200);
    let mut session = Gateway::open(Library::Rumqttc, 5, &facility.server, &owner, "gateway").await;
    let (reason, result) = session.exchange(&readings(500.0, now_s())).await;
    assert_eq!((reason, &result.json()["accepted"]), (0, &json!(names.len())), "{}", result.json());
    for name in &names {
        let id = known[name]["id"].as_str().unwrap();
        let path = format!("/admin/v1/readings?equipment_id={id}&metric=co2");
        let mut stored = Vec::new();
        for _ in 0..100 {
            stored = facility.get(&path).await.expect(200).json["items"].as_array().unwrap().clone();
            if stored.len() == 2 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        assert_eq!(stored.len(), 2, "{name:?}");
    }

    let file = export(&facility, "").await;
    let again = import(&facility, "", file.text.clone()).await.expect(200);
    let all = names.len() as u64;
    assert_eq!(counts(&again), [all, all, 0, 0, all, 0], "{}", again.text);
    // The same file, read by a reader that is not ours and that knows nothing of apostrophes.
    let mut reader = csv::Reader::from_reader(file.text.as_bytes());
    for record in reader.records() {
        let record = record.expect("RFC 4180");
        for cell in &record {
            assert!(!cell.trim_start().starts_with(['=', '+', '-', '@', '＝']), "{cell:?} computes");
        }
    }
    // Into another integration, without ids: the same names, byte for byte.
    let other = facility.active(&["sensors:write"]).await;
    let copy = without_ids(&file.text, &other.id);
    assert_eq!(counts(&import(&facility, "", copy).await.expect(200)), [all, all, all, 0, 0, 0]);
    assert_eq!(by_external_id(&facility, &other).await.keys().collect::<Vec<_>>(), known.keys().collect::<Vec<_>>());
    let first = export(&facility, &format!("?integration_id={}", owner.id)).await;
    assert_eq!(first.text, file.text, "the export of the first is what it was, byte for byte");

    for bad in ["", &"x".repeat(129), "line\nbreak", "tab\t", "nul\u{0}", "c1\u{85}"] {
        let body = json!({"integration_id": owner.id, "kind": "sensor", "external_id": bad});
        let refused = facility.post("/admin/v1/equipment", body).await.expect(422);
        assert_eq!(refused.json["errors"][0]["field"], "external_id", "{bad:?}");
    }
}

fn without_ids(text: &str, integration_id: &str) -> String {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["integration_id", "kind", "external_id", "status"]).unwrap();
    for record in reader.records() {
        let record = record.unwrap();
        writer.write_record([integration_id, &record[2], &record[4], &record[8]]).unwrap();
    }
    String::from_utf8(writer.into_inner().unwrap()).unwrap()
}

// S277, S279: a file is judged row by row, by its own lines; a rehearsal says the same and saves nothing.
#[tokio::test]
async fn a_file_of_equipment_is_judged_row_by_row() {
    let facility = Facility::new().await;
    let owner = facility.active(&["sensors:write"]).await;
    let foreign = "01970000-0000-7000-8000-000000000000";
    let id = facility.sensor(&owner, "known").await;
    let file = format!(
        "external_id,integration_id,kind,room,name\r\n\
         new,{o},sensor,House 1,\"a \"\"name\"\", quoted\"\r\n\
         known,{o},,House 1,\r\n\
         bad,{o},robot,,\r\n\
         foreign,{foreign},sensor,,\r\n\
         short,{o}\r\n\
         late,{o},monitor,House 2,'=1+1\r\n",
        o = owner.id
    );
    let rehearsed = import(&facility, "?validate_only=true", file.clone()).await.expect(207);
    assert_eq!(rehearsed.json["validate_only"], true);
    assert_eq!(by_external_id(&facility, &owner).await.len(), 1, "nothing was saved");
    let log = facility.get("/admin/v1/audit-log?action=equipment_bulk").await.expect(200);
    assert_eq!(log.json["items"], json!([]), "and nothing is said to be");
    let made = import(&facility, "", file.clone()).await.expect(207);
    assert_eq!(counts(&made), [6, 3, 2, 1, 0, 3], "{}", made.text);
    assert_eq!((counts(&rehearsed), &rehearsed.json["errors"]), (counts(&made), &made.json["errors"]));
    let errors: Vec<_> =
        made.json["errors"].as_array().unwrap().iter().map(|e| (e["line"].clone(), e["code"].clone())).collect();
    let expected = [(4, "kind_invalid"), (5, "integration_id_invalid"), (6, "columns_invalid")];
    assert_eq!(errors, expected.map(|(line, code)| (json!(line), json!(code))), "{}", made.text);
    let known = by_external_id(&facility, &owner).await;
    assert_eq!((&known["new"]["name"], &known["late"]["name"]), (&json!("a \"name\", quoted"), &json!("=1+1")));
    let changed = &known["known"];
    assert_eq!((&changed["id"], &changed["room"], &changed["kind"]), (&json!(id), &json!("House 1"), &json!("sensor")));
    assert!(changed["name"].is_null(), "an empty cell empties its field");
    // The snapshot knows them at once.
    facility.ingest(&owner, &batch("late", 1, now_s())).await.expect(200);
    assert_eq!(counts(&import(&facility, "", file).await.expect(207)), [6, 3, 0, 0, 3, 3], "again changes nothing");

    assert_eq!(import(&facility, "", "").await.expect(400).code(), "malformed_csv");
    assert_eq!(import(&facility, "", "colour\r\ngreen\r\n").await.expect(400).code(), "malformed_csv");
    assert_eq!(import(&facility, "", "kind,external_id\r\n").await.expect(400).code(), "empty_batch");
    assert_eq!(import(&facility, "", "kind\r\nrobot\r\n").await.expect(422).json["rejected"], 1);
    let json = facility.post("/admin/v1/equipment/import", json!({})).await.expect(415);
    assert_eq!(json.code(), "unsupported_media_type");
    let many = format!("kind,external_id,integration_id\r\n{}", format!("sensor,m,{}\r\n", owner.id).repeat(10_001));
    assert_eq!(import(&facility, "", many).await.expect(413).code(), "batch_too_large");
}

// S284: rooms in use, what was measured in one last, and all of it.
#[tokio::test]
async fn readings_are_found_by_room() {
    let facility = Facility::new().await;
    let [one, two] = [facility.active(&["sensors:write"]).await, facility.active(&["sensors:write"]).await];
    let place = async |who: &Integration, name: &str, room: &str, location: &str| {
        let body = json!({
            "integration_id": who.id, "kind": "sensor", "external_id": name, "room": room, "location": location,
        });
        facility.post("/admin/v1/equipment", body).await.expect(201).json["id"].as_str().unwrap().to_owned()
    };
    let a = place(&one, "a", "House 1", "post 1").await;
    place(&one, "b", "House 1", "post 2").await;
    let c = place(&two, "c", "House 1", "post 1").await;
    place(&two, "d", "House 2, north", "post 1").await;
    facility.sensor(&two, "nowhere").await;
    facility.post(&format!("/admin/v1/equipment/{c}/retire"), json!({})).await.expect(200);
    facility
        .admin(&facility.alice, Method::PATCH, &format!("/admin/v1/equipment/{c}"), Some(json!({"status": "active"})))
        .await
        .expect(200);
    let at = now_s();
    for (who, name, count) in [(&one, "a", 3), (&two, "c", 2), (&two, "d", 1)] {
        facility.ingest(who, &batch(name, count, at)).await.expect(200);
        facility.stored(who, name, "temperature", count).await;
    }
    let rooms = facility.get("/admin/v1/rooms").await.expect(200);
    let expected = json!([
        {"room": "House 1", "active": 3, "retired": 0, "locations": 2, "integrations": 2},
        {"room": "House 2, north", "active": 1, "retired": 0, "locations": 1, "integrations": 1},
    ]);
    assert_eq!(rooms.json["items"], expected);
    let own = facility.get(&format!("/admin/v1/rooms?integration_id={}&limit=1", one.id)).await.expect(200);
    assert_eq!((own.json["items"].as_array().unwrap().len(), &own.json["items"][0]["active"]), (1, &json!(2)));
    let first = facility.get("/admin/v1/rooms?limit=1").await.expect(200);
    let next = first.json["next_cursor"].as_str().expect("more");
    let second = facility.get(&format!("/admin/v1/rooms?limit=1&cursor={next}")).await.expect(200);
    assert_eq!(
        (&second.json["items"][0]["room"], &second.json["next_cursor"]),
        (&json!("House 2, north"), &Value::Null)
    );

    let latest = facility.get("/admin/v1/readings/latest?room=House%201").await.expect(200);
    let who: Vec<_> = latest.json["items"].as_array().unwrap().iter().map(|one| one["external_id"].clone()).collect();
    assert_eq!(who, ["a", "c"], "{}", latest.text);
    let of_one = format!("/admin/v1/readings/latest?room=House%201&integration_id={}", one.id);
    assert_eq!(facility.get(&of_one).await.expect(200).json["items"].as_array().unwrap().len(), 1);
    assert_eq!(facility.get("/admin/v1/readings/latest?room=house%201").await.expect(200).json["items"], json!([]));

    let (mut items, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/admin/v1/readings?room=House%201&metric=temperature&limit=2{cursor}");
        let page = facility.get(&path).await.expect(200);
        items.extend(page.json["items"].as_array().unwrap().clone());
        match page.json["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let values: Vec<_> =
        items.iter().map(|one| (one["equipment_id"].as_str().unwrap(), one["value"].as_f64().unwrap())).collect();
    let (a, c) = (a.as_str(), c.as_str());
    assert_eq!(values, [(a, 20.0), (a, 20.01), (a, 20.02), (c, 20.0), (c, 20.01)]);
    let csv = facility.get("/admin/v1/readings?room=House%201&metric=temperature&format=csv").await.expect(200);
    let rows: Vec<Vec<String>> = csv::Reader::from_reader(csv.text.as_bytes())
        .records()
        .map(|row| row.expect("RFC 4180").iter().map(str::to_owned).collect())
        .collect();
    assert_eq!(rows.iter().map(|row| row[4].as_str()).collect::<Vec<_>>(), ["a", "a", "a", "c", "c"]);
    let steps = "/admin/v1/readings?room=House%201&metric=temperature&format=csv&resolution=1d";
    let days = facility.get(steps).await.expect(200).text.lines().count() - 1;
    assert!((2..=4).contains(&days), "one or two days of two sensors: {days}");
    for bad in ["room=House%201", "room=x&metric=temperature&equipment_id=x", "room=x&metric=temperature&cursor=AA"] {
        assert_eq!(facility.get(&format!("/admin/v1/readings?{bad}")).await.expect(400).code(), "invalid_parameter");
    }
    let strange = facility.get("/admin/v1/readings?room=nowhere&metric=temperature").await.expect(200);
    assert_eq!(strange.json, json!({"items": [], "next_cursor": null}));
}
