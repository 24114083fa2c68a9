//! A batch over HTTP: partial success, durability, duplicates, malformed bodies.

use serde_json::json;

use crate::support::{
    Facility, batch,
    mqtt::{Gateway, Library},
    now_s,
};

// S159, S255, S257, S260: the good ones are stored with equal values, 200 when all are good.
#[tokio::test]
async fn one_and_five_hundred_readings_are_stored_and_read_back() {
    let facility = Facility::new().await;
    let sender = facility.active(&["sensors:write"]).await;
    facility.sensor(&sender, "AA:BB:01").await;
    let last_s = now_s();
    for count in [1, 500] {
        let answer = facility.ingest(&sender, &batch("AA:BB:01", count, last_s)).await.expect(200);
        assert_eq!(answer.json["received"], count);
        assert_eq!(answer.json["accepted"], count);
        assert_eq!(answer.json["rejected"], 0);
        assert_eq!(answer.json["errors"], json!([]));
        assert_eq!(answer.header("x-readings-accepted"), Some(count.to_string().as_str()));
        assert_eq!(answer.header("x-request-id"), answer.json["request_id"].as_str());
    }
    let stored = facility.stored(&sender, "AA:BB:01", "temperature", 500).await;
    let expected: Vec<_> = (0..500).map(|n| (last_s - 499 + n, 20.0 + n as f64 / 100.0)).collect();
    assert_eq!(stored, expected);
}

