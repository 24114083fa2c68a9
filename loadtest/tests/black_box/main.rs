//! The generator against a fake with faults: an honest server passes, and every kind of fault is seen. This is what
//! makes a clean report worth something.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may")]

mod fake;

use std::path::PathBuf;

use fake::{Fake, Wrong};
use loadtest::floor::Floor;
use loadtest::ledger::Verdict;
use loadtest::plan::Plan;
use loadtest::profile::{OnRefusal, Profile, Protocol, Version};
use loadtest::report::figures::Figures;
use loadtest::run::{Site, run};
use loadtest::server::Endpoints;
use loadtest::setup::{self, Organisation};

fn work_dir(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// A second of the smoke profile without its kill.
fn drive(wrong: Wrong, edit: impl FnOnce(&mut Profile)) -> Figures {
    let dir = work_dir(&format!("{wrong:?}"));
    let fake = Fake::start(wrong);
    let mut profile = Profile::load("smoke").unwrap();
    profile.kill = None;
    profile.warm_up_s = 0.2;
    profile.duration_s = 1.0;
    profile.connections = 3;
    profile.mqtt.sessions = 0;
    profile.data.bad_share = 0.01;
    profile.threads = 2;
    profile.data.readings_per_batch = 20;
    profile.load = loadtest::profile::Load::Open { requests_per_s: 300.0 };
    profile.check.settle_s = 0.0;
    edit(&mut profile);
    let site = Site {
        server_binary: PathBuf::from("/nonexistent"),
        own_binary: PathBuf::from("/nonexistent"),
        target: Some(fake.demo(&dir, 7)),
        work_dir: dir,
    };
    run(&profile, &site, None).unwrap()
}

fn verdict(figures: &Figures) -> &Verdict {
    figures.facts.verdict.as_ref().unwrap()
}

#[test]
fn an_honest_server_passes_with_broken_entries_resends_and_changed_values() {
    let figures = drive(Wrong::Nothing, |_| ());
    let verdict = verdict(&figures);
    assert!(figures.promises_kept(), "{verdict:?} {:?}", figures.miscounted_examples);
    assert!(verdict.right > 500, "{verdict:?}");
    assert_eq!(verdict.series, 21);
    assert!(figures.rejected > 1 && figures.response.p50_us > 0);
    assert!(figures.outcomes["200"] > 10 && figures.outcomes["207"] > 1, "{:?}", figures.outcomes);
    assert!(!figures.facts.lag_us.is_empty());
}

#[test]
fn http2_carries_the_same() {
    let figures = drive(Wrong::Nothing, |profile| {
        profile.protocol = Protocol::Http2;
        profile.streams = 3;
    });
    assert!(figures.promises_kept() && verdict(&figures).right > 500);
}

/// The same over MQTT alone, half of the sessions with each version.
fn drive_mqtt(wrong: Wrong, edit: impl FnOnce(&mut Profile)) -> Figures {
    drive(wrong, |profile| {
        profile.connections = 0;
        profile.mqtt.sessions = 4;
        profile.mqtt.in_flight = 3;
        profile.mqtt.versions = vec![Version::V311, Version::V5];
        profile.mqtt.results = true;
        edit(profile);
    })
}

#[test]
fn mqtt_carries_the_same_with_results_that_are_checked() {
    let figures = drive_mqtt(Wrong::Nothing, |_| ());
    assert!(figures.promises_kept(), "{:?} {:?}", verdict(&figures), figures.miscounted_examples);
    assert!(verdict(&figures).right > 500 && figures.rejected > 1);
    assert_eq!(figures.outcomes.keys().collect::<Vec<_>>(), ["mqtt 200", "mqtt 207"], "{:?}", figures.outcomes);
}

#[test]
fn mqtt_and_http_share_one_ledger() {
    let figures = drive(Wrong::Nothing, |profile| {
        profile.mqtt.sessions = 3;
        profile.mqtt.versions = vec![Version::V5, Version::V311];
        profile.mqtt.results = true;
    });
    assert!(figures.promises_kept() && verdict(&figures).right > 500, "{:?}", figures.miscounted_examples);
    assert!(figures.outcomes["200"] > 10 && figures.outcomes["mqtt 200"] > 10, "{:?}", figures.outcomes);
}

#[test]
fn mqtt_without_results_goes_by_the_puback() {
    let figures = drive_mqtt(Wrong::Nothing, |profile| {
        profile.mqtt.results = false;
        profile.data.bad_share = 0.0;
    });
    assert!(figures.promises_kept() && verdict(&figures).right > 500);
    assert_eq!(figures.outcomes.keys().collect::<Vec<_>>(), ["mqtt PUBACK"]);
}

#[test]
fn a_puback_for_what_is_not_stored_is_seen() {
    for version in [Version::V311, Version::V5] {
        let figures = drive_mqtt(Wrong::Loses, |profile| profile.mqtt.versions = vec![version]);
        assert!(verdict(&figures).lost >= 1 && !figures.promises_kept(), "{version:?}");
    }
}

#[test]
fn a_puback_out_of_order_is_seen() {
    let figures = drive_mqtt(Wrong::AcksOutOfOrder, |_| ());
    assert!(figures.miscounted > 1 && figures.miscounted_examples[0].contains("order"), "{figures:?}");
    assert!(verdict(&figures).is_clean());
}

#[test]
fn a_result_with_a_wrong_count_is_seen() {
    let figures = drive_mqtt(Wrong::Miscounts, |profile| profile.data.bad_share = 0.05);
    assert!(figures.miscounted > 1 && !figures.promises_kept());
}

#[test]
fn a_result_that_never_comes_is_seen() {
    let figures = drive_mqtt(Wrong::KeepsResults, |profile| {
        profile.mqtt.versions = vec![Version::V5];
        profile.timeout_ms = 300;
    });
    assert!(figures.miscounted > 1 && figures.miscounted_examples[0].contains("never came"), "{figures:?}");
    // The PUBACK was the promise, and it was kept.
    assert!(verdict(&figures).is_clean() && verdict(&figures).right > 100);
}

#[test]
fn a_lost_puback_is_resent_after_the_reconnect_and_nothing_is_doubled() {
    let figures = drive_mqtt(Wrong::Cuts, |_| ());
    assert!(figures.outcomes["cut before the answer"] > 1, "{:?}", figures.outcomes);
    assert!(figures.promises_kept(), "{:?}", figures.facts.verdict);
}

#[test]
fn a_publish_over_the_limit_is_retried_or_given_up_as_the_profile_says() {
    for on_refusal in [OnRefusal::Retry, OnRefusal::Drop] {
        let figures = drive_mqtt(Wrong::Refuses, |profile| profile.on_refusal = on_refusal);
        assert!(figures.outcomes["mqtt 429 rate_limited"] > 1, "{:?}", figures.outcomes);
        assert!(figures.promises_kept(), "{:?}", figures.facts.verdict);
    }
}

#[test]
fn a_publish_that_is_refused_and_stored_all_the_same_is_seen() {
    let figures = drive_mqtt(Wrong::RefusesAndStores, |profile| profile.on_refusal = OnRefusal::Drop);
    assert!(verdict(&figures).unexpected > 10 && !figures.promises_kept());
}

#[test]
fn idle_sessions_end_with_the_suspend_and_one_that_outlives_it_is_seen() {
    for (wrong, outliving) in [(Wrong::Nothing, 0), (Wrong::SuspendsLate, 84)] {
        let figures = drive_mqtt(wrong, |profile| {
            profile.crowd.idle_sessions = 20;
            profile.crowd.slow_sessions = 2;
            profile.crowd.settle_s = 0.0;
            profile.crowd.kick = true;
        });
        assert!(verdict(&figures).is_clean() && verdict(&figures).right > 500);
        let kick = figures.facts.kick.unwrap();
        // The first 64 stand for what is made once.
        assert_eq!((figures.facts.idle_sessions_left, kick.sessions), (84, 84));
        assert_eq!(kick.sessions_outliving, outliving);
        assert_eq!(figures.promises_kept(), outliving == 0);
        assert!(kick.sessions_cut >= 84 && kick.closed_ms > 0.0);
    }
}

#[test]
fn a_lost_reading_is_seen() {
    let figures = drive(Wrong::Loses, |_| ());
    assert!(verdict(&figures).lost >= 1 && !figures.promises_kept());
}

#[test]
fn a_doubled_row_is_seen() {
    let figures = drive(Wrong::Doubles, |_| ());
    assert_eq!(verdict(&figures).doubled, 21);
    assert!(!figures.promises_kept());
}

#[test]
fn a_changed_value_is_seen() {
    let figures = drive(Wrong::Changes, |_| ());
    assert!(verdict(&figures).wrong_value >= 10 && !figures.promises_kept());
}

#[test]
fn an_earlier_value_that_stays_is_seen() {
    let figures = drive(Wrong::FirstWins, |_| ());
    assert!(verdict(&figures).wrong_value >= 1 && !figures.promises_kept());
}

#[test]
fn a_wrong_count_is_seen() {
    let figures = drive(Wrong::Miscounts, |profile| profile.data.bad_share = 0.05);
    assert!(figures.miscounted > 1 && !figures.promises_kept());
}

#[test]
fn a_cut_answer_is_retried_and_nothing_is_doubled() {
    let figures = drive(Wrong::Cuts, |_| ());
    assert!(figures.outcomes["cut before the answer"] > 1, "{:?}", figures.outcomes);
    assert!(figures.promises_kept(), "{:?}", figures.facts.verdict);
}

#[test]
fn a_refused_batch_is_retried_or_given_up_as_the_profile_says() {
    for on_refusal in [OnRefusal::Retry, OnRefusal::Drop] {
        let figures = drive(Wrong::Refuses, |profile| profile.on_refusal = on_refusal);
        assert!(figures.outcomes["503 spool_full"] > 1);
        assert!(figures.promises_kept(), "{:?}", figures.facts.verdict);
    }
}

#[test]
fn a_refused_batch_that_is_stored_all_the_same_is_seen() {
    let figures = drive(Wrong::RefusesAndStores, |profile| profile.on_refusal = OnRefusal::Drop);
    assert!(verdict(&figures).unexpected > 10 && !figures.promises_kept());
}

#[test]
fn setup_makes_what_the_plan_needs_by_the_admin_api_alone() {
    let fake = Fake::start(Wrong::Nothing);
    let url = format!("http://{}", fake.addr);
    let endpoints = Endpoints {
        http_url: url.clone(),
        admin_url: url.clone(),
        token_url: format!("{url}/oauth/token"),
        audience: "a".into(),
        mqtt_url: None,
    };
    let mut profile = Profile::load("main").unwrap();
    profile.data.integrations = Some(23);
    profile.data.sensors = 23 * 501;
    let plan = Plan::new(&profile, 1_767_607_200_000_000).unwrap();
    let organisation = |number: u32| Organisation {
        id: format!("o{number}"),
        admins: vec![(format!("a{number}@x"), "once".into()), (format!("b{number}@x"), "once".into())],
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let organisations = vec![organisation(0), organisation(1)];
    let estate = runtime.block_on(setup::build(&endpoints, organisations, &plan)).unwrap();
    assert_eq!((estate.organisations.len(), estate.integrations.len()), (2, 23));
    assert_eq!(estate.integrations[22].organisation, 1);
    assert_eq!(fake.made().values().sum::<usize>(), 23 * 501);
    assert_eq!((fake.calls("/approve"), fake.calls("/activate"), fake.calls("/bulk")), (23, 23, 46));
    assert!(estate.organisations.iter().all(|org| org.admins.iter().all(|(_, password)| password != "once")));
    let credentials = runtime.block_on(setup::tokens(&endpoints, &estate)).unwrap();
    assert!(credentials[3].token.starts_with("token-c-i"));
}

#[test]
fn the_floors_answer_what_is_sent() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let profile = Profile::load("main").unwrap();
    let plan = Plan::new(&profile, 1_767_607_200_000_000).unwrap();
    let template = loadtest::body::Template::new(&profile.data.body, profile.encoding).unwrap();
    let body = template.encode(&plan, 0, 0, 0).unwrap();
    for (floor, body, status) in [
        (Floor::Drop, body.clone(), 200),
        (Floor::Parse, body.clone(), 200),
        (Floor::Drop, body.slice(1..), 200),
        (Floor::Parse, body.slice(1..), 400),
    ] {
        let got = runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}/v1/sensors/readings", listener.local_addr().unwrap());
            let asking = async { reqwest::Client::new().post(url).body(body).send().await.unwrap().status().as_u16() };
            tokio::select! {
                status = asking => status,
                _ = loadtest::floor::accept(floor, listener) => unreachable!("a floor serves for ever"),
            }
        });
        assert_eq!(got, status, "{floor:?}");
    }
}
