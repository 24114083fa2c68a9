//! The AsyncAPI document: printed, served, true to its official schema, and true to what the service sends.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{Facility, Integration, batch, facility::send, now_s, server::sensorgate, skip};

/// Where `cargo xtask test` puts the official schemas (npm `@asyncapi/specs`) and a validator (npm `ajv`).
const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/asyncapi");
const PATIENCE: Duration = Duration::from_secs(20);

fn is_fetched() -> bool {
    Path::new(FIXTURE).join("node_modules/ajv").is_dir()
}

/// What does not fit of `document`, or of `messages` by the document.
fn faults(document: &Value, messages: &[(&str, Value)]) -> String {
    let messages: Vec<_> = messages.iter().map(|(name, payload)| json!({"name": name, "payload": payload})).collect();
    let mut node = Command::new("node")
        .arg("check.mjs")
        .current_dir(FIXTURE)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("node starts");
    let question = json!({"document": document, "messages": messages}).to_string();
    node.stdin.take().expect("a pipe").write_all(question.as_bytes()).expect("node reads");
    let output = node.wait_with_output().expect("node ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.success(), said.is_empty(), "{said}");
    said
}

async fn result_of(client: &AsyncClient, events: &mut EventLoop, sender: &Integration, payload: String) -> Value {
    let topic = format!("grq/v1/{}/readings", sender.id);
    client.publish(topic, QoS::AtLeastOnce, false, payload).await.unwrap();
    loop {
        match timeout(PATIENCE, events.poll()).await.expect("an answer in time") {
            Ok(Event::Incoming(Packet::Publish(result))) => return serde_json::from_slice(&result.payload).unwrap(),
            Ok(_) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}

// api.md §7: AsyncAPI for MQTT, generated from the code, served by the service, and tested against it.
#[tokio::test]
async fn the_document_fits_its_official_schema_and_the_service_fits_the_document() {
    let facility = Facility::new().await;
    let sender = facility.active(&["sensors:write"]).await;
    facility.sensor(&sender, "s").await;
    let served =
        send(facility.client.get(format!("{}/asyncapi.json", facility.server.http_url))).await.expect(200).json;
    let host = served["servers"]["plain"]["host"].as_str().expect("a host");
    assert_eq!(format!("mqtt://{host}"), facility.server.mqtt_url);

    let (host, port) = host.rsplit_once(':').unwrap();
    let mut options = MqttOptions::new("reader", host, port.parse().unwrap());
    options.set_credentials(&sender.api_key, &sender.token);
    let (client, mut events) = AsyncClient::new(options, 8);
    let results = served["channels"]["results"]["address"].as_str().unwrap().replace("{integration_id}", &sender.id);
    client.subscribe(results, QoS::AtMostOnce).await.unwrap();
    let mut good = batch("s", 2, now_s());
    good["batch_id"] = json!("b-1");
    good["readings"][1]["value"] = json!("warm");
    let result = result_of(&client, &mut events, &sender, good.to_string()).await;
    assert_eq!((&result["accepted"], &result["rejected"], &result["batch_id"]), (&json!(1), &json!(1), &json!("b-1")));
    let refusal = result_of(&client, &mut events, &sender, "[".to_owned()).await;
    assert_eq!(refusal["code"], "malformed_json");

    if !is_fetched() {
        return skip("the npm packages @asyncapi/specs and ajv are not there; cargo xtask test fetches them");
    }
    let bare = json!({"readings": [{"external_id": "s", "metric": "temperature", "value": 20.5}]});
    let messages = [("batch", batch("s", 3, now_s())), ("batch", bare), ("result", result), ("refusal", refusal)];
    assert_eq!(faults(&served, &messages), "");
    // The check itself can fail, on either side.
    let mut broken = served.clone();
    broken["channels"]["readings"]["adress"] = json!("grq/v1");
    assert!(faults(&broken, &[]).contains("additional properties"));
    assert!(faults(&served, &[("result", json!({"received": 1}))]).contains("accepted"));
}

// `sensorgate asyncapi` describes the configuration that it is given.
#[test]
fn the_printed_document_has_the_limits_of_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("small.toml");
    fs::write(&file, "[mqtt]\nreceive_maximum = 11\npacket_bytes_max = 300000\n").unwrap();
    let output = sensorgate().arg("asyncapi").arg("--config").arg(&file).output().expect("the binary starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON on standard output");
    assert_eq!(document["x-limits"]["receive_maximum"], 11);
    assert_eq!(document["servers"]["plain"]["bindings"]["mqtt"]["maximumPacketSize"], 300_000);
    let codes: Vec<u64> = document["x-reasons"]["puback"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["code"].as_u64().unwrap())
        .collect();
    assert_eq!(codes, [0x00, 0x99, 0x97, 0x87], "api.md §2");
}
