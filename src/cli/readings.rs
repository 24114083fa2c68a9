//! `sensorgate readings …`: reading back.

use clap::{Args, Subcommand, ValueEnum};

use super::{
    client::Call, context::Context, error::Result, file::Target, find, options::Limit, table::Column, when::Period,
};

const READINGS: &str = "/admin/v1/readings";
/// Readings that are shown unless somebody asks for more.
const LIMIT: usize = 1_000;

const LATEST: &[Column<'_>] = &[
    Column::new("EXTERNAL ID", "external_id"),
    Column::new("METRIC", "metric"),
    Column::new("VALUE", "value"),
    Column::new("UNIT", "unit"),
    Column::whole("TIMESTAMP", "timestamp"),
    Column::new("QUALITY", "quality"),
    Column::whole("EQUIPMENT", "equipment_id"),
];

pub(super) const EXAMPLES: &str = "Examples:
  sensorgate readings latest --integration 'Climate computer'
  sensorgate readings range AA:BB:01 --metric temperature --from 24h --resolution 1h
  sensorgate readings export AA:BB:01 --metric temperature --from 2026-01-01 --file temperature.csv";

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// The latest reading of each series.
    Latest {
        /// Id or external id; all of --integration or --room if left out.
        #[arg(required_unless_present_any = ["integration", "room"])]
        equipment: Option<String>,
        /// Of all its equipment, or the one whose external id it is.
        #[arg(long)]
        integration: Option<String>,
        /// Of all equipment in this room.
        #[arg(long, conflicts_with = "equipment")]
        room: Option<String>,
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
pub(crate) enum Format {
    #[default]
    Csv,
    Parquet,
}

#[derive(Debug, Args)]
pub(crate) struct Series {
    /// Id or external id of the equipment; all of --room if left out.
    #[arg(required_unless_present = "room")]
    equipment: Option<String>,
    /// Whose external id it is, where two partners use the same; with --room, only this integration's equipment.
    #[arg(long)]
    integration: Option<String>,
    /// Of all equipment in this room.
    #[arg(long, conflicts_with = "equipment")]
    room: Option<String>,
    /// temperature, humidity, co2 …
    #[arg(long, short)]
    metric: String,
    #[command(flatten)]
    period: Period,
    /// One line a step of this length, with mean, min and max: 30s, 5m, 1h, 1d.
    #[arg(long, value_name = "STEP")]
    resolution: Option<String>,
}

impl Series {
    async fn call<'a>(&self, cx: &'a Context) -> Result<Call<'a>> {
        let call = named(cx, cx.client.get(READINGS), self.equipment.as_deref(), self.integration.as_deref()).await?;
        let call = call.query("room", self.room.as_deref()).query("metric", Some(&self.metric));
        Ok(self.period.narrow(call).query("resolution", self.resolution.as_deref()))
    }
}

pub(super) async fn run(cx: &Context, action: &Action) -> Result {
    match action {
        Action::Latest { equipment, integration, room, metric, limit } => {
            let call = cx.client.get(format!("{READINGS}/latest"));
            let call = named(cx, call, equipment.as_deref(), integration.as_deref()).await?;
            let names = if metric.is_empty() { None } else { Some(metric.join(",")) };
            let call = call.query("room", room.as_deref()).query("metric", names);
            cx.out.list(&call.pages(limit.or(None)).await?, LATEST, |_| {})
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

/// The call, about one piece of equipment, or about all of an integration.
async fn named<'a>(
    cx: &Context,
    call: Call<'a>,
    equipment: Option<&str>,
    integration: Option<&str>,
) -> Result<Call<'a>> {
    Ok(match equipment {
        Some(equipment) => call.query("equipment_id", Some(find::equipment(cx, equipment, integration).await?.id)),
        None => call.query("integration_id", find::integration_id(cx, integration).await?),
    })
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
    const OF_ROOM: &[Column<'_>] = &[
        Column::new("EXTERNAL ID", "external_id"),
        Column::whole("TIMESTAMP", "timestamp"),
        Column::new("VALUE", "value"),
        Column::new("QUALITY", "quality"),
        Column::whole("EQUIPMENT", "equipment_id"),
    ];
    let listing = series.call(cx).await?.pages(limit.or(Some(LIMIT))).await?;
    let columns = match (&series.room, &series.resolution) {
        (Some(_), _) => OF_ROOM,
        (None, Some(_)) => STEP,
        (None, None) => READING,
    };
    cx.out.list(&listing, columns, |_| {})
}
