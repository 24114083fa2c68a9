//! Gateways over MQTT, by client libraries that are not ours: paho-mqtt and MQTT.js as processes under remote control,
//! rumqttc in this process. One interface, so that a test can ask the same of all of them.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::timeout};

use super::{Integration, Server, rumqttc_client, skip};

/// How long anything that must come may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Events that wait to be asked for.
const EVENTS_MAX: usize = 10_000;

/// A client library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Library {
    Paho,
    MqttJs,
    Rumqttc,
}

/// MQTT 3.1.1 or 5, by its number on the wire.
pub const VERSIONS: [u8; 2] = [4, 5];

/// What happened to a client.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    Connack {
        reason: u8,
        #[serde(default)]
        session_present: bool,
        #[serde(default)]
        properties: Value,
    },
    Suback {
        reasons: Vec<u8>,
    },
    /// A QoS 0 publish is on its way; paho reports it as acknowledged, too.
    Sent {
        id: u16,
    },
    Puback {
        id: u16,
        reason: u8,
    },
    Message(Message),
    /// The connection is over; the reason is the one of the server's DISCONNECT.
    Ended {
        reason: Option<u8>,
    },
}

/// A message that came on a subscription.
#[derive(Debug, Clone, Deserialize)]
pub struct Message {
    pub topic: String,
    pub payload: String,
    pub qos: u8,
    pub retain: bool,
    #[serde(default)]
    pub properties: Value,
}

impl Message {
    /// The payload, which must be JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.payload).unwrap_or_else(|error| panic!("{error}: {}", self.payload))
    }

    /// The correlation data.
    pub fn correlation(&self) -> Option<&str> {
        self.properties["CorrelationData"].as_str()
    }
}

/// How to connect.
#[derive(Debug, Clone)]
pub struct Connect {
    pub host: String,
    pub port: u16,
    pub version: u8,
    pub client_id: String,
    pub username: Option<String>,
    pub password: Option<String>,
    pub keep_alive_s: u16,
    pub is_websocket: bool,
    pub ca_file: Option<PathBuf>,
    pub will_topic: Option<String>,
    /// Whether the library connects again by itself (paho only).
    pub reconnects: bool,
}

impl Connect {
    /// To this URL with the integration's credentials.
    pub fn to(url: &str, version: u8, integration: &Integration, client_id: &str) -> Self {
        let (scheme, rest) = url.split_once("://").expect("a URL");
        let authority = rest.split('/').next().expect("an authority");
        let (host, port) = authority.rsplit_once(':').expect("host and port");
        Self {
            host: host.to_owned(),
            port: port.parse().expect("a port"),
            version,
            client_id: client_id.to_owned(),
            username: Some(integration.api_key.clone()),
            password: Some(integration.token.clone()),
            keep_alive_s: 30,
            is_websocket: scheme.starts_with("ws"),
            ca_file: None,
            will_topic: None,
            reconnects: false,
        }
    }

    fn command(&self) -> Value {
        json!({
            "do": "connect", "host": self.host, "port": self.port, "version": self.version, "client_id": self.client_id,
            "username": self.username, "password": self.password, "keep_alive": self.keep_alive_s,
            "websocket": self.is_websocket, "ca": self.ca_file, "will": self.will_topic,
            "reconnect": self.reconnects,
        })
    }
}

/// What to publish.
#[derive(Debug, Clone, Default)]
pub struct Publish {
    pub topic: String,
    pub payload: String,
    pub qos: u8,
    pub retain: bool,
    pub response_topic: Option<String>,
    pub correlation: Option<String>,
}

/// A running client; its process, if it has one, ends with it.
pub struct Gateway {
    library: Library,
    hand: Hand,
    events: mpsc::Receiver<Event>,
    seen: VecDeque<Event>,
    unacknowledged_ids: Vec<u16>,
    pub readings: String,
    pub results: String,
}

enum Hand {
    Process(Process),
    Rumqttc(rumqttc_client::Hand),
}

