use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn request_id() -> RequestId {
    "01970000-0000-7000-8000-000000000001".parse().expect("a UUID")
}

fn error(index: u32, id: Option<&str>) -> EntryError {
    EntryError {
        index,
        id: id.map(Box::from),
        code: EntryCode::ValueOutOfRange,
        field: Some("value"),
        message: "humidity must be 0–100 %, got 141".to_owned(),
        retryable: false,
    }
}

fn result(accepted: u32, rejected: u32) -> BatchResult {
    let errors = (0..rejected).map(|i| error(i, None)).collect();
    BatchResult { received: accepted + rejected, accepted, rejected, errors, ..BatchResult::default() }
}

// api.md §1, byte for byte; S258.
#[test]
fn the_body_is_the_contracts() {
    let mut result = result(1, 0);
    result.errors.push(error(1, Some("a2")));
    (result.received, result.rejected) = (2, 1);
    let expected = concat!(
        r#"{"request_id":"01970000-0000-7000-8000-000000000001","received":2,"accepted":1,"duplicates":0,"rejected":1,"#,
        r#""errors":[{"index":1,"id":"a2","code":"value_out_of_range","field":"value","#,
        r#""message":"humidity must be 0–100 %, got 141","retryable":false}]}"#
    );
    assert_eq!(String::from_utf8(result.to_json(request_id())).expect("UTF-8"), expected);
}

// A32: 200 none rejected, 207 some, 422 all. S260.
#[test]
fn the_status_follows_from_the_counts() {
    assert_eq!([result(2, 0).status(), result(1, 1).status(), result(0, 2).status()], [200, 207, 422]);
}

// api.md §2: the HTTP body plus batch_id if the payload had one. S272.
#[test]
fn the_mqtt_message_adds_the_batch_id_and_nothing_else() {
    let mut result = result(1, 1);
    assert_eq!(result.to_json(request_id()), result.to_mqtt_json(request_id()));
    result.batch_id = Some("b-\"1\"".to_owned());
    let http: Value = serde_json::from_slice(&result.to_json(request_id())).expect("JSON");
    let mut mqtt: Value = serde_json::from_slice(&result.to_mqtt_json(request_id())).expect("JSON");
    assert_eq!(mqtt["batch_id"], json!("b-\"1\""));
    mqtt.as_object_mut().expect("an object").remove("batch_id");
    assert_eq!(http, mqtt);
}

proptest! {
    // Whatever a sender calls its entries: the body is JSON, and says what it was given.
    #[test]
    fn any_text_survives_the_writer(
        id in any::<String>(), message in any::<String>(), index in any::<u32>(), counts in any::<[u32; 4]>(),
    ) {
        let mut entry = error(index, Some(&id));
        entry.message = message.clone();
        entry.field = None;
        let [received, accepted, duplicates, rejected] = counts;
        let (errors, batch_id) = (vec![entry], Some(id.clone()));
        let result = BatchResult { received, accepted, duplicates, rejected, errors, rejections: Vec::new(), batch_id };
        let body: Value = serde_json::from_slice(&result.to_mqtt_json(request_id())).expect("JSON");
        prop_assert_eq!(body, json!({
            "request_id": request_id().to_string(), "batch_id": id.clone(), "received": received, "accepted": accepted,
            "duplicates": duplicates, "rejected": rejected,
            "errors": [{"index": index, "id": id, "code": "value_out_of_range", "message": message, "retryable": false}],
        }));
    }
}
