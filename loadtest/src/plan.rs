//! Which reading comes when: each is a function of (integration, running number, revision), so that the ledger needs
//! to remember batches only.
//!
//! Within an integration readings are numbered `q = 0, 1, 2, …`. With `K` series reading `q` belongs to series
//! `q mod K` at tick `q / K`; batch `b` of `n` holds `q = b·n … b·n + n − 1`. So every (series, timestamp) comes
//! exactly once.

use anyhow::{Result, ensure};

use crate::profile::{Order, Profile};

/// A metric as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metric {
    /// Its name on the wire.
    pub name: String,
    /// Its unit on the wire.
    pub unit: &'static str,
    /// Smallest value sent, in tenths.
    pub low_tenths: i64,
    /// Number of different values.
    pub values: u64,
}

/// What is wrong with a broken entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say what is wrong")]
pub enum Fault {
    OutOfRange,
    NotANumber,
    TooLargeForF64,
    Nested,
    UnknownEquipment,
    UnknownMetric,
    TooOld,
}

impl Fault {
    /// All, in the order in which they are dealt out.
    pub const ALL: [Self; 7] = [
        Self::OutOfRange,
        Self::NotANumber,
        Self::TooLargeForF64,
        Self::Nested,
        Self::UnknownEquipment,
        Self::UnknownMetric,
        Self::TooOld,
    ];
}

/// One reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Sensor within its integration.
    pub sensor: u32,
    /// Index into [`Plan::metrics`].
    pub metric: usize,
    /// Microseconds since 1970.
    pub timestamp_us: i64,
    /// The value, in tenths.
    pub value_tenths: i64,
    /// What is wrong with it, if anything.
    pub fault: Option<Fault>,
}

impl Reading {
    /// The value as a server that parses decimal numbers correctly has it.
    #[must_use]
    pub fn value(&self) -> f64 {
        self.value_tenths as f64 / 10.0
    }
}

/// The whole workload.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Integrations that send.
    pub integrations: u32,
    /// Sensors of each.
    pub sensors_each: u32,
    /// What every sensor reports.
    pub metrics: Vec<Metric>,
    /// Readings a batch.
    pub readings_per_batch: u32,
    /// Timestamp of tick 0. Microseconds.
    pub start_us: i64,
    /// Between two ticks. Microseconds.
    pub step_us: i64,
    /// No timestamp may reach this. Microseconds.
    pub end_us: i64,
    /// Names of the sensors where they are given from outside (one integration).
    pub names: Option<Vec<String>>,
    bad_of_2_32: u64,
    seed: u64,
    stride: u64,
}

impl Plan {
    /// The workload of `profile`, for a run that begins at `now_us`.
    ///
    /// # Errors
    ///
    /// When a metric is unknown here.
    pub fn new(profile: &Profile, now_us: i64) -> Result<Self> {
        let data = &profile.data;
        let metrics = data.metrics.iter().map(|name| metric(name)).collect::<Result<Vec<_>>>()?;
        let integrations = profile.integrations();
        let sensors_each = data.sensors.div_ceil(integrations).max(1);
        // Whole seconds, as senders have them; a step below that gives fractions of a second by itself.
        let start_us = (now_us - (data.start_hours_ago * 3.6e9) as i64).div_euclid(1_000_000) * 1_000_000;
        Ok(Self {
            integrations,
            sensors_each,
            metrics,
            readings_per_batch: data.readings_per_batch,
            start_us,
            step_us: data.step_ms * 1_000,
            end_us: now_us + 60_000_000,
            names: None,
            bad_of_2_32: (data.bad_share * 4_294_967_296.0) as u64,
            seed: data.seed,
            stride: match data.order {
                Order::Sequential => 1,
                Order::Shuffled => coprime_stride(u64::from(sensors_each)),
            },
        })
    }

    /// The same workload for one integration whose sensors exist already under `names`.
    #[must_use]
    pub fn for_names(mut self, names: Vec<String>) -> Self {
        self.integrations = 1;
        self.sensors_each = u32::try_from(names.len()).unwrap_or(u32::MAX);
        self.stride = 1;
        self.names = Some(names);
        self
    }

    /// Series of one integration.
    #[must_use]
    pub fn series_each(&self) -> u64 {
        u64::from(self.sensors_each) * self.metrics.len() as u64
    }

