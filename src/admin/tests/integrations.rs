use reqwest::Method;
use serde_json::json;

use super::api::Api;

// S010, S011, S032, S049, S280
#[tokio::test]
async fn the_catalogues_are_those_of_the_contract() {
    let api = Api::start().await;
    let vendors = api.pages("/admin/v1/vendors", &api.ann).await;
    assert_eq!(vendors.len(), 12);
    assert!(vendors.contains(&json!({ "name": "Shopify", "category": "Ecommerce" })));
    let scopes = api.pages("/admin/v1/scopes", &api.ann).await;
    assert_eq!(scopes.len(), 15);
    let grants: usize = scopes.iter().map(|category| category["grants"].as_array().unwrap().len()).sum();
    assert_eq!(grants, 24);
    let crm = scopes.iter().find(|category| category["category"] == "CRM").unwrap();
    assert_eq!((crm["sensitivity"].as_str(), crm["sensitive"].as_bool()), (Some("PII"), Some(true)));
    let types = api.pages("/admin/v1/taxonomies/equipment-types", &api.ann).await;
    assert!(types.iter().any(|t| t["name"] == "vent" && t["kind"] == "actuator"));
}

// S012–S020, S025, S057: what a request must have, and what it answers.
#[tokio::test]
async fn a_request_is_complete_and_shows_no_credential() {
    let api = Api::start().await;
    let created = api.request_integration(&api.ann).await;
    let integration = &created.json;
    assert_eq!(created.header("location"), format!("/admin/v1/integrations/{}", created.id()));
    assert_eq!((integration["status"].as_str(), integration["version"].as_u64()), (Some("requested"), Some(1)));
    assert_eq!(created.header("etag"), "\"1\"");
    for absent in ["key_prefix", "client_id", "approved_by", "daily_quota", "suspended_by", "last_used_at"] {
        assert!(integration[absent].is_null(), "{absent}");
    }
    assert_eq!(integration["rate_limit_rpm"], 60);
    assert_eq!(integration["ip_allowlist"], json!({ "enabled": false, "entries": [] }));
    assert_eq!(
        (integration["eligible_approvers"].as_u64(), &integration["approver_available"]),
        (Some(1), &json!(true))
    );
    assert!(!created.text.contains("grq_live_") && integration.get("credentials").is_none());

    let post = |body| api.post("/admin/v1/integrations", &api.ann, body);
    let owner = integration["owner_id"].as_str().unwrap();
    let with = |field: &str, value: serde_json::Value| {
        let mut body = json!({ "vendor": "SAP", "name": "ERP", "description": "Orders", "owner_id": owner });
        body[field] = value;
        body
    };
    for (field, value) in [
        ("vendor", json!("sap")),
        ("vendor", json!(null)),
        ("name", json!(" ")),
        ("description", json!("")),
        ("owner_id", json!("me")),
        ("owner_id", json!("00000000-0000-7000-8000-000000000000")),
        ("rate_limit_rpm", json!(0)),
        ("rate_limit_rpm", json!(10_001)),
        ("rate_limit_rpm", json!(null)),
        ("rate_limit_rpm", json!(1.5)),
        ("daily_quota", json!(0)),
        ("colour", json!("green")),
    ] {
        assert_eq!(post(with(field, value.clone())).await.fields(), [field], "{field} {value}");
    }
    let wild = post(with("scopes", json!(["sensors:write", "sensors:read", "*"]))).await;
    assert!(wild.fields().iter().all(|field| field.starts_with("scopes")), "{}", wild.text);
    let sensitive = post(with("scopes", json!(["crm:read"]))).await;
    let warnings = sensitive.json["warnings"].as_array().unwrap();
    assert!(warnings.iter().any(|warning| warning["code"] == "sensitive_scope"), "{}", sensitive.text);
    let contacts = json!([{ "name": "Kim", "email": "kim@partner.test", "confirmed_at": "2026-01-05T10:00:00Z" }]);
    let with_contacts = post(with("contacts", contacts)).await;
    assert_eq!(with_contacts.json["contacts"][0]["confirmed_at"], "2026-01-05T10:00:00Z", "{}", with_contacts.text);
}

