//! Cluster mode: the service as a client of somebody else's broker (`api.md` §2).

use std::{
    collections::{BTreeSet, HashSet},
    fs,
    ops::Range,
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use reqwest::Method;
use rumqttc::v5::mqttbytes::v5::PublishProperties;
use serde_json::json;

use crate::support::{
    Facility, Integration, Server, batch,
    broker::{Mosquitto, Rumqttd},
    facility::{send, sign_in},
    gateway::{Gateway, PATIENCE, credentials, readings, results},
    mosquitto, now_s,
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

// The line in docs/cluster-mode.md: a client that is not ours, through a broker that is not ours.
#[tokio::test(flavor = "multi_thread")]
async fn the_documented_line_stores_a_batch() {
    let Some(broker) = Mosquitto::start() else { return };
    let facility = node(&broker.url(), &[]).await;
    let sender = facility.busy_sender().await;
    ready(&facility, 200).await;
    let mut gateway = Gateway::connect(broker.port, "listener", Some(&results(&sender))).await;
    let file = broker.folder().join("batch.json");
    fs::write(&file, batch("s", 10, now_s()).to_string()).expect("written");
    let published = mosquitto::command("mosquitto_pub")
        .expect("it comes with the broker")
        .args(["-V", "mqttv5", "-q", "1", "-h", "127.0.0.1", "-p", &broker.port.to_string()])
        .args(["-t", &readings(&sender), "-f"])
        .arg(&file)
        .args(["-D", "publish", "user-property", "api_key", &sender.api_key])
        .args(["-D", "publish", "user-property", "authorization", &format!("Bearer {}", sender.token)])
        .status();
    assert!(published.expect("it starts").success());
    let (topic, body, correlation) = gateway.result().await;
    assert_eq!((topic, correlation), (results(&sender), None));
    assert_eq!((&body["received"], &body["accepted"]), (&json!(10), &json!(10)), "{body}");
    assert_eq!(facility.stored(&sender, "s", "temperature", 10).await.len(), 10);
}

/// Two nodes that share their credentials: the second starts with a copy of the first one's control plane and token
/// keys. Spool, store and client id are its own.
async fn two_nodes(url: &str) -> ([Facility; 2], Integration) {
    let mut first = node(url, &[]).await;
    let sender = first.busy_sender().await;
    assert!(first.server.terminate().success());
    let variables = settings(url);
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut server = Server::prepare(&variables);
    copy_control_plane(&first.server.data, &server.data);
    first.server.restart();
    server.launch("127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0");
    let [alice, bob] = ["alice@example.org", "bob@example.org"];
    let second = Facility {
        client: first.client.clone(),
        alice: sign_in(&first.client, &server.admin_url, alice, &first.passwords[0]).await,
        bob: sign_in(&first.client, &server.admin_url, bob, &first.passwords[1]).await,
        passwords: first.passwords.clone(),
        server,
    };
    for node in [&first, &second] {
        ready(node, 200).await;
    }
    ([first, second], sender)
}

/// Copies the control plane and the token keys of a node that is stopped, as `docs/cluster-mode.md` says.
fn copy_control_plane(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory").filter_map(Result::ok) {
        let name = entry.file_name().into_string().expect("UTF-8");
        if name.starts_with("control.db") || ["audit", "issuer"].contains(&name.as_str()) {
            let copied = Command::new("cp").arg("-a").arg(entry.path()).arg(to).status();
            assert!(copied.expect("cp starts").success(), "{name}");
        }
    }
}

/// What the nodes' stores hold of the sensor, each by itself, once they hold `expected` readings together.
async fn stored_by_node(nodes: &[Facility; 2], sender: &Integration, expected: usize) -> [Vec<i64>; 2] {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let [first, second] = nodes;
        let times = async |node: &Facility| -> Vec<i64> {
            node.stored(sender, "s", "temperature", 0).await.iter().map(|(at, _)| *at).collect()
        };
        let stored = [times(first).await, times(second).await];
        let together: HashSet<i64> = stored.iter().flatten().copied().collect();
        if together.len() >= expected || Instant::now() > deadline {
            return stored;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Publishes `count` batches of ten readings, one after the other; the second of the first reading.
async fn publish_batches(gateway: &Gateway, sender: &Integration, first_s: i64, batches: Range<i64>) {
    for n in batches {
        gateway.send(sender, &batch("s", 10, first_s + n * 10 + 9)).await;
    }
}

/// Batches that are sent while both nodes run, then while one is dead, and once it is back.
const BATCHES: i64 = 450;
const UNTIL_RETURN: i64 = 400;

/// Kills the first node with half of the batches under way, and starts it again. Nothing may be lost, nor stand twice
/// in a store; how many readings stand in both stores is returned.
async fn kill_one_of_two(port: u16, url: &str) -> usize {
    let (mut nodes, sender) = two_nodes(url).await;
    let mut gateway = Gateway::connect(port, "gateway", None).await;
    let first_s = now_s() - 100_000;
    let mut acked = gateway.acked();
    let publishing = publish_batches(&gateway, &sender, first_s, 0..UNTIL_RETURN);
    let killing = async {
        acked.wait_for(|acked| *acked >= UNTIL_RETURN as usize / 3).await.expect("connected");
        nodes[0].server.kill_9();
    };
    tokio::join!(publishing, killing);
    gateway.wait_for_acks(UNTIL_RETURN as usize).await;
    nodes[0].server.restart();
    ready(&nodes[0], 200).await;
    publish_batches(&gateway, &sender, first_s, UNTIL_RETURN..BATCHES).await;
    gateway.wait_for_acks(BATCHES as usize).await;
    let wanted: BTreeSet<i64> = (first_s..first_s + BATCHES * 10).collect();
    let stored = stored_by_node(&nodes, &sender, wanted.len()).await;
    for times in &stored {
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "a reading stands twice in one store");
        assert!(times.len() > 100, "both nodes have taken their share: {}", times.len());
    }
    let all: BTreeSet<i64> = stored.iter().flatten().copied().collect();
    let lost = wanted.difference(&all).count();
    assert_eq!(lost, 0, "acknowledged to the gateway and lost");
    assert_eq!(all, wanted, "nothing that was not sent");
    stored[0].len() + stored[1].len() - wanted.len()
}

// api.md §2 (cluster mode): what the broker took is stored once, also when a node is killed half-way.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_node_loses_and_doubles_nothing_with_mosquitto() {
    let Some(broker) = Mosquitto::start() else { return };
    let in_both = kill_one_of_two(broker.port, &broker.url()).await;
    assert_eq!(in_both, 0, "the broker keeps a node's messages for that node");
}

// The same with a broker that hands what a lost node has not acknowledged to the others, and more besides: a batch may
// then stand in both stores, once in each. One store for both nodes would hold it once.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_node_loses_nothing_with_rumqttd() {
    let Some(broker) = Rumqttd::start() else { return };
    kill_one_of_two(broker.port, &broker.url()).await;
}

