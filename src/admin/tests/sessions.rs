use reqwest::Method;
use serde_json::json;

use super::api::{Api, PASSWORD};

#[tokio::test]
async fn signing_in_gives_a_token_once_and_signing_out_ends_it() {
    let api = Api::start().await;
    let answer = api.login("ANN@example.test", PASSWORD).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.json["token_type"], "Bearer");
    assert!(answer.json["expires_in"].as_u64().unwrap() > 0);
    let token = answer.json["access_token"].as_str().unwrap();
    assert!(token.starts_with("grq_admin_"));
    let me = api.get("/admin/v1/me", token).await;
    assert_eq!(me.json["email"], "ann@example.test");
    assert_eq!(me.json["permissions"], json!(["administration_integrations_access"]));
    assert!(me.json["organisation_id"].is_string() && me.json["id"].is_string());
    assert_eq!(api.send(api.call(Method::POST, "/admin/v1/logout", token)).await.status, 204);
    assert_eq!(api.get("/admin/v1/me", token).await.code(), (401, "not_signed_in"));
    assert_eq!(api.get("/admin/v1/me", &api.ann).await.status, 200, "other sessions go on");
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_address_answer_the_same() {
    let api = Api::start().await;
    let wrong = api.login("ann@example.test", "not the password").await;
    let unknown = api.login("nobody@example.test", PASSWORD).await;
    assert_eq!(wrong.code(), (401, "login_failed"));
    assert_eq!((wrong.code(), &wrong.json["detail"]), (unknown.code(), &unknown.json["detail"]));
    assert!(wrong.header("www-authenticate").starts_with("Bearer"));
    let missing = api.post("/admin/v1/login", "", json!({ "email": null, "pass": "x" })).await;
    assert_eq!(missing.fields(), ["email", "password", "pass"]);
}

#[tokio::test]
async fn guessing_is_slowed_down_for_the_account_and_the_address() {
    let api = Api::start_with(|config| config.account_failures_per_minute = 3).await;
    for _ in 0..4 {
        assert_eq!(api.login("ann@example.test", "wrong").await.code(), (401, "login_failed"));
    }
    let refused = api.login("ann@example.test", PASSWORD).await;
    assert_eq!(refused.code(), (429, "too_many_failures"));
    assert!((1..=60).contains(&refused.header("retry-after").parse::<u64>().unwrap()));
    assert_eq!(api.login("bob@example.test", PASSWORD).await.status, 200, "others are not in the way");

    let api = Api::start_with(|config| config.address_failures_per_minute = 3).await;
    for i in 0..4 {
        api.login(&format!("user{i}@example.test"), "wrong").await;
    }
    assert_eq!(api.login("bob@example.test", PASSWORD).await.code(), (429, "too_many_failures"));
}

// S003, S004: nothing opens the API but a session.
#[tokio::test]
async fn only_a_session_opens_the_api() {
    let api = Api::start().await;
    let (_, activated) = api.active_integration().await;
    let key = activated.json["credentials"]["api_key"].as_str().unwrap();
    let secret = activated.json["credentials"]["client_secret"].as_str().unwrap();
    let jwt = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0LyJ9.c2ln";
    for token in ["", key, secret, jwt, "grq_admin_", "grq_admin_0000", &"x".repeat(9_000)] {
        let answer = api.get("/admin/v1/integrations", token).await;
        assert_eq!(answer.code(), (401, "not_signed_in"), "{token}");
    }
    let both = api.call(Method::GET, "/admin/v1/integrations", jwt).header("x-api-key", key);
    assert_eq!(api.send(both).await.status, 401);
    let twice = api.call(Method::GET, "/admin/v1/me", &api.ann).header("authorization", format!("Bearer {}", api.bob));
    assert_eq!(api.send(twice).await.status, 401);
    let basic = api.call(Method::GET, "/admin/v1/me", "").header("authorization", format!("Basic {}", api.ann));
    assert_eq!(api.send(basic).await.status, 401);
    let lower = api.call(Method::GET, "/admin/v1/me", "").header("authorization", format!("bearer {}", api.ann));
    assert_eq!(api.send(lower).await.status, 200);
}

// api.md §6: a one-time password is to be changed at the first sign-in, before anything else.
#[tokio::test]
async fn a_one_time_password_opens_nothing_but_its_change() {
    let api = Api::start().await;
    let body = json!({ "email": "cat@example.test", "name": "Cat" });
    let created = api.post("/admin/v1/users", &api.ann, body).await;
    let one_time = created.json["one_time_password"].as_str().unwrap();
    let signed_in = api.login("cat@example.test", one_time).await;
    assert_eq!(signed_in.json["password_change_required"], true);
    let token = signed_in.json["access_token"].as_str().unwrap();
    for path in ["/admin/v1/integrations", "/admin/v1/vendors", "/admin/v1/users"] {
        assert_eq!(api.get(path, token).await.code(), (403, "password_change_required"), "{path}");
    }
    assert_eq!(api.get("/admin/v1/me", token).await.json["password_change_required"], true);
    let change = |current: &str, new: &str| {
        api.post("/admin/v1/password", token, json!({ "current_password": current, "new_password": new }))
    };
    assert_eq!(change("wrong", PASSWORD).await.fields(), ["current_password"]);
    assert_eq!(change(one_time, "short").await.fields(), ["new_password"]);
    assert_eq!(change(one_time, one_time).await.fields(), ["new_password"]);
    let without = api.post("/admin/v1/password", token, json!({ "new_password": PASSWORD })).await;
    assert_eq!(without.status, 204, "the session was opened with the one-time password");
    let again = api.post("/admin/v1/password", token, json!({ "new_password": "another long password" })).await;
    assert_eq!(again.fields(), ["current_password"], "from now on the current one must be shown");
    assert_eq!(api.get("/admin/v1/vendors", token).await.status, 200);
    assert_eq!(api.login("cat@example.test", one_time).await.status, 401);
}
