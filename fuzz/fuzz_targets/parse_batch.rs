//! Any bytes: the fast readers and serde_json alone must say the same, to the bit of every number.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sensorgate::ingest::{
    config::Parser,
    parse::{
        entry::{Entry, Field, Sink, Value},
        parse,
    },
};

#[derive(Default, PartialEq, Debug)]
struct Kept(Vec<String>);

impl Sink for Kept {
    fn restart(&mut self) {
        self.0.clear();
    }

    fn entry(&mut self, index: usize, entry: &Entry<'_>) {
        let fields = Field::ALL.map(|field| match entry.get(field) {
            Value::Number(n) => {
                format!("{:x} {} {} {}", n.value.to_bits(), n.loses_precision, n.scaled(6), n.scaled(-3))
            }
            other => format!("{other:?}"),
        });
        self.0.push(format!("{index} {fields:?} {:?}", entry.duplicate()));
    }

    fn not_an_object(&mut self, index: usize) {
        self.0.push(format!("{index} is no object"));
    }
}

fuzz_target!(|body: &[u8]| {
    let (mut fast, mut slow) = (Kept::default(), Kept::default());
    let quick = parse(body, 500, Parser::Fast, &mut fast).map(|parsed| (parsed.count, parsed.batch_id));
    let sure = parse(body, 500, Parser::SerdeJson, &mut slow).map(|parsed| (parsed.count, parsed.batch_id));
    assert_eq!(quick, sure);
    if quick.is_ok() {
        assert_eq!(fast, slow);
    }
});
