//! The shipped greenhouse readings, with their times shifted so that the last one is now.
//!
//! Source and licence stand in `data/README.md` and go wherever the file goes.

use anyhow::{Context, Result, ensure};

const CSV: &str = include_str!("data/bleiswijk-2009.csv");
/// Columns of the file after its timestamp: metric, and the equipment that reports it in the demo.
pub(super) const SERIES: [(&str, &str, &str); 3] =
    [("temperature", "BLW-TEMP-1", "C"), ("humidity", "BLW-RH-1", "%"), ("co2", "BLW-CO2-1", "ppm")];

/// One row of the file: a time and a value for each of [`SERIES`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    /// Shifted time, whole seconds since the Unix epoch.
    pub(super) timestamp_s: i64,
    /// Values in the order of [`SERIES`].
    pub(super) values: [f64; 3],
}

/// All rows, the last of them at `now_s`.
pub(super) fn load(now_s: i64) -> Result<Vec<Row>> {
    let mut rows = CSV.lines().skip(1).map(parse).collect::<Result<Vec<_>>>()?;
    let last_s = rows.last().context("the data set is empty")?.timestamp_s;
    for row in &mut rows {
        row.timestamp_s += now_s - last_s;
    }
    Ok(rows)
}

fn parse(line: &str) -> Result<Row> {
    let fields: Vec<&str> = line.split(',').collect();
    ensure!(fields.len() == 4, "a row of the data set has {} fields: {line}", fields.len());
    let timestamp_s = fields[0].parse::<jiff::Timestamp>().with_context(|| line.to_owned())?.as_second();
    // The file has a few "-0.00"; the service keeps one zero (a sensor does not tell them apart), so the demo does too.
    let value = |text: &str| text.parse::<f64>().map(|value| value + 0.0).with_context(|| line.to_owned());
    Ok(Row { timestamp_s, values: [value(fields[1])?, value(fields[2])?, value(fields[3])?] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_whole_and_ends_now() {
        let rows = load(1_000_000_000).expect("readable");
        assert_eq!(rows.len(), 31_968);
        assert_eq!(rows[31_967].timestamp_s, 1_000_000_000);
        assert!(rows.windows(2).all(|pair| pair[1].timestamp_s - pair[0].timestamp_s == 300));
    }
}
