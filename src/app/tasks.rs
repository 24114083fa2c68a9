//! What runs in the background, and the order in which it stops.

use std::{future::Future, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use tokio::{net::TcpListener, task::JoinHandle, time};
use tokio_util::sync::CancellationToken;

use super::{mqtt_ports::MqttPorts, whereabouts::Whereabouts};
use crate::{
    admin::Delivered,
    auth::{Authenticator, sync::Sync},
    bridge::{self, Bridge},
    config::Config,
    control::Control,
    delivery::{self, Delivery, Quarantine},
    http::Edge,
    ingest::Ingest,
    journal::Journal,
    listener::{self, Port, Tls},
    mqtt,
    request_log::RequestLog,
    spool::{self, Reader, Writer},
    store::{self, Store},
    telemetry::{health::Health, metrics::CONTROL_BREAK_GLASS_PERMISSIONS, task},
};

/// How often the use of quotas and keys is saved. A kill may forget so much of it.
const SAVE_USAGE_EVERY: Duration = Duration::from_secs(1);

/// How often the control plane's own work is looked for: a grant is taken out so long after its end at most.
const KEEP_HOUSE_EVERY: Duration = Duration::from_secs(1);

/// Store and spool on their way to being open, on threads of their own.
pub(super) struct Opening {
    store: JoinHandle<Result<Arc<dyn Store>, store::Error>>,
    spool: JoinHandle<Result<(Writer, Reader), spool::Error>>,
}

impl Opening {
    /// Begins to open both.
    pub(super) fn begin(config: &Config) -> Self {
        let (data_dir, settings) = (config.data_dir.clone(), config.store.clone());
        let store = tokio::task::spawn_blocking(move || store::open(&data_dir, &settings));
        let (dir, settings) = (config.data_dir.join("spool"), config.spool.clone());
        let spool = tokio::task::spawn_blocking(move || spool::open(&dir, &settings));
        Self { store, spool }
    }

    /// Both, open.
    pub(super) async fn finish(self) -> Result<(Arc<dyn Store>, (Writer, Reader))> {
        let store = self.store.await?.context("the store")?;
        let spool = self.spool.await?.context("the spool")?;
        Ok((store, spool))
    }
}

/// The tasks by the phase in which they stop.
pub(super) struct Tasks {
    /// Of the integration API, both edges.
    edge_shutdown: CancellationToken,
    edges: Vec<JoinHandle<()>>,
    background_shutdown: CancellationToken,
    background: Vec<JoinHandle<()>>,
    writer: Option<Writer>,
    delivery_shutdown: CancellationToken,
    delivery: Option<Delivery>,
    usage: Option<(Sync, Control)>,
    request_log: Option<RequestLog>,
    admin_shutdown: CancellationToken,
    admin: Vec<JoinHandle<()>>,
}

impl Tasks {
    pub(super) fn new() -> Self {
        Self {
            edge_shutdown: CancellationToken::new(),
            edges: Vec::new(),
            background_shutdown: CancellationToken::new(),
            background: Vec::new(),
            writer: None,
            delivery_shutdown: CancellationToken::new(),
            delivery: None,
            usage: None,
            request_log: None,
            admin_shutdown: CancellationToken::new(),
            admin: Vec::new(),
        }
    }

    /// Ends with the background.
    pub(super) const fn background_token(&self) -> &CancellationToken {
        &self.background_shutdown
    }

    /// Tasks that end with the background.
    pub(super) fn keep(&mut self, tasks: Vec<JoinHandle<()>>) {
        self.background.extend(tasks);
    }

    /// Starts a task that ends with the background.
    pub(super) fn background<F>(&mut self, name: &'static str, run: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.background.push(task::spawn(name, run(self.background_shutdown.clone())));
    }

    /// Saves what is used of quotas, now and then and at the end.
    pub(super) fn save_usage(&mut self, sync: Sync, control: Control) {
        self.usage = Some((sync.clone(), control.clone()));
        self.background("save_usage", |shutdown| async move {
            while time::timeout(SAVE_USAGE_EVERY, shutdown.cancelled()).await.is_err() {
                if let Err(error) = sync.save_usage(&control).await {
                    tracing::warn!(error = &error as &dyn std::error::Error, "The use of quotas could not be saved.");
                }
            }
        });
    }

    /// Takes out grants whose time is over, keeps checkpoints of audit logs that have grown, and shows broken glass.
    pub(super) fn keep_house(&mut self, control: Control) {
        self.background("keep_house", |shutdown| async move {
            while time::timeout(KEEP_HOUSE_EVERY, shutdown.cancelled()).await.is_err() {
                if let Err(error) = control.end_due_grants().await {
                    tracing::warn!(error = &error as &dyn std::error::Error, "Grants could not be ended.");
                }
                if let Err(error) = control.keep_audit_checkpoints().await {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "No checkpoint of the audit log was kept."
                    );
                }
                match control.broken_glass().await {
                    Ok(broken) => {
                        let count = f64::from(u32::try_from(broken.len()).unwrap_or(u32::MAX));
                        metrics::gauge!(CONTROL_BREAK_GLASS_PERMISSIONS).set(count);
                    }
                    Err(error) => {
                        tracing::warn!(error = &error as &dyn std::error::Error, "Permissions could not be read.");
                    }
                }
            }
        });
    }

    /// Starts the API log, which ends last: everybody writes into it, or reads it.
    pub(super) fn log_requests(&mut self, config: &Config, health: &Health) -> Result<RequestLog> {
        let log = RequestLog::start(&config.data_dir, &config.request_log, health.clone()).context("the API log")?;
        self.request_log = Some(log.clone());
        Ok(log)
    }

    /// Does what of the store's work can wait.
    pub(super) fn maintain(&mut self, store: Arc<dyn Store>, interval: Duration) {
        self.background("store_maintenance", |shutdown| store::maintenance::run(store, interval, shutdown));
    }

    /// Starts to deliver what is in the spool.
    pub(super) fn deliver(
        &mut self,
        config: &Config,
        (writer, reader): (Writer, Reader),
        store: Arc<dyn Store>,
        quarantine: Arc<Quarantine>,
        health: &Health,
    ) -> Result<(Writer, Arc<dyn Delivered>)> {
        writer.report_to(health.clone());
        self.writer = Some(writer.clone());
        let args = delivery::Args {
            reader,
            store,
            quarantine: Arc::clone(&quarantine),
            config: config.delivery.clone(),
            health: health.clone(),
        };
        let delivery = delivery::start(args, self.delivery_shutdown.clone()).context("the delivery")?;
        let whereabouts = Whereabouts { progress: delivery.progress(), quarantine };
        self.delivery = Some(delivery);
        Ok((writer, Arc::new(whereabouts)))
    }

    /// Serves the integration API.
    pub(super) fn serve_http(
        &mut self,
        edge: Arc<Edge<Authenticator, Ingest>>,
        tcp: TcpListener,
        config: &Config,
    ) -> Result<()> {
        let port = Port {
            name: "http",
            tls: load_tls(&config.http.tls).context("http.tls")?,
            proxy_protocol: config.http.proxy_protocol,
        };
        let serving = edge.serve(tcp, config.listener.clone(), port, self.edge_shutdown.clone());
        self.edges.push(task::spawn("http", serving));
        Ok(())
    }

    /// Serves the integration API over MQTT.
    pub(super) fn serve_mqtt(&mut self, edge: &Arc<mqtt::Edge>, ports: MqttPorts, config: &Config) -> Result<()> {
        for (tcp, port, framing) in ports.open(&config.mqtt)? {
            let (name, shutdown) = (port.name, self.edge_shutdown.clone());
            let serving = Arc::clone(edge).serve(tcp, config.listener.clone(), port, framing, shutdown);
            self.edges.push(task::spawn(name, serving));
        }
        Ok(())
    }

    /// Takes messages from the broker of cluster mode, where it is asked for.
    pub(super) fn take_from_broker(
        &mut self,
        door: Arc<Authenticator>,
        intake: Arc<Ingest>,
        journal: Arc<dyn Journal>,
        health: &Health,
        config: &Config,
    ) -> Result<()> {
        if !config.bridge.enabled {
            return Ok(());
        }
        let args = bridge::Args {
            config: config.bridge.clone(),
            budget: intake.budget().clone(),
            door,
            intake,
            journal,
            health: health.clone(),
            public_url: config.http.public_url.clone(),
        };
        let bridge = Bridge::new(args, &config.data_dir).context("cluster mode")?;
        self.edges.push(task::spawn("bridge", bridge.run(self.edge_shutdown.clone())));
        Ok(())
    }

    /// Serves the administrators' API and the probes.
    pub(super) fn serve_admin(&mut self, router: axum::Router, tcp: TcpListener, config: &Config) -> Result<()> {
        let port = Port {
            name: "admin",
            tls: load_tls(&config.admin.tls).context("admin.tls")?,
            proxy_protocol: config.admin.proxy_protocol,
        };
        let serving = listener::serve(tcp, config.listener.clone(), port, router, self.admin_shutdown.clone());
        self.admin.push(task::spawn("admin", serving));
        Ok(())
    }

    /// Stops everything in order.
    pub(super) async fn stop(mut self) -> Result<()> {
        self.edge_shutdown.cancel();
        finish(self.edges).await;
        if let Some(writer) = self.writer.take() {
            writer.shutdown().await;
        }
        if let Some(delivery) = self.delivery.take() {
            self.delivery_shutdown.cancel();
            delivery.stopped().await.context("the delivery")?;
        }
        self.background_shutdown.cancel();
        finish(self.background).await;
        let saved = match &self.usage {
            Some((sync, control)) => sync.save_usage(control).await.context("the use of quotas"),
            None => Ok(()),
        };
        self.admin_shutdown.cancel();
        finish(self.admin).await;
        if let Some(log) = &self.request_log {
            log.stop().await;
        }
        saved
    }
}

async fn finish(tasks: Vec<JoinHandle<()>>) {
    for task in tasks {
        if let Err(error) = task.await {
            tracing::error!(error = &error as &dyn std::error::Error, "A task ended by a panic.");
        }
    }
}

fn load_tls(files: &listener::TlsFiles) -> Result<Option<Tls>, listener::Error> {
    files.is_set().then(|| Tls::load(files, &["h2", "http/1.1"])).transpose()
}
