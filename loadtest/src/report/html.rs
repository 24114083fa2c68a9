//! The page for people. It needs nothing but itself.

use std::fmt::Write as _;

use super::goals::number;
use super::plot::{Axis, Bar, Line, Plot, STYLE, bars, escape, lines};
use super::{Entry, Report};
use crate::profile::Profile;

const PAGE_STYLE: &str = include_str!("page.css");

/// The whole page.
pub(super) fn page(report: &Report) -> String {
    let mut out = String::new();
    let machine = &report.machine;
    put(
        &mut out,
        format_args!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width\"><title>sensorgate under load</title>\
             <style>{PAGE_STYLE}{STYLE}</style><h1>sensorgate under load</h1>\
             <p>Batches of sensor readings were sent to a server, every ack was written into a ledger, and \
             afterwards the ledger was compared with what the server gives back. {}</p>\
             <p class=\"dim\">{} · {} cores · {:.0} GB · Linux {} · {} · {} round(s), interleaved; medians. \
             The generator ran on the same machine. CPU time is what counts here; absolute figures drift with the \
             machine, ratios inside one run do not.</p>",
            promise(report),
            escape(&machine.processor),
            machine.cores,
            machine.memory_bytes as f64 / 1e9,
            escape(&machine.kernel),
            report.written_at,
            report.rounds
        ),
    );
    out.push_str(&main_chart(report).inline());
    goal_table(&mut out, report);
    profile_table(&mut out, report);
    words(&mut out);
    for entry in &report.entries {
        section(&mut out, entry);
    }
    out
}

fn promise(report: &Report) -> String {
    let right: u64 =
        report.entries.iter().flat_map(|e| &e.runs).filter_map(|run| run.facts.verdict.as_ref()).map(|v| v.right).sum();
    if !report.promises_kept {
        return "<span class=\"bad\">Promises were broken or runs failed: see the table.</span>".to_owned();
    }
    if right == 0 {
        return "In this run nothing was compared.".to_owned();
    }
    format!("<span class=\"good\">Nothing was lost, doubled or changed</span> ({right} acked readings compared).")
}

/// CPU a reading of every profile with the same form of load, the floors in grey.
pub(super) fn main_chart(report: &Report) -> Plot {
    let mut rows: Vec<Bar> = Vec::new();
    for entry in &report.entries {
        let Some(value) = entry.median("ack_cpu_ns") else { continue };
        if matches!(entry.profile.load, crate::profile::Load::Closed { .. })
            && entry.profile.data.readings_per_batch == 500
        {
            let is_floor = entry.profile.server.kind != crate::profile::ServerKind::Sensorgate;
            rows.push(Bar { label: entry.profile.name.clone(), value, is_floor });
        }
    }
    bars("Server CPU a reading until the ack, batches of 500 (ns; grey: floors and peers)", "ns", &rows)
}

fn goal_table(out: &mut String, report: &Report) {
    out.push_str(
        "<h2>Goals</h2><div class=\"scroll\"><table><tr><th>goal</th><th>measured</th><th>must</th><th>aim</th>\
         <th></th><th>by round</th></tr>",
    );
    for goal in &report.goals {
        let class = match goal.mark() {
            "miss" => "bad",
            "not run" => "dim",
            _ => "good",
        };
        let rounds: Vec<String> = goal.values.iter().map(|value| number(*value, "")).collect();
        put(
            out,
            format_args!(
                "<tr><td>{}<div class=\"dim\">{}</div></td><td>{}</td><td>{}</td><td>{}</td>\
                 <td class=\"{class}\">{}</td><td class=\"dim\">{}</td></tr>",
                escape(&goal.name),
                escape(&goal.note),
                goal.value_words(),
                goal.must_words(),
                goal.aim_words(),
                goal.mark(),
                rounds.join(" · ")
            ),
        );
    }
    out.push_str("</table></div>");
}

