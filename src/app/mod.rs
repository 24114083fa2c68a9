//! The composition root: builds all rooms from the bottom up, starts them, and stops them in order. Nobody imports it
//! but the command line and the demo.

mod data_dir;
mod directory;
mod held;
mod mqtt_ports;
mod ready;
mod signals;
mod tasks;
mod webhooks;
mod whereabouts;

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result};
use bytes::Bytes;
use tokio::net::TcpListener;

use crate::{
    admin,
    auth::{Authenticator, Registry, jwt, sync::Sync},
    config::Config,
    control::{Control, FirstAdministrator, Issuers},
    http, ingest, integration_api,
    issuer::Issuer,
    journal::{Both, Journal, LogJournal},
    model::{MetricTable, OrganisationId},
    mqtt,
    request_log::RequestLog,
    store::Store,
    telemetry::{self, health::Health},
    webhook::Guard,
};
use data_dir::DataDir;
use held::Held;
use mqtt_ports::MqttPorts;
pub use ready::Urls;
use tasks::Tasks;
use webhooks::Hooks;

/// The running service.
pub struct App {
    control: Control,
    urls: Urls,
    tasks: Tasks,
    _data_dir: DataDir,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("urls", &self.urls).finish_non_exhaustive()
    }
}

/// An organisation's first two administrators: e-mail address and one-time password of each.
#[derive(Debug)]
pub struct Administrators {
    /// The new organisation.
    pub organisation_id: OrganisationId,
    /// In the order given.
    pub admins: Vec<(String, String)>,
}

/// Makes an organisation with two administrators in the data directory of a service that is not running.
///
/// # Errors
/// When another process has the directory, or the names are refused.
pub async fn bootstrap(config: &Config, organisation: &str, admins: [(&str, &str); 2]) -> Result<Administrators> {
    let _data_dir = DataDir::take(&config.data_dir)?;
    let control = Control::open(&config.data_dir, &config.control, issuers(config)).context("the control plane")?;
    bootstrap_in(&control, organisation, admins).await
}

/// Confirms the pending permission of `email` in the data directory of a service that is not running, where at most
/// one holder is left to confirm it.
///
/// # Errors
/// When another process has the directory, two holders are left, or nothing of the user can be confirmed.
pub async fn break_glass(config: &Config, email: &str, reason: &str) -> Result<()> {
    let _data_dir = DataDir::take(&config.data_dir)?;
    let control = Control::open(&config.data_dir, &config.control, issuers(config)).context("the control plane")?;
    control.break_glass(email, reason).await?;
    Ok(())
}

async fn bootstrap_in(control: &Control, organisation: &str, admins: [(&str, &str); 2]) -> Result<Administrators> {
    let administrators = admins.map(|(name, email)| FirstAdministrator {
        email: email.to_owned(),
        name: if name.is_empty() { email.split('@').next().unwrap_or(email).to_owned() } else { name.to_owned() },
    });
    let (organisation_id, made) = control.bootstrap(organisation, administrators).await?;
    let admins = made.map(|admin| (admin.email, admin.one_time_password.expose().to_owned())).into();
    Ok(Administrators { organisation_id, admins })
}

fn issuers(config: &Config) -> Issuers {
    Issuers {
        embedded: config.issuer.enabled.then(|| config.issuer.url.clone()),
        external: config.auth.issuers.iter().map(|issuer| issuer.issuer.clone()).collect(),
    }
}

/// The process-wide parts: the provider of cryptography, and the recorder of metrics.
fn install_process_parts() -> telemetry::metrics::Rendering {
    // A second installation in one process changes nothing and is no error: tests start several services.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    telemetry::metrics::install()
}