    /// Batches of one integration that fit between start and end.
    #[must_use]
    pub fn batches_max(&self) -> u64 {
        let ticks = ((self.end_us - self.start_us) / self.step_us).max(0) as u64;
        ticks * self.series_each() / u64::from(self.readings_per_batch)
    }

    /// Says in time when the run would outgrow its time window.
    ///
    /// # Errors
    ///
    /// When `readings` in all do not fit between start and end.
    pub fn check_room(&self, readings: f64) -> Result<()> {
        let room = self.batches_max() as f64 * f64::from(self.readings_per_batch) * f64::from(self.integrations);
        ensure!(
            readings <= room,
            "about {readings:.0} readings do not fit into the {room:.0} places between start and now: \
             lower step_ms or take more sensors"
        );
        Ok(())
    }

    /// External id of a sensor of an integration.
    #[must_use]
    pub fn external_id(&self, integration: u32, sensor: u32) -> String {
        match &self.names {
            Some(names) => names[sensor as usize].clone(),
            None => format!("s{:07}", self.sensor_number(integration, sensor)),
        }
    }

    /// Number of a sensor over all integrations.
    #[must_use]
    pub fn sensor_number(&self, integration: u32, sensor: u32) -> u64 {
        u64::from(integration) * u64::from(self.sensors_each) + u64::from(sensor)
    }

    /// Sensor and metric of the `k`-th series of a round.
    #[must_use]
    pub fn series(&self, k: u64) -> (u32, usize) {
        let metrics = self.metrics.len() as u64;
        let sensor = (k / metrics) * self.stride % u64::from(self.sensors_each);
        (sensor as u32, (k % metrics) as usize)
    }

    /// The reading with running number `q` of `integration`.
    #[must_use]
    pub fn reading(&self, integration: u32, q: u64, revision: u8) -> Reading {
        let series_each = self.series_each();
        self.reading_at(integration, q % series_each, q / series_each, revision)
    }

    /// The readings of a batch, in order.
    pub fn batch(&self, integration: u32, batch: u64, revision: u8) -> impl Iterator<Item = Reading> {
        let series_each = self.series_each();
        let first = batch * u64::from(self.readings_per_batch);
        let (mut k, mut tick) = (first % series_each, first / series_each);
        (0..self.readings_per_batch).map(move |_| {
            let reading = self.reading_at(integration, k, tick, revision);
            k += 1;
            if k == series_each {
                k = 0;
                tick += 1;
            }
            reading
        })
    }

    /// The batch that reading `q` belongs to.
    #[must_use]
    pub fn batch_of(&self, q: u64) -> u64 {
        q / u64::from(self.readings_per_batch)
    }

    /// How many entries of a batch are broken.
    #[must_use]
    pub fn faults_in(&self, integration: u32, batch: u64) -> u32 {
        if self.bad_of_2_32 == 0 {
            return 0;
        }
        self.batch(integration, batch, 0).filter(|reading| reading.fault.is_some()).count() as u32
    }

    /// Whether something that happens to a `share` of batches happens to this one. `salt` tells occasions apart.
    #[must_use]
    pub fn draws(&self, integration: u32, batch: u64, salt: u64, share: f64) -> bool {
        let hash = mix(self.seed ^ salt.wrapping_mul(0x9E37_79B9), (u64::from(integration) << 40) ^ batch);
        ((hash >> 32) as f64) < share * 4_294_967_296.0
    }

    fn reading_at(&self, integration: u32, k: u64, tick: u64, revision: u8) -> Reading {
        let (sensor, metric) = self.series(k);
        let hash = mix(self.seed, (u64::from(integration) << 40) ^ (tick << 20) ^ k);
        let fault = if (hash & 0xFFFF_FFFF) < self.bad_of_2_32 {
            Some(Fault::ALL[(hash >> 33) as usize % Fault::ALL.len()])
        } else {
            None
        };
        let spec = &self.metrics[metric];
        // Another revision has another value, whatever the hash: the step is below the number of values.
        let drawn = (((hash >> 32) * spec.values) >> 32) + u64::from(revision) * 7;
        Reading {
            sensor,
            metric,
            timestamp_us: self.start_us + self.step_us * tick as i64,
            value_tenths: spec.low_tenths + (drawn % spec.values) as i64,
            fault,
        }
    }
}

