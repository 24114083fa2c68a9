//! The two topics of an integration over MQTT (`api.md` §2): it publishes to `grq/v1/{id}/readings` and reads the
//! answers on `grq/v1/{id}/results` and below.

use super::IntegrationId;

/// The readings of all integrations, as a topic filter.
pub const ALL_READINGS: &str = "grq/v1/+/readings";

const PREFIX: &str = "grq/v1/";
const READINGS: &str = "/readings";
const RESULTS: &str = "/results";

/// The topic that the integration publishes its batches to.
#[must_use]
pub fn readings(id: IntegrationId) -> String {
    readings_pattern(&id.to_string())
}

/// The topic that it is answered on.
#[must_use]
pub fn results(id: IntegrationId) -> String {
    results_pattern(&id.to_string())
}

/// The first with `id` in the integration's place: a wildcard for a filter, a name for a document.
#[must_use]
pub fn readings_pattern(id: &str) -> String {
    format!("{PREFIX}{id}{READINGS}")
}

/// The second likewise.
#[must_use]
pub fn results_pattern(id: &str) -> String {
    format!("{PREFIX}{id}{RESULTS}")
}

/// Whose readings `topic` is for; none where it is another topic. The id counts in its canonical form only, so that an
/// integration has one topic and not several.
#[must_use]
pub fn owner_of_readings(topic: &str) -> Option<IntegrationId> {
    let id = topic.strip_prefix(PREFIX)?.strip_suffix(READINGS)?;
    let owner: IntegrationId = id.parse().ok()?;
    (owner.to_string() == id).then_some(owner)
}

/// Whether `topic` is one that `id` may be answered on: its own results or below, without wildcards.
#[must_use]
pub fn is_results_of(id: IntegrationId, topic: &str) -> bool {
    let below = topic.strip_prefix(results(id).as_str());
    below.is_some_and(|rest| (rest.is_empty() || rest.starts_with('/')) && !rest.contains(['+', '#', '\0']))
}

#[cfg(test)]
mod tests {
    use super::*;

    // api.md §2: the own readings, the own results and below, nothing else.
    #[test]
    fn topics_belong_to_one_integration() {
        let (own, other) = (IntegrationId::generate(), IntegrationId::generate());
        assert_eq!(owner_of_readings(&readings(own)), Some(own));
        let upper = readings(own).to_uppercase().replace("GRQ/V1", "grq/v1").replace("READINGS", "readings");
        let simple = format!("grq/v1/{}/readings", own.as_uuid().as_simple());
        for foreign in ["grq/v1//readings", "grq/v1/+/readings", "/grq/v1/x/readings", "grq/v1/readings", ""] {
            assert_eq!(owner_of_readings(foreign), None, "{foreign}");
        }
        for near in [upper, simple, results(own), format!("{}/", readings(own)), format!("x/{}", readings(own))] {
            assert_eq!(owner_of_readings(&near), None, "{near}");
        }
        let base = results(own);
        assert!(is_results_of(own, &base) && is_results_of(own, &format!("{base}/gateway-7/a")));
        for foreign in [results(other), format!("{base}x"), format!("{base}/#"), format!("{base}/+"), readings(own)] {
            assert!(!is_results_of(own, &foreign), "{foreign}");
        }
    }
}