// S066, S069, S081–S083, S087, S125, S130: a whole life, with two people where two are needed.
#[tokio::test]
async fn a_life_from_request_to_revocation() {
    let api = Api::start().await;
    let path = format!("/admin/v1/integrations/{}", api.request_integration(&api.ann).await.id());
    let step = async |token: &str, step: &str, body| api.post(&format!("{path}/{step}"), token, body).await;

    assert_eq!(step(&api.bob, "activate", json!({})).await.code(), (409, "invalid_state"));
    assert_eq!(step(&api.ann, "approve", json!({})).await.code(), (403, "self_approval"));
    let approved = step(&api.bob, "approve", json!({})).await;
    assert_eq!((approved.status, approved.json["status"].as_str()), (200, Some("approved")));
    assert!(approved.json.get("eligible_approvers").is_none() && approved.json.get("credentials").is_none());

    let activated = step(&api.ann, "activate", json!({})).await;
    assert_eq!(activated.header("cache-control"), "no-store");
    let credentials = &activated.json["credentials"];
    let key = credentials["api_key"].as_str().unwrap();
    assert!(key.starts_with("grq_live_") && key.starts_with(credentials["key_prefix"].as_str().unwrap()));
    assert!(credentials["client_id"].is_string() && credentials["client_secret"].is_string());
    assert_eq!(activated.json["client_id"], credentials["client_id"]);
    assert_eq!(step(&api.ann, "activate", json!({})).await.code(), (409, "invalid_state"), "S086");

    let regenerated = step(&api.bob, "api-key", json!({ "cause": "routine rotation" })).await;
    assert_eq!((regenerated.status, regenerated.header("cache-control")), (200, "no-store"));
    let second = regenerated.json["api_key"].as_str().unwrap();
    assert_ne!(second, key);
    assert_eq!(regenerated.json["key_prefix"], second[..16]);

    for reason in [json!({}), json!({ "reason": null }), json!({ "reason": " \t" })] {
        assert_eq!(step(&api.ann, "suspend", reason).await.fields(), ["reason"], "S108");
    }
    let category = json!({ "reason": "odd", "category": "mood" });
    assert_eq!(step(&api.ann, "suspend", category).await.fields(), ["category"]);
    let suspended = step(&api.ann, "suspend", json!({ "reason": "odd traffic", "category": "security_concern" })).await;
    assert_eq!(suspended.json["cut"], json!({ "sessions": 0, "requests": 0 }), "{}", suspended.text);
    assert_eq!(suspended.json["suspend_reason"], "odd traffic");
    assert_eq!(step(&api.ann, "reactivate", json!({})).await.code(), (403, "self_reactivation"));
    let staged = step(&api.ann, "api-key", json!({})).await;
    assert_eq!(staged.json["staged"], true, "{}", staged.text);
    assert_eq!(step(&api.bob, "reactivate", json!({ "credentials": "old" })).await.fields(), ["credentials"]);
    let kept = step(&api.bob, "reactivate", json!({ "credentials": "keep_staged" })).await;
    assert_eq!(kept.json["credentials"]["key_prefix"], staged.json["key_prefix"], "{}", kept.text);
    assert!(kept.json["credentials"].get("api_key").is_none() && kept.json["status"] == "active");

    let revoked = step(&api.ann, "revoke", json!({})).await;
    assert_eq!((revoked.json["status"].as_str(), revoked.json["cut"].is_object()), (Some("revoked"), true));
    for name in ["approve", "activate", "suspend", "reactivate", "revoke", "api-key"] {
        let body = if name == "suspend" { json!({ "reason": "r" }) } else { json!({}) };
        assert_eq!(step(&api.bob, name, body).await.code(), (409, "invalid_state"), "S137 {name}");
    }

    // S289: the history goes on being readable, oldest first, and tells of the refusals.
    let history = api.pages(&format!("{path}/history?limit=3"), &api.bob).await;
    let actions: Vec<_> = history.iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    let lived = actions.iter().filter(|action| !action.ends_with("_refused")).copied().collect::<Vec<_>>();
    assert_eq!(
        lived,
        [
            "integration_create",
            "integration_approve",
            "integration_activate",
            "integration_api_key_regenerate",
            "integration_cut",
            "integration_suspend",
            "integration_cut",
            "integration_api_key_regenerate",
            "integration_reactivate",
            "integration_revoke",
            "integration_cut",
        ]
    );
    assert!(actions.contains(&"integration_approve_refused") && actions.contains(&"integration_reactivate_refused"));

    // S084, S195: after its one answer no secret is in any other, nor in any file.
    let seen = [&path, "/admin/v1/integrations", "/admin/v1/audit-log?limit=200", "/metrics"];
    for at in seen {
        let text = api.get(at, &api.ann).await.text;
        for secret in [key, second, credentials["client_secret"].as_str().unwrap()] {
            assert!(!text.contains(&secret[16..]), "{at}");
        }
    }
    for entry in walkdir::WalkDir::new(api.dir.path()).into_iter().filter_map(Result::ok) {
        let Ok(bytes) = std::fs::read(entry.path()) else { continue };
        assert!(!bytes.windows(40).any(|window| window == &key.as_bytes()[16..56]), "{}", entry.path().display());
    }
}

