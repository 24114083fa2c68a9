//! The AsyncAPI 3 document of the integration API over MQTT, out of the tables that this room answers by: topics,
//! reasons, limits. The schemas of its payloads are those of the OpenAPI document.

use serde_json::{Map, Value, json};

use super::{
    Config,
    ending::Ending,
    packet::{Ack, Granted, Refuse},
};
use crate::model::topic;

/// What the document is made of, besides this room's tables.
#[derive(Debug)]
pub struct Described<'a> {
    /// `[mqtt]`.
    pub config: &'a Config,
    /// Readings of a batch, at most.
    pub readings_max: usize,
    /// Where it is reached: `mqtt://host:port`, `mqtts://…`, `ws://…`, `wss://…`.
    pub urls: Vec<String>,
    /// `components.schemas` of the OpenAPI document; taken over as far as a message needs them.
    pub schemas: &'a Map<String, Value>,
}

/// The document, from the service's point of view: it receives readings and sends results.
#[must_use]
pub fn asyncapi(described: &Described<'_>) -> Value {
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "sensorgate: integration API over MQTT",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The service receives batches of readings and sends the result of each. A publish is \
                acknowledged once what it calls accepted is on disk, in the order of arrival. Sessions are clean, \
                QoS 0 and 1 are taken, nothing is retained, and there are no wills.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": servers(described),
        "channels": channels(),
        "operations": operations(),
        "components": {
            "schemas": schemas(described),
            "messages": messages(),
            "securitySchemes": {
                "credentials": {
                    "type": "userPassword",
                    "description": "User name: the API key. Password: the JWT. The session ends when the token expires.",
                },
            },
        },
        "x-reasons": reasons(),
        "x-limits": limits(described),
    })
}

fn servers(described: &Described<'_>) -> Value {
    let servers = described.urls.iter().filter_map(|url| {
        let (scheme, rest) = url.split_once("://")?;
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (name, protocol) = match scheme {
            "mqtts" => ("tls", "secure-mqtt"),
            "ws" => ("websocket", "ws"),
            "wss" => ("websocket_tls", "wss"),
            _ => ("plain", "mqtt"),
        };
        let mut server = json!({
            "host": host,
            "protocol": protocol,
            "protocolVersion": "5.0",
            "description": "3.1.1 is spoken on the same port.",
            "security": [{"$ref": "#/components/securitySchemes/credentials"}],
            "bindings": {"mqtt": {
                "cleanSession": true,
                "keepAlive": described.config.keep_alive_max_s,
                "sessionExpiryInterval": 0,
                "maximumPacketSize": described.config.packet_bytes_max,
                "bindingVersion": "0.2.0",
            }},
        });
        if !path.is_empty() {
            server["pathname"] = path.into();
        }
        Some((name.to_owned(), server))
    });
    Value::Object(servers.collect())
}

/// The parameter that stands for the integration in both topics.
const INTEGRATION_ID: &str = "{integration_id}";

fn channels() -> Value {
    let parameters = json!({"integration_id": {"description": "The id of one's own integration."}});
    let message = |name: &str| json!({"$ref": format!("#/components/messages/{name}")});
    json!({
        "readings": {
            "address": topic::readings_pattern(INTEGRATION_ID),
            "description": "The one topic that may be published to.",
            "parameters": parameters,
            "messages": {"batch": message("batch")},
        },
        "results": {
            "address": topic::results_pattern(INTEGRATION_ID),
            "description": "What became of each publish, at once and for whoever is subscribed then. The topics below it \
                can be subscribed to as well, and be named as a Response Topic.",
            "parameters": parameters,
            "messages": {"result": message("result"), "refusal": message("refusal")},
        },
    })
}

