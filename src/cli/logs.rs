//! `sensorgate logs …`: the API log, and why a request was answered as it was.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use super::{
    client::{Call, segment},
    context::Context,
    error::Result,
    file::Target,
    find,
    options::{Form, Limit},
    output::print,
    table::{Card, Column, text},
    when::Period,
};

const LOG: &str = "/admin/v1/request-log";
/// Requests that are shown unless somebody asks for more.
const LIMIT: usize = 100;

pub(super) const EXAMPLES: &str = "Examples:
  sensorgate logs list --integration 'Climate computer' --status 4xx --from 24h
  sensorgate logs list --integration 'Climate computer' --hours 22-6 --ip 203.0.113.0/24
  sensorgate logs show 01976f3e-7d7c-7f0e-8e43-0a6f0e6a4a11      # why was it answered so?
  sensorgate logs addresses --integration 'Climate computer' --new
  sensorgate logs export --integration 'Climate computer' --from 7d --file requests.csv";

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Requests of the integration API, the newest first.
    #[command(visible_alias = "ls")]
    List {
        #[command(flatten)]
        filter: Filter,
        #[command(flatten)]
        limit: Limit,
    },
    /// Explain one request: every check in its order, and what you can do.
    #[command(visible_aliases = ["explain", "get"])]
    Show {
        /// From the answer's X-Request-Id, or from the error.
        request_id: String,
    },
    /// Requests over time.
    Counts {
        #[command(flatten)]
        whose: Whose,
        /// Length of a step: 1m, 5m, 1h, 1d.
        #[arg(long, value_name = "STEP")]
        step: Option<String>,
    },
    /// The addresses that requests came from.
    Addresses {
        #[command(flatten)]
        whose: Whose,
        /// Only those that were never seen before.
        #[arg(long)]
        new: bool,
    },
    /// Requests by the hour of the day (UTC).
    Hours {
        #[command(flatten)]
        whose: Whose,
    },
    /// All of it that the filter lets through, as a file.
    Export {
        #[command(flatten)]
        filter: Filter,
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
    Ndjson,
}

#[derive(Debug, Args)]
pub(crate) struct Whose {
    /// Only this integration's.
    #[arg(long)]
    integration: Option<String>,
    #[command(flatten)]
    period: Period,
}

#[derive(Debug, Args)]
pub(crate) struct Filter {
    #[command(flatten)]
    whose: Whose,
    /// Only this request.
    #[arg(long, value_name = "ID")]
    request: Option<String>,
    /// Only those that the caller named so.
    #[arg(long, value_name = "ID")]
    client_request: Option<String>,
    /// Only those answered with this status: 401, 4xx …
    #[arg(long)]
    status: Option<String>,
    /// Only those refused with this code.
    #[arg(long)]
    code: Option<String>,
    /// Only those refused for exactly this cause, key_superseded for example.
    #[arg(long)]
    cause: Option<String>,
    /// Only those from this address or network.
    #[arg(long, value_name = "CIDR")]
    ip: Option<String>,
    /// Only those that needed this scope.
    #[arg(long)]
    scope: Option<String>,
    /// Only those that came this way.
    #[arg(long, value_parser = ["http", "mqtt"])]
    transport: Option<String>,
    /// Only those at these hours of the day (UTC): 22-6 is 22:00 to 05:59.
    #[arg(long, value_name = "FROM-TO", value_parser = hours)]
    hours: Option<(u8, u8)>,
}

/// `22-6` as two hours.
fn hours(text: &str) -> std::result::Result<(u8, u8), String> {
    let hour = |text: &str| text.parse().ok().filter(|hour: &u8| *hour <= 24);
    let pair = text.split_once('-').and_then(|(from, to)| Some((hour(from)?, hour(to)?)));
    pair.ok_or_else(|| "give two hours of the day, 22-6 for example".to_owned())
}

impl Whose {
    async fn narrow<'a>(&self, cx: &Context, call: Call<'a>) -> Result<Call<'a>> {
        let call = call.query("integration_id", find::integration_id(cx, self.integration.as_deref()).await?);
        Ok(self.period.narrow(call))
    }
}

impl Filter {
    async fn narrow<'a>(&self, cx: &Context, call: Call<'a>) -> Result<Call<'a>> {
        let call = self.whose.narrow(cx, call).await?;
        let call = call.query("request_id", self.request.as_deref());
        let call = call.query("client_request_id", self.client_request.as_deref());
        let call = call.query("status", self.status.as_deref()).query("code", self.code.as_deref());
        let call = call.query("cause", self.cause.as_deref()).query("ip", self.ip.as_deref());
        let call = call.query("scope", self.scope.as_deref()).query("transport", self.transport.as_deref());
        let (from, to) = self.hours.unzip();
        Ok(call.query("hour_from", from).query("hour_to", to))
    }
}

