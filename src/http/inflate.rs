//! Compressed bodies: gzip and zstd, inflated up to a limit and not a byte further.
//!
//! Ready-made layers inflate without a limit, and let a zstd frame ask for 128 MiB of window before its first byte.

use std::io::Read;

use http::{HeaderMap, header::CONTENT_ENCODING};

/// Largest zstd window, as a power of two: 8 MiB, what RFC 9659 has every decoder support and no more.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// How a body is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

impl Encoding {
    /// What `Content-Encoding` says. `None`: something we do not take, or more than one.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(CONTENT_ENCODING).iter();
        let Some(value) = values.next() else { return Some(Self::Identity) };
        if values.next().is_some() {
            return None;
        }
        let value = value.as_bytes();
        [(&b"identity"[..], Self::Identity), (b"gzip", Self::Gzip), (b"x-gzip", Self::Gzip), (b"zstd", Self::Zstd)]
            .into_iter()
            .find_map(|(name, encoding)| value.eq_ignore_ascii_case(name).then_some(encoding))
    }
}

/// Why a body was not inflated.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// More than the limit came out, or would have.
    TooLarge,
    /// It is not what the header says, is cut short, or has something behind it.
    Malformed,
}

/// Inflates `body` to at most `limit` bytes. Several members or frames count together.
pub(super) fn inflate(encoding: Encoding, body: &[u8], limit: usize) -> Result<Vec<u8>, Failure> {
    if body.is_empty() && encoding != Encoding::Identity {
        return Err(Failure::Malformed);
    }
    match encoding {
        Encoding::Identity => Ok(body.to_vec()),
        Encoding::Gzip => read_capped(flate2::bufread::MultiGzDecoder::new(body), body.len(), limit),
        Encoding::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(body).map_err(|_| Failure::Malformed)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(|_| Failure::Malformed)?;
            read_capped(decoder, body.len(), limit)
        }
    }
}

fn read_capped(decoder: impl Read, compressed_bytes: usize, limit: usize) -> Result<Vec<u8>, Failure> {
    // Readings compress about ten to one; beginning in the middle wastes little either way.
    let mut inflated = Vec::with_capacity(compressed_bytes.saturating_mul(6).min(limit));
    let result = decoder.take(limit as u64 + 1).read_to_end(&mut inflated);
    if inflated.len() > limit {
        return Err(Failure::TooLarge);
    }
    result.map_err(|_| Failure::Malformed)?;
    Ok(inflated)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::stream::encode_all(bytes, 19).unwrap()
    }

    type Encode = fn(&[u8]) -> Vec<u8>;
    const BOTH: [(Encoding, Encode); 2] = [(Encoding::Gzip, gzip), (Encoding::Zstd, zstd)];

    #[test]
    fn one_encoding_that_we_take() {
        let check = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_ENCODING, HeaderValue::from_static(value));
            }
            Encoding::of(&headers)
        };
        assert_eq!(check(&[]), Some(Encoding::Identity));
        assert_eq!(check(&["identity"]), Some(Encoding::Identity));
        assert_eq!(check(&["GZIP"]), Some(Encoding::Gzip));
        assert_eq!(check(&["zstd"]), Some(Encoding::Zstd));
        for refused in [&["br"][..], &["deflate"], &["gzip, gzip"], &["gzip", "zstd"], &[""], &["gzip;q=1"]] {
            assert_eq!(check(refused), None, "{refused:?}");
        }
    }

    #[test]
    fn what_comes_out_is_what_went_in_also_in_parts() {
        for (encoding, pack) in BOTH {
            assert_eq!(inflate(encoding, &pack(b"hello"), 5).unwrap(), b"hello");
            let parts = [pack(b"hel"), pack(b""), pack(b"lo")].concat();
            assert_eq!(inflate(encoding, &parts, 5).unwrap(), b"hello");
            assert_eq!(inflate(encoding, &parts, 4), Err(Failure::TooLarge), "parts count together");
        }
    }

    #[test]
    fn garbage_behind_cut_short_or_not_compressed_is_malformed() {
        for (encoding, pack) in BOTH {
            let whole = pack(b"hello hello hello");
            for body in [
                [&whole[..], b"x"].concat(),
                [&whole[..], b"GARBAGE AND MORE OF IT"].concat(),
                whole[..whole.len() - 1].to_vec(),
                b"{\"readings\":[]}".to_vec(),
                Vec::new(),
            ] {
                assert_eq!(inflate(encoding, &body, 1_000), Err(Failure::Malformed), "{encoding:?} {body:?}");
            }
        }
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let zeros = vec![0; 64 << 20];
        for (encoding, pack) in BOTH {
            let bomb = pack(&zeros);
            assert!(bomb.len() < 70_000, "{}", bomb.len());
            assert_eq!(inflate(encoding, &bomb, 1 << 20), Err(Failure::TooLarge));
        }
    }

    #[test]
    fn a_frame_cannot_ask_for_a_large_window() {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
        encoder.window_log(27).unwrap();
        encoder.include_contentsize(false).unwrap();
        encoder.write_all(b"small").unwrap();
        assert_eq!(inflate(Encoding::Zstd, &encoder.finish().unwrap(), 1_000), Err(Failure::Malformed));
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_or_refused_within_the_limit(
            body in proptest::collection::vec(any::<u8>(), 0..400),
            limit in 0_usize..300,
            magic in 0..3,
        ) {
            let head: &[u8] = match magic { 0 => &[0x1f, 0x8b, 8, 0], 1 => &[0x28, 0xb5, 0x2f, 0xfd], _ => &[] };
            let body = [head, &body].concat();
            for encoding in [Encoding::Gzip, Encoding::Zstd] {
                if let Ok(inflated) = inflate(encoding, &body, limit) {
                    prop_assert!(inflated.len() <= limit);
                }
            }
        }

        #[test]
        fn packed_bytes_come_back(body in proptest::collection::vec(any::<u8>(), 0..400)) {
            for (encoding, pack) in BOTH {
                prop_assert_eq!(&inflate(encoding, &pack(&body), 400).unwrap(), &body);
            }
        }
    }
}