// S073, S101, S103: all or nothing, and only what the caller has read.
#[tokio::test]
async fn a_change_is_whole_and_bound_to_its_version() {
    let api = Api::start().await;
    let created = api.request_integration(&api.ann).await;
    let path = format!("/admin/v1/integrations/{}", created.id());
    let bad = json!({ "rate_limit_rpm": 120, "scopes": ["sensors:read"], "daily_quota": 5 });
    assert_eq!(api.patch(&path, &api.ann, bad).await.status, 422);
    assert_eq!(api.get(&path, &api.ann).await.header("etag"), "\"1\"");
    let good = json!({ "rate_limit_rpm": 120, "daily_quota": 5_000, "name": "Climate 2" });
    let patched = api.patch(&path, &api.bob, good).await;
    assert_eq!((patched.json["rate_limit_rpm"].as_u64(), patched.header("etag")), (Some(120), "\"2\""));
    assert_eq!(api.patch(&path, &api.bob, json!({ "daily_quota": null })).await.json["daily_quota"], json!(null));
    let approve = |tag: &str| {
        let request = api.call(Method::POST, &format!("{path}/approve"), &api.bob);
        api.send(request.header("if-match", tag.to_owned()))
    };
    assert_eq!(approve("\"1\"").await.code(), (412, "version_conflict"), "the content changed since it was reviewed");
    assert_eq!(approve("\"nonsense\"").await.code(), (412, "version_conflict"));
    assert_eq!(approve("\"3\"").await.json["status"], "approved");
    for (field, value) in [("vendor", json!("SAP")), ("requested_by", json!("x")), ("status", json!("active"))] {
        assert_eq!(api.patch(&path, &api.ann, json!({ (field): value })).await.fields(), [field], "S104");
    }
}

// S237, S242, S243, S247, S248
#[tokio::test]
async fn the_allowlist_is_read_and_replaced() {
    let api = Api::start().await;
    let path = format!("/admin/v1/integrations/{}/ip-allowlist", api.request_integration(&api.ann).await.id());
    let put = |body| api.put(&path, &api.ann, body);
    assert_eq!(api.get(&path, &api.ann).await.json, json!({ "enabled": false, "entries": [] }));
    let set = put(json!({ "enabled": true, "entries": ["10.0.0.1/32", "2001:db8::/32"] })).await;
    assert_eq!(set.json["entries"], json!(["10.0.0.1/32", "2001:db8::/32"]), "{}", set.text);
    let bare = put(json!({ "enabled": true, "entries": ["10.0.0.0/24", "10.0.0.1"] })).await;
    assert_eq!(bare.fields(), ["entries"]);
    assert!(bare.text.contains("10.0.0.1/32"), "a hint: {}", bare.text);
    assert_eq!(put(json!({ "enabled": true, "entries": [] })).await.fields(), ["entries"]);
    assert_eq!(put(json!({ "entries": ["10.0.0.0/24"] })).await.fields(), ["enabled"]);
    assert_eq!(put(json!({ "enabled": "yes" })).await.fields(), ["enabled"]);
    let many: Vec<String> = (0..51).map(|i| format!("10.0.{i}.0/24")).collect();
    assert_eq!(put(json!({ "enabled": true, "entries": many })).await.fields(), ["entries"]);
    assert_eq!(api.get(&path, &api.ann).await.json["entries"].as_array().unwrap().len(), 2, "unchanged");
}

