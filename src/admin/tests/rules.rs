//! What holds for every call.

use reqwest::Method;
use serde_json::json;

use super::api::Api;

/// Every call that administers, with a method that it has.
fn calls(integration: &str, equipment: &str, user: &str) -> Vec<(Method, String)> {
    let (get, post, patch) = (Method::GET, Method::POST, Method::PATCH);
    let mut calls: Vec<(Method, String)> = [
        (&get, "integrations"),
        (&post, "integrations"),
        (&get, "users"),
        (&post, "users"),
        (&get, "audit-log"),
        (&get, "audit-log/verify"),
        (&get, "equipment"),
        (&post, "equipment"),
        (&post, "equipment/bulk"),
        (&get, "readings"),
        (&get, "readings/latest"),
    ]
    .map(|(method, path)| (method.clone(), format!("/admin/v1/{path}")))
    .to_vec();
    for step in ["approve", "activate", "suspend", "reactivate", "revoke", "api-key", "grants"] {
        calls.push((post.clone(), format!("{integration}/{step}")));
    }
    calls.extend([
        (get.clone(), integration.to_owned()),
        (patch.clone(), integration.to_owned()),
        (get.clone(), format!("{integration}/ip-allowlist")),
        (Method::PUT, format!("{integration}/ip-allowlist")),
        (Method::DELETE, format!("{integration}/grants")),
        (get.clone(), format!("{integration}/history")),
        (get.clone(), equipment.to_owned()),
        (patch.clone(), equipment.to_owned()),
        (post.clone(), format!("{equipment}/retire")),
        (get, user.to_owned()),
        (patch, user.to_owned()),
        (post.clone(), format!("{user}/confirm")),
        (post, format!("{user}/password-reset")),
    ]);
    calls
}

async fn objects(api: &Api) -> (String, String, String) {
    let integration = api.request_integration(&api.ann).await.id();
    let body = json!({ "integration_id": integration, "kind": "sensor", "external_id": "S1" });
    let equipment = api.post("/admin/v1/equipment", &api.ann, body).await.id();
    let user = api.get("/admin/v1/me", &api.bob).await.id();
    let path = |noun: &str, id: &str| format!("/admin/v1/{noun}/{id}");
    (path("integrations", &integration), path("equipment", &equipment), path("users", &user))
}

// S001, S003: without a session 401, without the permission 403, and nothing changes; the attempts are audited.
#[tokio::test]
async fn every_call_that_administers_needs_the_permission() {
    let api = Api::start().await;
    let (integration, equipment, user) = objects(&api).await;
    let created = api.post("/admin/v1/users", &api.ann, json!({ "email": "cat@example.test", "name": "Cat" })).await;
    let cat = api.settle("cat@example.test", created.json["one_time_password"].as_str().unwrap()).await;
    let entries = api.get("/admin/v1/audit-log/verify", &api.ann).await.json["entries"].as_u64().unwrap();
    let calls = calls(&integration, &equipment, &user);
    for (method, path) in &calls {
        let anonymous = api.send(api.call(method.clone(), path, "").json(&json!({}))).await;
        assert_eq!(anonymous.code(), (401, "not_signed_in"), "{method} {path}");
        let member = api.send(api.call(method.clone(), path, &cat).json(&json!({}))).await;
        assert_eq!(member.code(), (403, "permission_denied"), "{method} {path}");
    }
    let log = api.pages("/admin/v1/audit-log?action=admin_call_refused", &api.bob).await;
    assert_eq!(log.len(), calls.len());
    assert!(log.iter().any(|entry| integration.ends_with(entry["target"].as_str().unwrap())));
    let verdict = api.get("/admin/v1/audit-log/verify", &api.ann).await;
    assert_eq!(verdict.json["entries"].as_u64().unwrap(), entries + calls.len() as u64, "nothing else happened");
    assert_eq!(api.get(&integration, &api.ann).await.json["version"], 1);
    for path in ["/admin/v1/vendors", "/admin/v1/scopes", "/admin/v1/taxonomies/equipment-types", "/admin/v1/me"] {
        assert_eq!(api.get(path, &cat).await.status, 200, "{path}");
        assert_eq!(api.get(path, "").await.status, 401, "{path}");
    }
}

