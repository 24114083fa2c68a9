//! SUBSCRIBE and UNSUBSCRIBE: the own results and below, nothing else (`api.md` §2).

use std::sync::Arc;

use super::{
    Config,
    audience::{Audience, Subscriptions},
    packet::{Granted, Qos},
    topic,
};

/// The answer to each filter. The session gets its mailbox with the first one that is granted.
pub(super) fn subscribe(
    audience: &Arc<Audience>,
    subscriptions: &mut Option<Subscriptions>,
    filters: &[(Box<str>, Qos)],
    config: &Config,
) -> Vec<Granted> {
    let answer = |(filter, qos): &(Box<str>, Qos)| {
        if filter.starts_with("$share/") {
            return Granted::Shared;
        }
        if !topic::is_filter(filter) {
            return Granted::Invalid;
        }
        if !audience.topics.is_own_result(filter) {
            return Granted::NotAuthorized;
        }
        let seat = subscriptions.get_or_insert_with(|| Subscriptions::new(audience, config.results_queue_max));
        if seat.add(filter, *qos, config.subscriptions_max) { Granted::Qos(*qos) } else { Granted::Quota }
    };
    filters.iter().map(answer).collect()
}

/// For each filter whether it was there.
pub(super) fn unsubscribe(mut subscriptions: Option<&mut Subscriptions>, filters: &[Box<str>]) -> Vec<bool> {
    filters.iter().map(|filter| subscriptions.as_deref_mut().is_some_and(|known| known.remove(filter))).collect()
}