impl App {
    /// Builds and starts everything that `config` asks for. Returns once both listeners are open.
    ///
    /// # Errors
    /// What could not be opened or bound; nothing is left running then.
    pub async fn start(config: &Config) -> Result<Self> {
        let data_dir = DataDir::take(&config.data_dir)?;
        let rendering = install_process_parts();
        let health = Health::default();
        let mut tasks = Tasks::new();

        // Store and spool may have much to recover, so they are opened while the control plane is read.
        let opening = tasks::Opening::begin(config);
        let control = Control::open(&config.data_dir, &config.control, issuers(config)).context("the control plane")?;
        let table = metric_table(config, &control).await?;
        let registry = Arc::new(Registry::new(config.auth.cached_keys_max));
        let sync = Sync::new(Arc::clone(&registry));
        sync.load(&control).await.context("integrations and equipment")?;
        let hooks = Hooks::new(config, &registry);
        control.set_listener(hooks.listener(&sync));
        tasks.save_usage(sync, control.clone());
        tasks.keep_house(control.clone());

        let http_tcp = bind(config.http.address, "http.address").await?;
        let mqtt_ports = MqttPorts::bind(&config.mqtt).await?;
        let admin_tcp = bind(config.admin.address, "admin.address").await?;
        let urls = Urls::new(config, &http_tcp, &mqtt_ports, &admin_tcp)?;

        let issuer = open_issuer(config, &urls, &mut tasks)?;
        let guard = hooks.start(config, &control, [&http_tcp, &admin_tcp], &mqtt_ports, &mut tasks)?;
        let authenticator = authenticator(config, issuer.as_ref(), Arc::clone(&registry), &health, &mut tasks)?;
        let (store, spool) = opening.finish().await?;
        tasks.maintain(Arc::clone(&store), config.store.maintenance_interval());
        let held = Held::open(config, hooks.quarantine_listener())?;
        let refused = Arc::clone(&held.refused);
        let (writer, delivered) = tasks.deliver(config, spool, Arc::clone(&store), refused, &health)?;

        let request_log = tasks.log_requests(config, &health)?;
        let ingest = ingest::Ingest::new(config.ingest.clone(), table.clone(), writer.clone());
        let (ingest, journal) = journaled(config, held.kept_of(ingest, config)?, request_log.clone(), hooks.journal());
        let desk = held.desk(&registry, &ingest, writer);
        let surface = http::Surface {
            openapi: openapi_json().into(),
            asyncapi: if config.mqtt.enabled { asyncapi_json(config, Some(&urls)).into() } else { Bytes::new() },
            open: issuer.into_iter().flat_map(|issuer| directory::routes(issuer, control.clone())).collect(),
            resources: resources(config, &control, &store, &table, &guard),
        };
        let edge = http_edge(config, &authenticator, &ingest, surface, &journal)?;
        tasks.serve_http(edge, http_tcp, config)?;
        tasks.take_from_broker(
            Arc::clone(&authenticator),
            Arc::clone(&ingest),
            Arc::clone(&journal),
            &health,
            config,
        )?;
        tasks.serve_mqtt(&mqtt_edge(config, authenticator, ingest, journal), mqtt_ports, config)?;
        let router = admin::router(admin::Admin::new(admin::Parts {
            config: config.admin.clone(),
            control: control.clone(),
            store,
            metrics: Arc::new(table),
            request_log,
            delivered,
            quarantine: desk,
            guard,
            health,
            render_metrics: Arc::new(move || rendering.render()),
            problems_url: problems_url(config, &urls),
            endpoints: endpoints(config, &urls),
        }));
        tasks.serve_admin(router, admin_tcp, config)?;
        tracing::info!(http = %urls.http, mqtt = urls.mqtt, admin = %urls.admin, data_dir = %config.data_dir.display(), "Serving.");
        Ok(Self { control, urls, tasks, _data_dir: data_dir })
    }

    /// Where everything is reached.
    #[must_use]
    pub fn urls(&self) -> Urls {
        self.urls.clone()
    }

    /// Says so in the log when nobody could sign in: everything answers then, and nothing can be done.
    ///
    /// # Errors
    /// When the control plane cannot be read.
    pub async fn warn_without_administrators(&self) -> Result<()> {
        if self.control.organisations().await?.is_empty() {
            tracing::warn!("There is no administrator yet. Stop the service and make two: sensorgate bootstrap --help");
        }
        Ok(())
    }

    /// Says at each start where a permission stands that no second person has confirmed.
    ///
    /// # Errors
    /// When the control plane cannot be read.
    pub async fn warn_of_broken_glass(&self) -> Result<()> {
        for (organisation_id, user_id) in self.control.broken_glass().await? {
            tracing::warn!(%organisation_id, %user_id, "A permission was confirmed by breaking the glass. It is an \
                emergency until another holder confirms it: POST /admin/v1/users/{{id}}/confirm");
        }
        Ok(())
    }

    /// Makes an organisation with two administrators in the running service.
    ///
    /// # Errors
    /// When the names are refused or taken.
    pub async fn bootstrap(&self, organisation: &str, admins: [(&str, &str); 2]) -> Result<Administrators> {
        bootstrap_in(&self.control, organisation, admins).await
    }