// S257, S258, S259, S264: k of n are broken at any place; exactly the others are stored, and each broken one is named.
#[tokio::test]
async fn each_broken_entry_harms_only_itself() {
    let facility = Facility::new().await;
    let sender = facility.active(&["sensors:write"]).await;
    facility.sensor(&sender, "s").await;
    let now = now_s();
    let good = |n: i64| format!(r#"{{"external_id":"s","metric":"temperature","value":{n},"timestamp":{}}}"#, now - n);
    let mut entries: Vec<String> = (0..500).map(|n| if n < 80 { good(n) } else { good(n % 80 + 100) }).collect();
    let broken = [
        (0, r#"{"external_id":"s","metric":"temperature","value":1e400}"#, "value_out_of_range"),
        (7, r#"[1,2]"#, "not_an_object"),
        (
            249,
            r#"{"external_id":"s","metric":"temperature","value":123456789012345678901234567890}"#,
            "value_out_of_range",
        ),
        (250, r#"{"external_id":"s","metric":"temperature","value":[[[1]]]}"#, "value_not_number"),
        (251, r#"{"external_id":"nobody","metric":"temperature","value":1}"#, "unknown_equipment"),
        (252, r#"{"external_id":"s","metric":"temperature","value":1,"value":2}"#, "duplicate_field"),
        (499, r#"{"external_id":"s","metric":"humidity","value":141,"id":"last"}"#, "value_out_of_range"),
    ];
    for (index, text, _) in broken {
        text.clone_into(&mut entries[index]);
    }
    let body = format!(r#"{{"readings":[{}]}}"#, entries.join(","));
    let answer = facility.ingest_raw(&sender, body).await.expect(207);
    assert_eq!(answer.json["received"], 500);
    assert_eq!(answer.json["accepted"], 493);
    assert_eq!(answer.json["rejected"], 7);
    let errors = answer.json["errors"].as_array().expect("a list");
    let named: Vec<_> =
        errors.iter().map(|e| (e["index"].as_u64().unwrap() as usize, e["code"].as_str().unwrap())).collect();
    assert_eq!(named, broken.map(|(index, _, code)| (index, code)));
    assert_eq!(errors[6]["id"], "last");
    let text = errors[6]["message"].as_str().expect("a sentence");
    assert!(text.contains("141") && text.contains("100"), "{text}");
}

// S260: all broken: 422, same body, nothing stored.
#[tokio::test]
async fn a_batch_of_broken_readings_only_stores_nothing() {
    let facility = Facility::new().await;
    let sender = facility.active(&["sensors:write"]).await;
    facility.sensor(&sender, "s").await;
    let body = json!({"readings": [{"external_id": "s", "metric": "humidity", "value": 141}]});
    let answer = facility.ingest(&sender, &body).await.expect(422);
    assert_eq!(answer.json["accepted"], 0);
    assert_eq!(answer.json["errors"][0]["code"], "value_out_of_range");
}

// S256, S261: as a whole malformed or too large: nothing is stored.
#[tokio::test]
async fn a_malformed_batch_is_refused_as_a_whole() {
    let facility = Facility::new().await;
    let sender = facility.active(&["sensors:write"]).await;
    facility.sensor(&sender, "s").await;
    let reading = r#"{"external_id":"s","metric":"temperature","value":1}"#;
    let many = format!(r#"{{"readings":[{}]}}"#, vec![reading; 501].join(","));
    for (body, status, code) in [
        (many.as_bytes().to_vec(), 413, "batch_too_large"),
        (b"".to_vec(), 400, "malformed_json"),
        (b"nonsense".to_vec(), 400, "malformed_json"),
        (format!(r#"{{"readings":[{reading}"#).into_bytes(), 400, "malformed_json"),
        (format!(r#"{{"readings":[{reading}]}}]"#).into_bytes(), 400, "malformed_json"),
        (br#"{"readings":[NaN]}"#.to_vec(), 400, "malformed_json"),
        (b"{\"readings\":[\"\xff\"]}".to_vec(), 400, "malformed_json"),
        (br#"{"readings":[]}"#.to_vec(), 400, "empty_batch"),
        (b"[]".to_vec(), 400, "empty_batch"),
        (b"{}".to_vec(), 400, "readings_missing"),
        (b"7".to_vec(), 400, "readings_missing"),
        (format!(r#"{{"readings":[{reading}],"readings":[{reading}]}}"#).into_bytes(), 400, "readings_duplicated"),
    ] {
        let text = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        let answer = facility.ingest_raw(&sender, body).await;
        assert_eq!((answer.status, answer.code()), (status, code), "{text}: {}", answer.text);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{text}");
        assert_eq!(answer.header("x-request-id"), answer.json["request_id"].as_str());
    }
    assert!(facility.stored(&sender, "s", "temperature", 0).await.is_empty());
}

// S268, S269: the same key twice is one row; the later value wins, in a batch and in a resend.
#[tokio::test]
async fn a_resent_batch_is_stored_once_and_the_later_value_wins() {
    let facility = Facility::new().await;
    let sender = facility.active(&["sensors:write"]).await;
    facility.sensor(&sender, "s").await;
    let body = batch("s", 100, now_s());
    facility.ingest(&sender, &body).await.expect(200);
    let again = facility.ingest(&sender, &body).await.expect(200);
    assert_eq!((again.json["accepted"].as_u64(), again.json["duplicates"].as_u64()), (Some(100), Some(100)));
    let at = now_s();
    let one = |value: f64| json!({"external_id": "s", "metric": "humidity", "value": value, "timestamp": at});
    let twice = facility.ingest(&sender, &json!({"readings": [one(40.0), one(41.0)]})).await.expect(200);
    assert_eq!((twice.json["accepted"].as_u64(), twice.json["duplicates"].as_u64()), (Some(2), Some(1)));
    facility.ingest(&sender, &json!([one(42.0)])).await.expect(200);
    assert_eq!(facility.stored(&sender, "s", "temperature", 100).await.len(), 100);
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(facility.stored(&sender, "s", "humidity", 1).await, [(at, 42.0)]);
}

#[tokio::test]
async fn validate_only_answers_the_same_and_stores_nothing() {
    let facility = Facility::new().await;
    let sender = facility.active(&["sensors:write"]).await;
    facility.sensor(&sender, "s").await;
    let request = facility.request(&sender, reqwest::Method::POST, "/v1/sensors/readings?validate_only=true");
    let answer = crate::support::facility::send(request.json(&batch("s", 10, now_s()))).await.expect(200);
    assert_eq!(answer.json["accepted"], 10);
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert!(facility.stored(&sender, "s", "temperature", 0).await.is_empty());
}

// S272, S273, A20: a batch of 500 with everything that a reading can have (more than 256 KiB) fits, over HTTP and over MQTT,
// and both answer and store it alike.
#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_whole_readings_fit_over_both_transports() {
    let facility = Facility::new().await;
    let sender = facility.busy_sender().await;
    let long = "AA:BB:CC:DD/house 1/".repeat(6);
    let equipment = facility.sensor(&sender, &long).await;
    let at_s = now_s() - 2_000;
    let batch = |first_s: i64| {
        let reading = |n: i64| {
            let at = jiff::Timestamp::from_second(first_s + n).unwrap();
            let (named, name) = if n % 2 == 0 { ("external_id", &long) } else { ("equipment_id", &equipment) };
            let id = format!("{}{n}", "gateway 7, bus 3, port 12, channel ".repeat(3));
            json!({
                "id": id, named: name, "metric": "temperature", "value": 21.123_456_789, "unit": "C",
                "quality": "good", "timestamp": format!("{at:.6}"),
                "note": "whatever else a sender has to say of a reading is ignored, and may be as long as it likes: \
                    firmware 4.17.3-rc2, calibrated, battery 97 %, signal -71 dBm, uptime 1234567 s, channel 12, bench 4 of house 1",
            })
        };
        json!({"readings": (0..500).map(reading).collect::<Vec<_>>()})
    };
    let over_http = batch(at_s);
    assert!(over_http.to_string().len() > 256 * 1_024, "{}", over_http.to_string().len());
    let mut answer = facility.ingest(&sender, &over_http).await.expect(200).json;
    let mut gateway = Gateway::open(Library::Rumqttc, 5, &facility.server, &sender, "gateway").await;
    let (reason, message) = gateway.exchange(&batch(at_s + 500)).await;
    assert_eq!(reason, 0);
    let mut result = message.json();
    for body in [&mut answer, &mut result] {
        body.as_object_mut().unwrap().remove("request_id").expect("a request id");
    }
    assert_eq!(answer, result);
    assert_eq!(answer["accepted"], 500);
    let filter = long.replace('/', "%2F").replace(' ', "%20");
    assert_eq!(facility.stored(&sender, &filter, "temperature", 1_000).await.len(), 1_000);
}

// S274: another organisation's equipment answers as unknown equipment does.
#[tokio::test]
async fn equipment_of_others_is_unknown_equipment() {
    let facility = Facility::new().await;
    let (mine, theirs) = (facility.active(&["sensors:write"]).await, facility.active(&["sensors:write"]).await);
    let their_id = facility.sensor(&theirs, "their sensor").await;
    let entry = |name: &str, id: &str| json!({name: id, "metric": "temperature", "value": 1});
    let body = json!({"readings": [
        entry("external_id", "their sensor"), entry("equipment_id", &their_id), entry("external_id", "nobody's"),
    ]});
    let answer = facility.ingest(&mine, &body).await.expect(422);
    let codes: Vec<_> = answer.json["errors"].as_array().unwrap().iter().map(|e| e["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["unknown_equipment"; 3]);
}