fn metric(name: &str) -> Result<Metric> {
    let (unit, low_tenths, values) = match name {
        "temperature" => ("C", 150, 200),
        "humidity" => ("%", 400, 500),
        "co2" => ("ppm", 4_000, 6_000),
        _ => anyhow::bail!("metric {name}: known here are temperature, humidity, co2"),
    };
    Ok(Metric { name: name.to_owned(), unit, low_tenths, values })
}

/// A stride without common factor with `count`, so that `i · stride mod count` visits every sensor once.
fn coprime_stride(count: u64) -> u64 {
    let mut stride = ((count as f64 * 0.618_033_988) as u64).max(1);
    while gcd(stride, count) != 1 {
        stride += 1;
    }
    stride
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// A cheap hash with good high and low bits (the finaliser of `SplitMix64`).
fn mix(seed: u64, number: u64) -> u64 {
    let mut x = seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::HashSet;

    use super::*;

    pub(crate) fn plan(edit: impl FnOnce(&mut Profile)) -> Plan {
        let mut profile = Profile::load("main").unwrap();
        profile.data.integrations = Some(2);
        profile.data.sensors = 14;
        profile.data.readings_per_batch = 5;
        edit(&mut profile);
        Plan::new(&profile, 1_767_607_200_000_000).unwrap()
    }

    #[test]
    fn every_series_and_timestamp_comes_once() {
        for order in [Order::Sequential, Order::Shuffled] {
            let plan = plan(|profile| profile.data.order = order);
            let mut seen = HashSet::new();
            for batch in 0..40 {
                for reading in plan.batch(1, batch, 0) {
                    assert!(seen.insert((reading.sensor, reading.metric, reading.timestamp_us)));
                }
            }
            assert_eq!(seen.len(), 200);
            let sensors: HashSet<_> = seen.iter().map(|key| key.0).collect();
            assert_eq!(sensors.len(), 7);
        }
    }

    #[test]
    fn a_batch_is_what_its_running_numbers_say() {
        let plan = plan(|profile| profile.data.bad_share = 0.3);
        for batch in [0, 3, 17] {
            let readings: Vec<_> = plan.batch(0, batch, 0).collect();
            let single: Vec<_> = (batch * 5..batch * 5 + 5).map(|q| plan.reading(0, q, 0)).collect();
            assert_eq!(readings, single);
            assert!((batch * 5..batch * 5 + 5).all(|q| plan.batch_of(q) == batch));
        }
    }

    #[test]
    fn another_revision_has_another_value_and_the_same_key() {
        let plan = plan(|_| ());
        for q in 0..500 {
            let (first, second) = (plan.reading(0, q, 0), plan.reading(0, q, 1));
            assert_ne!(first.value_tenths, second.value_tenths);
            assert_eq!(
                (first.sensor, first.metric, first.timestamp_us),
                (second.sensor, second.metric, second.timestamp_us)
            );
        }
    }

    #[test]
    fn values_stay_within_their_range_and_tenths_are_exact() {
        let plan = plan(|_| ());
        for q in 0..1_000 {
            let reading = plan.reading(1, q, 1);
            let spec = &plan.metrics[reading.metric];
            assert!((spec.low_tenths..spec.low_tenths + spec.values as i64).contains(&reading.value_tenths));
            let text = format!("{}.{}", reading.value_tenths / 10, reading.value_tenths % 10);
            assert_eq!(text.parse::<f64>().unwrap().to_bits(), reading.value().to_bits());
        }
    }

    #[test]
    fn the_share_of_faults_and_of_draws_is_about_right() {
        let plan = plan(|profile| profile.data.bad_share = 0.1);
        let faults: u32 = (0..2_000).map(|batch| plan.faults_in(0, batch)).sum();
        assert!((800..1_200).contains(&faults), "{faults}");
        let draws = (0..10_000).filter(|batch| plan.draws(0, *batch, 1, 0.2)).count();
        assert!((1_800..2_200).contains(&draws), "{draws}");
    }

    #[test]
    fn a_run_that_would_outgrow_its_window_is_refused() {
        let plan = plan(|profile| {
            profile.data.start_hours_ago = 1.0;
            profile.data.step_ms = 10_000;
        });
        plan.check_room(10_000.0).unwrap();
        assert!(plan.check_room(20_000.0).is_err());
    }
}
