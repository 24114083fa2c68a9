//! The OpenAPI document, held against what the port does.

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::api::Api;
use crate::{admin::openapi, model::ProblemCode};

const SOME_ID: &str = "00000000-0000-7000-8000-000000000000";

struct Operation {
    method: Method,
    path: String,
    is_open: bool,
    spec: Value,
}

fn document() -> Value {
    openapi::document()
}

fn operations(document: &Value) -> Vec<Operation> {
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, spec) in item.as_object().unwrap() {
            operations.push(Operation {
                method: method.to_uppercase().parse().unwrap(),
                path: ["{id}", "{wid}", "{did}"].iter().fold(path.clone(), |path, name| path.replace(name, SOME_ID)),
                is_open: spec["security"] == json!([{}]) || spec["security"] == json!([]),
                spec: spec.clone(),
            });
        }
    }
    operations
}

/// The schema behind a reference.
fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(path) => document.pointer(path.trim_start_matches('#')).unwrap_or_else(|| panic!("{path}")),
        None => schema,
    }
}

#[test]
fn the_document_is_openapi_3_1_and_lists_every_code() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    let codes = document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"].as_array().unwrap();
    assert_eq!(codes.len(), ProblemCode::ALL.len());
    let operations = operations(&document);
    let mut names: Vec<_> = operations.iter().map(|o| (o.path.clone(), o.method.to_string())).collect();
    names.dedup();
    assert_eq!(names.len(), operations.len());
    let ids: std::collections::HashSet<_> = operations.iter().map(|o| o.spec["operationId"].to_string()).collect();
    assert_eq!(ids.len(), operations.len(), "each call has a name of its own: {ids:?}");
    for operation in operations {
        // Every status is named: none hides behind "default".
        assert!(operation.spec["responses"].get("default").is_none(), "{}", operation.path);
        if !operation.is_open {
            let refused = resolved(&document, &operation.spec["responses"]["401"]);
            assert!(refused["content"]["application/problem+json"].is_object(), "{}", operation.path);
        }
        assert!(operation.spec["summary"].is_string() && operation.spec["tags"].is_array(), "{}", operation.path);
    }
    let dangling = document.to_string().split("\"#/components/schemas/").skip(1).find_map(|rest| {
        let name = rest.split('"').next().unwrap();
        document["components"]["schemas"].get(name).is_none().then(|| name.to_owned())
    });
    assert_eq!(dangling, None);
}

// Every operation of the document exists, and is behind a session unless it says that it is open.
#[tokio::test]
async fn every_documented_call_exists_and_is_guarded() {
    let api = Api::start().await;
    let operations = operations(&document());
    for Operation { method, path, is_open, .. } in &operations {
        let body = json!({});
        let stranger = api.send(api.call(method.clone(), path, "").json(&body)).await;
        assert_eq!(stranger.status == 401, !is_open, "{method} {path}: {}", stranger.text);
        assert_ne!(stranger.status, 405, "{method} {path}");
        if !path.ends_with("/logout") {
            let known = api.send(api.call(method.clone(), path, &api.ann).json(&body)).await;
            let is_served = ![401, 403, 405].contains(&known.status) && known.status < 500;
            assert!(is_served || path.ends_with("/login"), "{method} {path}: {}", known.text);
        }
    }
    let open = operations.iter().filter(|operation| operation.is_open).count();
    assert_eq!(open, 5, "the sign-in, three probes and the document");
}

// Every documented field is read by its call, and nothing else is.
#[tokio::test]
async fn every_documented_field_is_read() {
    let api = Api::start().await;
    let document = document();
    let mut read = 0;
    for Operation { method, path, spec, .. } in operations(&document) {
        let schema = &spec["requestBody"]["content"]["application/json"]["schema"];
        let Some(properties) = resolved(&document, schema)["properties"].as_object() else { continue };
        // A value of no field's type: what is read is refused for its type, what is not for its name.
        let wrong = if path.ends_with("/bulk") { json!({ "equipment": [] }) } else { json!(wrong_values(properties)) };
        let mut body = wrong.as_object().unwrap().clone();
        body.insert("colour".to_owned(), json!("green"));
        let answer = api.send(api.call(method.clone(), &path, &api.bob).json(&body)).await;
        assert_eq!(answer.code(), (422, "validation_failed"), "{method} {path}: {}", answer.text);
        for error in answer.json["errors"].as_array().unwrap() {
            let (field, message) = (error["field"].as_str().unwrap(), error["message"].as_str().unwrap());
            assert_eq!(
                message == "is not a field of this call",
                field == "colour",
                "{method} {path} {field}: {message}"
            );
            read += 1;
        }
    }
    assert!(read > 50, "{read}");
}