struct Process {
    child: Child,
    stdin: ChildStdin,
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail when it has ended by itself.
        let _ended = self.child.kill().and_then(|()| self.child.wait().map(drop));
    }
}

impl Gateway {
    /// Starts a client and lets it send its CONNECT.
    pub async fn start(library: Library, connect: &Connect, integration: &Integration) -> Self {
        let (tell, events) = mpsc::channel(EVENTS_MAX);
        let hand = match library {
            Library::Paho | Library::MqttJs => Hand::Process(spawn(library, tell)),
            Library::Rumqttc => Hand::Rumqttc(rumqttc_client::start(connect, tell)),
        };
        let mut gateway = Self {
            library,
            hand,
            events,
            seen: VecDeque::new(),
            unacknowledged_ids: Vec::new(),
            readings: format!("grq/v1/{}/readings", integration.id),
            results: format!("grq/v1/{}/results", integration.id),
        };
        gateway.command(&connect.command());
        gateway
    }

    /// A connection that was accepted and listens to all results of its integration.
    pub async fn open(library: Library, version: u8, server: &Server, integration: &Integration, id: &str) -> Self {
        Self::accepted(library, &Connect::to(&server.mqtt_url, version, integration, id), integration).await
    }

    /// The same by these settings.
    pub async fn accepted(library: Library, connect: &Connect, integration: &Integration) -> Self {
        let mut gateway = Self::start(library, connect, integration).await;
        assert_eq!(gateway.connack().await, 0, "{library:?} {}", connect.version);
        let filter = format!("{}/#", gateway.results);
        assert_eq!(gateway.subscribe(&filter).await, 1);
        gateway
    }

    fn command(&mut self, command: &Value) {
        match &mut self.hand {
            Hand::Process(process) => writeln!(process.stdin, "{command}").expect("the client listens"),
            Hand::Rumqttc(hand) => hand.command(command),
        }
    }

    /// Publishes; the acknowledgement is waited for elsewhere.
    pub async fn publish(&mut self, publish: &Publish) {
        self.command(&json!({
            "do": "publish", "topic": publish.topic, "payload": publish.payload, "qos": publish.qos,
            "retain": publish.retain, "response_topic": publish.response_topic, "correlation": publish.correlation,
        }));
        if publish.qos == 0 && self.library == Library::Paho {
            let id = self.wait("a QoS 0 publish", |event| match event {
                Event::Sent { id } => Some(*id),
                _ => None,
            });
            let id = id.await;
            self.unacknowledged_ids.push(id);
        }
    }

    /// Publishes to the own readings at QoS 1.
    pub async fn send(&mut self, payload: &Value) {
        self.send_raw(&payload.to_string()).await;
    }

    /// The same with a payload that need not be JSON.
    pub async fn send_raw(&mut self, payload: &str) {
        let publish =
            Publish { topic: self.readings.clone(), payload: payload.to_owned(), qos: 1, ..Publish::default() };
        self.publish(&publish).await;
    }

    /// Publishes to the own readings at QoS 1; the PUBACK's reason and the result.
    pub async fn exchange(&mut self, payload: &Value) -> (u8, Message) {
        self.send(payload).await;
        (self.puback().await, self.message().await)
    }

    /// Subscribes; the reason of the SUBACK.
    pub async fn subscribe(&mut self, topic: &str) -> u8 {
        self.command(&json!({"do": "subscribe", "topic": topic, "qos": 1}));
        let reasons = self.wait("a SUBACK", |event| match event {
            Event::Suback { reasons } => Some(reasons.clone()),
            _ => None,
        });
        reasons.await[0]
    }

    /// Says DISCONNECT.
    pub fn leave(&mut self) {
        self.command(&json!({"do": "disconnect"}));
    }

    /// The CONNACK's reason.
    pub async fn connack(&mut self) -> u8 {
        self.connack_whole().await.0
    }

    /// The CONNACK: its reason, whether a session was present, its properties.
    pub async fn connack_whole(&mut self) -> (u8, bool, Value) {
        let connack = self.wait("a CONNACK", |event| match event {
            Event::Connack { reason, session_present, properties } => {
                Some((*reason, *session_present, properties.clone()))
            }
            _ => None,
        });
        connack.await
    }

