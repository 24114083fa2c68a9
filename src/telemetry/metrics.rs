//! The name of every metric, with its meaning. Labels come from closed sets only: never an id, an address or a key.

macro_rules! metrics {
    ($($kind:ident $name:ident = $text:literal, $help:literal;)*) => {
        $(#[doc = $help] pub const $name: &str = $text;)*

        /// Every metric: kind, name, meaning. `docs/operations.md` is checked against it.
        pub const ALL: &[(&str, &str, &str)] = &[$((stringify!($kind), $text, $help),)*];

        /// Tells the exporter what each metric means. Once, after the recorder is installed.
        pub fn describe() {
            $(metrics!(@describe $kind $text, $help);)*
        }
    };
    (@describe counter $text:literal, $help:literal) => { ::metrics::describe_counter!($text, $help) };
    (@describe gauge $text:literal, $help:literal) => { ::metrics::describe_gauge!($text, $help) };
    (@describe histogram $text:literal, $help:literal) => { ::metrics::describe_histogram!($text, $help) };
}

metrics! {
    counter SUBMISSIONS_TOTAL = "sensorgate_ingest_submissions_total", "Submissions by transport (http, mqtt) and outcome code (ok, partial, rejected, or the problem code).";
}
