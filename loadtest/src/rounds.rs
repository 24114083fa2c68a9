//! Several profiles, interleaved: A B C A B C …, so that a drift of the machine meets all of them alike.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::profile::{Load, Profile};
use crate::report::goals::{self, Goal};
use crate::report::{Entry, Report};
use crate::run::{Site, run};

/// The profiles of a full run, in their order. The long and the heavy ones (mixed_10min, kill, sensors_1m,
/// integrations_10k) are part of it; peers are not, since they need programs of their own.
pub const ALL: &[&str] = &[
    "floor_drop",
    "floor_parse",
    "main",
    "fsync_off",
    "log_off",
    "paced150_drop",
    "paced150",
    "batch1",
    "gzip",
    "zstd",
    "h2",
    "bad_entries",
    "stored",
    "sensors_300",
    "reencoded",
    "sensors_10k",
    "sensors_1m",
    "integrations_1",
    "integrations_10k",
    "conns_16",
    "conns_5000",
    "idle_10k",
    "mqtt_main",
    "mqtt_results",
    "mqtt_311",
    "mqtt_16",
    "mqtt_5000",
    "mqtt_idle_5000",
    "mqtt_kick_5000",
    "peak",
    "overload_2x",
    "one_core",
    "recovery",
    "kill",
    "mqtt_kill",
];

/// The profiles by name, each after the one that its rate hangs on.
///
/// # Errors
///
/// When one cannot be loaded.
pub fn load(names: &[String]) -> Result<Vec<Profile>> {
    let mut profiles: Vec<Profile> = Vec::new();
    for name in names {
        let profile = Profile::load(name)?;
        if let Load::OpenTimes { of, .. } = &profile.load
            && !profiles.iter().any(|known| known.name == *of)
        {
            let reference = Profile::load(of)?;
            ensure!(!matches!(reference.load, Load::OpenTimes { .. }), "{of} hangs on another profile itself");
            profiles.push(reference);
        }
        if !profiles.iter().any(|known| known.name == profile.name) {
            profiles.push(profile);
        }
    }
    Ok(profiles)
}

/// Runs `profiles` for `rounds` rounds and writes the report into `out` after each round.
///
/// # Errors
///
/// When the report cannot be written. A run that fails is part of the report.
pub fn interleave(profiles: Vec<Profile>, rounds: u32, site: &Site, goals: &[Goal], out: &Path) -> Result<Report> {
    let mut entries: Vec<Entry> = profiles.into_iter().map(Entry::new).collect();
    let mut report = Report::new(entries.clone(), goals);
    for round in 1..=rounds.max(1) {
        for index in 0..entries.len() {
            let name = entries[index].profile.name.clone();
            eprintln!("round {round} of {rounds}: {name}");
            match rate(&entries, index).and_then(|rate| run_one(&mut entries[index].profile.clone(), site, rate)) {
                Ok(figures) => entries[index].runs.push(figures),
                Err(error) => {
                    eprintln!("  failed: {error:#}");
                    entries[index].failures.push(format!("round {round}: {error:#}"));
                }
            }
        }
        report = Report::new(entries.clone(), goals);
        report.write(out)?;
    }
    Ok(report)
}

fn run_one(profile: &mut Profile, site: &Site, rate: Option<f64>) -> Result<crate::report::figures::Figures> {
    if let (Load::OpenTimes { .. }, Some(requests_per_s)) = (&profile.load, rate) {
        // From here on it is an open loop like any other, with as many integrations as that takes.
        profile.load = Load::Open { requests_per_s };
    }
    run(profile, site, rate)
}

/// The rate of an open loop; for a multiple of another profile that one's last figure counts.
fn rate(entries: &[Entry], index: usize) -> Result<Option<f64>> {
    match &entries[index].profile.load {
        Load::Closed { .. } => Ok(None),
        Load::Open { requests_per_s } => Ok(Some(*requests_per_s)),
        Load::OpenTimes { times, of } => {
            let reference = entries.iter().find(|entry| entry.profile.name == *of);
            let run = reference.and_then(|entry| entry.runs.last());
            let run = run.with_context(|| format!("{of} has no run that the rate could be taken from"))?;
            Ok(Some(times * run.acked_requests as f64 / run.measured_s))
        }
    }
}

/// The shipped goals.
///
/// # Errors
///
/// When goals.toml is damaged.
pub fn shipped_goals() -> Result<Vec<Goal>> {
    goals::shipped()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_comes_after_the_one_that_its_rate_hangs_on() {
        let profiles = load(&["overload_2x".to_owned(), "peak".to_owned()]).unwrap();
        let names: Vec<&str> = profiles.iter().map(|profile| profile.name.as_str()).collect();
        assert_eq!(names, ["peak", "overload_2x"]);
    }

    #[test]
    fn all_names_shipped_profiles_and_every_goal_speaks_of_one() {
        let names: Vec<String> = ALL.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(load(&names).unwrap().len(), ALL.len());
        for goal in shipped_goals().unwrap() {
            for place in [Some(&goal.of), goal.per.as_ref()].into_iter().flatten() {
                let profile = place.split('.').next().unwrap();
                assert!(Profile::load(profile).is_ok(), "{place}");
            }
        }
    }
}
