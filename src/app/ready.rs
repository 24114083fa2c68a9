//! Where the running service is reached.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use tokio::net::TcpListener;

use super::mqtt_ports::MqttPorts;
use crate::config::Config;

/// The addresses in use, port numbers filled in.
#[derive(Debug, Clone)]
pub struct Urls {
    /// The integration API.
    pub http: String,
    /// MQTT, where it is served.
    pub mqtt: Option<String>,
    /// MQTT over TLS, where it is served.
    pub mqtts: Option<String>,
    /// MQTT over WebSocket, where it is served.
    pub mqtt_ws: Option<String>,
    /// The administrators' API.
    pub admin: String,
    /// The token end point of the embedded issuer; empty with an external one.
    pub token: String,
    /// The audience that tokens have to be for.
    pub audience: String,
}

impl Urls {
    pub(super) fn new(config: &Config, http: &TcpListener, mqtt: &MqttPorts, admin: &TcpListener) -> Result<Self> {
        let url = |tcp: &TcpListener, tls: bool| -> Result<String> {
            let address = tcp.local_addr().context("a bound address")?;
            Ok(format!("{}://{address}", if tls { "https" } else { "http" }))
        };
        let http = url(http, config.http.tls.is_set())?;
        let token = if config.issuer.enabled { format!("{http}/oauth/token") } else { String::new() };
        let admin = url(admin, config.admin.tls.is_set())?;
        let [mqtt, mqtts, mqtt_ws] = mqtt.urls(&config.mqtt)?;
        Ok(Self { http, mqtt, mqtts, mqtt_ws, admin, token, audience: config.issuer.audience.clone() })
    }

    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let urls = serde_json::json!({
            "http_url": self.http, "mqtt_url": self.mqtt, "mqtts_url": self.mqtts, "mqtt_ws_url": self.mqtt_ws, "admin_url": self.admin, "token_url": self.token,
            "audience": self.audience,
        });
        let draft = path.with_extension("draft");
        fs::write(&draft, format!("{urls:#}\n")).with_context(|| format!("cannot write {}", draft.display()))?;
        fs::rename(&draft, path).with_context(|| format!("cannot write {}", path.display()))
    }
}
