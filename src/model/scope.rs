//! The 15 scope categories and their 24 legal grants (S032–S053).

use std::fmt;

use Category as C;
use Scope as S;

/// One of the 15 areas of the product that an integration can be let into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the source text's own; `covers` says what each means")]
pub enum Category {
    Inventory,
    Consumables,
    Orders,
    Skus,
    Equipment,
    Sensors,
    Taxonomies,
    Compliance,
    Reports,
    Quality,
    Finance,
    Crm,
    Tasks,
    Activities,
    Webhooks,
}

/// How delicate a category is (001:10–26).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the source text's own labels")]
pub enum Sensitivity {
    Operational,
    OperationalReadOnly,
    Regulatory,
    Financial,
    Pii,
    Administrative,
}

impl Sensitivity {
    /// The label as the source text has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operational => "Operational",
            Self::OperationalReadOnly => "Operational (read-only)",
            Self::Regulatory => "Regulatory",
            Self::Financial => "Financial",
            Self::Pii => "PII",
            Self::Administrative => "Administrative",
        }
    }

    /// Whether granting it deserves a warning.
    #[must_use]
    pub const fn is_sensitive(self) -> bool {
        !matches!(self, Self::Operational | Self::OperationalReadOnly)
    }
}

impl Category {
    /// All 15, in the order of the source table.
    pub const ALL: [Self; 15] = [
        C::Inventory,
        C::Consumables,
        C::Orders,
        C::Skus,
        C::Equipment,
        C::Sensors,
        C::Taxonomies,
        C::Compliance,
        C::Reports,
        C::Quality,
        C::Finance,
        C::Crm,
        C::Tasks,
        C::Activities,
        C::Webhooks,
    ];

    /// The name that people read.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            C::Inventory => "Inventory",
            C::Consumables => "Consumables",
            C::Orders => "Orders",
            C::Skus => "SKUs",
            C::Equipment => "Equipment",
            C::Sensors => "Sensors",
            C::Taxonomies => "Taxonomies",
            C::Compliance => "Compliance",
            C::Reports => "Reports",
            C::Quality => "Quality",
            C::Finance => "Finance",
            C::Crm => "CRM",
            C::Tasks => "Tasks",
            C::Activities => "Activities",
            C::Webhooks => "Webhooks",
        }
    }

    /// What the category covers: the union of the two source tables (A8).
    #[must_use]
    pub const fn covers(self) -> &'static str {
        match self {
            C::Inventory => "Lots, batches, plants, rooms, locations, transfers, destruction",
            C::Consumables => "Consumable lots and classes",
            C::Orders => "Orders, order items, shipments, manifests",
            C::Skus => "SKU/product definitions and price tables",
            C::Equipment => "Equipment records: sensors, controllers, actuators, monitors. Supports external IDs.",
            C::Sensors => {
                "Batch-ingest sensor readings (temperature, humidity, CO2), up to 500 per request with partial success"
            }
            C::Taxonomies => "Varieties, categories, equipment types (read-only)",
            C::Compliance => "CAPAs, deviations, recalls, compliance reports",
            C::Reports => "Generate and download reports",
            C::Quality => "SOPs, colour grades, quality data (read-only)",
            C::Finance => "Transactions, invoices, taxes (read-only)",
            C::Crm => "Customer accounts and contacts (contains PII)",
            C::Tasks => "Tasks, comments, assignments",
            C::Activities => "Activity log entries (read-only)",
            C::Webhooks => "Manage webhook subscriptions",
        }
    }

    /// How delicate it is.
    #[must_use]
    pub const fn sensitivity(self) -> Sensitivity {
        match self {
            C::Taxonomies | C::Quality | C::Activities => Sensitivity::OperationalReadOnly,
            C::Compliance => Sensitivity::Regulatory,
            C::Finance => Sensitivity::Financial,
            C::Crm => Sensitivity::Pii,
            C::Webhooks => Sensitivity::Administrative,
            _ => Sensitivity::Operational,
        }
    }

    /// The legal grants of this category.
    pub fn grants(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| scope.category() == self)
    }
}

/// One legal grant, `category:verb` on the wire. There are exactly 24 (S048).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs, reason = "the variants spell the wire names")]
pub enum Scope {
    InventoryRead,
    InventoryWrite,
    ConsumablesRead,
    ConsumablesWrite,
    OrdersRead,
    OrdersWrite,
    SkusRead,
    SkusWrite,
    EquipmentRead,
    EquipmentWrite,
    SensorsWrite,
    TaxonomiesRead,
    ComplianceRead,
    ComplianceSubmit,
    ReportsRead,
    ReportsExecute,
    QualityRead,
    FinanceRead,
    CrmRead,
    CrmWrite,
    TasksRead,
    TasksWrite,
    ActivitiesRead,
    WebhooksManage,
}

impl Scope {
    /// All 24.
    pub const ALL: [Self; 24] = [
        S::InventoryRead,
        S::InventoryWrite,
        S::ConsumablesRead,
        S::ConsumablesWrite,
        S::OrdersRead,
        S::OrdersWrite,
        S::SkusRead,
        S::SkusWrite,
        S::EquipmentRead,
        S::EquipmentWrite,
        S::SensorsWrite,
        S::TaxonomiesRead,
        S::ComplianceRead,
        S::ComplianceSubmit,
        S::ReportsRead,
        S::ReportsExecute,
        S::QualityRead,
        S::FinanceRead,
        S::CrmRead,
        S::CrmWrite,
        S::TasksRead,
        S::TasksWrite,
        S::ActivitiesRead,
        S::WebhooksManage,
    ];

