//! `sensorgate readings …`: reading back.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use super::{
    client::Call,
    context::Context,
    error::Result,
    file::Target,
    find,
    options::Limit,
    table::{Card, Column, text},
    when::{self, Period},
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
  sensorgate readings trace AA:BB:01 --metric temperature --at 2026-01-05T10:00:00Z
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
    /// Where is my reading? Whether it was refused, waits, is stored or was replaced, and by which request.
    #[command(visible_alias = "where")]
    Trace(Trace),
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

#[derive(Debug, Args)]
pub(crate) struct Trace {
    /// Id or external id of the equipment.
    equipment: String,
    /// Whose external id it is, where two partners use the same.
    #[arg(long)]
    integration: Option<String>,
    /// Only of this metric.
    #[arg(long, short)]
    metric: Option<String>,
    /// The reading's own time; or --from and --to.
    #[arg(long, value_name = "TIME", value_parser = when::past, conflicts_with_all = ["from", "to"])]
    at: Option<String>,
    #[command(flatten)]
    period: Period,
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
        Action::Trace(trace) => self::trace(cx, trace).await,
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

/// What is known of a reading, as a list that can be read from top to bottom.
async fn trace(cx: &Context, trace: &Trace) -> Result {
    let call = cx.client.get(format!("{READINGS}/trace")).query("metric", trace.metric.as_deref());
    let call = named(cx, call, Some(&trace.equipment), trace.integration.as_deref()).await?;
    let call = trace.period.narrow(call).query("timestamp", trace.at.as_deref());
    let answer = call.send().await?;
    cx.out.one(&answer, |known| {
        let mut card = Card::default();
        card.line("Outcome", &known["outcome"]).line("Summary", &known["summary"]);
        card.line("Equipment", &known["external_id"]).line("Id", &known["equipment_id"]);
        for (title, name) in [
            ("Stored", "stored"),
            ("Accepted in", "accepted_in"),
            ("Refused in", "refused_in"),
            ("Quarantined", "quarantined"),
            ("Refused request", "refused_requests"),
        ] {
            for one in known[name].as_array().into_iter().flatten() {
                card.say(title, facts(one));
            }
        }
        if known["complete"] == false {
            card.say("Not complete", "ask for a shorter time");
        }
        card
    })
}

/// The fields of an object that have a value, as a line.
fn facts(object: &Value) -> String {
    let facts = object.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    facts.map(|(name, value)| format!("{name} {}", text(value))).collect::<Vec<_>>().join(", ")
}
