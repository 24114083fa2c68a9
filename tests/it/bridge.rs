//! Cluster mode: the service as a client of somebody else's broker (`api.md` §2).

use serde_json::json;

use crate::support::{
    Facility, Integration, batch,
    broker::Mosquitto,
    facility::send,
    gateway::{Gateway, results},
    now_s,
};

fn settings(url: &str) -> Vec<(&'static str, String)> {
    vec![
        ("SENSORGATE__BRIDGE__ENABLED", "true".to_owned()),
        ("SENSORGATE__BRIDGE__URL", url.to_owned()),
        ("SENSORGATE__BRIDGE__RECONNECT_MS_MIN", "20".to_owned()),
        ("SENSORGATE__BRIDGE__RECONNECT_MS_MAX", "200".to_owned()),
    ]
}

async fn node(url: &str, more: &[(&'static str, &str)]) -> Facility {
    let mut variables = settings(url);
    variables.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Facility::with(&variables).await
}

async fn sender(facility: &Facility) -> Integration {
    let sender = facility.active(&["sensors:write"]).await;
    facility.sensor(&sender, "s").await;
    let path = format!("/admin/v1/integrations/{}", sender.id);
    let body = json!({"rate_limit_rpm": 10_000});
    facility.admin(&facility.alice, reqwest::Method::PATCH, &path, Some(body)).await.expect(200);
    sender
}

/// Waits until `/readyz` has this status; its text.
async fn ready(facility: &Facility, status: u16) -> String {
    for _ in 0..600 {
        let answer = send(facility.client.get(format!("{}/readyz", facility.server.admin_url))).await;
        if answer.status == status {
            return answer.text;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("/readyz never became {status}: {}", facility.server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_goes_through_a_broker_and_its_result_comes_back() {
    let Some(broker) = Mosquitto::start() else { return };
    let facility = node(&broker.url(), &[]).await;
    let sender = sender(&facility).await;
    ready(&facility, 200).await;
    let mut gateway = Gateway::connect(broker.port, "gateway", Some(&results(&sender))).await;
    gateway.send(&sender, &batch("s", 10, now_s())).await;
    let (topic, body, correlation) = gateway.result().await;
    assert_eq!((topic, correlation), (results(&sender), None));
    assert_eq!((&body["received"], &body["accepted"]), (&json!(10), &json!(10)), "{body}");
    assert_eq!(facility.stored(&sender, "s", "temperature", 10).await.len(), 10);
}
