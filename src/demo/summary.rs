//! What a newcomer reads at the end: what happened, and lines to paste.

use std::{path::Path, time::Duration};

use super::{broken::Partial, history::Sent, onboarding::Onboarded, read_back::Compared, say};

/// What happened, in numbers.
pub(super) fn print(partial: &Partial, sent: &Sent, compared: &Compared, took: Duration) {
    say("\n=== What happened ===");
    say(&format!(
        "{} readings in {} batches over HTTP and {} over MQTT were accepted in {:.1} s; each answer meant: on disk.",
        sent.readings,
        sent.http_batches,
        sent.mqtt_batches,
        sent.took.as_secs_f64()
    ));
    say(&format!(
        "{} read back equal to the file, {} missing, {} different, {} too many.",
        compared.equal, compared.missing, compared.different, compared.surplus
    ));
    say(&format!(
        "One batch with broken readings: {} received, {} good, {} refused with a reason.",
        partial.received,
        partial.accepted,
        partial.refused.len()
    ));
    say(&format!("The whole demo took {:.1} s.", took.as_secs_f64()));
}

/// Lines that work when pasted, while the demo serves. No secret stands in them: they read `demo.env`.
pub(super) fn print_lines_to_paste(data_dir: &Path, onboarded: &Onboarded) {
    say("\n=== Try it yourself (paste into another terminal) ===");
    say(&format!(". {}", data_dir.join("demo.env").display()));
    say(LINES);
    if onboarded.mqtt_url.is_some() {
        say(MQTT_LINES);
    }
    say("\n=== Pages ===");
    say(&format!("{}/problems   every error code, with cause and remedy", onboarded.http_url));
    say(&format!("{}/openapi.json   the interface, for your tools", onboarded.http_url));
    if onboarded.mqtt_url.is_some() {
        say(&format!("{}/asyncapi.json   the same for MQTT", onboarded.http_url));
    }
    say(&format!("{}/metrics   what an operator watches", onboarded.admin_url));
}

const LINES: &str = r#"
# a token (valid for one hour)
TOKEN=$(curl -s "$TOKEN_URL" -d grant_type=client_credentials -d client_id="$CLIENT_ID" \
  -d client_secret="$CLIENT_SECRET" -d audience="$AUDIENCE" | sed 's/.*"access_token":"\([^"]*\)".*/\1/')

# a reading
curl -i "$HTTP_URL/v1/sensors/readings" -H "Authorization: Bearer $TOKEN" -H "X-API-Key: $API_KEY" \
  -H 'Content-Type: application/json' \
  -d '{"readings":[{"external_id":"BLW-TEMP-1","metric":"temperature","value":21.4,"unit":"C"}]}'; echo

# read it back, as an administrator: it is on disk since the answer, and to be read within a second
sleep 1
ADMIN=$(curl -s "$ADMIN_URL/admin/v1/login" -H 'Content-Type: application/json' \
  -d "{\"email\":\"$ADMIN_EMAIL\",\"password\":\"$ADMIN_PASSWORD\"}" | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
curl -s "$ADMIN_URL/admin/v1/readings/latest?integration_id=$INTEGRATION_ID" -H "Authorization: Bearer $ADMIN"; echo"#;

const MQTT_LINES: &str = r#"
# the same over MQTT (Debian: apt install mosquitto-clients): wait for the result, and publish a reading
mosquitto_sub -V 5 -h "$MQTT_HOST" -p "$MQTT_PORT" -u "$API_KEY" -P "$TOKEN" -q 1 -t "$RESULTS_TOPIC" -C 1 -W 10 &
sleep 1
mosquitto_pub -V 5 -h "$MQTT_HOST" -p "$MQTT_PORT" -u "$API_KEY" -P "$TOKEN" -q 1 -t "$READINGS_TOPIC" \
  -m '{"readings":[{"external_id":"BLW-RH-1","metric":"humidity","value":71.5,"unit":"%"}]}'
wait"#;