// S008: what belongs to another organisation does not exist.
#[tokio::test]
async fn other_organisations_objects_are_not_found() {
    let api = Api::start().await;
    let (integration, equipment, user) = objects(&api).await;
    let [eve, _] = api.organisation("Oostland", ["eve@other.test", "fay@other.test"]).await;
    let good = json!({ "reason": "r", "enabled": false, "until": "2999-01-01T00:00:00Z", "rpm": 100 });
    for (method, path) in calls(&integration, &equipment, &user).into_iter().skip(11) {
        let body = match path.rsplit('/').next().unwrap() {
            "suspend" => json!({ "reason": "r" }),
            "ip-allowlist" => json!({ "enabled": false }),
            "grants" if method == Method::POST => {
                json!({ "reason": good["reason"], "until": good["until"], "rpm": good["rpm"] })
            }
            _ => json!({}),
        };
        let mut request = api.call(method.clone(), &path, &eve);
        if method != Method::GET && method != Method::DELETE {
            request = request.json(&body);
        }
        assert_eq!(api.send(request).await.code(), (404, "not_found"), "{method} {path}");
    }
    for path in ["/admin/v1/integrations", "/admin/v1/equipment"] {
        assert!(api.pages(path, &eve).await.is_empty(), "{path}");
    }
    let id = integration.rsplit('/').next().unwrap();
    for query in [
        format!("readings?integration_id={id}&external_id=S1&metric=co2"),
        format!("readings?equipment_id={}&metric=co2", equipment.rsplit('/').next().unwrap()),
        format!("readings/latest?integration_id={id}"),
        format!("readings/latest?integration_id={id}&external_id=S1"),
    ] {
        assert_eq!(api.get(&format!("/admin/v1/{query}"), &eve).await.code(), (404, "not_found"), "{query}");
        assert_eq!(api.get(&format!("/admin/v1/{query}"), &api.ann).await.status, 200, "{query}");
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_show_nothing_to_strangers() {
    let api = Api::start().await;
    for path in
        ["/", "/admin", "/admin/v1", "/admin/v1/nothing", "/admin/v1/integrations/x/y/z", "/v1/sensors/readings"]
    {
        assert_eq!(api.get(path, "").await.code(), (401, "not_signed_in"), "{path}");
        assert_eq!(api.get(path, &api.ann).await.code(), (404, "not_found"), "{path}");
    }
    assert_eq!(api.get("/admin/v1/integrations/not-an-id", &api.ann).await.code(), (404, "not_found"));
    for (method, path, allow) in [
        (Method::DELETE, "/admin/v1/integrations", "GET,HEAD,POST"),
        (Method::PUT, "/admin/v1/me", "GET,HEAD"),
        (Method::PATCH, "/admin/v1/equipment/bulk", "POST"),
    ] {
        assert_eq!(api.send(api.call(method.clone(), path, "")).await.status, 401, "{method} {path}");
        let answer = api.send(api.call(method.clone(), path, &api.ann)).await;
        assert_eq!((answer.code(), answer.header("allow")), ((405, "method_not_allowed"), allow), "{method} {path}");
    }
    // What is open to everybody is no secret to anybody.
    for (method, path, allow) in [
        (Method::GET, "/admin/v1/login", "POST"),
        (Method::POST, "/livez", "GET,HEAD"),
        (Method::PUT, "/metrics", "GET,HEAD"),
    ] {
        let answer = api.send(api.call(method.clone(), path, "")).await;
        assert_eq!((answer.code(), answer.header("allow")), ((405, "method_not_allowed"), allow), "{method} {path}");
    }
}

#[tokio::test]
async fn problems_have_the_form_of_the_contract() {
    let api = Api::start().await;
    let answer = api.get("/admin/v1/nothing", &api.ann).await;
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.json["type"], "https://docs.test/problems/not_found");
    for field in ["title", "detail", "code", "request_id"] {
        assert!(answer.json[field].is_string(), "{field}");
    }
    assert!(answer.json.get("errors").is_none());
    let raw = |body: &'static str, kind: &'static str| {
        api.call(Method::POST, "/admin/v1/integrations", &api.ann).header("content-type", kind).body(body)
    };
    for body in ["{", "[]", "\"x\"", "{\"a\":1,\"a\":1}", "{}{}"] {
        assert_eq!(api.send(raw(body, "application/json")).await.code(), (400, "malformed_json"), "{body}");
    }
    assert_eq!(api.send(raw("{}", "text/plain")).await.code(), (415, "unsupported_media_type"));
    let utf8 = "application/json; charset=utf-8";
    assert_eq!(api.send(raw("{}", utf8)).await.fields(), ["vendor", "name", "description", "owner_id"]);
    let huge = api.call(Method::POST, "/admin/v1/integrations", &api.ann).header("content-type", "application/json");
    assert_eq!(api.send(huge.body(vec![b' '; 2 << 20])).await.code(), (413, "body_too_large"));
}

#[tokio::test]
async fn parameters_are_read_strictly() {
    let api = Api::start().await;
    for query in [
        "integrations?limit=0",
        "integrations?limit=201",
        "integrations?limit=x",
        "integrations?cursor=abc",
        "integrations?status=Active",
        "integrations?vendor=sap",
        "integrations?colour=green",
        "integrations?limit=1&limit=2",
        "users?limit=201",
        "equipment?kind=robot",
        "equipment?integration_id=7",
        "audit-log?from=yesterday",
        "audit-log?order=up",
        "audit-log?limit=201",
        "readings?metric=co2",
    ] {
        assert_eq!(
            api.get(&format!("/admin/v1/{query}"), &api.ann).await.code(),
            (400, "invalid_parameter"),
            "{query}"
        );
    }
    let users = api.get("/admin/v1/users?limit=1", &api.ann).await;
    let foreign = users.json["next_cursor"].as_str().unwrap();
    let other = api.get(&format!("/admin/v1/equipment?cursor={foreign}"), &api.ann).await;
    assert_eq!(other.code(), (400, "invalid_parameter"), "a cursor of another list");
}

#[tokio::test]
async fn probes_are_open_and_give_reasons() {
    let api = Api::start().await;
    assert_eq!(api.get("/livez", "").await.status, 200);
    assert_eq!(api.get("/readyz", "").await.json["status"], "ready");
    api.health.set("spool", Err("the disk is full".to_owned()));
    let answer = api.get("/readyz", "").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json["reasons"], json!([{ "component": "spool", "reason": "the disk is full" }]));
    assert_eq!(api.get("/livez", "").await.status, 200, "alive all the same");
    let metrics = api.get("/metrics", "").await;
    assert!(metrics.header("content-type").starts_with("text/plain") && metrics.text.contains("sensorgate_up 1"));
}