pub(super) async fn run(cx: &Context, action: &Action) -> Result {
    match action {
        Action::List { filter, limit } => list(cx, filter, *limit).await,
        Action::Show { request_id } => show(cx, request_id).await,
        Action::Counts { whose, step } => {
            const COLUMNS: &[Column<'_>] = &[
                Column::new("START", "start"),
                Column::new("REQUESTS", "requests"),
                Column::new("REFUSED", "refused"),
                Column::new("RATE LIMITED", "rate_limited"),
                Column::new("ACCEPTED READINGS", "accepted"),
                Column::new("REJECTED READINGS", "rejected"),
            ];
            let call = cx.client.get(format!("{LOG}/counts")).query("step", step.as_deref());
            sums(cx, whose, call, COLUMNS).await
        }
        Action::Addresses { whose, new } => {
            const COLUMNS: &[Column<'_>] = &[
                Column::whole("ADDRESS", "ip"),
                Column::new("REQUESTS", "requests"),
                Column::new("REFUSED", "refused"),
                Column::new("NEW", "new"),
                Column::new("FIRST SEEN", "first_seen_at"),
                Column::new("LAST SEEN", "last_seen_at"),
            ];
            let call = cx.client.get(format!("{LOG}/addresses")).query("new", new.then_some(true));
            sums(cx, whose, call, COLUMNS).await
        }
        Action::Hours { whose } => {
            const COLUMNS: &[Column<'_>] = &[
                Column::new("HOUR (UTC)", "hour"),
                Column::new("REQUESTS", "requests"),
                Column::new("REFUSED", "refused"),
                Column::new("ON DAYS", "days"),
            ];
            sums(cx, whose, cx.client.get(format!("{LOG}/hours")), COLUMNS).await
        }
        Action::Export { filter, format, target } => {
            let format = match format {
                Format::Csv => "csv",
                Format::Ndjson => "ndjson",
            };
            target.fetch(cx, filter.narrow(cx, cx.client.get(LOG)).await?.query("format", Some(format))).await
        }
    }
}

async fn list(cx: &Context, filter: &Filter, limit: Limit) -> Result {
    const COLUMNS: &[Column<'_>] = &[
        Column::new("AT", "at"),
        Column::new("INTEGRATION", "integration_id"),
        Column::new("ADDRESS", "ip"),
        Column::new("METHOD", "method"),
        Column::new("ROUTE", "route"),
        Column::new("STATUS", "status"),
        Column::new("CODE", "code"),
        Column::new("CAUSE", "cause"),
        Column::new("ACCEPTED", "accepted"),
        Column::new("REJECTED", "rejected"),
        Column::whole("REQUEST", "request_id"),
    ];
    let listing = filter.narrow(cx, cx.client.get(LOG)).await?.pages(limit.or(Some(LIMIT))).await?;
    let names = find::integration_names(cx).await;
    cx.out.list(&listing, COLUMNS, |entry| entry["integration_id"] = find::named(&names, &entry["integration_id"]))
}

async fn sums(cx: &Context, whose: &Whose, call: Call<'_>, columns: &[Column<'_>]) -> Result {
    let listing = whose.narrow(cx, call).await?.whole().await?;
    cx.out.list(&listing, columns, |_| {})
}

/// One request, as a list of checks that can be read from top to bottom.
async fn show(cx: &Context, request_id: &str) -> Result {
    let see = "sensorgate logs list shows the latest requests.";
    let answer = cx.client.get(format!("{LOG}/{}", segment(request_id))).or_see(see).send().await?;
    let names = find::integration_names(cx).await;
    cx.out.one(&answer, |entry| {
        let mut card = Card::default();
        card.line("Request", &entry["request_id"])
            .some("Caller's name for it", &entry["client_request_id"])
            .line("At", &entry["at"])
            .line("Integration", &find::named(&names, &entry["integration_id"]))
            .some("Key begins with", &entry["key_prefix"])
            .line("Address", &entry["ip"])
            .say(
                "Call",
                format!("{} {} ({})", text(&entry["method"]), text(&entry["route"]), text(&entry["transport"])),
            )
            .some("Scope needed", &entry["scope"])
            .line("Status", &entry["status"])
            .some("Code", &entry["code"])
            .some("Cause", &entry["cause"])
            .some("The caller was told", &entry["message"])
            .some("Readings accepted", &entry["accepted"])
            .some("Readings rejected", &entry["rejected"]);
        card.some("Summary", &entry["summary"]);
        card
    })?;
    if cx.out.form == Form::Table { checks(&answer.json) } else { Ok(()) }
}

fn checks(entry: &Value) -> Result {
    print("")?;
    for check in entry["checks"].as_array().into_iter().flatten() {
        let mark = match check["verdict"].as_str() {
            Some("passed") => "✓",
            Some("failed") => "✗",
            _ => "·",
        };
        print(&format!("{mark} {}: {}", text(&check["name"]), text(&check["detail"])))?;
    }
    for reading in entry["rejected_entries"].as_array().into_iter().flatten() {
        let named = [&reading["external_id"], &reading["equipment_id"]].into_iter().find(|id| !id.is_null());
        let named = named.map_or_else(String::new, |id| format!(" of {}", text(id)));
        print(&format!("✗ reading {}{named}: {}", reading["index"], text(&reading["code"])))?;
    }
    let advice: Vec<String> = entry["advice"].as_array().into_iter().flatten().map(text).collect();
    if advice.is_empty() {
        return Ok(());
    }
    print("\nWhat you can do:")?;
    advice.iter().try_for_each(|advice| print(&format!("- {advice}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_a_pair() {
        assert_eq!(hours("22-6"), Ok((22, 6)));
        assert_eq!(hours("0-24"), Ok((0, 24)));
        for wrong in ["22", "25-6", "a-b", "-"] {
            assert!(hours(wrong).is_err(), "{wrong}");
        }
    }
}