// A node that is stopped finishes what it has; what comes meanwhile waits for it at the broker.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_and_a_restart_of_the_broker_lose_nothing() {
    let Some(mut broker) = Mosquitto::start() else { return };
    let mut facility = node(&broker.url(), &[]).await;
    let sender = facility.busy_sender().await;
    ready(&facility, 200).await;
    let mut gateway = Gateway::connect(broker.port, "gateway", None).await;
    let first_s = now_s() - 100_000;
    publish_batches(&gateway, &sender, first_s, 0..100).await;
    assert!(facility.server.terminate().success());
    publish_batches(&gateway, &sender, first_s, 100..120).await;
    gateway.wait_for_acks(120).await;
    drop(gateway);
    broker.stop();
    broker.launch();
    facility.server.restart();
    ready(&facility, 200).await;
    assert_eq!(facility.stored(&sender, "s", "temperature", 1_200).await.len(), 1_200);
    // The same while the node runs: it comes back by itself.
    broker.stop();
    assert!(ready(&facility, 503).await.contains("no messages from the broker"));
    broker.launch();
    ready(&facility, 200).await;
    let gateway = Gateway::connect(broker.port, "gateway", None).await;
    publish_batches(&gateway, &sender, first_s, 120..130).await;
    assert_eq!(facility.stored(&sender, "s", "temperature", 1_300).await.len(), 1_300);
}