    /// The grant on the wire and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            S::InventoryRead => "inventory:read",
            S::InventoryWrite => "inventory:write",
            S::ConsumablesRead => "consumables:read",
            S::ConsumablesWrite => "consumables:write",
            S::OrdersRead => "orders:read",
            S::OrdersWrite => "orders:write",
            S::SkusRead => "skus:read",
            S::SkusWrite => "skus:write",
            S::EquipmentRead => "equipment:read",
            S::EquipmentWrite => "equipment:write",
            S::SensorsWrite => "sensors:write",
            S::TaxonomiesRead => "taxonomies:read",
            S::ComplianceRead => "compliance:read",
            S::ComplianceSubmit => "compliance:submit",
            S::ReportsRead => "reports:read",
            S::ReportsExecute => "reports:execute",
            S::QualityRead => "quality:read",
            S::FinanceRead => "finance:read",
            S::CrmRead => "crm:read",
            S::CrmWrite => "crm:write",
            S::TasksRead => "tasks:read",
            S::TasksWrite => "tasks:write",
            S::ActivitiesRead => "activities:read",
            S::WebhooksManage => "webhooks:manage",
        }
    }

    /// The grant called `name`, exactly as spelled; nothing else is a grant.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name)
    }

    /// The verb behind the colon.
    #[must_use]
    pub fn verb(self) -> &'static str {
        self.as_str().split_once(':').map_or("", |(_, verb)| verb)
    }

    /// Which category it belongs to.
    #[must_use]
    pub const fn category(self) -> Category {
        match self {
            S::InventoryRead | S::InventoryWrite => C::Inventory,
            S::ConsumablesRead | S::ConsumablesWrite => C::Consumables,
            S::OrdersRead | S::OrdersWrite => C::Orders,
            S::SkusRead | S::SkusWrite => C::Skus,
            S::EquipmentRead | S::EquipmentWrite => C::Equipment,
            S::SensorsWrite => C::Sensors,
            S::TaxonomiesRead => C::Taxonomies,
            S::ComplianceRead | S::ComplianceSubmit => C::Compliance,
            S::ReportsRead | S::ReportsExecute => C::Reports,
            S::QualityRead => C::Quality,
            S::FinanceRead => C::Finance,
            S::CrmRead | S::CrmWrite => C::Crm,
            S::TasksRead | S::TasksWrite => C::Tasks,
            S::ActivitiesRead => C::Activities,
            S::WebhooksManage => C::Webhooks,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScopeSet(u32);

impl ScopeSet {
    /// No grant: the default of a new integration (S057).
    pub const EMPTY: Self = Self(0);

    /// Whether `scope` is granted.
    #[must_use]
    pub const fn contains(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u8) != 0
    }

    /// With `scope` as well.
    #[must_use]
    pub const fn with(self, scope: Scope) -> Self {
        Self(self.0 | (1 << scope as u8))
    }

    /// Whether nothing is granted.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The grants of this set that `other` lacks.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The grants, in table order.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.contains(*scope))
    }
}

impl FromIterator<Scope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        scopes.into_iter().fold(Self::EMPTY, Self::with)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // S032, S048: 15 categories, 24 grants: 13 reads, 8 writes, 1 submit, 1 execute, 1 manage.
    #[test]
    fn the_catalogue_has_exactly_the_24_grants() {
        let count = |verb| Scope::ALL.iter().filter(|s| s.verb() == verb).count();
        assert_eq!(Category::ALL.len(), 15);
        assert_eq!(
            (count("read"), count("write"), count("submit"), count("execute"), count("manage")),
            (13, 8, 1, 1, 1)
        );
        assert_eq!(Category::ALL.into_iter().flat_map(Category::grants).count(), 24);
    }

    // S038–S047, S048: every pair outside the catalogue is refused.
    #[test]
    fn every_other_pair_is_no_scope() {
        for category in Category::ALL {
            for verb in ["read", "write", "submit", "execute", "manage", "delete", "*", ""] {
                let name = format!("{}:{verb}", category.label().to_lowercase());
                let legal = category.grants().any(|scope| scope.as_str() == name);
                assert_eq!(Scope::parse(&name).is_some(), legal, "{name}");
            }
        }
        for odd in ["*", "", "Sensors:write", "sensors:write ", "sensors", "all"] {
            assert_eq!(Scope::parse(odd), None, "{odd}");
        }
    }

    #[test]
    fn sets_hold_what_they_were_given() {
        let set: ScopeSet = [Scope::SensorsWrite, Scope::CrmRead].into_iter().collect();
        assert!(set.contains(Scope::CrmRead) && !set.contains(Scope::CrmWrite));
        assert_eq!(set.iter().collect::<Vec<_>>(), [Scope::SensorsWrite, Scope::CrmRead]);
        assert_eq!(set.minus(ScopeSet::EMPTY.with(Scope::CrmRead)).iter().count(), 1);
    }
}
