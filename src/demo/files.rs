//! The demo's data directory, and the two private files that a script or a shell goes on with.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::{onboarding::Onboarded, write_private};
use crate::{
    config::{Config, DEFAULT_DATA_DIR},
    model::topic,
};

/// A temporary directory that is removed with the demo, or none where one was named.
pub(super) struct Kept(#[allow(dead_code, reason = "removed when dropped")] Option<TemporaryDir>);

struct TemporaryDir(std::path::PathBuf);

impl Drop for TemporaryDir {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "The demo's temporary directory could not be removed.");
        }
    }
}

/// Takes the directory that was named, if it is empty, or makes a temporary one.
pub(super) fn prepare_data_dir(config: &mut Config) -> Result<Kept> {
    if config.data_dir == Path::new(DEFAULT_DATA_DIR) {
        let path = std::env::temp_dir().join(format!("sensorgate-demo-{}", crate::model::RequestId::generate()));
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        config.data_dir.clone_from(&path);
        return Ok(Kept(Some(TemporaryDir(path))));
    }
    let path = &config.data_dir;
    fs::create_dir_all(path).with_context(|| format!("cannot create {}", path.display()))?;
    let mut entries = fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
    if entries.next().is_some() {
        bail!(
            "the data directory {} is not empty. Name an empty one, or go on with it: sensorgate serve --data-dir {}",
            path.display(),
            path.display()
        );
    }
    Ok(Kept(None))
}

/// Writes `demo.env` and `demo.json`, both for the owner's eyes only.
pub(super) fn write(data_dir: &Path, onboarded: &Onboarded) -> Result<()> {
    let admins: Vec<_> =
        onboarded.admins.iter().map(|(email, password)| json!({"email": email, "password": password})).collect();
    let equipment: Vec<_> =
        onboarded.equipment.iter().map(|(id, external_id)| json!({"id": id, "external_id": external_id})).collect();
    let all = json!({
        "http_url": onboarded.http_url, "mqtt_url": onboarded.mqtt_url, "admin_url": onboarded.admin_url,
        "token_url": onboarded.token_url, "audience": onboarded.audience,
        "organisation_id": onboarded.organisation_id, "integration_id": onboarded.integration_id,
        "client_id": onboarded.client_id, "client_secret": onboarded.client_secret, "api_key": onboarded.api_key,
        "admins": admins, "equipment": equipment,
    });
    let (email, password) = &onboarded.admins[0];
    let mqtt = mqtt_lines(onboarded.mqtt_url.as_deref(), &onboarded.integration_id);
    let lines = [
        ("HTTP_URL", &onboarded.http_url),
        ("ADMIN_URL", &onboarded.admin_url),
        ("TOKEN_URL", &onboarded.token_url),
        ("AUDIENCE", &onboarded.audience),
        ("INTEGRATION_ID", &onboarded.integration_id),
        ("CLIENT_ID", &onboarded.client_id),
        ("CLIENT_SECRET", &onboarded.client_secret),
        ("API_KEY", &onboarded.api_key),
        ("ADMIN_EMAIL", email),
        ("ADMIN_PASSWORD", password),
    ];
    let lines = lines.into_iter().chain(mqtt.iter().map(|(name, value)| (*name, value)));
    let env: String = lines.map(|(name, value)| format!("export {name}='{value}'\n")).collect();
    write_private(&data_dir.join("demo.env"), &env)?;
    write_private(&data_dir.join("demo.json"), &format!("{all:#}\n"))
}

/// The address of the MQTT listener, whole and in the two parts that client libraries ask for, and the two topics.
fn mqtt_lines(url: Option<&str>, integration_id: &str) -> Vec<(&'static str, String)> {
    let Some((url, (host, port))) =
        url.and_then(|url| Some((url, url.split_once("://")?.1.trim_end_matches('/').rsplit_once(':')?)))
    else {
        return Vec::new();
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    vec![
        ("MQTT_URL", url.to_owned()),
        ("MQTT_HOST", host.to_owned()),
        ("MQTT_PORT", port.to_owned()),
        ("READINGS_TOPIC", topic::readings_pattern(integration_id)),
        ("RESULTS_TOPIC", topic::results_pattern(integration_id)),
    ]
}

#[cfg(test)]
mod tests {
    use super::mqtt_lines;

    #[test]
    fn the_parts_of_the_mqtt_address_are_named_one_by_one() {
        let named = |url| mqtt_lines(Some(url), "i").into_iter().map(|(_, value)| value).collect::<Vec<_>>();
        let topics = ["grq/v1/i/readings", "grq/v1/i/results"];
        assert_eq!(
            named("mqtt://127.0.0.1:1883"),
            [&["mqtt://127.0.0.1:1883", "127.0.0.1", "1883"], &topics[..]].concat()
        );
        assert_eq!(named("mqtt://[::1]:1883")[..3], ["mqtt://[::1]:1883", "::1", "1883"]);
        assert!(mqtt_lines(None, "i").is_empty());
    }
}
