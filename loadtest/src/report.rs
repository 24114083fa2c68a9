//! What comes out: report.json for programs, report.html for people, and the main chart as an SVG of its own.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Serialize;

use crate::profile::Profile;

pub mod figures;
pub mod goals;
mod html;
mod plot;

use figures::Figures;
use goals::{Goal, Judged};

/// The machine that the run was on.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// Logical processors.
    pub cores: usize,
    /// Model of the processor.
    pub processor: String,
    /// Release of the kernel.
    pub kernel: String,
    /// Memory. Bytes.
    pub memory_bytes: u64,
}

impl Machine {
    /// This one.
    #[must_use]
    pub fn here() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let after = |text: &str, key: &str| {
            let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default().to_owned();
            line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        let memory = after(&read("/proc/meminfo"), "MemTotal");
        let kilobytes: u64 = memory.split(' ').next().and_then(|field| field.parse().ok()).unwrap_or(0);
        Self {
            cores: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
            processor: after(&read("/proc/cpuinfo"), "model name"),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            memory_bytes: kilobytes * 1024,
        }
    }
}

/// All runs of one profile.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// What was done.
    pub profile: Profile,
    /// Round after round.
    pub runs: Vec<Figures>,
    /// Runs that failed, with why.
    pub failures: Vec<String>,
    /// Median of every figure over the rounds.
    pub medians: BTreeMap<String, f64>,
}

impl Entry {
    /// An empty one.
    #[must_use]
    pub fn new(profile: Profile) -> Self {
        Self { profile, runs: Vec::new(), failures: Vec::new(), medians: BTreeMap::new() }
    }

    /// Takes the medians anew.
    pub fn update(&mut self) {
        let mut values: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for run in &self.runs {
            for (name, value) in run.named() {
                values.entry(name.to_owned()).or_default().push(value);
            }
        }
        self.medians = values.into_iter().filter_map(|(name, values)| Some((name, goals::median(values)?))).collect();
    }

    fn median(&self, name: &str) -> Option<f64> {
        self.medians.get(name).copied()
    }
}

/// The whole report.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// When it was written.
    pub written_at: String,
    /// Where.
    pub machine: Machine,
    /// Rounds that were run.
    pub rounds: u32,
    /// By profile, in the order of the run.
    pub entries: Vec<Entry>,
    /// Every goal, with what came of it.
    pub goals: Vec<Judged>,
    /// Whether every promise was kept in every run: nothing lost, doubled or wrong, and no run failed.
    pub promises_kept: bool,
}

impl Report {
    /// Of `entries`, judged by `goals`.
    #[must_use]
    pub fn new(mut entries: Vec<Entry>, goals: &[Goal]) -> Self {
        for entry in &mut entries {
            entry.update();
        }
        let rounds = entries.iter().map(|entry| entry.runs.len()).max().unwrap_or(0) as u32;
        let promises_kept =
            entries.iter().all(|entry| entry.failures.is_empty() && entry.runs.iter().all(Figures::promises_kept));
        let goals = goals.iter().map(|goal| goal.judge(&entries)).collect();
        Self {
            written_at: Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
            machine: Machine::here(),
            rounds,
            entries,
            goals,
            promises_kept,
        }
    }

    /// Writes report.json, report.html and main.svg into `dir`.
    ///
    /// # Errors
    ///
    /// When they cannot be written.
    pub fn write(&self, dir: &Path) -> Result<()> {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let files = [
            ("report.json", serde_json::to_string_pretty(self)?),
            ("report.html", html::page(self)),
            ("main.svg", html::main_chart(self).standalone()),
        ];
        for (name, text) in files {
            std::fs::write(dir.join(name), text)
                .with_context(|| format!("cannot write {name} into {}", dir.display()))?;
        }
        Ok(())
    }

    /// A few lines for the terminal.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut lines = vec![format!(
            "{:<18} {:>10} {:>12} {:>9} {:>9} {:>9} {:>8} {:>8} {:>8}  {}",
            "profile",
            "requests/s",
            "readings/s",
            "p50 ms",
            "p99 ms",
            "p99.9 ms",
            "CPU ns",
            "ack ns",
            "MB peak",
            "ledger"
        )];
        for entry in &self.entries {
            let get = |name: &str| entry.median(name).unwrap_or(f64::NAN);
            lines.push(format!(
                "{:<18} {:>10.0} {:>12.0} {:>9.2} {:>9.2} {:>9.2} {:>8.0} {:>8.0} {:>8.0}  {}",
                entry.profile.name,
                get("acked_requests_per_s"),
                get("acked_per_s"),
                get("p50_us") / 1e3,
                get("p99_us") / 1e3,
                get("p999_us") / 1e3,
                get("cpu_ns"),
                get("ack_cpu_ns"),
                get("rss_peak_bytes") / 1e6,
                html::ledger_words(entry)
            ));
            lines.extend(entry.failures.iter().map(|failure| format!("  FAILED: {failure}")));
        }
        let measured: Vec<_> = self.goals.iter().filter(|goal| goal.value.is_some()).collect();
        if !measured.is_empty() {
            lines.push(String::new());
        }
        for goal in measured {
            lines.push(format!(
                "{:<8} {:>9}  ({}; aim {})  {}",
                goal.mark(),
                goal.value_words(),
                goal.must_words(),
                goal.aim_words(),
                goal.name
            ));
        }
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests;
