use reqwest::Method;
use serde_json::json;

use super::api::{Api, PASSWORD};

const PERMISSION: &str = "administration_integrations_access";

// api.md §6: dual control covers administrators too.
#[tokio::test]
async fn a_new_administrator_needs_two() {
    let api = Api::start().await;
    let body = json!({ "email": "cat@example.test", "name": "Cat", "permissions": [PERMISSION] });
    let created = api.post("/admin/v1/users", &api.ann, body).await;
    assert_eq!((created.status, created.header("cache-control")), (201, "no-store"));
    assert_eq!(created.json["permissions"], json!([]));
    assert_eq!(created.json["permissions_pending"], json!([PERMISSION]));
    let (id, one_time) = (created.id(), created.json["one_time_password"].as_str().unwrap());
    let confirm = format!("/admin/v1/users/{id}/confirm");
    assert_eq!(api.post(&confirm, &api.bob, json!({})).await.code(), (409, "invalid_state"));
    let cat = api.settle("cat@example.test", one_time).await;
    assert_eq!(api.get("/admin/v1/integrations", &cat).await.code(), (403, "permission_denied"));
    assert_eq!(api.post(&confirm, &cat, json!({})).await.code(), (403, "permission_denied"));
    assert_eq!(api.post(&confirm, &api.ann, json!({})).await.code(), (403, "self_confirmation"));
    let confirmed = api.send(api.call(Method::POST, &confirm, &api.bob)).await;
    assert_eq!(confirmed.json["permissions"], json!([PERMISSION]), "{}", confirmed.text);
    assert_eq!(api.get("/admin/v1/integrations", &cat).await.status, 200);
    assert!(!api.get(&format!("/admin/v1/users/{id}"), &api.ann).await.text.contains(one_time));
}

#[tokio::test]
async fn a_reset_password_of_a_holder_is_shown_once_and_confirmed_by_another() {
    let api = Api::start().await;
    let body = json!({ "email": "cat@example.test", "name": "Cat", "permissions": [PERMISSION] });
    let created = api.post("/admin/v1/users", &api.ann, body).await;
    let path = format!("/admin/v1/users/{}", created.id());
    let cat = api.settle("cat@example.test", created.json["one_time_password"].as_str().unwrap()).await;
    api.post(&format!("{path}/confirm"), &api.bob, json!({})).await;

    let reset = api.post(&format!("{path}/password-reset"), &api.ann, json!({})).await;
    assert_eq!((reset.status, reset.header("cache-control")), (200, "no-store"), "{}", reset.text);
    assert_eq!(api.get("/admin/v1/me", &cat).await.status, 401, "sessions end with a reset");
    assert_eq!(api.login("cat@example.test", PASSWORD).await.status, 401);
    api.settle("cat@example.test", reset.json["one_time_password"].as_str().unwrap()).await;
    assert_eq!(api.post(&format!("{path}/confirm"), &api.ann, json!({})).await.code(), (403, "self_confirmation"));
    assert_eq!(api.post(&format!("{path}/confirm"), &api.bob, json!({})).await.status, 200);
}

#[tokio::test]
async fn members_are_listed_changed_and_deactivated() {
    let api = Api::start().await;
    for i in 0..3 {
        let body = json!({ "email": format!("user{i}@example.test"), "name": format!("User {i}") });
        assert_eq!(api.post("/admin/v1/users", &api.ann, body).await.status, 201);
    }
    let users = api.pages("/admin/v1/users?limit=2", &api.ann).await;
    let emails: Vec<_> = users.iter().map(|user| user["email"].as_str().unwrap()).collect();
    assert_eq!(
        emails,
        ["ann@example.test", "bob@example.test", "user0@example.test", "user1@example.test", "user2@example.test"]
    );
    let path = format!("/admin/v1/users/{}", users[4]["id"].as_str().unwrap());
    let shown = api.get(&path, &api.ann).await;
    let patch = |body| api.call(Method::PATCH, &path, &api.ann).json(&body);
    let renamed = api.send(patch(json!({ "name": "Zoë" })).header("if-match", shown.header("etag"))).await;
    assert_eq!((renamed.status, renamed.json["name"].as_str()), (200, Some("Zoë")));
    let stale = api.send(patch(json!({ "name": "Z" })).header("if-match", shown.header("etag"))).await;
    assert_eq!(stale.code(), (412, "version_conflict"));
    assert_eq!(api.patch(&path, &api.ann, json!({ "email": "BOB@example.test" })).await.code(), (409, "conflict"));
    assert_eq!(api.patch(&path, &api.ann, json!({ "active": false })).await.json["active"], false);
    for (body, fields) in [
        (json!({ "email": "nonsense", "name": " " }), vec!["email", "name"]),
        (json!({ "permissions": ["root"] }), vec!["permissions[0]"]),
        (json!({ "permissions": PERMISSION, "active": 1, "id": "x" }), vec!["permissions", "active", "id"]),
    ] {
        assert_eq!(api.patch(&path, &api.ann, body).await.fields(), fields);
    }
    let me = api.get("/admin/v1/me", &api.ann).await.id();
    let own = format!("/admin/v1/users/{me}/password-reset");
    assert_eq!(api.post(&own, &api.ann, json!({})).await.code(), (409, "invalid_state"));
}