// A node that is to be switched off for good: it takes what is queued for it, and nothing that comes later.
#[tokio::test(flavor = "multi_thread")]
async fn a_leaving_node_empties_its_queue() {
    let Some(broker) = Mosquitto::start() else { return };
    let mut facility = node(&broker.url(), &[]).await;
    let sender = facility.busy_sender().await;
    ready(&facility, 200).await;
    assert!(facility.server.terminate().success());
    let mut gateway = Gateway::connect(broker.port, "gateway", None).await;
    let first_s = now_s() - 100_000;
    publish_batches(&gateway, &sender, first_s, 0..20).await;
    gateway.wait_for_acks(20).await;
    facility.server.set("SENSORGATE__BRIDGE__LEAVING", "true");
    facility.server.restart();
    assert_eq!(facility.stored(&sender, "s", "temperature", 200).await.len(), 200);
    publish_batches(&gateway, &sender, first_s, 20..21).await;
    gateway.wait_for_acks(21).await;
    assert!(facility.server.terminate().success());
    facility.server.set("SENSORGATE__BRIDGE__LEAVING", "false");
    facility.server.restart();
    ready(&facility, 200).await;
    publish_batches(&gateway, &sender, first_s, 21..22).await;
    let stored = facility.stored(&sender, "s", "temperature", 210).await;
    assert_eq!(stored.last().map(|(at, _)| *at), Some(first_s + 219));
    assert_eq!(stored.len(), 210, "what was sent while it was out of the group was not for it");
}

// A broker that is not there: the node serves HTTP, /readyz says why, and it joins once the broker is.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_broker_at_the_start_stops_nothing_else() {
    let Some(mut broker) = Mosquitto::start() else { return };
    broker.stop();
    let facility = node(&broker.url(), &[]).await;
    let sender = facility.busy_sender().await;
    let reasons = ready(&facility, 503).await;
    assert!(reasons.contains("bridge") && reasons.contains(&broker.url()), "{reasons}");
    facility.ingest(&sender, &batch("s", 3, now_s())).await.expect(200);
    broker.launch();
    ready(&facility, 200).await;
    let gateway = Gateway::connect(broker.port, "gateway", None).await;
    gateway.send(&sender, &batch("s", 10, now_s() - 100)).await;
    assert_eq!(facility.stored(&sender, "s", "temperature", 13).await.len(), 13);
}

// api.md §2: Response Topic and Correlation Data are honoured; the body is the HTTP body and the batch_id.
#[tokio::test(flavor = "multi_thread")]
async fn a_result_carries_correlation_data_to_the_response_topic() {
    let Some(broker) = Mosquitto::start() else { return };
    let facility = node(&broker.url(), &[]).await;
    let sender = facility.busy_sender().await;
    ready(&facility, 200).await;
    let mut gateway = Gateway::connect(broker.port, "gateway", Some(&format!("{}/#", results(&sender)))).await;
    let below = format!("{}/gateway-1", results(&sender));
    let mut body = batch("s", 3, now_s());
    body["batch_id"] = json!("batch-7");
    body["readings"][1]["value"] = json!("warm");
    let properties = PublishProperties {
        response_topic: Some(below.clone()),
        correlation_data: Some("42".into()),
        ..credentials(&sender)
    };
    gateway.publish(&readings(&sender), &body, properties).await;
    let (topic, result, correlation) = gateway.result().await;
    assert_eq!((topic, correlation.as_deref()), (below, Some(&b"42"[..])));
    assert_eq!(result["batch_id"], "batch-7");
    assert_eq!((&result["accepted"], &result["rejected"]), (&json!(2), &json!(1)), "{result}");
    assert_eq!(result["errors"][0]["code"], "value_not_number");
}

// api.md §2 and §3: without credentials, with wrong ones, for another integration, suspended: nothing is stored, the
// broker need not keep it, the log says why, and only who proved an integration is told on its topic.
#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_is_acknowledged_logged_and_not_stored() {
    let Some(broker) = Mosquitto::start() else { return };
    let mut facility = node(&broker.url(), &[]).await;
    let (sender, other) = (facility.busy_sender().await, facility.active(&["sensors:write"]).await);
    facility.sensor(&other, "s").await;
    ready(&facility, 200).await;
    let mut gateway = Gateway::connect(broker.port, "gateway", Some("grq/v1/+/results/#")).await;
    let body = batch("s", 5, now_s());
    gateway.publish(&readings(&sender), &body, PublishProperties::default()).await;
    let wrong = Integration { api_key: other.api_key.clone(), ..sender.clone() };
    gateway.publish(&readings(&sender), &body, credentials(&wrong)).await;
    gateway.publish(&readings(&other), &body, credentials(&sender)).await;
    let (topic, document, _) = gateway.result().await;
    assert_eq!((topic, &document["code"]), (results(&sender), &json!("not_found")));
    let path = format!("/admin/v1/integrations/{}/suspend", other.id);
    facility.post(&path, json!({"reason": "drill"})).await.expect(200);
    gateway.send(&other, &body).await;
    gateway.send(&sender, &batch("s", 1, now_s() - 50)).await;
    let (topic, result, _) = gateway.result().await;
    assert_eq!((topic, &result["accepted"]), (results(&sender), &json!(1)), "nobody else was told anything");
    assert_eq!(facility.stored(&sender, "s", "temperature", 1).await.len(), 1);
    assert!(facility.stored(&other, "s", "temperature", 0).await.is_empty());
    let log = facility.server.log();
    for cause in ["missing_credential", "credential_mismatch", "foreign_topic", "integration_not_active"] {
        assert!(log.contains(&format!("cause=\"{cause}\"")), "{cause} in {log}");
        assert_eq!(metric(&facility, "sensorgate_bridge_refusals_total", cause).await, 1.0, "{cause}");
    }
    for secret in [&sender.api_key, &sender.token, &other.api_key, &other.token] {
        assert!(!log.contains(secret.as_str()), "a credential in the log");
    }
    // A restart brings none of them back.
    facility.server.kill_9();
    facility.server.restart();
    ready(&facility, 200).await;
    gateway.send(&sender, &batch("s", 1, now_s() - 60)).await;
    assert_eq!(facility.stored(&sender, "s", "temperature", 2).await.len(), 2);
    assert_eq!(metric(&facility, "sensorgate_bridge_messages_total", "refused").await, 0.0);
}

