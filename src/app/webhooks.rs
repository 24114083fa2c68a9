//! Webhooks joined to everything that they tell of, each of which knows nothing of them.

use std::{future::Future, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use tokio::net::TcpListener;

use super::{mqtt_ports::MqttPorts, tasks::Tasks};
use crate::{
    auth::{Registry, sync::Sync},
    config::Config,
    control::{Change, ChangeListener, Control, Cut, QuotaNotice},
    delivery::{self, Entry, What},
    journal::Journal,
    webhook::{Flights, Guard, Notices, QuotaFigures, Sender, SystemResolver, Worker},
};

/// Seconds of a day.
const DAY_S: u64 = 86_400;

/// What the rooms are given of webhooks.
pub(super) struct Hooks {
    notices: Arc<Notices>,
    flights: Flights,
    registry: Arc<Registry>,
}

impl Hooks {
    pub(super) fn new(config: &Config, registry: &Arc<Registry>) -> Self {
        let every = Duration::from_millis(config.webhook.notice_ms);
        let notices = Arc::new(Notices::new(config.webhook.notices_max, every));
        Self { notices, flights: Flights::default(), registry: Arc::clone(registry) }
    }

    /// Who hears of an administrator's change: requests first, then what is on its way to subscribers.
    pub(super) fn listener(&self, sync: &Sync) -> Arc<dyn ChangeListener> {
        Arc::new(Listeners(sync.clone(), self.flights.clone()))
    }

    /// Hears of what goes into quarantine.
    pub(super) fn quarantine_listener(&self) -> Arc<dyn delivery::QuarantineListener> {
        Arc::new(QuarantineNotices(Arc::clone(&self.notices)))
    }

    /// Hears of requests.
    pub(super) fn journal(&self) -> Arc<dyn Journal> {
        Arc::clone(&self.notices) as _
    }

    /// Starts what sends, and what hands over the sums. Gives the judge of targets, which never are our own listeners.
    pub(super) fn start(
        &self,
        config: &Config,
        control: &Control,
        tcp: [&TcpListener; 2],
        mqtt: &MqttPorts,
        tasks: &mut Tasks,
    ) -> Result<Arc<Guard>> {
        let mut own: Vec<SocketAddr> = mqtt.addresses()?;
        for listener in tcp {
            own.push(listener.local_addr()?);
        }
        let resolve_max = Duration::from_millis(config.webhook.connect_timeout_ms);
        let guard = Arc::new(Guard::new(config.webhook.rules(), own, Arc::new(SystemResolver), resolve_max));
        let sender = Sender::new(config.webhook.clone(), Arc::clone(&guard)).context("webhooks")?;
        let worker = Worker::new(control.clone(), sender, self.flights.clone());
        tasks.background("webhook_worker", |shutdown| worker.run(shutdown));
        let (notices, control) = (Arc::clone(&self.notices), control.clone());
        let figures = quota_figures(Arc::clone(&self.registry));
        tasks.background("webhook_notices", |shutdown| notices.run(control, figures, shutdown));
        Ok(guard)
    }
}

struct Listeners(Sync, Flights);

impl ChangeListener for Listeners {
    fn apply<'a>(&'a self, change: Change) -> Pin<Box<dyn Future<Output = Cut> + Send + 'a>> {
        Box::pin(async move {
            let mut cut = self.0.apply(change.clone()).await;
            cut += self.1.apply(change).await;
            cut
        })
    }
}

struct QuarantineNotices(Arc<Notices>);

impl delivery::QuarantineListener for QuarantineNotices {
    fn quarantined(&self, entries: &[Entry]) {
        for entry in entries {
            // A record that cannot be decoded is nobody's.
            if let What::Reading { header, .. } = &entry.what {
                self.0.quarantined(header.integration_id, header.request_id, entry.quarantined_us);
            }
        }
    }
}

/// Every integration that has a quota, with what it has used of today.
fn quota_figures(registry: Arc<Registry>) -> QuotaFigures {
    Arc::new(move || {
        let now_s = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0);
        let figures = registry.integrations().into_iter().filter_map(|integration| {
            let facts = integration.facts();
            let (used, reset_s) = integration.quota_used(now_s);
            let utc_day = (reset_s / DAY_S).saturating_sub(1);
            Some(QuotaNotice { integration_id: facts.id, utc_day, used, limit: facts.daily_quota? })
        });
        figures.collect()
    })
}