// A25, S228: grants end by themselves.
#[tokio::test]
async fn grants_are_given_and_ended() {
    let api = Api::start().await;
    let (path, _) = api.active_integration().await;
    let grants = format!("{path}/grants");
    let until = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(2);
    let body =
        json!({ "rpm": 5_000, "window_start": "2026-01-01T00:00:00Z", "until": until.to_string(), "reason": "move" });
    let given = api.post(&grants, &api.bob, body).await;
    assert_eq!(given.json["temporary_limit"]["rpm"], 5_000, "{}", given.text);
    assert_eq!(given.json["temporary_limit"]["reason"], "move");
    assert_eq!(given.json["backfill"]["window_start"], "2026-01-01T00:00:00Z");
    assert_eq!(api.post(&grants, &api.bob, json!({ "rpm": 5 })).await.fields(), ["until"]);
    let one = api.send(api.call(Method::DELETE, &format!("{grants}?kind=backfill"), &api.ann)).await;
    assert!(one.json["backfill"].is_null() && one.json["temporary_limit"].is_object(), "{}", one.text);
    let all = api.send(api.call(Method::DELETE, &grants, &api.ann)).await;
    assert!(all.json["temporary_limit"].is_null(), "{}", all.text);
    let odd = api.send(api.call(Method::DELETE, &format!("{grants}?kind=all"), &api.ann)).await;
    assert_eq!(odd.code(), (400, "invalid_parameter"));
}

// S158: the list says how many of the 20 places are taken; it filters and comes in pages.
#[tokio::test]
async fn the_list_counts_filters_and_comes_in_pages() {
    let api = Api::start().await;
    api.active_integration().await;
    for _ in 0..3 {
        api.request_integration(&api.bob).await;
    }
    let list = api.get("/admin/v1/integrations?limit=2", &api.ann).await;
    assert_eq!((list.json["used"].as_u64(), list.json["limit"].as_u64()), (Some(1), Some(20)));
    assert_eq!(api.pages("/admin/v1/integrations?limit=2", &api.ann).await.len(), 4);
    for (query, count) in
        [("status=requested", 3), ("status=active", 1), ("vendor=SAP", 0), ("q=CLIMATE", 4), ("q=nothing", 0)]
    {
        assert_eq!(api.pages(&format!("/admin/v1/integrations?{query}"), &api.ann).await.len(), count, "{query}");
    }
}

// S288: nobody edits the log unseen.
#[tokio::test]
async fn the_audit_log_is_read_and_proved() {
    let api = Api::start().await;
    api.active_integration().await;
    let up = api.pages("/admin/v1/audit-log?limit=4", &api.ann).await;
    let seqs: Vec<_> = up.iter().map(|entry| entry["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
    let down = api.pages("/admin/v1/audit-log?order=desc&limit=4", &api.ann).await;
    assert_eq!(down.first(), up.last());
    let verdict = api.get("/admin/v1/audit-log/verify", &api.ann).await;
    assert_eq!(verdict.json["ok"], true, "{}", verdict.text);
    assert_eq!(verdict.json["head"], up.last().unwrap()["hash"]);
    let entry = up.iter().find(|entry| entry["action"] == "integration_approve").unwrap();
    assert_eq!(entry["ip"], "127.0.0.1");
    assert!(entry["request_id"].is_string() && entry["actor"].is_string());

    let sql = rusqlite::Connection::open(api.dir.path().join("control.db")).unwrap();
    sql.execute_batch("DROP TRIGGER audit_is_fixed; UPDATE audit_entries SET body = replace(body, '\"login\"', '\"nothing\"') WHERE seq = 4")
        .unwrap();
    let verdict = api.get("/admin/v1/audit-log/verify", &api.ann).await;
    assert_eq!((verdict.json["ok"].as_bool(), verdict.json["first_bad_seq"].as_u64()), (Some(false), Some(4)));
}