fn wrong_values(properties: &Map<String, Value>) -> Map<String, Value> {
    // A reference is to an object, so that a number is none of its type.
    let wrong = |schema: &Value| if schema.get("$ref").is_some() { json!(7) } else { json!({ "wrong": true }) };
    properties.iter().map(|(name, schema)| (name.clone(), wrong(schema))).collect()
}

// Every documented parameter is read by its call, and nothing else is.
#[tokio::test]
async fn every_documented_parameter_is_read() {
    let api = Api::start().await;
    for Operation { method, path, spec, .. } in operations(&document()) {
        let parameters = spec["parameters"].as_array().cloned().unwrap_or_default();
        let in_query: Vec<_> = parameters.iter().filter(|parameter| parameter["in"] == "query").collect();
        if in_query.is_empty() {
            continue;
        }
        let foreign = "is not a parameter of this call";
        for parameter in &in_query {
            let name = parameter["name"].as_str().unwrap();
            let answer = api.send(api.call(method.clone(), &format!("{path}?{name}=%00"), &api.ann)).await;
            assert!(!answer.text.contains(foreign), "{method} {path} {name}: {}", answer.text);
        }
        let given = in_query.iter().any(|parameter| parameter["name"] == "equipment_id");
        let rest = if given { format!("equipment_id={SOME_ID}&metric=co2&") } else { String::new() };
        let answer = api.send(api.call(method.clone(), &format!("{path}?{rest}colour=green"), &api.ann)).await;
        assert_eq!(answer.code(), (400, "invalid_parameter"), "{method} {path}");
        assert!(answer.text.contains(foreign), "{method} {path}: {}", answer.text);
    }
}

// What is answered has the fields that the document says, and no other.
#[tokio::test]
async fn answers_have_the_documented_fields() {
    let api = Api::start().await;
    let document = document();
    let (path, activated) = api.active_integration().await;
    let body = json!({ "integration_id": path.rsplit('/').next().unwrap(), "kind": "sensor", "external_id": "S" });
    let equipment = api.post("/admin/v1/equipment", &api.ann, body).await;
    let user = api.post("/admin/v1/users", &api.ann, json!({ "email": "cat@example.test", "name": "Cat" })).await;
    let entry = api.get("/admin/v1/audit-log?limit=1", &api.ann).await.json["items"][0].clone();
    let schema = |name: &str| {
        let schema = &document["components"]["schemas"][name];
        let parts = schema["allOf"].as_array().cloned().unwrap_or_else(|| vec![schema.clone()]);
        let mut names: Vec<String> = Vec::new();
        for part in parts {
            let part = resolved(&document, &part).clone();
            names.extend(part["properties"].as_object().into_iter().flatten().map(|(name, _)| name.clone()));
        }
        names
    };
    for (name, answer) in [
        ("Integration", &api.get(&path, &api.ann).await.json),
        ("ActivatedIntegration", &activated.json),
        ("Equipment", &equipment.json),
        ("UserWithPassword", &user.json),
        ("AuditEntry", &entry),
        ("AccessToken", &api.login("bob@example.test", super::api::PASSWORD).await.json),
        ("Me", &api.get("/admin/v1/me", &api.ann).await.json),
        ("AuditVerdict", &api.get("/admin/v1/audit-log/verify", &api.ann).await.json),
    ] {
        let documented = schema(name);
        let answered: Vec<_> = answer.as_object().unwrap().keys().collect();
        for field in &answered {
            assert!(documented.contains(field), "{name}: {field} is answered, but not documented");
        }
        let optional = ["eligible_approvers", "approver_available", "fault", "first_bad_seq"];
        for field in documented.iter().filter(|field| !optional.contains(&field.as_str())) {
            assert!(answered.contains(&field), "{name}: {field} is documented, but not answered");
        }
    }
}