// S113: a suspend that has returned is a barrier for what comes from a broker, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_suspend_is_a_barrier_behind_a_broker() {
    let Some(broker) = Mosquitto::start() else { return };
    let facility = node(&broker.url(), &[]).await;
    let sender = facility.busy_sender().await;
    ready(&facility, 200).await;
    let gateway = Gateway::connect(broker.port, "gateway", None).await;
    let (first_s, has_returned) = (now_s() - 100_000, AtomicBool::new(false));
    // Until the suspend has returned, however fast this machine is, and on after it.
    let publishing = async {
        let mut sent = 0;
        while !has_returned.load(Ordering::Acquire) {
            publish_batches(&gateway, &sender, first_s, sent..sent + 10).await;
            sent += 10;
        }
        publish_batches(&gateway, &sender, first_s, sent..sent + 100).await;
        (sent + 100) as f64
    };
    let suspending = async {
        until_metric(&facility, "sensorgate_bridge_messages_total", "judged", 100.0).await;
        let path = format!("/admin/v1/integrations/{}/suspend", sender.id);
        facility.post(&path, json!({"reason": "drill"})).await.expect(200);
        let at_return = metric(&facility, "sensorgate_spool_appended_records_total", "").await;
        has_returned.store(true, Ordering::Release);
        at_return
    };
    let (sent, at_return) = tokio::join!(publishing, suspending);
    let total = async |outcome| metric(&facility, "sensorgate_bridge_messages_total", outcome).await;
    let deadline = Instant::now() + PATIENCE;
    while total("judged").await + total("refused").await < sent {
        assert!(Instant::now() < deadline, "every message is acknowledged");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(total("refused").await > 0.0, "the suspend came too late to prove anything");
    assert_eq!(metric(&facility, "sensorgate_spool_appended_records_total", "").await, at_return);
}

// Failed attempts behind a broker shut nobody out; the allowlist is held against the broker's address.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_gateway_shuts_no_other_out_and_the_allowlist_means_the_broker() {
    let Some(broker) = Mosquitto::start() else { return };
    let facility = node(&broker.url(), &[("SENSORGATE__AUTH__FAILURES_PER_MINUTE", "2")]).await;
    let sender = facility.busy_sender().await;
    ready(&facility, 200).await;
    let mut gateway = Gateway::connect(broker.port, "gateway", Some(&results(&sender))).await;
    let nobody = Integration { token: "a.b.c".to_owned(), ..sender.clone() };
    for _ in 0..20 {
        gateway.send(&nobody, &batch("s", 1, now_s())).await;
    }
    let path = format!("/admin/v1/integrations/{}/ip-allowlist", sender.id);
    for (entry, code) in [("192.0.2.0/24", Some("ip_not_allowed")), ("127.0.0.1/32", None)] {
        let list = json!({"enabled": true, "entries": [entry]});
        facility.admin(&facility.alice, Method::PUT, &path, Some(list)).await.expect(200);
        gateway.send(&sender, &batch("s", 4, now_s())).await;
        let (_, result, _) = gateway.result().await;
        assert_eq!(result["code"].as_str(), code, "{result}");
    }
    assert_eq!(facility.stored(&sender, "s", "temperature", 4).await.len(), 4);
    // Neither is the address shut out for those who call from it directly.
    facility.ingest(&sender, &batch("s", 1, now_s() - 100)).await.expect(200);
}

