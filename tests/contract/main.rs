//! The contract as a file: what both APIs promise stands in `docs/openapi/`, so that every change of it is seen where
//! changes are reviewed. `UPDATE_DOCS=1 cargo test --test contract` writes it anew.

mod changes;

use std::{fs, path::Path};

use changes::{Change, changes};
use serde_json::{Value, json};

fn documents() -> [(&'static str, Value); 2] {
    let parsed = |text: String| serde_json::from_str(&text).expect("a document is JSON");
    [
        ("docs/openapi/integration.json", parsed(sensorgate::app::openapi_json())),
        ("docs/openapi/admin.json", parsed(sensorgate::app::admin_openapi_json())),
    ]
}

/// Names in order, and no version: that changes with each release and promises nothing.
fn normalised(mut document: Value) -> Value {
    document["info"].as_object_mut().expect("a document has an info").remove("version");
    document
}

#[test]
fn every_change_of_the_contract_is_written_down() {
    let mut stale = Vec::new();
    for (name, document) in documents() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        let document = normalised(document);
        let text = format!("{document:#}\n");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::create_dir_all(path.parent().expect("a folder"))
                .and_then(|()| fs::write(&path, &text))
                .expect("written");
        }
        let kept = fs::read_to_string(&path).unwrap_or_else(|_| "{}".to_owned());
        if kept != text {
            let before: Value = serde_json::from_str(&kept).unwrap_or_else(|error| panic!("{name}: {error}"));
            stale.push(name.to_owned());
            stale.extend(changes(&before, &document).into_iter().map(|change| format!("  {change}")));
        }
    }
    assert!(
        stale.is_empty(),
        "the contract has changed; where that is meant, UPDATE_DOCS=1 cargo test --test contract writes it down:\n{}",
        stale.join("\n")
    );
}

fn document() -> Value {
    json!({
        "info": {"title": "t", "description": "old"},
        "paths": {
            "/things": {
                "get": {"operationId": "things_list", "responses": {"200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}}}},
                    "parameters": [{"in": "query", "name": "limit", "required": false, "schema": {"type": "integer", "maximum": 200}}]},
                "post": {"operationId": "things_create", "security": [{"key": []}],
                    "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/NewThing"}}}},
                    "responses": {"201": {"description": "Made."}, "409": {"description": "Taken."}}},
            },
        },
        "components": {"schemas": {
            "Thing": {"required": ["id"], "properties": {"id": {"type": "string"}, "kind": {"enum": ["a", "b"]}}},
            "NewThing": {"required": ["kind"], "properties": {"kind": {"enum": ["a", "b"]}, "name": {"type": "string", "maxLength": 20}}},
        }},
    })
}

fn after(edit: impl FnOnce(&mut Value)) -> Vec<Change> {
    let mut changed = document();
    edit(&mut changed);
    changes(&document(), &changed)
}

#[test]
fn what_breaks_a_client_is_marked() {
    type Edit = fn(&mut Value);
    let breaking: [(&str, Edit); 12] = [
        ("a call is gone", |d| drop(d["paths"]["/things"].as_object_mut().unwrap().remove("get"))),
        ("a status is gone", |d| {
            drop(d["paths"]["/things"]["post"]["responses"].as_object_mut().unwrap().remove("409"))
        }),
        ("a field of answers is gone", |d| {
            drop(d["components"]["schemas"]["Thing"]["properties"].as_object_mut().unwrap().remove("id"))
        }),
        ("a field need not come", |d| d["components"]["schemas"]["Thing"]["required"] = json!([])),
        ("a value is refused", |d| d["components"]["schemas"]["NewThing"]["properties"]["kind"]["enum"] = json!(["a"])),
        ("a limit is lower", |d| d["components"]["schemas"]["NewThing"]["properties"]["name"]["maxLength"] = json!(10)),
        ("a limit is new", |d| d["components"]["schemas"]["NewThing"]["properties"]["name"]["pattern"] = json!("^a")),
        ("a parameter's limit is lower", |d| {
            d["paths"]["/things"]["get"]["parameters"][0]["schema"]["maximum"] = json!(100)
        }),
        ("a field is required", |d| d["components"]["schemas"]["NewThing"]["required"] = json!(["kind", "name"])),
        ("another type", |d| d["components"]["schemas"]["Thing"]["properties"]["id"]["type"] = json!("integer")),
        ("another name of the call", |d| d["paths"]["/things"]["get"]["operationId"] = json!("list")),
        ("another credential", |d| d["paths"]["/things"]["get"]["security"] = json!([{"key": []}])),
    ];
    for (what, edit) in breaking {
        let changes = after(edit);
        assert!(changes.iter().any(|change| change.is_breaking()), "{what}: {changes:?}");
        assert!(changes[0].to_string().starts_with("BREAKING "), "{what}: they come first, and are marked");
    }
}

#[test]
fn what_breaks_nobody_is_told_all_the_same() {
    type Edit = fn(&mut Value);
    let harmless: [(&str, Edit); 9] = [
        (
            "a call is new",
            |d| d["paths"]["/other"] = json!({"get": {"operationId": "o", "security": [{"key": []}], "parameters": [{"in": "query", "name": "q", "required": true}]}}),
        ),
        ("an optional parameter is new", |d| {
            d["paths"]["/things"]["get"]["parameters"]
                .as_array_mut()
                .unwrap()
                .push(json!({"in": "query", "name": "q", "required": false, "schema": {"type": "string"}}))
        }),
        ("a field of answers is new", |d| {
            d["components"]["schemas"]["Thing"]["properties"]["size"] = json!({"type": "integer"})
        }),
        ("an optional field is new", |d| {
            d["components"]["schemas"]["NewThing"]["properties"]["size"] = json!({"type": "integer", "maximum": 9})
        }),
        ("a value is taken", |d| {
            d["components"]["schemas"]["NewThing"]["properties"]["kind"]["enum"] = json!(["a", "b", "c"])
        }),
        ("a limit is higher", |d| {
            d["components"]["schemas"]["NewThing"]["properties"]["name"]["maxLength"] = json!(30)
        }),
        ("a limit is gone", |d| {
            drop(
                d["components"]["schemas"]["NewThing"]["properties"]["name"]
                    .as_object_mut()
                    .unwrap()
                    .remove("maxLength"),
            )
        }),
        ("a field is not required", |d| d["components"]["schemas"]["NewThing"]["required"] = json!([])),
        ("other words", |d| d["info"]["description"] = json!("new")),
    ];
    for (what, edit) in harmless {
        let changes = after(edit);
        assert!(!changes.is_empty(), "{what}");
        assert!(changes.iter().all(|change| !change.is_breaking()), "{what}: {changes:?}");
    }
    assert!(changes(&document(), &document()).is_empty());
}
