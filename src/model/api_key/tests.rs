use std::{collections::HashSet, convert::Infallible};

use proptest::prelude::*;

use super::*;

#[allow(clippy::unnecessary_wraps, reason = "a generator may fail; this one cannot")]
fn all_zero(buffer: &mut [u8]) -> Result<(), Infallible> {
    buffer.fill(0);
    Ok(())
}

fn fresh() -> ApiKey {
    ApiKey::generate_with(getrandom::fill).expect("the operating system has random bytes")
}

// S191, S192, S198
#[test]
fn ten_thousand_keys_have_the_form_and_nothing_in_common() {
    let mut keys = HashSet::new();
    let mut suffixes = HashSet::new();
    let mut seen = [0u32; 62];
    for _ in 0..10_000 {
        let key = fresh();
        let text = key.expose();
        assert_eq!(text.len(), 58);
        let rest = text.strip_prefix("grq_live_").expect("the prefix");
        assert_eq!(rest.len(), 49);
        assert!(rest.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert_eq!(key.prefix(), &text[..16]);
        assert_eq!(ApiKey::parse(text).expect("a key parses").hash(), key.hash());
        for byte in rest[..RANDOM_CHARS].bytes() {
            seen[ALPHABET.iter().position(|&c| c == byte).expect("in the alphabet")] += 1;
        }
        assert!(keys.insert(text.to_owned()));
        assert!(suffixes.insert(rest[7..].to_owned()), "what is hidden is never shared");
    }
    // 430,000 characters: 6,935 of each expected, standard deviation 83. Ten deviations is never by chance, while a
    // plain remainder of the byte would put some characters 25 % above the others.
    assert!(seen.iter().all(|&count| (6_100..7_800).contains(&count)), "{seen:?}");
}

#[test]
fn bytes_that_would_favour_a_character_are_thrown_away() {
    let mut next = 0u8;
    let key = ApiKey::generate_with(|buffer| {
        buffer.fill_with(|| {
            next = next.wrapping_add(1);
            if next.is_multiple_of(2) { 255 - next % 8 } else { 61 }
        });
        Ok::<_, Infallible>(())
    })
    .expect("infallible");
    assert_eq!(&key.expose()[9..52], "z".repeat(43));
}

#[test]
fn a_generator_that_fails_gives_no_key() {
    assert_eq!(ApiKey::generate_with(|_| Err("no entropy")).map(|_| ()), Err("no entropy"));
}

#[test]
fn the_form_of_today_is_the_form_of_ever() {
    let zeros = ApiKey::generate_with(all_zero).expect("infallible");
    assert_eq!(zeros.expose(), format!("grq_live_{}{}", "0".repeat(43), &zeros.expose()[52..]));
    assert_eq!(hex::encode(zeros.hash()), hex::encode(Sha256::digest(zeros.expose())));
    let secret = ClientSecret::generate_with(all_zero).expect("infallible");
    assert_eq!(secret.expose().len(), 56);
    assert!(secret.expose().starts_with("grq_cs_"));
    assert_ne!(secret.expose()[50..], zeros.expose()[52..], "the checksum covers the prefix");
}

#[test]
fn each_fault_of_form_has_its_name() {
    let key = fresh();
    let good = key.expose();
    let cases = [
        (String::new(), SecretFormatError::Prefix),
        (good.replace("live", "test"), SecretFormatError::Prefix),
        (good.to_uppercase(), SecretFormatError::Prefix),
        (format!(" {good}"), SecretFormatError::Prefix),
        (format!("{good}a"), SecretFormatError::Length),
        (good[..57].to_owned(), SecretFormatError::Length),
        ("grq_live_".to_owned(), SecretFormatError::Length),
        (format!("grq_live_-{}", &good[10..]), SecretFormatError::Alphabet),
        (format!("grq_live_é{}", &good[11..]), SecretFormatError::Alphabet),
        (format!("{}\n", &good[..57]), SecretFormatError::Alphabet),
    ];
    for (text, error) in cases {
        assert_eq!(ApiKey::parse(&text).map(|_| ()), Err(error), "{text:?}");
    }
    assert!(ClientSecret::parse(good).is_err(), "a key is no client secret");
}

// S194, S212
#[test]
fn a_key_cannot_be_printed() {
    let key = fresh();
    let printed = format!("{key:?}");
    assert_eq!(printed, "ApiKey(grq_live_…)");
}

// S199
#[test]
fn keys_with_one_prefix_have_different_hashes() {
    let make = |last: u8| {
        let mut at = 0;
        ApiKey::generate_with(|buffer| {
            for byte in buffer {
                *byte = if at < 30 { 7 } else { last };
                at += 1;
            }
            Ok::<_, Infallible>(())
        })
        .expect("infallible")
    };
    let (a, b) = (make(1), make(2));
    assert_eq!(a.prefix(), b.prefix());
    assert_ne!(a.hash(), b.hash());
}

proptest! {
    #[test]
    fn any_text_is_parsed_without_panic(text in ".{0,80}") {
        prop_assert!(ApiKey::parse(&text).is_err());
    }

    // A checksum of 32 bits finds every single wrong or swapped character; that it can miss two at odds of 2^-32 is
    // no fault.
    #[test]
    fn a_mistyped_key_is_found_by_its_checksum(random in any::<[u8; 64]>(), at in 9usize..58, to in 0usize..62) {
        let mut fills = 0u8;
        let key = ApiKey::generate_with(|buffer| {
            buffer.copy_from_slice(&random);
            buffer.iter_mut().for_each(|byte| *byte = byte.wrapping_add(fills) % 248);
            fills = fills.wrapping_add(1);
            Ok::<_, Infallible>(())
        }).expect("infallible");
        let mut text = key.expose().as_bytes().to_vec();
        prop_assume!(text[at] != ALPHABET[to]);
        text[at] = ALPHABET[to];
        let text = String::from_utf8(text).expect("ASCII");
        prop_assert_eq!(ApiKey::parse(&text).map(|_| ()), Err(SecretFormatError::Checksum));
    }
}
