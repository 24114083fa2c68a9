mod crash;
mod faults;
mod fixture;
mod keeping;

mod contract_held {
    use super::fixture::{config, open};
    use crate::store::contract::contract_tests;

    contract_tests!(|dir: &std::path::Path| open(dir, &config()));
}

mod contract_at_once {
    use super::fixture::{at_once, open};
    use crate::store::contract::contract_tests;

    contract_tests!(|dir: &std::path::Path| open(dir, &at_once()));
}

/// Some groups wait for the next, most do not.
mod contract_mixed {
    use super::fixture::{config, open};
    use crate::store::contract::contract_tests;

    contract_tests!(|dir: &std::path::Path| open(dir, &crate::store::Config { hold_readings_max: 300, ..config() }));
}
