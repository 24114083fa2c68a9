//! Unsigned LEB128 and zigzag, the numbers inside an open chunk and a block.

/// Appends `number`, seven bits a byte, lowest first.
pub(super) fn put(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes the number at the front of `bytes`; none where the bytes end early or the number is beyond 64 bits.
#[inline]
pub(super) fn take(bytes: &mut &[u8]) -> Option<u64> {
    let (&first, rest) = bytes.split_first()?;
    *bytes = rest;
    if first < 0x80 {
        return Some(u64::from(first));
    }
    let mut number = u64::from(first & 0x7f);
    for shift in (7..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let part = u64::from(byte & 0x7f);
        if part << shift >> shift != part {
            return None;
        }
        number |= part << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// Small numbers of either sign become small unsigned ones.
pub(super) const fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

/// The reverse of [`zigzag`].
pub(super) const fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_number_comes_back(number: i64) {
            let mut bytes = Vec::new();
            put(zigzag(number), &mut bytes);
            let mut rest = bytes.as_slice();
            prop_assert_eq!(take(&mut rest).map(unzigzag), Some(number));
            prop_assert!(rest.is_empty());
            prop_assert_eq!(take(&mut &bytes[..bytes.len() - 1]), None);
        }
    }

    #[test]
    fn a_number_beyond_64_bits_is_refused() {
        assert_eq!(take(&mut [0xff; 11].as_slice()), None);
        let mut two_to_64 = vec![0x80; 9];
        two_to_64.push(2);
        assert_eq!(take(&mut two_to_64.as_slice()), None);
    }
}
