//! Whatever comes, a connection ends, nothing panics, and nobody else notices.

use proptest::{collection::vec, prelude::*};

use super::*;

/// A packet that a client may send, as bytes.
fn packet() -> impl Strategy<Value = Vec<u8>> {
    let id = any::<u16>();
    let text = "[a-z/#+$\u{0}é]{0,20}";
    prop_oneof![
        (id, text, vec(any::<u8>(), 0..100), 0_u8..16).prop_map(|(id, topic, payload, flags)| {
            let id = if flags & 0b110 == 0 { Vec::new() } else { id.to_be_bytes().to_vec() };
            framed(0x30 | flags, &[&text_bytes(&topic)[..], &id, &[0], &payload].concat())
        }),
        (id, text, any::<u8>()).prop_map(|(id, filter, options)| {
            framed(0x82, &[&id.to_be_bytes()[..], &[0], &text_bytes(&filter), &[options]].concat())
        }),
        (id, text).prop_map(|(id, filter)| framed(0xa2, &[&id.to_be_bytes()[..], &[0], &text_bytes(&filter)].concat())),
        id.prop_map(|id| framed(0x40, &id.to_be_bytes())),
        Just(vec![0xc0, 0]),
        Just(vec![0xe0, 0]),
        (any::<u8>(), vec(any::<u8>(), 0..40)).prop_map(|(first, body)| framed(first, &body)),
        vec(any::<u8>(), 0..40),
    ]
}

fn framed(first: u8, body: &[u8]) -> Vec<u8> {
    let (low, high) = (body.len() as u8 & 0x7f, (body.len() >> 7) as u8);
    let length = if high == 0 { vec![low] } else { vec![low | 0x80, high] };
    [&[first][..], &length, body].concat()
}

fn text_bytes(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat()
}

fn connect_bytes(level: u8) -> Vec<u8> {
    let properties: &[u8] = if level == 5 { &[0] } else { &[] };
    let head = [&text_bytes("MQTT")[..], &[level, 0b1100_0010, 0, 60], properties].concat();
    framed(0x10, &[head, text_bytes("a"), text_bytes("key"), text_bytes("token")].concat())
}

/// Feeds `bytes` in steps to a connection and closes it; the connection has to end by itself.
fn feed(bytes: &[u8], step: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let bench = Bench::new();
        let mut neighbour = bench.five("neighbour").await;
        let (client, served) = bench.open(1 << 16);
        let (mut read, mut write) = tokio::io::split(client);
        let reading = task::spawn("the client's reading", async move {
            let mut said = Vec::new();
            let _end = read.read_to_end(&mut said).await;
        });
        for piece in bytes.chunks(step.max(1)) {
            if write.write_all(piece).await.is_err() {
                break;
            }
        }
        let _closed = write.shutdown().await;
        timeout(PATIENCE, served).await.expect("the connection ends").expect("without a panic");
        timeout(PATIENCE, reading).await.expect("and its client sees that").unwrap();
        neighbour.send(v5::Packet::PingReq(v5::PingReq)).await;
        assert!(matches!(neighbour.next().await, v5::Packet::PingResp(_)));
        assert_eq!(bench.sessions(), 1);
        assert_eq!(bench.budget.available(), 16 << 20);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    // Before the CONNECT: raw bytes, and CONNECTs with bytes changed.
    #[test]
    fn any_beginning_ends(bytes in vec(any::<u8>(), 0..200), step in 1_usize..64) {
        feed(&bytes, step);
    }

    #[test]
    fn any_mutated_connect_ends(
        level in prop_oneof![Just(4_u8), Just(5)],
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
        step in 1_usize..64,
    ) {
        let mut bytes = connect_bytes(level);
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        feed(&bytes, step);
    }

    // After it: packets of all kinds, in any order, with bytes changed.
    #[test]
    fn any_packets_end(
        level in prop_oneof![Just(4_u8), Just(5)],
        packets in vec(packet(), 0..12),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        step in 1_usize..300,
    ) {
        let mut bytes = packets.concat();
        for (place, byte) in changes {
            if !bytes.is_empty() {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
        }
        feed(&[connect_bytes(level), bytes].concat(), step);
    }
}
