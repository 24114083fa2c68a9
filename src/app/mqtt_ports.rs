//! The ports that MQTT is served on: plain, over TLS, inside WebSocket.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use tokio::net::TcpListener;

use super::bind;
use crate::{
    listener::{Port, Tls},
    mqtt::{Config, Framing},
};

/// The ports, bound.
pub(super) struct MqttPorts {
    plain: Option<TcpListener>,
    tls: Option<TcpListener>,
    websocket: Option<TcpListener>,
}

impl MqttPorts {
    /// Binds what `config` asks for.
    pub(super) async fn bind(config: &Config) -> Result<Self> {
        let bound = async |address: Option<_>, key| match address.filter(|_| config.enabled) {
            Some(address) => bind(address, key).await.map(Some),
            None => Ok(None),
        };
        Ok(Self {
            plain: bound(config.address, "mqtt.address").await?,
            tls: bound(config.tls_address, "mqtt.tls_address").await?,
            websocket: bound(config.websocket_address, "mqtt.websocket_address").await?,
        })
    }

    /// What they are bound to.
    pub(super) fn addresses(&self) -> Result<Vec<SocketAddr>> {
        let bound = [&self.plain, &self.tls, &self.websocket];
        bound.into_iter().flatten().map(|tcp| tcp.local_addr().context("a bound address")).collect()
    }

    /// Where they are reached, in the order of the fields.
    pub(super) fn urls(&self, config: &Config) -> Result<[Option<String>; 3]> {
        let bound = |tcp: &Option<TcpListener>| -> Result<Option<SocketAddr>> {
            tcp.as_ref().map(|tcp| tcp.local_addr().context("a bound address")).transpose()
        };
        Ok(urls([bound(&self.plain)?, bound(&self.tls)?, bound(&self.websocket)?], config))
    }

    /// The ports with what each speaks. The certificate is read now.
    pub(super) fn open(self, config: &Config) -> Result<Vec<(TcpListener, Port, Framing)>> {
        // No application protocol is agreed in the handshake: what clients name there differs, and port and
        // sub-protocol say enough.
        let tls = || Tls::load(&config.tls, &[]).context("mqtt.tls").map(Some);
        let mut ports = Vec::new();
        let mut add = |tcp, name, tls, framing| {
            ports.push((tcp, Port { name, tls, proxy_protocol: config.proxy_protocol }, framing));
        };
        if let Some(tcp) = self.plain {
            add(tcp, "mqtt", None, Framing::Plain);
        }
        if let Some(tcp) = self.tls {
            add(tcp, "mqtts", tls()?, Framing::Plain);
        }
        if let Some(tcp) = self.websocket {
            add(tcp, "mqtt_ws", if config.websocket_tls { tls()? } else { None }, Framing::WebSocket);
        }
        Ok(ports)
    }
}

/// Where the ports that `config` asks for would be reached.
pub(super) fn configured_urls(config: &Config) -> [Option<String>; 3] {
    let addresses = [config.address, config.tls_address, config.websocket_address];
    urls(addresses.map(|address| address.filter(|_| config.enabled)), config)
}

fn urls(addresses: [Option<SocketAddr>; 3], config: &Config) -> [Option<String>; 3] {
    let mut schemes = ["mqtt", "mqtts", if config.websocket_tls { "wss" } else { "ws" }].into_iter();
    addresses.map(|address| {
        let scheme = schemes.next().unwrap_or_default();
        address.map(|address| format!("{scheme}://{address}"))
    })
}