fn profile_table(out: &mut String, report: &Report) {
    out.push_str(
        "<h2>Profiles</h2><div class=\"scroll\"><table><tr><th>profile</th><th>requests/s</th><th>readings/s</th>\
         <th>p50 ms</th><th>p99 ms</th><th>p99.9 ms</th><th>CPU ns a reading</th><th>until the ack</th>\
         <th>until stored</th><th>MB peak</th><th class=\"left\">ledger</th></tr>",
    );
    for entry in &report.entries {
        let get = |name: &str, scale: f64, digits: usize| {
            entry.median(name).map_or_else(|| "–".to_owned(), |value| format!("{:.digits$}", value / scale))
        };
        let clean = entry.failures.is_empty() && entry.runs.iter().all(super::Figures::promises_kept);
        put(
            out,
            format_args!(
                "<tr><td><a href=\"#{n}\">{n}</a></td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
                 <td>{}</td><td>{}</td><td>{}</td><td>{}</td><td class=\"left {}\">{}</td></tr>",
                get("acked_requests_per_s", 1.0, 0),
                get("acked_per_s", 1.0, 0),
                get("p50_us", 1e3, 2),
                get("p99_us", 1e3, 2),
                get("p999_us", 1e3, 2),
                get("cpu_ns", 1.0, 0),
                get("ack_cpu_ns", 1.0, 0),
                get("cpu_to_store_ns", 1.0, 0),
                get("rss_peak_bytes", 1e6, 0),
                if clean { "good" } else { "bad" },
                escape(&ledger_words(entry)),
                n = escape(&entry.profile.name),
            ),
        );
    }
    out.push_str("</table></div>");
}

fn words(out: &mut String) {
    out.push_str(
        "<details><summary>What the words mean</summary><p><b>CPU ns a reading</b>: user and system time of the \
         whole server process, divided by the readings acked meanwhile. <b>Until the ack</b>: the same without the \
         threads that carry readings from the spool to the store. <b>Until stored</b>: all CPU from the start of the \
         load until the server is quiet again. <b>Latency</b> in an open loop counts from the time at which a request \
         should have been sent, so that a stall shows in every request that waited behind it. <b>Ledger</b>: readings \
         compared with what the server gives back: lost, doubled, with a wrong value, or there although never \
         acked.</p></details>",
    );
}

/// What the ledger says of all runs of a profile.
pub(super) fn ledger_words(entry: &Entry) -> String {
    if entry.runs.is_empty() {
        return "no run".to_owned();
    }
    let mut sum = crate::ledger::Verdict::default();
    let mut compared = false;
    let mut miscounted = 0;
    for run in &entry.runs {
        miscounted += run.miscounted;
        if let Some(verdict) = &run.facts.verdict {
            compared = true;
            sum.add(verdict.clone());
        }
    }
    if !compared {
        return if miscounted == 0 { "–".to_owned() } else { format!("{miscounted} miscounted") };
    }
    let faults: Vec<String> = [
        (sum.lost, "lost"),
        (sum.doubled, "doubled"),
        (sum.wrong_value, "wrong value"),
        (sum.unexpected, "unexpected"),
        (sum.disordered, "out of order"),
        (miscounted, "miscounted"),
    ]
    .iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("{count} {what}"))
    .collect();
    if faults.is_empty() { format!("{} right, 0 lost, 0 doubled", sum.right) } else { faults.join(", ") }
}

fn section(out: &mut String, entry: &Entry) {
    let profile = &entry.profile;
    put(
        out,
        format_args!(
            "<h3 id=\"{n}\">{n}</h3><p>{}</p>\
             <p class=\"dim\">{}, {} readings a batch, {} s measured</p>",
            escape(&profile.description),
            senders(profile),
            profile.data.readings_per_batch,
            profile.duration_s,
            n = escape(&profile.name)
        ),
    );
    for failure in &entry.failures {
        put(out, format_args!("<p class=\"bad\">A run failed: <pre>{}</pre></p>", escape(failure)));
    }
    let Some(run) = entry.runs.last() else { return };
    out.push_str("<div class=\"plots\">");
    for plot in plots(entry) {
        out.push_str(&plot.inline());
    }
    out.push_str("</div><details><summary>Figures and answers of the last round</summary><table>");
    for (name, value) in run.named() {
        put(out, format_args!("<tr><td>{name}</td><td>{}</td></tr>", number(value, "")));
    }
    for (outcome, count) in &run.outcomes {
        put(out, format_args!("<tr><td>answer: {}</td><td>{count}</td></tr>", escape(outcome)));
    }
    for (name, bytes) in &run.facts.disk_bytes {
        put(out, format_args!("<tr><td>on disk: {}</td><td>{:.1} MB</td></tr>", escape(name), *bytes as f64 / 1e6));
    }
    out.push_str("</table>");
    let examples = run.facts.verdict.iter().flat_map(|verdict| &verdict.examples).chain(&run.miscounted_examples);
    for example in examples {
        put(out, format_args!("<div class=\"bad\">{}</div>", escape(example)));
    }
    out.push_str("</details>");
}

