//! Which series a call about readings means.

use super::{Admin, parameters::Parameters, problem::Problem};
use crate::{
    control::{Equipment, EquipmentFilter},
    model::{EquipmentId, IntegrationId, Metric, OrganisationId, ProblemCode, SeriesId},
};

/// Equipment as a call names it.
pub(super) enum Series {
    /// By our id.
    Id(EquipmentId),
    /// By the partner's, within an integration.
    External(IntegrationId, String),
    /// All that a filter lets through: of an integration, in a room, or both; where the call allows that.
    Many(EquipmentFilter),
}

/// A series that exists, with the names around it.
pub(super) struct Found {
    pub(super) id: SeriesId,
    pub(super) equipment: Equipment,
    pub(super) metric: Metric,
}

impl Series {
    /// Reads `equipment_id`, or `integration_id` and `external_id`, or `room` with or without `integration_id`.
    pub(super) fn named_by(parameters: &mut Parameters) -> Result<Self, Problem> {
        let id = parameters.id::<EquipmentId>("equipment_id")?;
        let integration_id = parameters.id::<IntegrationId>("integration_id")?;
        let (external_id, room) = (parameters.text("external_id")?, parameters.text("room")?);
        let many = |integration_id, room| EquipmentFilter { integration_id, room, ..EquipmentFilter::default() };
        match (id, integration_id, external_id, room) {
            (Some(id), None, None, None) => Ok(Self::Id(id)),
            (None, Some(integration_id), Some(external_id), None) => Ok(Self::External(integration_id, external_id)),
            (None, Some(_), None, room) => Ok(Self::Many(many(integration_id, room))),
            (None, None, None, Some(room)) => Ok(Self::Many(many(None, Some(room)))),
            _ => Err(Problem::parameter(
                "Name the equipment by equipment_id, by integration_id and external_id, or by room; not in two ways.",
            )),
        }
    }

    /// The equipment of a call about one piece of it; another organisation's is not found (S008).
    pub(super) async fn equipment(self, admin: &Admin, organisation_id: OrganisationId) -> Result<Equipment, Problem> {
        match self {
            Self::Id(id) => Ok(admin.control.equipment(organisation_id, id).await?),
            Self::External(integration_id, external_id) => {
                let filter = EquipmentFilter {
                    integration_id: Some(integration_id),
                    external_id: Some(external_id),
                    ..EquipmentFilter::default()
                };
                let found = admin.control.equipment_after(organisation_id, filter, None, 1).await?;
                found.into_iter().next().ok_or_else(|| Problem::new(ProblemCode::NotFound))
            }
            Self::Many(_) => Err(Problem::parameter("external_id must be given beside integration_id, or room.")),
        }
    }

    /// The series of one metric of one piece of equipment.
    pub(super) async fn found(
        self,
        admin: &Admin,
        organisation_id: OrganisationId,
        metric: &str,
    ) -> Result<Found, Problem> {
        let metric = named(admin, metric)?.clone();
        let equipment = self.equipment(admin, organisation_id).await?;
        Ok(Found { id: SeriesId::new(equipment.number, metric.number), equipment, metric })
    }
}

/// The metric called `name`.
pub(super) fn named<'a>(admin: &'a Admin, name: &str) -> Result<&'a Metric, Problem> {
    admin.metrics.get(name).ok_or_else(|| Problem::parameter("metric is none that the configuration knows."))
}
