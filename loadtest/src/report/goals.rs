//! Goals as data (`goals.toml`): figures, or ratios of two figures of one round, with what must and what should be.

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::Entry;

/// A goal.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Goal {
    /// What it is about.
    pub name: String,
    /// `profile.figure`.
    pub of: String,
    /// Divided by this `profile.figure` of the same round.
    pub per: Option<String>,
    /// What must be.
    pub must: f64,
    /// What should be.
    pub aim: f64,
    /// Whether a larger value is the better one.
    #[serde(default)]
    pub more_is_better: bool,
    /// Unit of the value; empty for a ratio.
    #[serde(default)]
    pub unit: String,
    /// What to bear in mind when reading it.
    #[serde(default)]
    pub note: String,
}

/// A goal and what came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Judged {
    /// The goal.
    #[serde(flatten)]
    pub goal: Goal,
    /// Median over the rounds; `None` where a profile of it was not run.
    pub value: Option<f64>,
    /// Round after round.
    pub values: Vec<f64>,
}

impl std::ops::Deref for Judged {
    type Target = Goal;

    fn deref(&self) -> &Goal {
        &self.goal
    }
}

#[derive(Debug, Deserialize)]
struct File {
    goal: Vec<Goal>,
}

/// The shipped goals.
///
/// # Errors
///
/// When goals.toml is damaged.
pub fn shipped() -> Result<Vec<Goal>> {
    let file: File = toml::from_str(include_str!("../../goals.toml")).context("goals.toml")?;
    for goal in &file.goal {
        for place in [Some(&goal.of), goal.per.as_ref()].into_iter().flatten() {
            if !place.contains('.') {
                bail!("goals.toml: {place} is not profile.figure");
            }
        }
    }
    Ok(file.goal)
}

impl Goal {
    /// What came of it in `entries`.
    #[must_use]
    pub fn judge(&self, entries: &[Entry]) -> Judged {
        let rounds = entries.iter().map(|entry| entry.runs.len()).max().unwrap_or(0);
        let values: Vec<f64> = (0..rounds)
            .filter_map(|round| {
                let of = figure(entries, &self.of, round)?;
                let per = match &self.per {
                    Some(per) => figure(entries, per, round)?,
                    None => 1.0,
                };
                (per > 0.0).then_some(of / per)
            })
            .collect();
        Judged { goal: self.clone(), value: median(values.clone()), values }
    }

    /// The bound in words.
    #[must_use]
    pub fn must_words(&self) -> String {
        format!("{} {}", self.sign(), number(self.must, &self.unit))
    }

    /// The aim in words.
    #[must_use]
    pub fn aim_words(&self) -> String {
        format!("{} {}", self.sign(), number(self.aim, &self.unit))
    }

    const fn sign(&self) -> &'static str {
        if self.more_is_better { "≥" } else { "≤" }
    }

    fn reaches(&self, value: f64, bound: f64) -> bool {
        if self.more_is_better { value >= bound } else { value <= bound }
    }
}

impl Judged {
    /// One word on what came of it.
    #[must_use]
    pub fn mark(&self) -> &'static str {
        match self.value {
            None => "not run",
            Some(value) if self.reaches(value, self.aim) => "aim met",
            Some(value) if self.reaches(value, self.must) => "pass",
            Some(_) => "miss",
        }
    }

    /// The value in words.
    #[must_use]
    pub fn value_words(&self) -> String {
        self.value.map_or_else(|| "–".to_owned(), |value| number(value, &self.unit))
    }
}

fn figure(entries: &[Entry], place: &str, round: usize) -> Option<f64> {
    let (profile, name) = place.split_once('.')?;
    let entry = entries.iter().find(|entry| entry.profile.name == profile)?;
    let run = entry.runs.get(round)?;
    run.named().into_iter().find(|(known, _)| *known == name).map(|(_, value)| value)
}

/// The middle one, or the mean of the two in the middle.
#[must_use]
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) {
        Some((values.get(middle)? + values.get(middle.checked_sub(1)?)?) / 2.0)
    } else {
        values.get(middle).copied()
    }
}

/// A number as people read it: three significant digits or so, and its unit.
#[must_use]
pub fn number(value: f64, unit: &str) -> String {
    let size = value.abs();
    let text = if size >= 100.0 {
        format!("{value:.0}")
    } else if size >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    };
    if unit.is_empty() { text } else { format!("{text} {unit}") }
}
