//! Equipment as ingest sees it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{EquipmentId, IntegrationId};

/// The registry's running number of a piece of equipment. Never reused; half of a [`super::SeriesId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EquipmentNumber(pub u32);

/// The four kinds of equipment (S275).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EquipmentKind {
    /// Measures.
    Sensor,
    /// Steers; reports its set points.
    Controller,
    /// Acts; reports its position.
    Actuator,
    /// Watches and reports.
    Monitor,
}

impl EquipmentKind {
    /// All four, in the order of the contract.
    pub const ALL: [Self; 4] = [Self::Sensor, Self::Controller, Self::Actuator, Self::Monitor];

    /// The name on the wire and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sensor => "sensor",
            Self::Controller => "controller",
            Self::Actuator => "actuator",
            Self::Monitor => "monitor",
        }
    }

    /// The kind called `name`, exactly as spelled.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// What ingest needs to know of one piece of equipment. The control plane makes it, the auth snapshot carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EquipmentFacts {
    /// The public id.
    pub id: EquipmentId,
    /// Whose it is: readings name it only through this integration.
    pub integration_id: IntegrationId,
    /// The number that series are made of.
    pub number: EquipmentNumber,
    /// Kind: decides which metrics it may report (A36).
    pub kind: EquipmentKind,
    /// The partner's own name for it, byte for byte (S282).
    pub external_id: Option<Arc<str>>,
    /// Retired equipment keeps its history and takes no further readings (S281).
    pub retired: bool,
}
