//! The ledger against what the server gives back, series by series.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use serde::Deserialize;
use tokio::task::JoinSet;

use crate::admin_client::AdminClient;
use crate::ledger::{Ledger, Row, Verdict};
use crate::plan::Plan;
use crate::setup::Estate;

/// Series that are read page by page as well as whole.
const PAGED: u64 = 20;
/// Readings on a page.
const PAGE: &str = "10000";
/// Series under way at once.
const PARALLEL: usize = 4;

#[derive(Debug, Deserialize)]
struct Page {
    items: Vec<Item>,
    next_cursor: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Item {
    timestamp: String,
    value: f64,
}

/// Reads back a `share` of all series and compares. The first few are read by pages too: both ways must agree.
///
/// # Errors
///
/// When the server refuses, or gives the pages and the whole export differently.
pub async fn check(admins: &[AdminClient], estate: &Estate, ledger: Arc<Ledger>, share: f64) -> Result<Verdict> {
    let mut verdict = Verdict::default();
    let mut tasks: JoinSet<Result<Verdict>> = JoinSet::new();
    let mut taken = 0u64;
    let mut wanted = 0.0;
    for number in 0..ledger.plan.integrations {
        let integration = &estate.integrations[number as usize];
        if ledger.books[number as usize].is_empty() {
            continue;
        }
        for k in 0..ledger.plan.series_each() {
            wanted += share;
            if wanted < 1.0 {
                continue;
            }
            wanted -= 1.0;
            if tasks.len() >= PARALLEL {
                verdict.add(tasks.join_next().await.context("no task")???);
            }
            let (admin, id) = (admins[integration.organisation].clone(), integration.id.clone());
            let (ledger, paged) = (Arc::clone(&ledger), taken < PAGED);
            tasks.spawn(async move { check_series(&admin, &id, &ledger, number, k, paged).await });
            taken += 1;
        }
    }
    while let Some(finished) = tasks.join_next().await {
        verdict.add(finished??);
    }
    Ok(verdict)
}

async fn check_series(
    admin: &AdminClient,
    integration_id: &str,
    ledger: &Ledger,
    number: u32,
    k: u64,
    paged: bool,
) -> Result<Verdict> {
    let query = query(&ledger.plan, integration_id, number, k);
    let rows = export(admin, &query).await?;
    if paged {
        let pages = pages(admin, &query).await?;
        ensure!(
            pages == rows,
            "{}: {} rows by pages, {} by CSV, or other ones",
            query.external_id,
            pages.len(),
            rows.len()
        );
    }
    Ok(ledger.compare(number, k, &rows))
}

/// What names the readings of one series within the time of a plan.
#[derive(Debug, Clone)]
pub struct SeriesQuery {
    integration_id: String,
    external_id: String,
    metric: String,
    from: String,
    to: String,
}

fn query(plan: &Plan, integration_id: &str, number: u32, k: u64) -> SeriesQuery {
    series_query(plan, integration_id, number, k, plan.start_us, plan.end_us)
}

/// The readings of the `k`-th series of an integration from `from_us` to `to_us`, the end exclusive.
#[must_use]
pub fn series_query(plan: &Plan, integration_id: &str, number: u32, k: u64, from_us: i64, to_us: i64) -> SeriesQuery {
    let (sensor, metric) = plan.series(k);
    let stamp = |us| Timestamp::from_microsecond(us).unwrap_or(Timestamp::UNIX_EPOCH).to_string();
    SeriesQuery {
        integration_id: integration_id.to_owned(),
        external_id: plan.external_id(number, sensor),
        metric: plan.metrics[metric].name.clone(),
        from: stamp(from_us),
        to: stamp(to_us),
    }
}

impl SeriesQuery {
    fn pairs(&self) -> Vec<(&str, &str)> {
        vec![
            ("integration_id", &self.integration_id),
            ("external_id", &self.external_id),
            ("metric", &self.metric),
            ("from", &self.from),
            ("to", &self.to),
        ]
    }
}

/// All rows, page by page.
///
/// # Errors
///
/// When the server refuses.
pub async fn pages(admin: &AdminClient, query: &SeriesQuery) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut pairs = query.pairs();
        pairs.push(("limit", PAGE));
        if let Some(cursor) = &cursor {
            pairs.push(("cursor", cursor));
        }
        let page: Page = admin.get("/admin/v1/readings", &pairs).await?;
        let got = page.items.len();
        for item in page.items {
            let at: Timestamp = item.timestamp.parse().with_context(|| format!("no timestamp: {}", item.timestamp))?;
            rows.push(Row { timestamp_us: at.as_microsecond(), value: item.value });
        }
        match page.next_cursor {
            Some(next) => {
                ensure!(got > 0 && Some(&next) != cursor.as_ref(), "an endless row of pages for {}", query.external_id);
                cursor = Some(next);
            }
            None => return Ok(rows),
        }
    }
}

async fn export(admin: &AdminClient, query: &SeriesQuery) -> Result<Vec<Row>> {
    let mut pairs = query.pairs();
    pairs.push(("format", "csv"));
    let bytes = admin.get_bytes("/admin/v1/readings", &pairs).await?;
    parse_csv(std::str::from_utf8(&bytes).context("the CSV is not UTF-8")?)
}

fn parse_csv(text: &str) -> Result<Vec<Row>> {
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().context("a CSV without a header")?.split(',').collect();
    let column = |name: &str| {
        header.iter().position(|field| field.trim() == name).with_context(|| format!("the CSV has no column {name}"))
    };
    let (timestamp, value) = (column("timestamp")?, column("value")?);
    let mut rows = Vec::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let fields: Vec<&str> = line.split(',').collect();
        let field = |index: usize| fields.get(index).copied().with_context(|| format!("a short CSV line: {line}"));
        let at: Timestamp = field(timestamp)?.parse().with_context(|| format!("no timestamp: {line}"))?;
        let value = field(value)?.parse().with_context(|| format!("no value: {line}"))?;
        rows.push(Row { timestamp_us: at.as_microsecond(), value });
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_is_read_by_the_names_of_its_columns() {
        let text =
            "equipment_id,timestamp,value,quality\ne,2026-01-05T10:00:00Z,24.6,good\ne,2026-01-05T10:00:00.5Z,1,bad\n";
        let rows = parse_csv(text).unwrap();
        assert_eq!(rows[0], Row { timestamp_us: 1_767_607_200_000_000, value: 24.6 });
        assert_eq!(rows[1], Row { timestamp_us: 1_767_607_200_500_000, value: 1.0 });
        assert!(parse_csv("timestamp,quality\n").is_err());
        assert!(parse_csv("timestamp,value\n2026-01-05T10:00:00Z\n").is_err());
    }
}
