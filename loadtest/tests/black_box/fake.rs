//! A tiny server that keeps the contract as far as the load generator looks, with faults that can be switched on.

mod mqtt;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use jiff::Timestamp;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What the fake does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    Nothing,
    /// One reading of every twentieth batch is not stored.
    Loses,
    /// A row comes out twice.
    Doubles,
    /// A value comes out changed.
    Changes,
    /// Every tenth batch is stored, but the connection is cut before the answer.
    Cuts,
    /// Every tenth batch is refused with 503, honestly.
    Refuses,
    /// Every tenth batch is refused with 503, but stored all the same.
    RefusesAndStores,
    /// One rejected entry is counted as accepted.
    Miscounts,
    /// The first value is kept where the later should win.
    FirstWins,
    /// Over MQTT: every second PUBACK comes before the first one.
    AcksOutOfOrder,
    /// Over MQTT: results are never published.
    KeepsResults,
    /// Over MQTT: a suspend is answered before the sessions have ended.
    SuspendsLate,
}

#[derive(Default)]
struct State {
    /// By external id and metric.
    series: HashMap<(String, String), BTreeMap<i64, f64>>,
    equipment: HashSet<String>,
    batches: u64,
    integrations: HashMap<String, Vec<String>>,
    calls: Vec<String>,
    /// Over MQTT.
    sessions: Vec<tokio::task::AbortHandle>,
}

pub(crate) struct Fake {
    pub(crate) addr: SocketAddr,
    mqtt_addr: SocketAddr,
    state: Arc<Mutex<State>>,
    _runtime: tokio::runtime::Runtime,
}

impl Fake {
    pub(crate) fn start(wrong: Wrong) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let addr = listener.local_addr().unwrap();
        let mqtt_listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let mqtt_addr = mqtt_listener.local_addr().unwrap();
        drop(runtime.spawn(mqtt::serve(mqtt_listener, Arc::clone(&state), wrong)));
        let shared = Arc::clone(&state);
        drop(runtime.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let shared = Arc::clone(&shared);
                drop(tokio::task::spawn(async move {
                    let service = service_fn(move |request| answer(request, Arc::clone(&shared), wrong));
                    drop(
                        auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await,
                    );
                }));
            }
        }));
        Self { addr, mqtt_addr, state, _runtime: runtime }
    }

    pub(crate) fn calls(&self, with: &str) -> usize {
        self.state.lock().unwrap().calls.iter().filter(|call| call.contains(with)).count()
    }

    /// A demo.json that leads here, with `sensors` sensors.
    pub(crate) fn demo(&self, dir: &Path, sensors: u32) -> PathBuf {
        let names: Vec<String> = (0..sensors).map(|number| format!("AA:BB:{number:02}")).collect();
        self.state.lock().unwrap().equipment.extend(names.iter().cloned());
        let url = format!("http://{}", self.addr);
        let demo = json!({
            "http_url": url, "mqtt_url": format!("mqtt://{}", self.mqtt_addr), "admin_url": url,
            "token_url": format!("{url}/oauth/token"),
            "audience": "a", "organisation_id": "o", "integration_id": "i", "client_id": "c", "client_secret": "s",
            "api_key": "grq_live_x",
            "admins": [{"email": "a@x", "password": "p"}, {"email": "b@x", "password": "p"}],
            "equipment": names.iter().map(|name| json!({"id": name, "external_id": name})).collect::<Vec<_>>(),
        });
        let path = dir.join(format!("demo-{}.json", self.addr.port()));
        std::fs::write(&path, demo.to_string()).unwrap();
        path
    }
}

