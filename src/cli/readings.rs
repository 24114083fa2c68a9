//! `sensorgate readings …`: reading back.

use clap::{Args, Subcommand, ValueEnum};

use super::{
    client::Call,
    context::Context,
    error::Result,
    file::Target,
    find,
    options::{Limit, Options},
    table::Column,
    when,
};

const READINGS: &str = "/admin/v1/readings";
/// Readings that are shown unless somebody asks for more.
const LIMIT: usize = 1_000;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sensorgate readings latest --integration 'Climate computer'
  sensorgate readings range AA:BB:01 --metric temperature --from 24h --resolution 1h
  sensorgate readings export AA:BB:01 --metric temperature --from 2026-01-01 --file temperature.csv")]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(super) options: Options,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// The latest reading of each series.
    Latest {
        /// Id or external id; all of --integration if left out.
        #[arg(required_unless_present = "integration")]
        equipment: Option<String>,
        /// Of all its equipment, or the one whose external id it is.
        #[arg(long)]
        integration: Option<String>,
        /// Only these; several with commas.
        #[arg(long, value_delimiter = ',')]
        metric: Vec<String>,
        #[command(flatten)]
        limit: Limit,
    },
    /// The readings of one series, earliest first.
    Range {
        #[command(flatten)]
        series: Series,
        #[command(flatten)]
        limit: Limit,
    },
    /// The same whole, as a file for a spreadsheet.
    Export {
        #[command(flatten)]
        series: Series,
        #[arg(long, value_enum, default_value_t)]
        format: Format,
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Format {
    #[default]
    Csv,
    Parquet,
}

#[derive(Debug, Args)]
struct Series {
    /// Id or external id of the equipment.
    equipment: String,
    /// Whose external id it is, where two partners use the same.
    #[arg(long)]
    integration: Option<String>,
    /// temperature, humidity, co2 …
    #[arg(long, short)]
    metric: String,
    /// From this time on: 2026-01-05T10:00:00Z, 2026-01-05, 24h (ago) …
    #[arg(long, value_name = "TIME", value_parser = when::past, visible_alias = "since")]
    from: Option<String>,
    /// Before this time.
    #[arg(long, value_name = "TIME", value_parser = when::past)]
    to: Option<String>,
    /// One line a step of this length, with mean, min and max: 30s, 5m, 1h, 1d.
    #[arg(long, value_name = "STEP")]
    resolution: Option<String>,
}

impl Series {
    async fn call<'a>(&self, cx: &'a Context) -> Result<Call<'a>> {
        let equipment = find::equipment(cx, &self.equipment, self.integration.as_deref()).await?;
        let call =
            cx.client.get(READINGS).query("equipment_id", Some(&equipment.id)).query("metric", Some(&self.metric));
        let call = call.query("from", self.from.as_deref()).query("to", self.to.as_deref());
        Ok(call.query("resolution", self.resolution.as_deref()))
    }
}

pub(super) async fn run(cx: &Context, arguments: &Arguments) -> Result {
    match &arguments.action {
        Action::Latest { equipment, integration, metric, limit } => {
            latest(cx, equipment.as_deref(), integration.as_deref(), metric, *limit).await
        }
        Action::Range { series, limit } => range(cx, series, *limit).await,
        Action::Export { series, format, target } => {
            let format = match format {
                Format::Csv => "csv",
                Format::Parquet => "parquet",
            };
            target.fetch(cx, series.call(cx).await?.query("format", Some(format))).await
        }
    }
}

async fn latest(
    cx: &Context,
    equipment: Option<&str>,
    integration: Option<&str>,
    metric: &[String],
    limit: Limit,
) -> Result {
    const COLUMNS: &[Column<'_>] = &[
        Column::new("EXTERNAL ID", "external_id"),
        Column::new("METRIC", "metric"),
        Column::new("VALUE", "value"),
        Column::new("UNIT", "unit"),
        Column::whole("TIMESTAMP", "timestamp"),
        Column::new("QUALITY", "quality"),
        Column::whole("EQUIPMENT", "equipment_id"),
    ];
    let call = cx.client.get(format!("{READINGS}/latest"));
    let call = match (equipment, integration) {
        (Some(equipment), integration) => {
            call.query("equipment_id", Some(find::equipment(cx, equipment, integration).await?.id))
        }
        (None, Some(integration)) => call.query("integration_id", Some(find::integration(cx, integration).await?.id)),
        (None, None) => call,
    };
    let names = if metric.is_empty() { None } else { Some(metric.join(",")) };
    let listing = call.query("metric", names).pages(limit.or(None)).await?;
    cx.out.list(&listing, COLUMNS, |_| {})
}

async fn range(cx: &Context, series: &Series, limit: Limit) -> Result {
    const READING: &[Column<'_>] =
        &[Column::whole("TIMESTAMP", "timestamp"), Column::new("VALUE", "value"), Column::new("QUALITY", "quality")];
    const STEP: &[Column<'_>] = &[
        Column::whole("TIMESTAMP", "timestamp"),
        Column::new("MEAN", "value"),
        Column::new("MIN", "min"),
        Column::new("MAX", "max"),
        Column::new("FIRST", "first"),
        Column::new("LAST", "last"),
        Column::new("COUNT", "count"),
    ];
    let listing = series.call(cx).await?.pages(limit.or(Some(LIMIT))).await?;
    cx.out.list(&listing, if series.resolution.is_some() { STEP } else { READING }, |_| {})
}
