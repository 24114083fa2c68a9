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
    /// All of an integration, where the call allows that.
    Integration(IntegrationId),
}

/// A series that exists, with the names around it.
pub(super) struct Found {
    pub(super) id: SeriesId,
    pub(super) equipment: Equipment,
    pub(super) metric: Metric,
}

impl Series {
    /// Reads `equipment_id`, or `integration_id` and `external_id`.
    pub(super) fn named_by(parameters: &mut Parameters) -> Result<Self, Problem> {
        let id = parameters.id::<EquipmentId>("equipment_id")?;
        let integration_id = parameters.id::<IntegrationId>("integration_id")?;
        match (id, integration_id, parameters.text("external_id")?) {
            (Some(id), None, None) => Ok(Self::Id(id)),
            (None, Some(integration_id), Some(external_id)) => Ok(Self::External(integration_id, external_id)),
            (None, Some(integration_id), None) => Ok(Self::Integration(integration_id)),
            _ => Err(Problem::parameter(
                "Name the equipment by equipment_id, or by integration_id and external_id; not by both.",
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
            Self::Integration(_) => Err(Problem::parameter("external_id must be given beside integration_id.")),
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
