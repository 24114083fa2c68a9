//! The two topics of an integration, and what a filter matches (MQTT 5 §4.7).

use crate::model::{IntegrationId, topic};

/// Where an integration publishes, and where it is answered.
#[derive(Debug)]
pub(super) struct Topics {
    readings: Box<str>,
    results: Box<str>,
}

impl Topics {
    pub(super) fn of(integration: IntegrationId) -> Self {
        Self { readings: topic::readings(integration).into(), results: topic::results(integration).into() }
    }

    /// The one topic that may be published to.
    pub(super) fn readings(&self) -> &str {
        &self.readings
    }

    /// The topic of results.
    pub(super) fn results(&self) -> &str {
        &self.results
    }

    /// Whether `name`, a topic or a filter, is the topic of results or stands below it.
    pub(super) fn is_own_result(&self, name: &str) -> bool {
        name.strip_prefix(&*self.results).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// Whether `name` can be a topic that something is published to: not empty, no wildcard, no U+0000.
pub(super) fn is_topic(name: &str) -> bool {
    !name.is_empty() && !name.contains(['#', '+', '\0'])
}

/// Whether `filter` can be subscribed to: each wildcard a whole level, `#` only as the last one.
pub(super) fn is_filter(filter: &str) -> bool {
    if filter.is_empty() || filter.contains('\0') {
        return false;
    }
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        let is_last = levels.peek().is_none();
        let fits = match level {
            "#" => is_last,
            "+" => true,
            _ => !level.contains(['#', '+']),
        };
        if !fits {
            return false;
        }
    }
    true
}

/// Whether a valid `filter` matches `topic`.
pub(super) fn matches(filter: &str, topic: &str) -> bool {
    let (mut filter, mut topic) = (filter.split('/'), topic.split('/'));
    loop {
        match (filter.next(), topic.next()) {
            // "a/#" matches "a" itself, too.
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(level), Some(name)) if level == name => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // api.md §2: subscribe to the own results and below, nothing else.
    #[test]
    fn own_results_are_told_from_everything_else() {
        let (own, other) = (IntegrationId::generate(), IntegrationId::generate());
        let topics = Topics::of(own);
        for good in ["", "/#", "/+", "/a", "/a/b", "/a/#", "/+/b", "/"] {
            let filter = format!("grq/v1/{own}/results{good}");
            assert!(topics.is_own_result(&filter), "{filter}");
        }
        for bad in [
            "#".to_owned(),
            "+/v1/#".to_owned(),
            "grq/v1/+/results".to_owned(),
            format!("grq/v1/{own}/#"),
            format!("grq/v1/{own}/+"),
            format!("grq/v1/{own}/readings"),
            format!("grq/v1/{own}/resultsx"),
            format!("grq/v1/{other}/results"),
            format!("$share/g/grq/v1/{own}/results"),
            format!("/grq/v1/{own}/results"),
            format!("grq/v1/{}/results", own.to_string().to_uppercase()),
        ] {
            assert!(!topics.is_own_result(&bad), "{bad}");
        }
    }

    // MQTT 5 §4.7.1
    #[test]
    fn wildcards_stand_alone_in_their_level() {
        for good in ["#", "+", "a/#", "a/+/b", "/", "//", "a", "+/+", "/#", "é/ü"] {
            assert!(is_filter(good), "{good}");
        }
        for bad in ["", "a#", "a/#/b", "#/", "a+", "a/b+/c", "a\0b", "##", "+#"] {
            assert!(!is_filter(bad), "{bad}");
        }
        assert!(is_topic("a/b") && is_topic("é") && is_topic("/"));
        assert!(!is_topic("") && !is_topic("a/+") && !is_topic("#") && !is_topic("a\0"));
    }

    // MQTT 5 §4.7.1.2, §4.7.1.3
    #[test]
    fn filters_match_as_the_standard_says() {
        for (filter, topic, is_match) in [
            ("a/b", "a/b", true),
            ("a/b", "a/b/c", false),
            ("a/b/c", "a/b", false),
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("a/#", "ab", false),
            ("a/+", "a", false),
            ("a/+", "a/", true),
            ("a/+", "a/b", true),
            ("a/+", "a/b/c", false),
            ("a/+/c", "a/b/c", true),
            ("+/+", "/a", true),
            ("A/b", "a/b", false),
        ] {
            assert_eq!(matches(filter, topic), is_match, "{filter} {topic}");
        }
    }
}