    /// Writes the addresses as JSON, complete once the file exists.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_ready_file(&self, path: &Path) -> Result<()> {
        self.urls.write(path)
    }

    /// Serves until SIGTERM or Ctrl-C, then stops as [`App::stop`] does; a second signal ends at once.
    ///
    /// # Errors
    /// As [`App::stop`].
    pub async fn run_until_signal(self) -> Result<()> {
        signals::wait().await?;
        tracing::info!("Stopping: finishing what is in flight.");
        tokio::select! {
            stopped = self.stop() => stopped,
            again = signals::wait() => {
                again?;
                anyhow::bail!("stopped by a second signal before everything was finished; nothing acknowledged is lost")
            }
        }
    }

    /// Stops in order: no new requests, acknowledgements finished, spool flushed, delivery stopped, admin last.
    ///
    /// # Errors
    /// When what was used could not be saved.
    pub async fn stop(self) -> Result<()> {
        self.tasks.stop().await
    }
}

/// Ingest and the journal of the edges: requests go to the server's log, to the notices of webhooks and, where that is
/// on, to the API log.
fn journaled(
    config: &Config,
    ingest: ingest::Ingest,
    log: RequestLog,
    notices: Arc<dyn Journal>,
) -> (Arc<ingest::Ingest>, Arc<dyn Journal>) {
    let journal: Arc<dyn Journal> = Arc::new(Both(Arc::new(LogJournal), notices));
    if !config.request_log.enabled {
        return (Arc::new(ingest), journal);
    }
    let log: Arc<dyn Journal> = Arc::new(log);
    (Arc::new(ingest.with_journal(Arc::clone(&log))), Arc::new(Both(journal, log)))
}

/// The metric table of the configuration, with the numbers that the control plane has given out for its names.
async fn metric_table(config: &Config, control: &Control) -> Result<MetricTable> {
    let names: Vec<String> = config.metrics.keys().cloned().collect();
    let numbers = control.metric_numbers(names).await.context("the numbers of metrics")?;
    Ok(ingest::config::metric_table(&config.metrics, &numbers))
}

async fn bind(address: std::net::SocketAddr, key: &str) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {key} = {address}"))
}

fn http_edge(
    config: &Config,
    door: &Arc<Authenticator>,
    intake: &Arc<ingest::Ingest>,
    surface: http::Surface,
    journal: &Arc<dyn Journal>,
) -> Result<Arc<http::Edge<Authenticator, ingest::Ingest>>> {
    let now_s = jiff::Timestamp::now().as_second();
    let idempotency = http::Idempotency::open(&config.data_dir, &config.http, now_s).context("kept answers")?;
    Ok(http::Edge::new(http::Args {
        config: config.http.clone(),
        door: Arc::clone(door),
        budget: intake.budget().clone(),
        intake: Arc::clone(intake),
        surface,
        idempotency,
        journal: Arc::clone(journal),
    }))
}

fn mqtt_edge(
    config: &Config,
    door: Arc<Authenticator>,
    intake: Arc<ingest::Ingest>,
    journal: Arc<dyn Journal>,
) -> Arc<mqtt::Edge> {
    mqtt::Edge::new(mqtt::Args {
        config: config.mqtt.clone(),
        door,
        budget: intake.budget().clone(),
        intake,
        journal,
        public_url: config.http.public_url.clone(),
    })
}

/// What an integration may do besides sending readings.
fn resources(
    config: &Config,
    control: &Control,
    store: &Arc<dyn Store>,
    metrics: &MetricTable,
    guard: &Arc<Guard>,
) -> Vec<http::Resource> {
    let parts = integration_api::Parts {
        control: control.clone(),
        store: Arc::clone(store),
        metrics: Arc::new(metrics.clone()),
        guard: Arc::clone(guard),
        batch: integration_api::BatchTerms {
            readings_max: config.ingest.readings_max,
            body_bytes_max: config.http.body_bytes_max,
            compressed_bytes_max: config.http.compressed_bytes_max,
            timestamp_past_max_s: config.ingest.timestamp_past_max_s,
            timestamp_future_max_s: config.ingest.timestamp_future_max_s,
        },
        mqtt: config.mqtt.enabled.then_some(integration_api::MqttTerms {
            receive_maximum: config.mqtt.receive_maximum,
            packet_bytes_max: config.mqtt.packet_bytes_max,
            sessions_max: config.mqtt.sessions_per_integration_max,
            keep_alive_max_s: config.mqtt.keep_alive_max_s,
        }),
    };
    let resource = |routes: integration_api::Routes| {
        let integration_api::Routes { name, path, read, write, router } = routes;
        http::Resource { name, path, read, write, router }
    };
    integration_api::routes(parts).into_iter().map(resource).collect()
}

