//! Reads everything back over the admin API and compares it with the file, value by value.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{
    dataset::{Row, SERIES},
    onboarding::Onboarded,
    say,
};

/// How long the last readings may take from the spool to the store before the comparison gives up.
const PATIENCE: Duration = Duration::from_secs(30);
/// Readings on a page of the admin API, at most.
const PAGE: usize = 10_000;

/// What the comparison found.
#[derive(Debug, Default)]
pub(super) struct Compared {
    pub(super) equal: u64,
    pub(super) missing: u64,
    pub(super) different: u64,
    pub(super) surplus: u64,
}

impl Compared {
    /// Whether every reading of the file, and nothing else, was read back.
    pub(super) fn verdict(&self) -> Result<()> {
        if self.missing + self.different + self.surplus > 0 || self.equal == 0 {
            bail!("the read-back does not agree with the file: {self:?}");
        }
        Ok(())
    }
}

/// Compares each of the three series with its column.
pub(super) async fn compare(onboarded: &Onboarded, rows: &[Row]) -> Result<Compared> {
    say("7. Reading everything back and comparing it with the file:");
    let mut total = Compared::default();
    for (column, (metric, external_id, _)) in SERIES.into_iter().enumerate() {
        let expected: Vec<(i64, f64)> = rows.iter().map(|row| (row.timestamp_s, row.values[column])).collect();
        let stored = read_series(onboarded, external_id, metric, &expected).await?;
        let found = compare_series(&expected, &stored);
        say(&format!("   {external_id} {metric}: {} of {} equal", found.equal, expected.len()));
        total.equal += found.equal;
        total.missing += found.missing;
        total.different += found.different;
        total.surplus += found.surplus;
    }
    Ok(total)
}

/// All pages of a series; read again while the tail is still on its way from the spool to the store.
async fn read_series(
    onboarded: &Onboarded,
    external_id: &str,
    metric: &str,
    expected: &[(i64, f64)],
) -> Result<Vec<(i64, f64)>> {
    let (from, to) = (expected[0].0, expected[expected.len() - 1].0 + 1);
    let time = |second: i64| -> Result<String> { Ok(jiff::Timestamp::from_second(second)?.to_string()) };
    let base = format!(
        "/admin/v1/readings?integration_id={}&external_id={external_id}&metric={metric}&from={}&to={}&limit={PAGE}",
        onboarded.integration_id,
        time(from)?,
        time(to)?,
    );
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let stored = read_pages(onboarded, &base).await?;
        if stored.len() >= expected.len() || tokio::time::Instant::now() > deadline {
            return Ok(stored);
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

async fn read_pages(onboarded: &Onboarded, base: &str) -> Result<Vec<(i64, f64)>> {
    let (mut stored, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = onboarded.first.get(&format!("{base}{cursor}")).await?;
        for item in page["items"].as_array().context("a page has items")? {
            stored.push(point(item)?);
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(stored),
        }
    }
}

fn point(item: &Value) -> Result<(i64, f64)> {
    let timestamp: jiff::Timestamp = item["timestamp"].as_str().context("a reading has a timestamp")?.parse()?;
    Ok((timestamp.as_second(), item["value"].as_f64().context("a reading has a value")?))
}

/// Both lists are in the order of time.
fn compare_series(expected: &[(i64, f64)], stored: &[(i64, f64)]) -> Compared {
    let mut found = Compared::default();
    let mut stored = stored.iter().peekable();
    for (timestamp_s, value) in expected {
        while stored.next_if(|(at, _)| at < timestamp_s).is_some() {
            found.surplus += 1;
        }
        match stored.next_if(|(at, _)| at == timestamp_s) {
            Some((_, same)) if same.to_bits() == value.to_bits() => found.equal += 1,
            Some(_) => found.different += 1,
            None => found.missing += 1,
        }
    }
    found.surplus += stored.count() as u64;
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_doubles_and_other_values_are_seen() {
        let expected = [(1, 1.0), (2, 2.0), (3, 3.0)];
        let check = |stored: &[(i64, f64)]| {
            let found = compare_series(&expected, stored);
            (found.equal, found.missing, found.different, found.surplus)
        };
        assert_eq!(check(&expected), (3, 0, 0, 0));
        assert_eq!(check(&[(1, 1.0), (3, 3.0)]), (2, 1, 0, 0));
        assert_eq!(check(&[(1, 1.0), (2, 2.0), (2, 2.0), (3, 3.0)]), (3, 0, 0, 1));
        assert_eq!(check(&[(1, 1.0), (2, 2.5), (3, 3.0), (4, 4.0)]), (2, 0, 1, 1));
        assert_eq!(check(&[]), (0, 3, 0, 0));
        assert!(compare_series(&expected, &[]).verdict().is_err());
    }
}