fn operations() -> Value {
    let of = |channel: &str, names: &[&str]| -> Vec<Value> {
        names.iter().map(|name| json!({"$ref": format!("#/channels/{channel}/messages/{name}")})).collect()
    };
    let bindings = json!({"mqtt": {"qos": 1, "retain": false, "bindingVersion": "0.2.0"}});
    json!({
        "receiveReadings": {
            "action": "receive",
            "channel": {"$ref": "#/channels/readings"},
            "summary": "A batch of readings. Sending one again is harmless.",
            "messages": of("readings", &["batch"]),
            "bindings": bindings,
            "reply": {"channel": {"$ref": "#/channels/results"}, "messages": of("results", &["result", "refusal"])},
        },
        "sendResults": {
            "action": "send",
            "channel": {"$ref": "#/channels/results"},
            "summary": "The result of a publish.",
            "messages": of("results", &["result", "refusal"]),
            "bindings": bindings,
        },
    })
}

fn messages() -> Value {
    let correlation = json!({"type": "string", "description": "Version 5: the Correlation Data of the publish."});
    let answer = |summary: &str, content_type: &str, schema: &str| {
        json!({
            "summary": summary,
            "contentType": content_type,
            "payload": {"$ref": format!("#/components/schemas/{schema}")},
            "bindings": {"mqtt": {
                "payloadFormatIndicator": 1,
                "contentType": content_type,
                "correlationData": correlation,
                "bindingVersion": "0.2.0",
            }},
        })
    };
    json!({
        "batch": {
            "summary": "Up to 500 readings, as the body over HTTP.",
            "contentType": "application/json",
            "payload": {"$ref": "#/components/schemas/BatchOverMqtt"},
            "bindings": {"mqtt": {
                "contentType": "application/json",
                "correlationData": {"type": "string", "description": "Version 5: comes back with the result."},
                "responseTopic": {
                    "type": "string",
                    "description": "Version 5: one's own topic of results, or one below it; the result is sent there.",
                },
                "bindingVersion": "0.2.0",
            }},
        },
        "result": answer("A batch that was judged: what it calls accepted is durable.", "application/json",
            "BatchResultOverMqtt"),
        "refusal": answer("A batch that was refused as a whole.", "application/problem+json", "Problem"),
    })
}

/// The payloads' schemas: HTTP's, and what MQTT adds to them.
fn schemas(described: &Described<'_>) -> Value {
    let mut taken = Map::new();
    for root in ["Batch", "BatchResult", "Problem"] {
        take_schema(described.schemas, root, &mut taken);
    }
    let with_batch_id = |base: &str, meaning: &str| {
        let batch_id = json!({"type": "string", "minLength": 1, "maxLength": 128, "description": meaning});
        let extra = json!({"type": "object", "properties": {"batch_id": batch_id}});
        json!({"allOf": [{"$ref": format!("#/components/schemas/{base}")}, extra]})
    };
    let sent = "The sender's own name for the batch; comes back with its result.";
    taken.insert("BatchOverMqtt".to_owned(), with_batch_id("Batch", sent));
    taken.insert("BatchResultOverMqtt".to_owned(), with_batch_id("BatchResult", "As the batch had it."));
    Value::Object(taken)
}

/// Takes a schema over, and those that it refers to.
fn take_schema(from: &Map<String, Value>, name: &str, taken: &mut Map<String, Value>) {
    const PREFIX: &str = "\"#/components/schemas/";
    if taken.contains_key(name) {
        return;
    }
    let Some(schema) = from.get(name) else { return };
    taken.insert(name.to_owned(), schema.clone());
    let text = schema.to_string();
    for rest in text.split(PREFIX).skip(1) {
        take_schema(from, rest.split('"').next().unwrap_or_default(), taken);
    }
}