fn open_issuer(config: &Config, urls: &Urls, tasks: &mut Tasks) -> Result<Option<Arc<Issuer>>> {
    if !config.issuer.enabled {
        return Ok(None);
    }
    let now_us = jiff::Timestamp::now().as_microsecond();
    let dir = config.data_dir.join("issuer");
    let issuer = Arc::new(Issuer::open(&dir, &config.issuer, Some(&urls.http), now_us).context("the token issuer")?);
    tasks.background("issuer", |shutdown| Arc::clone(&issuer).run(shutdown));
    Ok(Some(issuer))
}

fn authenticator(
    config: &Config,
    issuer: Option<&Arc<Issuer>>,
    registry: Arc<Registry>,
    health: &Health,
    tasks: &mut Tasks,
) -> Result<Arc<Authenticator>> {
    let mut trusted: Vec<_> = config.auth.issuers.iter().cloned().map(jwt::TrustedIssuer::remote).collect();
    if let Some(issuer) = issuer {
        let embedded = jwt::IssuerConfig::embedded(issuer.name(), issuer.audience());
        trusted.push(jwt::TrustedIssuer::in_process(embedded, directory::keys(issuer)));
    }
    let saved = config.data_dir.join("issuer-keys");
    let verifier = Arc::new(jwt::Verifier::new(&config.auth.tokens, trusted, Some(&saved), health.clone())?);
    tasks.keep(verifier.start(tasks.background_token()));
    Ok(Arc::new(Authenticator::new(registry, verifier, &config.auth)))
}

/// Where partners reach the service and get their tokens.
fn endpoints(config: &Config, urls: &Urls) -> admin::Endpoints {
    let api = problems_url(config, urls);
    let (token_url, audience, domain) = match config.auth.issuers.first() {
        Some(external) if !config.issuer.enabled => {
            let audience = external.audiences.first().cloned().unwrap_or_default();
            // Where an external issuer gives tokens out is its own documentation's to say.
            (None, audience, external.issuer.clone())
        }
        _ => (Some(format!("{api}/oauth/token")), urls.audience.clone(), api.clone()),
    };
    let mqtt = [&urls.mqtts, &urls.mqtt, &urls.mqtt_ws].into_iter().flatten().cloned().collect();
    admin::Endpoints { docs_url: format!("{api}/openapi.json"), api_url: api, domain, token_url, audience, mqtt }
}

/// Where the pages about codes are. The administrators' port has none, so a link relative to it would lead nowhere.
fn problems_url(config: &Config, urls: &Urls) -> String {
    let public = config.http.public_url.trim_end_matches('/');
    if public.is_empty() { urls.http.trim_end_matches('/').to_owned() } else { public.to_owned() }
}

/// The OpenAPI 3.1 document of the integration API, as JSON. Each port shows its own: a partner's tools should not
/// make calls for administrators, nor should a partner learn of them.
#[must_use]
pub fn openapi_json() -> String {
    format!("{:#}", integration_openapi())
}

fn integration_openapi() -> serde_json::Value {
    let mut document = http::openapi([integration_api::part()]);
    document["webhooks"] = crate::rest::openapi_webhook::events();
    document
}

/// The OpenAPI 3.1 document of the administrators' API, as JSON.
#[must_use]
pub fn admin_openapi_json() -> String {
    format!("{:#}", admin::openapi::document())
}

/// The AsyncAPI 3 document of the integration API over MQTT, as JSON: reached at `urls`, or where it would be served.
#[must_use]
pub fn asyncapi_json(config: &Config, urls: Option<&Urls>) -> String {
    let openapi = integration_openapi();
    let urls = match urls {
        Some(urls) => [&urls.mqtt, &urls.mqtts, &urls.mqtt_ws].map(Clone::clone),
        None => mqtt_ports::configured_urls(&config.mqtt),
    };
    let document = mqtt::asyncapi(&mqtt::Described {
        config: &config.mqtt,
        readings_max: config.ingest.readings_max,
        urls: urls.into_iter().flatten().collect(),
        schemas: openapi["components"]["schemas"].as_object().expect("the document has schemas"),
    });
    format!("{document:#}")
}
