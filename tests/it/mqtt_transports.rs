//! TLS and WebSocket with client libraries that are not ours, and the command line clients of Mosquitto.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdout, Output, Stdio},
};

use serde_json::{Value, json};

use crate::{
    mqtt_clients::facility,
    support::{
        Facility, Integration, batch, mosquitto,
        mqtt::{Connect, Gateway, Library, VERSIONS},
        now_s,
    },
};

/// A certificate for this machine's loopback address and its key, as files in `dir`.
fn certify(dir: &Path) -> [String; 2] {
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let files = ["cert.pem", "key.pem"].map(|name| dir.join(name).display().to_string());
    std::fs::write(&files[0], certified.cert.pem()).expect("written");
    std::fs::write(&files[1], certified.signing_key.serialize_pem()).expect("written");
    files
}

/// A facility with every port that there is.
async fn with_all_ports(dir: &Path) -> (Facility, Integration, String) {
    let [certificate, key] = certify(dir);
    let (facility, sender) = facility(&[
        ("SENSORGATE__MQTT__TLS_ADDRESS", "127.0.0.1:0"),
        ("SENSORGATE__MQTT__WEBSOCKET_ADDRESS", "127.0.0.1:0"),
        ("SENSORGATE__MQTT__TLS__CERTIFICATE_FILE", &certificate),
        ("SENSORGATE__MQTT__TLS__PRIVATE_KEY_FILE", &key),
    ])
    .await;
    (facility, sender, certificate)
}

// api.md §2: TLS on its own port, WebSocket on its own port: the same session behind both.
#[tokio::test(flavor = "multi_thread")]
async fn libraries_publish_over_tls_and_websocket() {
    let dir = tempfile::tempdir().expect("a directory");
    let (facility, sender, certificate) = with_all_ports(dir.path()).await;
    let [tls, websocket] = ["mqtts_url", "mqtt_ws_url"].map(|name| facility.server.url(name));
    let (last_s, mut stored) = (now_s(), 0);
    for library in [Library::Paho, Library::MqttJs].into_iter().filter(|library| library.is_available()) {
        for version in VERSIONS {
            for url in [&tls, &websocket] {
                let mut connect = Connect::to(url, version, &sender, "gateway");
                connect.ca_file = url.starts_with("mqtts").then(|| certificate.clone().into());
                let mut gateway = Gateway::accepted(library, &connect, &sender).await;
                for n in [1, 500] {
                    let payload = batch("s", n, last_s - stored as i64);
                    stored += n;
                    let (reason, result) = gateway.exchange(&payload).await;
                    assert_eq!((reason, &result.json()["accepted"]), (0, &json!(n)), "{library:?} {version} {url}");
                }
            }
        }
    }
    assert_eq!(facility.stored(&sender, "s", "temperature", stored).await.len(), stored);
}

/// Options of the clients that say where and who.
fn login(facility: &Facility, integration: &Integration, version: u8) -> Vec<String> {
    let (host, port) = facility.server.mqtt_authority().rsplit_once(':').expect("host and port");
    let version = if version == 5 { "mqttv5" } else { "mqttv311" };
    let options = ["-h", host, "-p", port, "-V", version, "-u", &integration.api_key, "-P", &integration.token];
    options.map(str::to_owned).to_vec()
}

/// `mosquitto_sub`, and the results that it prints.
struct Listening {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Listening {
    /// Started; it does not say when its subscription is granted.
    fn start(facility: &Facility, integration: &Integration, version: u8) -> Option<Self> {
        let mut child = mosquitto::command("mosquitto_sub")?
            .args(login(facility, integration, version))
            .args(["-q", "1", "-t", &format!("grq/v1/{}/results", integration.id)])
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        Some(Self { child, output })
    }

    /// The next result that is not of an empty batch.
    fn next(&mut self) -> Value {
        loop {
            let mut line = String::new();
            assert_ne!(self.output.read_line(&mut line).expect("it speaks"), 0, "it ended before a result");
            let result: Value = serde_json::from_str(&line).expect("JSON");
            if result["code"] != "empty_batch" {
                return result;
            }
        }
    }

    /// Waits for its subscription: empty batches are published until it prints what became of one.
    async fn is_listening(&mut self, facility: &Facility, integration: &Integration) {
        let mut probe = Gateway::open(Library::Rumqttc, 5, &facility.server, integration, "probe").await;
        let heard = std::thread::scope(|scope| {
            let reader = scope.spawn(|| self.output.fill_buf().map(<[u8]>::len));
            tokio::task::block_in_place(|| {
                let runtime = tokio::runtime::Handle::current();
                while !reader.is_finished() {
                    runtime.block_on(probe.exchange(&json!([])));
                }
            });
            reader.join().expect("no panic")
        });
        assert_ne!(heard.expect("it speaks"), 0, "it ended before its subscription");
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // Both fail when it has ended by itself.
        let _ended = self.child.kill().and_then(|()| self.child.wait().map(drop));
    }
}

/// Runs `mosquitto_pub` with these lines on its standard input.
fn publish(options: &[String], more: &[&str], input: &str) -> Output {
    let mut child = mosquitto::command("mosquitto_pub")
        .expect("it was there")
        .args(options)
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("it reads");
    child.wait_with_output().expect("it ends")
}

// mosquitto_pub and mosquitto_sub: one batch a line, results as they come, refusals with their reason.
#[tokio::test(flavor = "multi_thread")]
async fn mosquitto_pub_and_sub_work() {
    let (facility, sender) = facility(&[]).await;
    let other = facility.busy_sender().await;
    for version in VERSIONS {
        let Some(mut listening) = Listening::start(&facility, &sender, version) else { return };
        listening.is_listening(&facility, &sender).await;
        let options = login(&facility, &sender, version);
        let readings = format!("grq/v1/{}/readings", sender.id);
        let last_s = now_s() - i64::from(version) * 1_000;
        let lines: String = (0..20).map(|n| format!("{}\n", batch("s", 10, last_s - n * 10))).collect();
        let done = publish(&options, &["-q", "1", "-t", &readings, "-l"], &lines);
        assert!(done.status.success() && done.stderr.is_empty(), "{done:?}");
        for _ in 0..20 {
            assert_eq!(listening.next()["accepted"], 10);
        }
        let done = publish(&options, &["-q", "1", "-t", &readings, "-m", "nonsense"], "");
        assert!(done.status.success(), "{done:?}");
        // Version 5 tells it where it was published; 3.1.1 on `results` alone.
        assert_eq!(String::from_utf8_lossy(&done.stderr).contains("Payload format invalid"), version == 5, "{done:?}");
        assert_eq!(listening.next()["code"], "malformed_json");
        let foreign = format!("grq/v1/{}/readings", other.id);
        let done = publish(&options, &["-q", "1", "-t", &foreign, "-m", "{}"], "");
        assert!(!done.status.success() || !done.stderr.is_empty(), "{done:?}");
        let mut nobody = login(&facility, &sender, version);
        nobody.last_mut().expect("the token").push('x');
        let done = publish(&nobody, &["-q", "1", "-t", &readings, "-m", "{}"], "");
        assert!(!done.status.success(), "{done:?}");
    }
    assert_eq!(facility.stored(&sender, "s", "temperature", 400).await.len(), 400);
    facility.limit(&sender, 1).await;
    let done = publish(
        &login(&facility, &sender, 5),
        &["-q", "1", "-t", &format!("grq/v1/{}/readings", sender.id), "-m", "{}"],
        "",
    );
    assert!(String::from_utf8_lossy(&done.stderr).contains("Quota exceeded"), "{done:?}");
}
