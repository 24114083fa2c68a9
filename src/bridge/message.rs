//! A message from the broker, taken apart but not yet believed.

use bytes::Bytes;
use mqtt_client::{Publish, PublishProperties, QoS};

use crate::{
    auth::Credential,
    model::{IntegrationId, topic},
};

/// The user property that holds the API key.
const API_KEY: &str = "api_key";
/// The user property that holds `Bearer <jwt>`.
const AUTHORIZATION: &str = "authorization";

/// A PUBLISH, as far as it matters here. It carries credentials, so it cannot be printed.
pub(super) struct Message {
    /// The batch.
    pub(super) body: Bytes,
    /// Whether the broker wants an acknowledgement.
    pub(super) is_acknowledged: bool,
    /// Whether the broker has sent it before.
    pub(super) is_resent: bool,
    topic: Bytes,
    properties: PublishProperties,
}

impl From<Publish> for Message {
    fn from(publish: Publish) -> Self {
        Self {
            body: publish.payload,
            is_acknowledged: publish.qos != QoS::AtMostOnce,
            is_resent: publish.dup,
            topic: publish.topic,
            properties: publish.properties.unwrap_or_default(),
        }
    }
}

impl Message {
    /// Whose readings the topic is for.
    pub(super) fn owner(&self) -> Option<IntegrationId> {
        topic::owner_of_readings(std::str::from_utf8(&self.topic).ok()?)
    }

    /// The two credentials in the user properties: each there once, in the form that the headers have over HTTP.
    pub(super) fn credential(&self) -> Option<Credential<'_>> {
        Credential::from_texts(self.single(API_KEY)?, self.single(AUTHORIZATION)?)
    }

    fn single(&self, name: &str) -> Option<&str> {
        let mut values = self.properties.user_properties.iter().filter(|(key, _)| key == name);
        let (_, value) = values.next()?;
        values.next().is_none().then_some(value)
    }

    /// Where `id` is answered: on the Response Topic if that is its own, otherwise on its results topic.
    pub(super) fn answer_topic(&self, id: IntegrationId) -> String {
        let asked = self.properties.response_topic.as_deref().filter(|asked| topic::is_results_of(id, asked));
        asked.map_or_else(|| topic::results(id), str::to_owned)
    }

    /// What the answer carries back, so that the sender knows which message it is about.
    pub(super) fn correlation_data(&self) -> Option<Bytes> {
        self.properties.correlation_data.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(topic: &str, properties: &[(&str, &str)], response_topic: Option<&str>) -> Message {
        let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let properties = PublishProperties {
            user_properties: properties.iter().map(pair).collect(),
            response_topic: response_topic.map(str::to_owned),
            ..PublishProperties::default()
        };
        Publish::new(topic, QoS::AtLeastOnce, "{}", Some(properties)).into()
    }

    // api.md §2: each message carries its own credentials, in the user properties api_key and authorization.
    #[test]
    fn credentials_are_there_once_each() {
        let (key, token) = (("api_key", "k"), ("authorization", "Bearer t"));
        let check = |properties: &[(&str, &str)]| message("t", properties, None).credential().is_some();
        assert!(check(&[key, token]) && check(&[("site", "7"), token, key]));
        for refused in [
            &[][..],
            &[key],
            &[token],
            &[key, key, token],
            &[key, token, token],
            &[("API_KEY", "k"), token],
            &[key, ("authorization", "t")],
            &[key, ("authorization", "Basic t")],
        ] {
            assert!(!check(refused), "{refused:?}");
        }
    }

    // api.md §2: Response Topic is honoured where it is the own results topic or below.
    #[test]
    fn answers_go_to_own_topics_only() {
        let (own, other) = (IntegrationId::generate(), IntegrationId::generate());
        let base = topic::results(own);
        let below = format!("{base}/gateway-1");
        assert_eq!(message("t", &[], Some(&below)).answer_topic(own), below);
        for foreign in [None, Some(topic::results(other)), Some(format!("{base}/+")), Some("elsewhere".to_owned())] {
            assert_eq!(message("t", &[], foreign.as_deref()).answer_topic(own), base);
        }
        assert_eq!(message(&topic::readings(own), &[], None).owner(), Some(own));
        assert_eq!(message("elsewhere", &[], None).owner(), None);
    }
}