/// Every reason that is ever given, by the packet that carries it (`api.md` §2).
fn reasons() -> Value {
    let entry = |code: u8, name: String, meaning: &str| json!({"code": code, "name": name, "meaning": meaning});
    let puback = Ack::ALL.iter().map(|ack| entry(ack.v5().into(), format!("{:?}", ack.v5()), ack_meaning(*ack)));
    let connack = Refuse::ALL.iter().map(|refuse| {
        let mut connack = entry(refuse.v5().into(), format!("{:?}", refuse.v5()), refuse_meaning(*refuse));
        connack["code_3_1_1"] = u8::from(refuse.v3()).into();
        connack
    });
    let suback = Granted::ALL
        .iter()
        .map(|granted| entry(granted.v5().into(), format!("{:?}", granted.v5()), granted_meaning(*granted)));
    let disconnect = Ending::ALL
        .iter()
        .filter_map(|ending| Some((ending.reason()?, ending.words())))
        .map(|(reason, words)| entry(reason.into(), format!("{reason:?}"), words));
    json!({
        "puback": puback.collect::<Vec<_>>(),
        "connack": connack.collect::<Vec<_>>(),
        "suback": suback.collect::<Vec<_>>(),
        "disconnect": disconnect.collect::<Vec<_>>(),
    })
}

const fn ack_meaning(ack: Ack) -> &'static str {
    match ack {
        Ack::Success => "Stored, wholly or in part: the result says which. Over 3.1.1 every PUBACK looks like this.",
        Ack::PayloadInvalid => "Malformed, all rejected, or too many readings: the same will be refused again.",
        Ack::QuotaExceeded => "Rate limit or daily quota: nothing stored, send it again later.",
        Ack::NotAuthorized => "A foreign topic, or the scope sensors:write was lost: nothing stored.",
    }
}

const fn refuse_meaning(refuse: Refuse) -> &'static str {
    match refuse {
        Refuse::Version => "Only MQTT 3.1.1 and 5 are spoken.",
        Refuse::Malformed => "The CONNECT cannot be read.",
        Refuse::ClientId => "The client id is too long, has a character that is not allowed, or is empty (3.1.1).",
        Refuse::Credentials => "API key and token do not belong to an active integration.",
        Refuse::NotAuthorized => "The address is not in the allowlist, or the scope sensors:write is missing.",
        Refuse::AuthMethod => "Enhanced authentication is not offered.",
        Refuse::Will => "Wills are not supported.",
        Refuse::WillRetain => "Wills are not supported, retained ones neither.",
        Refuse::PacketTooLarge => "The client takes no packets of a useful size, or the CONNECT is too large.",
        Refuse::Quota => "The integration has its full number of sessions.",
        Refuse::ConnectionRate => "Too many connections, or too many failed ones from this address: come back later.",
        Refuse::Unavailable => "The service cannot judge credentials now: come back later.",
    }
}

const fn granted_meaning(granted: Granted) -> &'static str {
    match granted {
        Granted::Qos(super::packet::Qos::AtMostOnce) => "Subscribed with QoS 0.",
        Granted::Qos(super::packet::Qos::AtLeastOnce) => "Subscribed with QoS 1.",
        Granted::NotAuthorized => "Not one's own results (3.1.1: 0x80).",
        Granted::Invalid => "No filter (3.1.1: 0x80).",
        Granted::Shared => "Shared subscriptions are not offered (3.1.1: 0x80).",
        Granted::Quota => "The session has as many filters as it may have (3.1.1: 0x80).",
    }
}

fn limits(described: &Described<'_>) -> Value {
    let config = described.config;
    json!({
        "readings_max": described.readings_max,
        "packet_bytes_max": config.packet_bytes_max,
        "connect_bytes_max": config.connect_bytes_max,
        "client_id_bytes_max": config.client_id_bytes_max,
        "receive_maximum": config.receive_maximum,
        "keep_alive_max_s": config.keep_alive_max_s,
        "sessions_per_integration_max": config.sessions_per_integration_max,
        "subscriptions_max": config.subscriptions_max,
        "rate_wait_ms": config.rate_wait_ms,
        "hold_ms": config.hold_ms,
    })
}

#[cfg(test)]
mod tests;
