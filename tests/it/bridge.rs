//! Cluster mode: the service as a client of somebody else's broker (`api.md` §2).

use std::{
    collections::{BTreeSet, HashSet},
    fs,
    ops::Range,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::support::{
    Facility, Integration, Server, batch,
    broker::{Mosquitto, Rumqttd},
    facility::{send, sign_in},
    gateway::{Gateway, PATIENCE, results},
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

/// Two nodes that share their credentials: the second starts with a copy of the first one's control plane and token
/// keys. Spool, store and client id are its own.
async fn two_nodes(url: &str) -> ([Facility; 2], Integration) {
    let mut first = node(url, &[]).await;
    let sender = sender(&first).await;
    assert!(first.server.terminate().success());
    let variables = settings(url);
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut server = Server::prepare(&variables);
    copy_control_plane(&first.server.data, &server.data);
    first.server.restart();
    server.launch("127.0.0.1:0", "127.0.0.1:0");
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

/// Kills the first node with half of the batches under way, and starts it again: the readings of each store, and how
/// many stand in both.
async fn kill_one_of_two(port: u16, url: &str) -> (Vec<i64>, usize) {
    let (mut nodes, sender) = two_nodes(url).await;
    let mut gateway = Gateway::connect(port, "gateway", None).await;
    let first_s = now_s() - 100_000;
    let mut watched = gateway.clone_acks();
    let publishing = publish_batches(&gateway, &sender, first_s, 0..UNTIL_RETURN);
    let killing = async {
        watched.wait_for(|acked| *acked >= UNTIL_RETURN as usize / 3).await.expect("connected");
        nodes[0].server.kill_9();
    };
    tokio::join!(publishing, killing);
    gateway.wait_for_acks(UNTIL_RETURN as usize).await;
    nodes[0].server.restart();
    ready(&nodes[0], 200).await;
    publish_batches(&gateway, &sender, first_s, UNTIL_RETURN..BATCHES).await;
    gateway.wait_for_acks(BATCHES as usize).await;
    let expected = BATCHES as usize * 10;
    let stored = stored_by_node(&nodes, &sender, expected).await;
    for times in &stored {
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "a reading stands twice in one store");
        assert!(times.len() > 100, "both nodes have taken their share: {}", times.len());
    }
    let all: BTreeSet<i64> = stored.iter().flatten().copied().collect();
    let wanted: Vec<i64> = (first_s..first_s + BATCHES * 10).collect();
    let missing: Vec<i64> = (0..BATCHES).filter(|n| !all.contains(&(first_s + n * 10))).collect();
    eprintln!("missing batches {missing:?}");
    for node in &nodes {
        let m = send(node.client.get(format!("{}/metrics", node.server.admin_url))).await.text;
        for l in m.lines().filter(|l| l.contains("_bridge_") && !l.starts_with('#') && !l.contains("quantile")) {
            eprintln!("{l}");
        }
        eprintln!("--");
    }
    let lost = wanted.iter().filter(|at| !all.contains(at)).count();
    assert_eq!(lost, 0, "acknowledged to the gateway and lost");
    assert_eq!(all.into_iter().collect::<Vec<_>>(), wanted, "nothing that was not sent");
    let both = stored[0].len() + stored[1].len() - wanted.len();
    (wanted, both)
}

// api.md §2 (cluster mode): what the broker took is stored once, also when a node is killed half-way.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_node_loses_and_doubles_nothing_with_mosquitto() {
    let Some(broker) = Mosquitto::start() else { return };
    let (_, in_both) = kill_one_of_two(broker.port, &broker.url()).await;
    assert_eq!(in_both, 0, "the broker keeps a node's messages for that node");
}

// The same with a broker that hands a lost node's messages to the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_node_loses_nothing_with_rumqttd() {
    let Some(broker) = Rumqttd::start() else { return };
    let (all, in_both) = kill_one_of_two(broker.port, &broker.url()).await;
    eprintln!("{in_both} of {} in both", all.len());
}
