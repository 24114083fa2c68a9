//! A validated batch as bytes: what the spool keeps and delivery reads.
//!
//! Layout, little endian: `version u8 = 1`, `reserved u8`, `count u16`, `integration [16]`, `request [16]`,
//! `received_at_us i64`, then per reading `series | quality << 56` as u64, `timestamp_us i64`, `value f64`.

use uuid::Uuid;

use super::{IntegrationId, Quality, Reading, RequestId, SeriesId};

/// Bytes before the first reading.
pub const HEADER_BYTES: usize = 44;
/// Bytes of one reading.
pub const READING_BYTES: usize = 24;
const VERSION: u8 = 1;

/// Whose batch it is, and when it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHeader {
    /// The sender.
    pub integration_id: IntegrationId,
    /// The request that brought it.
    pub request_id: RequestId,
    /// Time of receipt, microseconds since the Unix epoch, stamped before the batch was made durable.
    pub received_at_us: i64,
}

/// A record that this version cannot read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Shorter or longer than its own count says.
    #[error("record of {actual} bytes, expected {expected}")]
    Length {
        /// Bytes by its count.
        expected: usize,
        /// Bytes it has.
        actual: usize,
    },
    /// Written by a later version.
    #[error("record version {0} is not known")]
    Version(u8),
    /// A quality byte that no version wrote.
    #[error("quality byte {0} is not known")]
    Quality(u8),
}

/// Appends the record of `readings` to `out`.
///
/// # Panics
/// If there are more than 65,535 readings; a batch has 500 at most.
pub fn encode(header: &RecordHeader, readings: &[Reading], out: &mut Vec<u8>) {
    let count = u16::try_from(readings.len()).expect("a batch has at most 500 readings");
    out.reserve(HEADER_BYTES + readings.len() * READING_BYTES);
    out.extend_from_slice(&[VERSION, 0]);
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(header.integration_id.as_uuid().as_bytes());
    out.extend_from_slice(header.request_id.as_uuid().as_bytes());
    out.extend_from_slice(&header.received_at_us.to_le_bytes());
    for reading in readings {
        let mut bytes = [0; READING_BYTES];
        let head = reading.series.as_u64() | (reading.quality as u64) << 56;
        bytes[..8].copy_from_slice(&head.to_le_bytes());
        bytes[8..16].copy_from_slice(&reading.timestamp_us.to_le_bytes());
        bytes[16..].copy_from_slice(&reading.value.to_le_bytes());
        out.extend_from_slice(&bytes);
    }
}

/// Appends the readings of `record` to `out` and gives its header.
///
/// # Errors
/// When the bytes are not a whole record of a known version; `out` may then hold a part of them.
pub fn decode(record: &[u8], out: &mut Vec<Reading>) -> Result<RecordHeader, DecodeError> {
    let Some((head, body)) = record.split_at_checked(HEADER_BYTES) else {
        return Err(DecodeError::Length { expected: HEADER_BYTES, actual: record.len() });
    };
    if head[0] != VERSION {
        return Err(DecodeError::Version(head[0]));
    }
    let count = usize::from(u16::from_le_bytes([head[2], head[3]]));
    let expected = HEADER_BYTES + count * READING_BYTES;
    if record.len() != expected {
        return Err(DecodeError::Length { expected, actual: record.len() });
    }
    out.reserve(count);
    for bytes in body.chunks_exact(READING_BYTES) {
        let packed = u64::from_le_bytes(array(&bytes[..8]));
        let quality = (packed >> 56) as u8;
        out.push(Reading {
            series: SeriesId::from_u64(packed),
            timestamp_us: i64::from_le_bytes(array(&bytes[8..16])),
            value: f64::from_le_bytes(array(&bytes[16..])),
            quality: Quality::from_u8(quality).ok_or(DecodeError::Quality(quality))?,
        });
    }
    Ok(RecordHeader {
        integration_id: IntegrationId::from_uuid(Uuid::from_bytes(array(&head[4..20]))),
        request_id: RequestId::from_uuid(Uuid::from_bytes(array(&head[20..36]))),
        received_at_us: i64::from_le_bytes(array(&head[36..44])),
    })
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the slice was cut to this length")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{EquipmentNumber, MetricNumber};

    fn header() -> RecordHeader {
        RecordHeader {
            integration_id: IntegrationId::generate(),
            request_id: RequestId::generate(),
            received_at_us: 1_767_607_200_000_000,
        }
    }

    fn any_reading() -> impl Strategy<Value = Reading> {
        (any::<u32>(), any::<u16>(), any::<i64>(), any::<f64>(), 0u8..3).prop_map(|(e, m, timestamp_us, value, q)| {
            let series = SeriesId::new(EquipmentNumber(e), MetricNumber(m));
            Reading { series, timestamp_us, value, quality: Quality::from_u8(q).expect("below 3") }
        })
    }

    proptest! {
        #[test]
        fn what_was_encoded_comes_back(readings in prop::collection::vec(any_reading(), 0..500)) {
            let (head, mut bytes, mut back) = (header(), Vec::new(), Vec::new());
            encode(&head, &readings, &mut bytes);
            prop_assert_eq!(decode(&bytes, &mut back), Ok(head));
            let bits = |r: &Reading| (r.series, r.timestamp_us, r.value.to_bits(), r.quality);
            prop_assert_eq!(back.iter().map(bits).collect::<Vec<_>>(), readings.iter().map(bits).collect::<Vec<_>>());
        }

        #[test]
        fn any_bytes_are_refused_or_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let readable = decode(&bytes, &mut Vec::new()).is_ok();
            prop_assert!(!readable || bytes.len() >= HEADER_BYTES);
        }
    }

    #[test]
    fn a_record_cut_short_is_refused() {
        let mut bytes = Vec::new();
        encode(&header(), &[], &mut bytes);
        assert!(matches!(decode(&bytes[..43], &mut Vec::new()), Err(DecodeError::Length { .. })));
        bytes[0] = 9;
        assert_eq!(decode(&bytes, &mut Vec::new()), Err(DecodeError::Version(9)));
    }
}
