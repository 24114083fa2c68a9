//! Identifiers. All are UUIDv7: ordered by time of creation, unguessable enough for a name, never a secret.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A fresh id (UUIDv7).
            #[must_use]
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }

            /// The id behind `uuid`, as read back from a store.
            #[must_use]
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The bare UUID.
            #[must_use]
            pub const fn as_uuid(&self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0.as_hyphenated(), f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }
    };
}

uuid_id!(
    /// An organisation: the grower whose facility sends readings. Nothing crosses its border.
    OrganisationId
);
uuid_id!(
    /// A member of an organisation. Separation of duties compares this id, never a name or an address (S068).
    UserId
);
uuid_id!(
    /// An integration: one partner system with its own credentials, scopes and limits.
    IntegrationId
);
uuid_id!(
    /// A sensor, controller, actuator or monitor in the registry.
    EquipmentId
);
uuid_id!(
    /// An access review.
    AccessReviewId
);
uuid_id!(
    /// One request, as it stands in `X-Request-Id`, the body and the logs (S295).
    RequestId
);
uuid_id!(
    /// A webhook subscription.
    WebhookId
);
uuid_id!(
    /// An event on its way to one subscription, with all its attempts.
    DeliveryId
);
uuid_id!(
    /// An event that subscribers are told of; the same in every attempt, so that receivers can tell repeats.
    EventId
);