async fn answer(
    request: Request<Incoming>,
    state: Arc<Mutex<State>>,
    wrong: Wrong,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return Err(std::io::ErrorKind::ConnectionReset.into()) };
    let body = body.to_bytes();
    if head.uri.path().ends_with("/suspend") {
        let sessions = mqtt::suspend(&state, wrong).await;
        return Ok(reply(200, &json!({"status": "suspended", "cut": {"sessions": sessions, "requests": 0}})));
    }
    let mut state = state.lock().unwrap();
    state.calls.push(format!("{} {}", head.method, head.uri.path()));
    let query = head.uri.query().unwrap_or_default();
    if head.uri.path() == "/v1/sensors/readings" {
        if head.headers["authorization"] != "Bearer token-c" || head.headers["x-api-key"] != "grq_live_x" {
            return Ok(reply(401, &json!({"code": "unauthorized"})));
        }
        return match take(&mut state, &body, query.contains("validate_only"), wrong) {
            Taken::Cut => Err(std::io::ErrorKind::ConnectionReset.into()),
            Taken::Answered(status, result) => Ok(reply(status, &result)),
        };
    }
    if head.uri.path() == "/admin/v1/readings" {
        return Ok(read_back(&state, query, wrong));
    }
    Ok(manage(&mut state, head.method.as_str(), head.uri.path(), &body).unwrap_or_else(|never| match never {}))
}

/// What became of a batch.
enum Taken {
    /// Cut before the answer.
    Cut,
    Answered(u16, Value),
}

fn take(state: &mut State, body: &Bytes, validate_only: bool, wrong: Wrong) -> Taken {
    #[derive(serde::Deserialize)]
    struct Batch<'a> {
        #[serde(borrow)]
        readings: Vec<&'a RawValue>,
    }
    let batch: Batch<'_> = serde_json::from_slice(body).unwrap();
    let mut good = Vec::new();
    let mut errors = Vec::new();
    for (index, raw) in batch.readings.iter().enumerate() {
        match judge(state, raw.get()) {
            Some(reading) => good.push(reading),
            None => errors.push(json!({"index": index, "code": "bad"})),
        }
    }
    let mut accepted = good.len();
    state.batches += 1;
    let tenth = state.batches.is_multiple_of(10);
    if tenth && wrong == Wrong::Refuses {
        return Taken::Answered(503, json!({"code": "spool_full"}));
    }
    if !validate_only {
        if wrong == Wrong::Loses && state.batches.is_multiple_of(20) {
            good.pop();
        }
        for (series, at, value) in good {
            let rows = state.series.entry(series).or_default();
            if wrong == Wrong::FirstWins {
                rows.entry(at).or_insert(value);
            } else {
                rows.insert(at, value);
            }
        }
    }
    if tenth && wrong == Wrong::RefusesAndStores {
        return Taken::Answered(503, json!({"code": "spool_full"}));
    }
    if tenth && wrong == Wrong::Cuts {
        return Taken::Cut;
    }
    if wrong == Wrong::Miscounts && !errors.is_empty() {
        drop(errors.pop());
        accepted += 1;
    }
    let rejected = errors.len();
    let status = if rejected == 0 {
        200
    } else if accepted == 0 {
        422
    } else {
        207
    };
    let result = json!({"received": accepted + rejected, "accepted": accepted, "rejected": rejected, "errors": errors});
    Taken::Answered(status, result)
}

type Stored = ((String, String), i64, f64);

fn judge(state: &State, raw: &str) -> Option<Stored> {
    let reading: Value = serde_json::from_str(raw).ok()?;
    let external_id = reading["external_id"].as_str().filter(|id| state.equipment.contains(*id))?;
    let metric = reading["metric"].as_str().filter(|metric| ["temperature", "humidity", "co2"].contains(metric))?;
    let value = reading["value"].as_f64().filter(|value| *value > -100.0)?;
    let at: Timestamp = reading["timestamp"].as_str()?.parse().ok()?;
    let is_young = at > Timestamp::now() - jiff::SignedDuration::from_hours(24 * 7);
    is_young.then(|| ((external_id.to_owned(), metric.to_owned()), at.as_microsecond(), value))
}

