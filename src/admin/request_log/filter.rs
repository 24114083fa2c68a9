//! The filters of the API log, and whose entries a caller may see.

use ipnet::IpNet;

use crate::{
    admin::{Admin, parameters::Parameters, problem::Problem},
    model::{IntegrationId, OrganisationId, Scope},
    request_log::{Filter, Whose},
};

/// What a call asks for, before it is known whose entries it may see.
pub(in crate::admin) struct Wanted {
    pub(super) filter: Filter,
    pub(super) integration_id: Option<IntegrationId>,
}

/// Reads the filters of `api.md` §6.
pub(super) fn read_filter(parameters: &mut Parameters) -> Result<Wanted, Problem> {
    let integration_id = parameters.id("integration_id")?;
    let hour_from = parameters.read("hour_from", "a whole hour from 0 to 24", hour)?;
    let hour_to = parameters.read("hour_to", "a whole hour from 0 to 24", hour)?;
    let hours = match (hour_from, hour_to) {
        (None, None) => None,
        (from, to) => Some((from.unwrap_or(0), to.unwrap_or(24))),
    };
    let filter = Filter {
        request_id: parameters.id("request_id")?,
        client_request_id: parameters.text("client_request_id")?,
        status: parameters.read("status", "a status, 401 for example, or a class, 4xx", status)?,
        code: parameters.text("code")?,
        cause: parameters.text("cause")?,
        network: parameters.read("ip", "an address or a network, 203.0.113.0/24 for example", network)?,
        scope: parameters
            .read("scope", "a scope, sensors:write for example", Scope::parse)?
            .map(|scope| scope.to_string()),
        transport: parameters
            .read("transport", "http or mqtt", |text| matches!(text, "http" | "mqtt").then(|| text.to_owned()))?,
        from_us: parameters.time("from")?,
        to_us: parameters.time("to")?,
        hours,
        ..Filter::default()
    };
    if filter.from_us.zip(filter.to_us).is_some_and(|(from, to)| from > to) {
        return Err(Problem::parameter("from must not be after to."));
    }
    Ok(Wanted { filter, integration_id })
}

/// The filter, narrowed to what members of `organisation_id` may see (S008, S298).
pub(super) async fn seen_by(admin: &Admin, organisation_id: OrganisationId, wanted: Wanted) -> Result<Filter, Problem> {
    let Wanted { filter, integration_id } = wanted;
    let may_list = whose(admin, organisation_id, integration_id).await?;
    // Who names a request by its id was told that id by its caller: nothing is learnt about anybody else by it.
    let with_unattributed = may_list.with_unattributed || (integration_id.is_none() && filter.request_id.is_some());
    Ok(Filter { integrations: may_list.integrations, with_unattributed, ..filter })
}

/// Whose entries members of `organisation_id` see: those of one integration, or of all its integrations and, where it
/// is the only organisation, of nobody in particular.
pub(super) async fn whose(
    admin: &Admin,
    organisation_id: OrganisationId,
    integration_id: Option<IntegrationId>,
) -> Result<Whose, Problem> {
    if let Some(id) = integration_id {
        // Another organisation's integration is not found.
        admin.control.integration(organisation_id, id).await?;
        return Ok(Whose { integrations: vec![id], with_unattributed: false });
    }
    let with_unattributed = admin.control.organisations().await?.len() == 1;
    Ok(Whose { integrations: admin.control.integration_ids(organisation_id).await?, with_unattributed })
}

fn hour(text: &str) -> Option<u8> {
    text.parse().ok().filter(|hour| *hour <= 24)
}

fn status(text: &str) -> Option<(u16, u16)> {
    if let Some(class) = text.strip_suffix("xx") {
        let class: u16 = class.parse().ok().filter(|class| (1..=5).contains(class))?;
        return Some((class * 100, class * 100 + 99));
    }
    let status = text.parse().ok().filter(|status| (100..=599).contains(status))?;
    Some((status, status))
}

fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<std::net::IpAddr>().ok().map(IpNet::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_and_networks() {
        assert_eq!((status("401"), status("4xx")), (Some((401, 401)), Some((400, 499))));
        assert_eq!((status("6xx"), status("40"), status("4x"), status("")), (None, None, None, None));
        assert_eq!(network("10.0.0.7"), "10.0.0.7/32".parse().ok());
        assert_eq!(network("2001:db8::/32"), "2001:db8::/32".parse().ok());
        assert_eq!(network("ten"), None);
    }
}
