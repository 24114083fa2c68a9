//! The registry of vendors (S010, S011).

/// A vendor that an integration can be requested for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vendor {
    /// Its name, as requests spell it.
    pub name: &'static str,
    /// What it is for, in the words of the registry.
    pub category: &'static str,
}

/// All vendors, in the order of the registry. The database refuses any other name.
pub const VENDORS: [Vendor; 12] = [
    Vendor { name: "SAP", category: "ERP, procurement" },
    Vendor { name: "Salesforce", category: "CRM sync" },
    Vendor { name: "QuickBooks Online", category: "Accounting" },
    Vendor { name: "Xero", category: "Accounting" },
    Vendor { name: "Shopify", category: "Ecommerce" },
    Vendor { name: "HubSpot", category: "Marketing" },
    Vendor { name: "NetSuite", category: "ERP" },
    Vendor { name: "Sage", category: "Accounting" },
    Vendor { name: "Zapier", category: "Workflow automation" },
    Vendor { name: "Microsoft Dynamics 365", category: "ERP" },
    Vendor { name: "Power Automate", category: "Workflow automation" },
    Vendor { name: "Custom", category: "Any other system" },
];

impl Vendor {
    /// The vendor called `name`, exactly as spelled.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        VENDORS.into_iter().find(|vendor| vendor.name == name)
    }
}
