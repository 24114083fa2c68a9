//! What there is to grant, and what a grant opens.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Facility, batch, facility::send, now_s};

/// The 15 categories of the source, what each may be granted, and how delicate it is.
const TABLE: [(&str, &[&str], &str); 15] = [
    ("inventory", &["read", "write"], "Operational"),
    ("consumables", &["read", "write"], "Operational"),
    ("orders", &["read", "write"], "Operational"),
    ("skus", &["read", "write"], "Operational"),
    ("equipment", &["read", "write"], "Operational"),
    ("sensors", &["write"], "Operational"),
    ("taxonomies", &["read"], "Operational (read-only)"),
    ("compliance", &["read", "submit"], "Regulatory"),
    ("reports", &["read", "execute"], "Operational"),
    ("quality", &["read"], "Operational (read-only)"),
    ("finance", &["read"], "Financial"),
    ("crm", &["read", "write"], "PII"),
    ("tasks", &["read", "write"], "Operational"),
    ("activities", &["read"], "Operational (read-only)"),
    ("webhooks", &["manage"], "Administrative"),
];

// S032, S049, S050, S051, S052, S053: the catalogue says what each category covers, the union of the source's two tables,
// and how delicate it is.
#[tokio::test]
async fn the_catalogue_is_the_table_of_the_source() {
    let facility = Facility::new().await;
    let catalogue = facility.get("/admin/v1/scopes").await.expect(200).json;
    let items = catalogue["items"].as_array().expect("items");
    let found: Vec<(String, &str)> = items
        .iter()
        .map(|item| (item["category"].as_str().unwrap().to_lowercase(), item["sensitivity"].as_str().unwrap()))
        .collect();
    let expected: Vec<(String, &str)> = TABLE.iter().map(|(name, _, how)| ((*name).to_owned(), *how)).collect();
    assert_eq!(found, expected);
    let covers = |name: &str| {
        let item = items.iter().find(|item| item["category"].as_str().unwrap().eq_ignore_ascii_case(name)).unwrap();
        item["covers"].as_str().unwrap().to_lowercase()
    };
    for (category, words) in [
        ("inventory", &["lots", "batches", "plants", "rooms", "locations", "transfers", "destruction"][..]),
        ("compliance", &["capas", "deviations", "recalls", "compliance reports"]),
        ("orders", &["orders", "order items", "shipments", "manifests"]),
    ] {
        assert!(words.iter().all(|word| covers(category).contains(word)), "{category}: {}", covers(category));
    }
}

// S033–S048: each of the 24 grants can be given alone and is shown as given; every other pair of category and verb is
// refused, and so is anything like a wildcard (S057).
#[tokio::test]
async fn the_24_grants_and_no_other() {
    let facility = Facility::new().await;
    let id = facility.requested(&[]).await;
    let path = format!("/admin/v1/integrations/{id}");
    let grant = async |scopes: Value| {
        facility.admin(&facility.alice, Method::PATCH, &path, Some(json!({"scopes": scopes}))).await
    };
    let mut given = 0;
    for (category, verbs, _) in TABLE {
        for verb in ["read", "write", "submit", "execute", "manage", "delete", "*"] {
            let scope = format!("{category}:{verb}");
            let answer = grant(json!([scope])).await;
            if verbs.contains(&verb) {
                assert_eq!(answer.expect(200).json["scopes"], json!([scope]));
                given += 1;
            } else {
                assert_eq!(answer.expect(422).code(), "validation_failed", "{scope}");
            }
        }
    }
    assert_eq!(given, 24);
    for odd in
        ["*", "all", "inventory", "inventory:", ":read", "Inventory:read", "inventory:read ", "inventory.read", ""]
    {
        grant(json!([odd])).await.expect(422);
    }
    assert_eq!(facility.get(&path).await.expect(200).json["scopes"], json!(["webhooks:manage"]), "the last good one");
}

// S058, S059, S060: a grant opens its own calls and nothing else: reading is not writing, writing is not reading, and an ERP's
// scopes are no other's.
#[tokio::test]
async fn a_grant_opens_its_own_calls_only() {
    let facility = Facility::new().await;
    let calls: BTreeMap<&str, (Method, &str)> = BTreeMap::from([
        ("equipment:read", (Method::GET, "/v1/equipment")),
        ("equipment:write", (Method::POST, "/v1/equipment")),
        ("sensors:write", (Method::POST, "/v1/sensors/readings")),
        ("taxonomies:read", (Method::GET, "/v1/taxonomies/equipment-types")),
    ]);
    for scopes in [
        vec!["equipment:read"],
        vec!["equipment:write"],
        vec!["sensors:write"],
        vec!["taxonomies:read"],
        vec!["inventory:read", "orders:read"],
    ] {
        let integration = facility.active(&scopes).await;
        for (scope, (method, path)) in &calls {
            let mut request = facility.request(&integration, method.clone(), path);
            if *method == Method::POST {
                request = request.json(&batch("s", 1, now_s()));
            }
            let answer = send(request).await;
            if scopes.contains(scope) {
                assert!(![401, 403, 404].contains(&answer.status), "{scopes:?} at {path}: {}", answer.text);
            } else {
                assert_eq!((answer.status, answer.code()), (403, "insufficient_scope"), "{scopes:?} at {path}");
                assert!(answer.json["detail"].as_str().is_some_and(|detail| detail.contains(scope)), "{}", answer.text);
            }
        }
    }
}

// S023, S024, S025, S075: before it is activated an integration has no credentials: none are shown, none are made, and its
// data calls fail.
#[tokio::test]
async fn before_activation_there_are_no_credentials() {
    let facility = Facility::new().await;
    let other = facility.active(&["sensors:write"]).await;
    let id = facility.requested(&["sensors:write"]).await;
    let path = format!("/admin/v1/integrations/{id}");
    for status in ["requested", "approved"] {
        let shown = facility.get(&path).await.expect(200);
        assert_eq!(shown.json["status"], status);
        for name in ["key_prefix", "key_issued_at", "client_id"] {
            assert!(shown.json[name].is_null(), "{status}: {name}");
        }
        assert!(!shown.text.contains("grq_live_") && shown.json.get("credentials").is_none(), "{}", shown.text);
        // A data call has nothing to show; naming the integration in place of a key is none.
        let request = facility.client.post(format!("{}/v1/sensors/readings", facility.server.http_url));
        let request = request.bearer_auth(&other.token).header("X-API-Key", &id).json(&batch("s", 1, now_s()));
        send(request).await.expect(401);
        let token = json!({"grant_type": "client_credentials", "client_id": id, "client_secret": "x"});
        send(facility.client.post(&facility.server.token_url).json(&token)).await.expect(401);
        facility.admin(&facility.bob, Method::POST, &format!("{path}/approve"), None).await;
    }
}

// S031: why an integration exists is what its approver reads, in the list and in the detail.
#[tokio::test]
async fn the_approver_reads_why_it_exists() {
    let facility = Facility::new().await;
    let id = facility.requested(&["sensors:write"]).await;
    let why = "Delivers the climate of greenhouse 1.";
    let as_bob = async |path: &str| facility.admin(&facility.bob, Method::GET, path, None).await.expect(200).json;
    assert_eq!(as_bob(&format!("/admin/v1/integrations/{id}")).await["description"], why);
    let list = as_bob("/admin/v1/integrations?status=requested").await;
    assert_eq!((&list["items"][0]["id"], &list["items"][0]["description"]), (&json!(id), &json!(why)));
}