// api.md §2: what cannot be stored now is never acknowledged, and stored once it can be.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_keeps_messages_at_the_broker() {
    let Some(broker) = Mosquitto::start() else { return };
    let full = ("SENSORGATE__SPOOL__FREE_DISK_BYTES_MIN", "1125899906842624");
    let mut facility = node(&broker.url(), &[full, ("SENSORGATE__BRIDGE__HOLD_MS", "200")]).await;
    facility.server.expect_error("free disk");
    let sender = facility.busy_sender().await;
    let mut gateway = Gateway::connect(broker.port, "gateway", None).await;
    until_metric(&facility, "sensorgate_bridge_connections_total", "", 1.0).await;
    gateway.send(&sender, &batch("s", 10, now_s())).await;
    gateway.wait_for_acks(1).await;
    until_metric(&facility, "sensorgate_bridge_messages_total", "released", 2.0).await;
    assert_eq!(metric(&facility, "sensorgate_bridge_messages_total", "refused").await, 0.0);
    facility.server.set(full.0, "0");
    assert!(facility.server.terminate().success());
    facility.server.restart();
    assert_eq!(facility.stored(&sender, "s", "temperature", 10).await.len(), 10);
}

// A broker that wants TLS and a password: both are used, and the password stands in no log.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_with_tls_and_a_password_is_used_with_both() {
    let secret = "hunter2-and-more";
    let certificate = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let broker = Mosquitto::start_with(|folder| {
        let [ca, key, users] = ["ca.pem", "key.pem", "users"].map(|name| folder.join(name));
        fs::write(&ca, certificate.cert.pem()).expect("written");
        fs::write(&key, certificate.signing_key.serialize_pem()).expect("written");
        fs::write(folder.join("password"), format!("{secret}\n")).expect("written");
        let made = mosquitto::command("mosquitto_passwd").expect("it comes with the broker");
        let made = { made }.arg("-b").arg("-c").arg(&users).args(["node", secret]).status();
        assert!(made.expect("it starts").success());
        let (ca, key, users) = (ca.display(), key.display(), users.display());
        format!("cafile {ca}\ncertfile {ca}\nkeyfile {key}\nallow_anonymous false\npassword_file {users}\n")
    });
    let Some(broker) = broker else { return };
    let url = broker.url().replace("mqtt://127.0.0.1", "mqtts://localhost");
    let file = |name: &str| broker.folder().join(name).display().to_string();
    let (ca, password) = (file("ca.pem"), file("password"));
    let right = [
        ("SENSORGATE__BRIDGE__CA_FILE", ca.as_str()),
        ("SENSORGATE__BRIDGE__USERNAME", "node"),
        ("SENSORGATE__BRIDGE__PASSWORD_FILE", &password),
    ];
    let mut facility = node(&url, &right).await;
    facility.server.expect_error("failed to verify TLS certificate");
    ready(&facility, 200).await;
    for (name, value, reason) in [
        ("SENSORGATE__BRIDGE__USERNAME", "nobody", "NotAuthorized"),
        ("SENSORGATE__BRIDGE__CA_FILE", "", "certificate"),
    ] {
        facility.server.set(name, value);
        assert!(facility.server.terminate().success());
        facility.server.restart();
        let mut reasons = ready(&facility, 503).await;
        for _ in 0..100 {
            if reasons.contains(reason) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            reasons = ready(&facility, 503).await;
        }
        assert!(reasons.contains(reason) && !reasons.contains(secret), "{reasons}");
    }
    assert!(!facility.server.log().contains(secret), "the password in the log");
}

/// The value of a metric with this label value (empty: without labels); 0 where it is not there.
async fn metric(facility: &Facility, name: &str, label: &str) -> f64 {
    let text = send(facility.client.get(format!("{}/metrics", facility.server.admin_url))).await.text;
    let lines = text.lines().filter_map(|line| line.strip_prefix(name)).filter(|rest| rest.starts_with(['{', ' ']));
    let mut values = lines.filter(|rest| label.is_empty() || rest.contains(&format!("\"{label}\"")));
    values.next().and_then(|rest| rest.rsplit_once(' ')).map_or(0.0, |(_, value)| value.parse().expect("a number"))
}

async fn until_metric(facility: &Facility, name: &str, label: &str, at_least: f64) {
    let deadline = Instant::now() + PATIENCE;
    while metric(facility, name, label).await < at_least {
        assert!(Instant::now() < deadline, "{name} {label} stays below {at_least}: {}", facility.server.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