    /// The next PUBACK's reason; 0 on 3.1.1, which has none.
    pub async fn puback(&mut self) -> u8 {
        loop {
            let acknowledged = self.wait("a PUBACK", |event| match event {
                Event::Puback { id, reason } => Some((*id, *reason)),
                _ => None,
            });
            let (id, reason) = acknowledged.await;
            match self.unacknowledged_ids.iter().position(|known| *known == id) {
                Some(at) => drop(self.unacknowledged_ids.remove(at)),
                None => return reason,
            }
        }
    }

    /// The next message.
    pub async fn message(&mut self) -> Message {
        let message = self.wait("a message", |event| match event {
            Event::Message(message) => Some(message.clone()),
            _ => None,
        });
        message.await
    }

    /// The reason of the server's DISCONNECT once the connection is over; none where it was merely closed.
    pub async fn ended(&mut self) -> Option<u8> {
        let ended = self.wait("the end of the connection", |event| match event {
            Event::Ended { reason } => Some(*reason),
            _ => None,
        });
        ended.await
    }

    /// Whether a PUBACK has come that nobody has asked for yet.
    pub fn has_puback(&mut self) -> bool {
        while let Ok(event) = self.events.try_recv() {
            self.seen.push_back(event);
        }
        let unasked = &self.unacknowledged_ids;
        self.seen.iter().any(|event| matches!(event, Event::Puback { id, .. } if !unasked.contains(id)))
    }

    /// The first event that `pick` takes; the others stay for later.
    async fn wait<T>(&mut self, what: &str, pick: impl Fn(&Event) -> Option<T>) -> T {
        if let Some(at) = self.seen.iter().position(|event| pick(event).is_some()) {
            return self.seen.remove(at).as_ref().and_then(pick).expect("it was just seen");
        }
        loop {
            let event = match timeout(PATIENCE, self.events.recv()).await {
                Ok(Some(event)) => event,
                Ok(None) => panic!("{:?} ended before {what}; seen: {:?}", self.library, self.seen),
                Err(_) => panic!("{:?}: {what} does not come; seen: {:?}", self.library, self.seen),
            };
            match pick(&event) {
                Some(found) => return found,
                None => self.seen.push_back(event),
            }
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The interpreter that has paho-mqtt, where `cargo xtask fetch` puts it.
pub fn python() -> PathBuf {
    root().join("target/xtask/paho/bin/python3")
}

fn is_here(what: &str, found: bool) -> bool {
    if !found {
        skip(&format!("{what} is not installed; cargo xtask fetch does it"));
    }
    found
}

impl Library {
    /// Those that are here.
    pub fn available() -> Vec<Self> {
        [Self::Paho, Self::MqttJs, Self::Rumqttc].into_iter().filter(|library| library.is_available()).collect()
    }

    /// Whether it is here; says so where not.
    pub fn is_available(self) -> bool {
        match self {
            Self::Paho => is_here("paho-mqtt", python().exists()),
            Self::MqttJs => is_here("MQTT.js", root().join("examples/node/node_modules/mqtt").is_dir()),
            Self::Rumqttc => true,
        }
    }
}

fn spawn(library: Library, tell: mpsc::Sender<Event>) -> Process {
    let folder = root().join("tests/fixtures/mqtt-clients");
    let mut command = match library {
        Library::Paho => Command::new(python()),
        Library::MqttJs | Library::Rumqttc => Command::new("node"),
    };
    let script = if library == Library::Paho { "paho_client.py" } else { "mqttjs_client.mjs" };
    let mut child = command
        .arg(folder.join(script))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{library:?} does not start: {error}"));
    let stdin = child.stdin.take().expect("piped");
    let stdout = BufReader::new(child.stdout.take().expect("piped"));
    std::thread::spawn(move || {
        for line in stdout.lines().map_while(Result::ok) {
            let event = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
            if tell.blocking_send(event).is_err() {
                return;
            }
        }
    });
    Process { child, stdin }
}
