//! The document against the tables that it was made of.

use std::collections::BTreeSet;

use rmqtt_codec::v5;

use super::*;
use crate::model::IntegrationId;

fn config() -> Config {
    crate::config::Config::load(None, std::iter::empty()).unwrap().mqtt
}

fn document(config: &Config) -> Value {
    let schemas = json!({
        "Batch": {"properties": {"readings": {"items": {"$ref": "#/components/schemas/Reading"}}}},
        "Reading": {"type": "object"},
        "BatchResult": {"type": "object"},
        "Problem": {"type": "object"},
        "TokenRequest": {"type": "object"},
    });
    let urls = ["mqtt://127.0.0.1:1883", "mqtts://gate.example:8883", "ws://127.0.0.1:8083/mqtt"];
    asyncapi(&Described {
        config,
        readings_max: 400,
        urls: urls.map(str::to_owned).into(),
        schemas: schemas.as_object().unwrap(),
    })
}

fn codes(document: &Value, packet: &str) -> BTreeSet<u64> {
    let entries = document["x-reasons"][packet].as_array().unwrap();
    assert!(entries.iter().all(|entry| !entry["meaning"].as_str().unwrap().is_empty()), "{packet}");
    entries.iter().map(|entry| entry["code"].as_u64().unwrap()).collect()
}

// api.md §2: the reasons, each with its code.
#[test]
fn every_reason_of_the_contract_is_listed_with_its_code() {
    let document = document(&config());
    assert_eq!(codes(&document, "puback"), BTreeSet::from([0x00, 0x87, 0x97, 0x99]));
    assert!(codes(&document, "disconnect").is_superset(&BTreeSet::from([0x87, 0x89, 0x95, 0x98, 0xA0])));
    assert!(codes(&document, "connack").contains(&0x87) && codes(&document, "suback").contains(&0x87));
    let denied = document["x-reasons"]["connack"].as_array().unwrap();
    assert!(denied.iter().any(|entry| entry["code_3_1_1"] == 5), "3.1.1 code 5");
}

// The tables are whole: a kind that was added and is not listed shows here.
#[test]
fn the_tables_list_every_kind_in_its_place() {
    assert!(Ack::ALL.iter().enumerate().all(|(place, ack)| *ack as usize == place));
    assert!(Refuse::ALL.iter().enumerate().all(|(place, refuse)| *refuse as usize == place));
    assert!(Ending::ALL.iter().enumerate().all(|(place, ending)| *ending as usize == place));
    let codes = |codes: &mut dyn Iterator<Item = u8>| codes.collect::<BTreeSet<_>>();
    let document = document(&config());
    let listed = |packet| super::tests::codes(&document, packet).into_iter().map(|code| code as u8).collect();
    assert_eq!(codes(&mut Ack::ALL.iter().map(|ack| ack.v5().into())), listed("puback"));
    assert_eq!(codes(&mut Refuse::ALL.iter().map(|refuse| refuse.v5().into())), listed("connack"));
    assert_eq!(codes(&mut Granted::ALL.iter().map(|granted| granted.v5().into())), listed("suback"));
    let endings = &mut Ending::ALL.iter().filter_map(|ending| ending.reason().map(u8::from));
    assert_eq!(codes(endings), listed("disconnect"));
    assert_eq!(u8::from(v5::PublishAckReason::QuotaExceeded), 0x97, "a code is the standard's");
}

#[test]
fn topics_are_those_that_are_listened_to() {
    let document = document(&config());
    let id = IntegrationId::generate();
    for (channel, topic) in [("readings", topic::readings(id)), ("results", topic::results(id))] {
        let address = document["channels"][channel]["address"].as_str().unwrap();
        assert_eq!(address.replace(INTEGRATION_ID, &id.to_string()), topic);
        assert!(document["channels"][channel]["parameters"]["integration_id"].is_object());
    }
}

#[test]
fn limits_are_those_of_the_configuration() {
    let config = Config { receive_maximum: 9, packet_bytes_max: 300_000, ..config() };
    let document = document(&config);
    let limits = &document["x-limits"];
    assert_eq!((&limits["receive_maximum"], &limits["packet_bytes_max"]), (&json!(9), &json!(300_000)));
    assert_eq!(limits["readings_max"], 400);
    assert_eq!(document["servers"]["plain"]["bindings"]["mqtt"]["maximumPacketSize"], 300_000);
}

#[test]
fn servers_are_told_apart_by_their_protocol() {
    let document = document(&config());
    let server = |name: &str| &document["servers"][name];
    assert_eq!((&server("plain")["host"], &server("plain")["protocol"]), (&json!("127.0.0.1:1883"), &json!("mqtt")));
    assert_eq!(server("tls")["protocol"], "secure-mqtt");
    assert_eq!((&server("websocket")["protocol"], &server("websocket")["pathname"]), (&json!("ws"), &json!("/mqtt")));
}

#[test]
fn every_reference_leads_somewhere_and_foreign_schemas_are_left_out() {
    let document = document(&config());
    let text = document.to_string();
    let mut seen = 0;
    for rest in text.split("\"$ref\":\"#").skip(1) {
        let pointer = rest.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer}");
        seen += 1;
    }
    assert!(seen > 10);
    assert!(document["components"]["schemas"]["Reading"].is_object());
    assert!(document["components"]["schemas"].get("TokenRequest").is_none());
}