fn read_back(state: &State, query: &str, wrong: Wrong) -> Response<Full<Bytes>> {
    let pairs: HashMap<String, String> = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.replace("%3A", ":")))
        .collect();
    let at = |key: &str| pairs[key].parse::<Timestamp>().unwrap().as_microsecond();
    let series = (pairs["external_id"].clone(), pairs["metric"].clone());
    let mut rows: Vec<(i64, f64)> = state
        .series
        .get(&series)
        .into_iter()
        .flat_map(|rows| rows.range(at("from")..at("to")))
        .map(|(at, value)| (*at, *value))
        .collect();
    match (wrong, rows.first().copied()) {
        (Wrong::Doubles, Some(row)) => rows.insert(0, row),
        (Wrong::Changes, Some(_)) => rows[0].1 += 1.0,
        _ => (),
    }
    let stamp = |us: i64| Timestamp::from_microsecond(us).unwrap().to_string();
    if pairs.get("format").is_some_and(|format| format == "csv") {
        let lines: Vec<String> = rows.iter().map(|(at, value)| format!("{},{value},good\n", stamp(*at))).collect();
        return Response::new(Full::from(format!("timestamp,value,quality\n{}", lines.concat())));
    }
    // Small pages, so that turning them is tried.
    let skip: usize = pairs.get("cursor").map_or(0, |cursor| cursor.parse().unwrap());
    let items: Vec<Value> = rows
        .iter()
        .skip(skip)
        .take(7)
        .map(|(at, value)| json!({"timestamp": stamp(*at), "value": value, "quality": "good"}))
        .collect();
    let next = (skip + 7 < rows.len()).then(|| (skip + 7).to_string());
    reply(200, &json!({"items": items, "next_cursor": next}))
}

fn manage(state: &mut State, method: &str, path: &str, body: &[u8]) -> Result<Response<Full<Bytes>>, Infallible> {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    Ok(match (method, parts.as_slice()) {
        ("POST", ["admin", "v1", "login"]) => reply(200, &json!({"access_token": json["email"], "expires_in": 900})),
        ("POST", ["oauth", "token"]) => {
            let token = format!("token-{}", json["client_id"].as_str().unwrap());
            reply(200, &json!({"access_token": token, "token_type": "Bearer", "expires_in": 3600}))
        }
        ("POST", ["admin", "v1", "password"]) => Response::new(Full::default()),
        ("GET", ["admin", "v1", "me"]) => reply(200, &json!({"id": "me"})),
        ("GET", ["admin", "v1", "vendors"]) => {
            reply(200, &json!({"items": [{"name": "A", "category": "ERP"}, {"name": "B", "category": "IoT"}]}))
        }
        ("GET", ["admin", "v1", "taxonomies", _]) => {
            reply(200, &json!({"items": [{"kind": "controller", "type": "x"}, {"kind": "sensor", "type": "climate"}]}))
        }
        ("POST", ["admin", "v1", "integrations"]) => {
            assert_eq!((json["vendor"].as_str(), json["owner_id"].as_str()), (Some("B"), Some("me")));
            let id = format!("i{}", state.integrations.len());
            state.integrations.insert(id.clone(), Vec::new());
            reply(201, &json!({"id": id, "status": "requested"}))
        }
        ("POST", ["admin", "v1", "integrations", _, "approve"]) => reply(200, &json!({})),
        ("POST", ["admin", "v1", "integrations", id, "activate"]) => {
            let credentials =
                json!({"client_id": format!("c-{id}"), "client_secret": "s", "api_key": format!("k-{id}")});
            reply(200, &json!({"id": id, "credentials": credentials}))
        }
        ("POST", ["admin", "v1", "equipment", "bulk"]) => {
            let entries = json["equipment"].as_array().unwrap();
            assert!(entries.len() <= 500);
            for entry in entries {
                assert_eq!((entry["kind"].as_str(), entry["type"].as_str()), (Some("sensor"), Some("climate")));
                let sensors = state.integrations.get_mut(entry["integration_id"].as_str().unwrap()).unwrap();
                sensors.push(entry["external_id"].as_str().unwrap().to_owned());
            }
            reply(200, &json!({"received": entries.len(), "accepted": entries.len(), "rejected": 0, "errors": []}))
        }
        _ => reply(404, &json!({"code": "not_found", "path": path})),
    })
}

fn reply(status: u16, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::builder().status(status).header("content-type", "application/json");
    if status == 503 {
        response = response.header("retry-after", "0");
    }
    response.body(Full::from(body.to_string())).unwrap()
}

impl Fake {
    /// Integrations that were made, with the number of their sensors, by name.
    pub(crate) fn made(&self) -> BTreeMap<String, usize> {
        let state = self.state.lock().unwrap();
        state.integrations.iter().map(|(id, sensors)| (id.clone(), sensors.len())).collect()
    }
}
