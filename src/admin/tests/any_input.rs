//! Whatever arrives is read or refused; nothing panics.

use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;

use crate::{
    admin::{body::Fields, etag, export, readings, time},
    model::ProblemCode,
};

proptest! {
    #[test]
    fn any_bytes_are_a_body_or_malformed(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Err(problem) = Fields::read(&bytes) {
            prop_assert_eq!(problem.code, ProblemCode::MalformedJson);
        }
    }

    #[test]
    fn any_json_object_is_read_and_every_field_of_it_told(names in proptest::collection::btree_set("[a-z]{1,8}", 0..9)) {
        let object: serde_json::Map<_, _> = names.iter().map(|name| (name.clone(), serde_json::json!([1]))).collect();
        let mut fields = Fields::read(serde_json::to_string(&object).unwrap().as_bytes()).unwrap();
        for (index, name) in names.iter().enumerate() {
            match index % 4 {
                0 => drop(fields.text(name)),
                1 => drop(fields.integer(name)),
                2 => drop(fields.nullable_time(name)),
                _ => {}
            }
        }
        let told: std::collections::BTreeSet<String> = fields.refusals().into_iter().map(|e| e.field).collect();
        prop_assert_eq!(told, names);
    }

    #[test]
    fn any_text_is_a_time_or_none(text in "\\PC{0,40}", us in -60_000_000_000_000_000_i64..250_000_000_000_000_000) {
        let _ = time::parse(&text);
        prop_assert_eq!(time::parse(&time::format(us)), Some(us));
    }

    #[test]
    fn any_text_is_a_resolution_a_cursor_and_a_tag_or_none(text in "\\PC{0,30}") {
        prop_assert!(readings::resolution(&text).is_none_or(|us| us >= 1_000_000));
        let _ = readings::cursor(&text);
        if let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) {
            let mut headers = HeaderMap::new();
            headers.insert("if-match", value);
            drop(etag::of(&headers));
        }
    }

    #[test]
    fn any_text_is_one_cell_and_no_formula(text in "\\PC{0,30}") {
        let cell = export::cell(&text);
        prop_assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r']));
        let inside = cell.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        match inside {
            Some(inside) => prop_assert!(!inside.replace("\"\"", "").contains('"')),
            None => prop_assert!(!cell.contains([',', '"', '\n', '\r'])),
        }
    }
}