/// Over how many connections and sessions the load goes, in words.
fn senders(profile: &Profile) -> String {
    let mqtt = &profile.mqtt;
    let http =
        (profile.connections > 0).then(|| format!("{} connections, {:?}", profile.connections, profile.protocol));
    let sessions = (mqtt.sessions > 0).then(|| {
        format!("{} MQTT sessions of {:?} with {} in flight each", mqtt.sessions, mqtt.versions, mqtt.in_flight)
    });
    http.into_iter().chain(sessions).collect::<Vec<_>>().join(", ")
}

fn plots(entry: &Entry) -> Vec<Plot> {
    let Some(run) = entry.runs.last() else { return Vec::new() };
    let kills: Vec<f64> = run.facts.recoveries.iter().map(|recovery| recovery.at_s).collect();
    let per_second = |of: fn(&crate::measure::Second) -> u64| {
        run.seconds.iter().enumerate().map(|(second, line)| (second as f64, of(line) as f64)).collect::<Vec<_>>()
    };
    let mut throughput = vec![Line { name: "acked".to_owned(), points: per_second(|second| second.acked) }];
    let batch = entry.profile.data.readings_per_batch as f64;
    let refused: Vec<(f64, f64)> = per_second(|second| second.refused).iter().map(|(x, y)| (*x, y * batch)).collect();
    if refused.iter().any(|(_, y)| *y > 0.0) {
        throughput.push(Line { name: "refused".to_owned(), points: refused });
    }
    // A second that the load only touched says nothing about a rate.
    for line in &mut throughput {
        line.points.truncate(entry.profile.total_s() as usize);
    }
    let seconds = Axis::linear("seconds of load (dashed: kill -9)");
    let seconds = if kills.is_empty() { Axis::linear("seconds of load") } else { seconds };
    let memory = run.looks.iter().map(|look| (look.at_s, look.rss_bytes as f64 / 1e6)).collect();
    let nines = ["0", "90 %", "99 %", "99.9 %", "99.99 %"];
    let quantiles = Axis {
        label: "share of requests".to_owned(),
        is_logarithmic: false,
        ticks: nines.iter().enumerate().map(|(n, label)| (n as f64, (*label).to_owned())).collect(),
    };
    let milliseconds = Axis { is_logarithmic: true, ..Axis::linear("milliseconds") };
    let curve = |run: &super::Figures| {
        run.response_curve.iter().map(|(share, us)| (-(1.0 - share).log10(), *us as f64 / 1e3)).collect::<Vec<_>>()
    };
    let curves: Vec<Line> = entry
        .runs
        .iter()
        .enumerate()
        .take(4)
        .map(|(round, run)| Line { name: format!("round {}", round + 1), points: curve(run) })
        .collect();
    let threads: Vec<Bar> = run
        .by_thread_ns
        .iter()
        .filter(|(_, ns)| **ns >= 0.5)
        .map(|(name, ns)| Bar { label: name.clone(), value: *ns, is_floor: false })
        .collect();
    vec![
        lines("Readings acked a second", &seconds, &Axis::linear("readings/s"), &throughput, &kills),
        lines("Latency by share of requests", &quantiles, &milliseconds, &curves, &[]),
        lines(
            "Resident memory",
            &seconds,
            &Axis::linear("MB"),
            &[Line { name: "MB".to_owned(), points: memory }],
            &kills,
        ),
        bars("CPU a reading by name of thread (ns)", "ns", &threads),
    ]
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a String takes what is written");
}
