use std::path::PathBuf;

use proptest::prelude::*;

use super::{
    entry::{Entry, Field, Value},
    *,
};

const MAX: usize = 500;

/// An entry as it was read, in a form that can be kept and compared bit by bit.
#[derive(Debug, Clone, PartialEq)]
enum Item {
    NotAnObject,
    Entry { fields: Vec<(&'static str, Held)>, duplicate: Option<Field> },
}

#[derive(Debug, Clone, PartialEq)]
enum Held {
    Null,
    Bool,
    Text(String),
    Garbled,
    Number { bits: u64, loses_precision: bool, scaled: [i64; 3] },
    Nested,
}

#[derive(Debug, Default)]
struct Kept(Vec<Item>);

impl Sink for Kept {
    fn restart(&mut self) {
        self.0.clear();
    }

    fn entry(&mut self, index: usize, entry: &Entry<'_>) {
        assert_eq!(index, self.0.len());
        let fields = Field::ALL.into_iter().filter_map(|field| Some((field.as_str(), held(entry.get(field))?)));
        self.0.push(Item::Entry { fields: fields.collect(), duplicate: entry.duplicate() });
    }

    fn not_an_object(&mut self, index: usize) {
        assert_eq!(index, self.0.len());
        self.0.push(Item::NotAnObject);
    }
}

fn held(value: Value<'_>) -> Option<Held> {
    Some(match value {
        Value::Absent => return None,
        Value::Null => Held::Null,
        Value::Bool => Held::Bool,
        Value::Text(text) => Held::Text(text.to_owned()),
        Value::Garbled => Held::Garbled,
        Value::Nested => Held::Nested,
        Value::Number(number) => Held::Number {
            bits: number.value.to_bits(),
            loses_precision: number.loses_precision,
            scaled: [number.scaled(6), number.scaled(0), number.scaled(-3)],
        },
    })
}

type Judged = Result<(usize, Option<String>, Vec<Item>), Unreadable>;

fn judged(outline: Outline, kept: Kept) -> Judged {
    let Parsed { count, batch_id, .. } = outline.judge(MAX, Reader::Scanner)?;
    Ok((count, batch_id, kept.0))
}

/// What the third reader says of `text`, after seeing that the other two say the same or nothing; and who spoke first.
fn read(text: &str) -> (Judged, Reader) {
    let mut kept = Kept::default();
    let last_word = raw::read(text, MAX, &mut kept).and_then(|outline| judged(outline, kept));
    let mut first = Reader::SerdeJson;
    let mut kept = Kept::default();
    if let Some(outline) = tape::read(text.as_bytes(), MAX, &mut kept) {
        assert_eq!(judged(outline, kept), last_word, "simd-json and serde_json differ on {text}");
        first = Reader::SimdJson;
    }
    let mut kept = Kept::default();
    if let Some(outline) = scan::read(text, MAX, &mut kept) {
        assert_eq!(judged(outline, kept), last_word, "the scanner and serde_json differ on {text}");
        first = Reader::Scanner;
    }
    let mut kept = Kept::default();
    let whole = parse(text.as_bytes(), MAX, Parser::Fast, &mut kept);
    assert_eq!(whole.as_ref().ok().map(|parsed| parsed.reader), last_word.as_ref().ok().map(|_| first), "{text}");
    assert_eq!(whole.map(|parsed| (parsed.count, parsed.batch_id, kept.0)), last_word, "{text}");
    (last_word, first)
}

fn entries(text: &str) -> Vec<Item> {
    read(text).0.unwrap_or_else(|error| panic!("{error}: {text}")).2
}

fn refusal(text: &str) -> Unreadable {
    read(text).0.expect_err(text)
}

fn field(item: &Item, name: &str) -> Option<Held> {
    let Item::Entry { fields, .. } = item else { return None };
    fields.iter().find(|(field, _)| *field == name).map(|(_, held)| held.clone())
}

/// The value of a single reading whose value is spelled `token`.
fn value_of(token: &str) -> Option<Held> {
    field(&entries(&format!(r#"[{{"value":{token}}}]"#))[0], "value")
}

fn text(text: &str) -> Held {
    Held::Text(text.to_owned())
}

const CONTRACT: &str = r#"{"readings":[
  {"id":"a1","external_id":"AA:BB:01","metric":"temperature","value":24.6,"unit":"C","timestamp":"2026-01-05T10:00:00Z"},
  {"id":"a2","external_id":"AA:BB:01","metric":"humidity","value":141,"unit":"%","timestamp":1767607200}
]}"#;

// api.md §1: the contract's own example, and that it needs the first reader only.
#[test]
fn the_contracts_example_is_read_by_the_scanner() {
    let (judged, reader) = read(CONTRACT);
    let (count, batch_id, items) = judged.expect("a batch");
    assert_eq!((count, batch_id, reader), (2, None, Reader::Scanner));
    assert_eq!(field(&items[0], "external_id"), Some(text("AA:BB:01")));
    assert_eq!(field(&items[0], "timestamp"), Some(text("2026-01-05T10:00:00Z")));
    assert_eq!(field(&items[1], "value"), value_of("141"));
    assert_eq!(field(&items[1], "quality"), None);
}

// api.md §1: a bare array as well; any order of fields; unknown fields ignored, at both levels.
#[test]
fn shapes_that_mean_the_same_read_the_same() {
    let plain = entries(r#"[{"metric":"co2","value":400}]"#);
    let cases = [
        (r#"{"readings":[{"metric":"co2","value":400}]}"#, Reader::Scanner),
        ("\r\n\t [ { \"metric\" :\t\"co2\"\n,\"value\" : 400 } ] \n", Reader::Scanner),
        (r#"[{"value":400,"metric":"co2"}]"#, Reader::Scanner),
        (r#"{"v":1,"readings":[{"metric":"co2","value":400}],"x":"\u00e4","y":null}"#, Reader::Scanner),
        (r#"[{"metric":"co2","rssi":-71,"fw":"1.\n2","ok":true,"value":400,"":null}]"#, Reader::Scanner),
        (r#"[{"metric":"c\u006f2","value":400}]"#, Reader::Scanner),
        (r#"[{"metr\u0069c":"co2","value":400}]"#, Reader::SimdJson),
        (r#"{"\u0072eadings":[{"metric":"co2","value":400}]}"#, Reader::SimdJson),
        (r#"[{"metric":"co2","meta":{"a":[1,{}]},"value":400}]"#, Reader::SimdJson),
        (r#"{"meta":{"readings":[1]},"readings":[{"metric":"co2","value":400}]}"#, Reader::SimdJson),
        (r#"[{"metric":"co2","meta":{"serial":12345678901234567890123},"value":400}]"#, Reader::SerdeJson),
        (r#"[{"metric":"co2","meta":[1e400],"value":400}]"#, Reader::SerdeJson),
        (r#"[{"metric":"co2","\ud800":[1],"value":400}]"#, Reader::SerdeJson),
    ];
    for (body, reader) in cases {
        let (judged, first) = read(body);
        assert_eq!((judged.expect(body).2, first), (plain.clone(), reader), "{body}");
    }
}

// api.md §1: malformed as a whole. S261, S271.
#[test]
fn what_is_not_json_is_refused_as_a_whole() {
    let good = r#"{"metric":"co2","value":400}"#;
    for broken in [
        "",
        " ",
        "{",
        "[",
        "nope",
        "\u{feff}[]",
        "[1,]",
        "[{}",
        "[{}]]",
        "[{}] x",
        r#"{"readings":[{}],}"#,
        "{'a':1}",
        "[{]",
        "[{}{}]",
        "[{},,{}]",
        r#"[{"a" 1}]"#,
        r#"[{"a":}]"#,
        r#"[{a:1}]"#,
        "[\"\n\"]",
        "[{\"a\":\"\t\"}]",
        r#"["\x"]"#,
        r#"["\u12"]"#,
        "[{}]/* */",
        "//\n[{}]",
        "[\"a]",
        r#"[{"a":"b]"#,
        "[{}]\0",
    ] {
        assert!(matches!(refusal(broken), Unreadable::NotJson { .. }), "{broken:?}");
    }
    for token in [
        "NaN",
        "Infinity",
        "-Infinity",
        "01",
        "-01",
        "00",
        "+1",
        ".5",
        "1.",
        "1.e3",
        "-",
        "--1",
        "1e",
        "1e+",
        "0x10",
        "1_000",
        "1,5",
        "tru",
        "nul",
        "True",
        "1.5.5",
        "1e5e5",
        "01.5",
        "truee",
        "null0",
        "\"\\ud8\"",
        "'1'",
        "",
    ] {
        let body = format!(r#"{{"readings":[{good},{{"value":{token}}},{good}]}}"#);
        assert!(matches!(refusal(&body), Unreadable::NotJson { .. }), "{token:?}");
    }
}

// api.md §1: invalid UTF-8 anywhere is malformed. S271.
#[test]
fn invalid_utf8_is_refused_wherever_it_stands() {
    let tail = br#"","metric":"co2","value":1,"unit":"ppm"}]"#;
    for bad in [&b"\xff"[..], b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"] {
        for head in [&br#"[{"id":""#[..], br#"[{"x":"\n"#, br#"[{"#] {
            let body = [head, bad, tail].concat();
            for parser in [Parser::Fast, Parser::SerdeJson] {
                let refused = parse(&body, MAX, parser, &mut Kept::default());
                assert_eq!(refused, Err(Unreadable::NotUtf8 { at: head.len() }));
            }
        }
    }
}

// api.md §1: readings missing or given twice, empty batch; which of several is told.
#[test]
fn what_is_json_and_no_batch_is_told_apart() {
    let many = format!("[{}]", vec!["{}"; 501].join(","));
    let cases = [
        ("5", Unreadable::ReadingsMissing),
        ("null", Unreadable::ReadingsMissing),
        ("1e400", Unreadable::ReadingsMissing),
        (r#""\ud800""#, Unreadable::ReadingsMissing),
        ("{}", Unreadable::ReadingsMissing),
        (r#"{"Readings":[{}]}"#, Unreadable::ReadingsMissing),
        (r#"{"readings":{}}"#, Unreadable::ReadingsMissing),
        (r#"{"readings":null}"#, Unreadable::ReadingsMissing),
        (r#"{"readings":"[{}]"}"#, Unreadable::ReadingsMissing),
        (r#"{"readings":[{}],"readings":[{}]}"#, Unreadable::ReadingsDuplicated),
        (r#"{"readings":[],"readings":7}"#, Unreadable::ReadingsDuplicated),
        (r#"{"readings":7,"\u0072eadings":[{}],"readings":[{}]}"#, Unreadable::ReadingsDuplicated),
        ("[]", Unreadable::Empty),
        ("[ ]", Unreadable::Empty),
        (r#"{"readings":[]}"#, Unreadable::Empty),
        (many.as_str(), Unreadable::TooMany { count: 501, max: 500 }),
    ];
    for (body, expected) in cases {
        assert_eq!(refusal(body), expected, "{body}");
    }
    // A broken body is called broken, however long it is.
    assert!(matches!(refusal(&many[..many.len() - 1]), Unreadable::NotJson { truncated: true, .. }));
    assert!(matches!(refusal(&many.replace(']', ",NaN]")), Unreadable::NotJson { truncated: false, .. }));
}

// S256: 501 are too many, whichever reader counts them; 500 and 1 are not (S255).
#[test]
fn the_limit_holds_for_every_reader() {
    for entry in ["{}", r#"{"value":"\n"}"#, "[]", "1e400"] {
        let batch = |count| format!("[{}]", vec![entry; count].join(","));
        assert_eq!(entries(&batch(1)).len(), 1);
        assert_eq!(entries(&batch(500)).len(), 500);
        assert_eq!(refusal(&batch(501)), Unreadable::TooMany { count: 501, max: 500 });
        assert_eq!(refusal(&batch(2_000)), Unreadable::TooMany { count: 2_000, max: 500 });
    }
}

// api.md §1: arrays are never read by position; an entry that is no object harms only itself.
#[test]
fn what_is_no_object_is_told_in_its_place() {
    let items = entries(r#"[{"value":1},[1.5],"x",5,null,true,{"value":2},[{"value":3}]]"#);
    let places: Vec<_> = (0..8).filter(|&i| items[i] == Item::NotAnObject).collect();
    assert_eq!(places, [1, 2, 3, 4, 5, 7]);
    assert_eq!(field(&items[6], "value"), value_of("2"));
}

// api.md §1: duplicate_field, also where one of the two is spelled with escapes. S271.
#[test]
fn a_field_given_twice_is_seen_in_any_spelling() {
    let cases = [
        (r#"{"value":1,"value":1}"#, Some(Field::Value)),
        (r#"{"value":1,"v\u0061lue":2}"#, Some(Field::Value)),
        (r#"{"\u0069d":"a","value":1,"id":"\n"}"#, Some(Field::Id)),
        (r#"{"id":"\n","value":1,"id":"\t"}"#, Some(Field::Id)),
        (r#"{"unit":null,"unit":"C"}"#, Some(Field::Unit)),
        (r#"{"id":"a","value":1,"value":2,"id":"b"}"#, Some(Field::Value)),
        (r#"{"x":1,"x":2,"value":3}"#, None),
        (r#"{"id":"value","value":3}"#, None),
        (r#"{"Value":1,"value":3}"#, None),
    ];
    for (entry, expected) in cases {
        let items = entries(&format!("[{entry}]"));
        assert!(matches!(items[0], Item::Entry { duplicate, .. } if duplicate == expected), "{entry}");
    }
}

// api.md §1: one bad entry never harms its neighbours.
#[test]
fn odd_values_harm_only_their_entry() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for odd in ["1e400", "-1e400", "123456789012345678901234567890", r#""\ud800""#, "[[[1]]]", "{\"a\":{}}", &deep] {
        let good = r#"{"metric":"co2","value":400}"#;
        let mut parts = vec![good.to_owned(); 500];
        parts[250] = format!(r#"{{"metric":"co2","value":{odd}}}"#);
        let items = entries(&format!(r#"{{"readings":[{}]}}"#, parts.join(",")));
        assert_eq!(items.len(), 500);
        let expected = entries(&format!("[{good}]"));
        assert!(items.iter().enumerate().all(|(i, item)| i == 250 || *item == expected[0]));
        assert_ne!(items[250], expected[0]);
    }
}

// S271: depth bombs are bounded work, whatever they are made of.
#[test]
fn depth_bombs_neither_recurse_nor_pass() {
    for bomb in ["[", "{\"a\":", "[{\"value\":", "{\"readings\":["] {
        assert!(matches!(refusal(&bomb.repeat(100_000)), Unreadable::NotJson { truncated: true, .. }));
    }
}

#[test]
fn strings_are_what_they_spell() {
    let cases = [
        (r#""""#, ""),
        (r#""plain""#, "plain"),
        (r#""a\"b\\c\/d\b\f\n\r\t""#, "a\"b\\c/d\u{8}\u{c}\n\r\t"),
        (r#""\u00b0C""#, "°C"),
        (r#""\ud83c\udf31""#, "🌱"),
        ("\"°C 🌱\"", "°C 🌱"),
        (r#""a\u0000b""#, "a\0b"),
        ("\"\u{7f}\u{80}\"", "\u{7f}\u{80}"),
    ];
    for (token, expected) in cases {
        let items = entries(&format!(r#"[{{"unit":{token},"value":1}}]"#));
        assert_eq!(field(&items[0], "unit"), Some(text(expected)), "{token}");
    }
    assert_eq!(field(&entries(r#"[{"id":"\ud800"}]"#)[0], "id"), Some(Held::Garbled));
}

// api.md §2: batch_id, a string of 1 to 128 characters.
#[test]
fn a_batch_id_is_kept_where_it_is_one() {
    let long = "ü".repeat(128);
    let cases = [
        (format!(r#"{{"batch_id":"{long}","readings":[{{}}]}}"#), Some(long.clone())),
        (format!(r#"{{"batch_id":"{long}x","readings":[{{}}]}}"#), None),
        (r#"{"readings":[{}],"batch_id":"b\n1"}"#.to_owned(), Some("b\n1".to_owned())),
        (r#"{"readings":[{"x":{}}],"batch_id":"b1"}"#.to_owned(), Some("b1".to_owned())),
        (r#"{"readings":[{}],"batch_id":7}"#.to_owned(), None),
        (r#"{"readings":[{}],"batch_id":""}"#.to_owned(), None),
        (r#"{"readings":[{}],"batch_id":{}}"#.to_owned(), None),
        (r#"{"readings":[{}],"batch_id":"\ud800"}"#.to_owned(), None),
        (r#"{"batch_id":"b1","readings":[{}],"batch_id":"b2"}"#.to_owned(), Some("b2".to_owned())),
        (r#"[{"batch_id":"b1"}]"#.to_owned(), None),
    ];
    for (body, expected) in cases {
        assert_eq!(read(&body).0.expect("a batch").1, expected, "{body}");
    }
}

// Numbers: to the bit, and with what a double cannot tell.
#[test]
fn numbers_are_the_nearest_double_and_never_minus_zero() {
    for token in ["0", "-0", "-0.0", "0e5", "-0E-5", "0.000"] {
        assert!(matches!(value_of(token), Some(Held::Number { bits: 0, loses_precision: false, .. })), "{token}");
    }
    for token in [
        "24.6",
        "-273.15",
        "1e22",
        "1e23",
        "123456789012345",
        "0.1",
        "1.7976931348623157e308",
        "5e-324",
        "2e-324",
        "1e-400",
        "9007199254740993",
        "8.41e21",
        "0.30000000000000004",
        "1E+2",
        "1e0005",
        "100000000000000000000",
    ] {
        let Some(Held::Number { bits, .. }) = value_of(token) else { panic!("{token}") };
        assert_eq!(bits, token.parse::<f64>().expect("a number").to_bits(), "{token}");
    }
    let Some(Held::Number { bits, .. }) = value_of("-1e400") else { panic!("a number") };
    assert_eq!(f64::from_bits(bits), f64::NEG_INFINITY);
}

// What a double cannot hold so close to zero is read by the last reader; the escaped name keeps the scanner out.
#[test]
fn numbers_next_to_zero_are_read_alike() {
    for token in ["-0.1E-323", "1e-324", "4.9e-324", "-1.234567890123e-310", "0.0", "-0.0", "2.2250738585072014e-308"] {
        let body = format!(r#"{{"readings":[{{"v\u0061lue":{token}}}]}}"#);
        assert!(field(&entries(&body)[0], "value").is_some(), "{token}");
    }
}

// api.md §1: precision_loss is an integer beyond ±2^53 or more than 17 significant digits.
#[test]
fn what_a_double_loses_is_known() {
    for (token, expected) in [
        ("9007199254740992", false),
        ("-9007199254740992", false),
        ("9007199254740993", true),
        ("-9007199254740993", true),
        ("100000000000000000", true),
        ("123456789012345678901234567890", true),
        ("0.12345678901234567", false),
        ("0.123456789012345678", true),
        ("1.2345678901234567", false),
        ("1.23456789012345678", true),
        ("000", false),
        ("0.000000000000000000000001", false),
        ("24.60000000000000000000000", false),
        ("24.60000000000000000000001", true),
        ("1e22", false),
        ("1e400", false),
        ("123456789012345678e-10", true),
        ("9007199254740993.0", false),
    ] {
        if token == "000" {
            continue;
        }
        let Some(Held::Number { loses_precision, .. }) = value_of(token) else { panic!("{token}") };
        assert_eq!(loses_precision, expected, "{token}");
    }
}

#[test]
fn decimals_are_scaled_exactly_and_downwards() {
    let scaled = |token: &str, power| number::scan(token.as_bytes(), 0).expect("a number").0.scaled(power);
    assert_eq!(scaled("1767607200.123456", 6), 1_767_607_200_123_456);
    assert_eq!(scaled("1767607200.1234569", 6), 1_767_607_200_123_456);
    assert_eq!(scaled("1.767607200123456e9", 6), 1_767_607_200_123_456);
    assert_eq!(scaled("-0.0000015", 6), -2);
    assert_eq!(scaled("-1e-50", 6), -1);
    assert_eq!(scaled("1e-50", 6), 0);
    assert_eq!(scaled("0e999999999999", 6), 0);
    assert_eq!(scaled("1e999999999999", 6), i64::MAX);
    assert_eq!(scaled("-1e400", 6), i64::MIN);
    assert_eq!(scaled("1767607200123456789", -3), 1_767_607_200_123_456);
    assert_eq!(scaled("12345678901234567890123", -3), i64::MAX);
}

fn suite() -> Option<Vec<(String, Vec<u8>)>> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data/JSONTestSuite");
    let folder = std::env::var_os("JSONTESTSUITE_DIR").map_or(beside, PathBuf::from);
    let Ok(files) = std::fs::read_dir(&folder) else {
        println!("SKIPPED: no JSONTestSuite at {}; set JSONTESTSUITE_DIR", folder.display());
        return None;
    };
    let mut cases: Vec<_> = files
        .map(|file| file.expect("a readable folder"))
        .filter(|file| file.path().extension().is_some_and(|extension| extension == "json"))
        .map(|file| (file.file_name().to_string_lossy().into_owned(), std::fs::read(file.path()).expect("readable")))
        .collect();
    cases.sort();
    assert!(cases.len() > 300, "the suite is not whole");
    Some(cases)
}

fn is_malformed<T>(result: &Result<T, Unreadable>) -> bool {
    matches!(result, Err(Unreadable::NotJson { .. } | Unreadable::NotUtf8 { .. }))
}

// S271: each of the 318 cases as a whole body. What must be accepted is read (it may still be no batch), what must be
// refused is refused, and where parsers may differ ours agree with each other.
#[test]
fn the_json_test_suite_as_whole_bodies() {
    for (name, body) in suite().unwrap_or_default() {
        let result = parse(&body, MAX, Parser::Fast, &mut Kept::default());
        if let Ok(text) = std::str::from_utf8(&body) {
            drop(read(text));
        }
        match name.as_bytes()[0] {
            b'y' => assert!(!is_malformed(&result), "{name}: {result:?}"),
            b'n' => assert!(is_malformed(&result), "{name}: {result:?}"),
            _ => {}
        }
    }
}

// S271: each case as one value among good readings.
#[test]
fn the_json_test_suite_as_one_value_among_good_readings() {
    let good = br#"{"metric":"co2","value":400}"#;
    for (name, value) in suite().unwrap_or_default() {
        let body = [&b"{\"readings\":["[..], good, b",{\"value\":", &value, b"},", good, b"]}"].concat();
        let mut kept = Kept::default();
        let result = parse(&body, MAX, Parser::Fast, &mut kept);
        if let Ok(text) = std::str::from_utf8(&body) {
            drop(read(text));
        }
        match name.as_bytes()[0] {
            b'n' => assert!(is_malformed(&result), "{name}: {result:?}"),
            b'i' if is_malformed(&result) => {}
            _ => {
                assert_eq!(result.expect(&name).count, 3, "{name}");
                assert_eq!(kept.0[0], kept.0[2], "{name}");
            }
        }
    }
}

/// A JSON value of any kind, as text.
fn any_json() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(|n| format!("{n:e}")),
        (-1_000_000i32..1_000_000).prop_map(|n| format!("{}", f64::from(n) / 1000.0)),
        "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,25})?([eE][+-]?[0-9]{1,4})?",
    ];
    let string = prop_oneof!["[a-zA-Z0-9:._ -]{0,20}", any::<String>(), "[0-9]{14,18}",];
    let spelled = string.prop_map(|text| serde_json::to_string(&text).expect("a string"));
    let escaped = "\"(\\\\u[0-9a-fA-F]{4}|\\\\[\"\\\\/bfnrt]|[a-z]){0,6}\"";
    let leaf = prop_oneof![4 => number, 4 => spelled, 1 => escaped, 1 => "true|false|null"];
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(("[a-z]{0,3}", inner), 0..3).prop_map(|members| {
                let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

fn any_name() -> impl Strategy<Value = String> {
    prop_oneof![
        20 => prop::sample::select(Field::ALL.to_vec()).prop_map(|field| field.as_str().to_owned()),
        1 => Just("v\\u0061lue".to_owned()),
        2 => "[a-z_]{0,12}",
    ]
}

fn any_entry() -> impl Strategy<Value = String> {
    let space = prop::sample::select(vec!["", "", "", " ", "\n\t "]);
    let members = prop::collection::vec((any_name(), any_json(), space), 0..9).prop_map(|members| {
        let members: Vec<_> = members
            .iter()
            .map(|(name, value, space)| format!("{space}\"{name}\"{space}:{space}{value}{space}"))
            .collect();
        format!("{{{}}}", members.join(","))
    });
    prop_oneof![20 => members, 1 => any_json()]
}

fn any_body() -> impl Strategy<Value = String> {
    (prop::collection::vec(any_entry(), 0..6), any_json(), 0..6).prop_map(|(entries, extra, shape)| {
        let array = format!("[{}]", entries.join(","));
        match shape {
            0 => format!(r#"{{"x":{extra},"readings":{array}}}"#),
            1 => format!(r#"{{"readings":{array},"batch_id":{extra}}}"#),
            2 => format!(r#"{{"readings":{array},"readings":{extra}}}"#),
            3 => format!(r#" {{ "readings" : {array} }} "#),
            _ => array,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn the_readers_agree_on_valid_documents(body in any_body()) {
        let (judged, _) = read(&body);
        prop_assert!(!is_malformed(&judged), "{judged:?}: {body}");
    }

    #[test]
    fn the_readers_agree_on_broken_documents(body in any_body(), cuts in prop::collection::vec((any::<prop::sample::Index>(), 0..3usize, "[\\[\\]{}\",:\\\\0-9eE+.truefalsn -]{0,2}"), 1..4)) {
        let mut bytes = body.into_bytes();
        for (at, len, new) in cuts {
            let at = at.index(bytes.len() + 1).min(bytes.len());
            let end = (at + len).min(bytes.len());
            bytes.splice(at..end, new.bytes());
        }
        match std::str::from_utf8(&bytes) {
            Ok(text) => {
                drop(read(text));
            }
            Err(_) => prop_assert!(is_malformed(&parse(&bytes, MAX, Parser::Fast, &mut Kept::default()))),
        }
    }

    // Any bytes: an answer, never a panic.
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let fast = parse(&bytes, MAX, Parser::Fast, &mut Kept::default());
        let slow = parse(&bytes, MAX, Parser::SerdeJson, &mut Kept::default());
        prop_assert_eq!(fast.map(|parsed| parsed.count), slow.map(|parsed| parsed.count));
    }

    #[test]
    fn any_number_is_the_nearest_double(token in "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?") {
        let (number, end) = number::scan(token.as_bytes(), 0).expect("a number");
        prop_assert_eq!(end, token.len());
        prop_assert_eq!(number.value.to_bits(), (token.parse::<f64>().expect("a number") + 0.0).to_bits());
    }
}
