//! The PROXY protocol, version 2 and nothing else: where a load balancer says whom it speaks for.
//!
//! Version 1 is text without a length up front and therefore not accepted; a port that expects the header closes
//! every connection that does not begin with it, so that nobody can choose between being seen and being believed.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::io::{AsyncRead, AsyncReadExt};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Addresses take 36 bytes; the rest are extensions (TLVs), which we skip. A real proxy sends a few hundred bytes.
const PAYLOAD_BYTES_MAX: usize = 2_048;

/// Whom the proxy speaks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A client that it forwards.
    Client(SocketAddr),
    /// Itself (a health check), or somebody it cannot name.
    Itself,
}

/// Why a header is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum Malformed {
    #[error("connection ended inside the header")]
    Read(#[from] io::Error),
    #[error("no version 2 header")]
    Signature,
    #[error("unknown version or command")]
    Command,
    #[error("a family or transport that cannot be on a TCP port")]
    Family,
    #[error("shorter than its addresses, or longer than allowed")]
    Length,
}

/// Reads exactly one header, not a byte more: what follows belongs to TLS or HTTP.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Source, Malformed> {
    let mut head = [0; 16];
    stream.read_exact(&mut head).await?;
    let length = payload_length(&head)?;
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await?;
    source(head[12], head[13], &payload)
}

fn payload_length(head: &[u8; 16]) -> Result<usize, Malformed> {
    if head[..12] != SIGNATURE {
        return Err(Malformed::Signature);
    }
    let length = usize::from(u16::from_be_bytes([head[14], head[15]]));
    if length > PAYLOAD_BYTES_MAX { Err(Malformed::Length) } else { Ok(length) }
}

fn source(version_and_command: u8, family: u8, payload: &[u8]) -> Result<Source, Malformed> {
    match version_and_command {
        0x20 => return Ok(Source::Itself),
        0x21 => {}
        _ => return Err(Malformed::Command),
    }
    let (addr, port): (IpAddr, _) = match family {
        0x00 => return Ok(Source::Itself),
        0x11 => {
            let block: &[u8; 12] = payload.first_chunk().ok_or(Malformed::Length)?;
            let [a, b, c, d, .., high, low, _, _] = *block;
            (Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes([high, low]))
        }
        0x21 => {
            let block: &[u8; 36] = payload.first_chunk().ok_or(Malformed::Length)?;
            let addr: [u8; 16] = *block.first_chunk().ok_or(Malformed::Length)?;
            (Ipv6Addr::from(addr).into(), u16::from_be_bytes([block[32], block[33]]))
        }
        _ => return Err(Malformed::Family),
    };
    Ok(Source::Client(SocketAddr::new(addr.to_canonical(), port)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Malformed, SIGNATURE, Source, read};

    fn header(version_and_command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[version_and_command, family], &length, payload].concat()
    }

    async fn check(bytes: &[u8]) -> (Result<Source, Malformed>, usize) {
        let mut rest = bytes;
        let result = read(&mut rest).await;
        (result, rest.len())
    }

    #[tokio::test]
    async fn a_header_names_the_client_and_leaves_the_rest_alone() {
        let v4 = [203, 0, 113, 7, 10, 0, 0, 1, 0x1f, 0x90, 0, 80];
        let mapped = [&[0; 10][..], &[0xff, 0xff, 203, 0, 113, 7], &[0; 16], &[0x1f, 0x90, 0, 80]].concat();
        let v6 = [&[0x20, 1, 0x0d, 0xb8], &[0; 11][..], &[1], &[0; 16], &[0x1f, 0x90, 0, 80]].concat();
        let with_tlv = [&v4[..], &[3, 0, 4, 1, 2, 3, 4]].concat();
        for (family, payload, expected) in [
            (0x11, &v4[..], "203.0.113.7:8080"),
            (0x11, &with_tlv, "203.0.113.7:8080"),
            (0x21, &mapped, "203.0.113.7:8080"),
            (0x21, &v6, "[2001:db8::1]:8080"),
        ] {
            let bytes = [header(0x21, family, payload), b"GET /".to_vec()].concat();
            let (result, left) = check(&bytes).await;
            assert_eq!(result.unwrap(), Source::Client(expected.parse().unwrap()));
            assert_eq!(left, 5);
        }
    }

    #[tokio::test]
    async fn local_and_unspecified_mean_the_proxy_itself() {
        for bytes in [header(0x20, 0, b""), header(0x20, 0x11, &[1; 12]), header(0x21, 0, b"whatever")] {
            assert_eq!(check(&bytes).await.0.unwrap(), Source::Itself);
        }
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        let v4 = [1; 12];
        for bytes in [
            b"PROXY TCP4 203.0.113.7 10.0.0.1 8080 80\r\n".to_vec(),
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            header(0x11, 0x11, &v4),
            header(0x22, 0x11, &v4),
            header(0x21, 0x12, &v4),
            header(0x21, 0x31, &[0; 216]),
            header(0x21, 0x11, &v4[..11]),
            header(0x21, 0x21, &[0; 35]),
            header(0x21, 0x11, &[0; 2_049]),
            header(0x21, 0x11, &v4)[..20].to_vec(),
            Vec::new(),
        ] {
            assert!(check(&bytes).await.0.is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..80), signed in any::<bool>()) {
            if signed && bytes.len() >= 12 {
                bytes[..12].copy_from_slice(&SIGNATURE);
            }
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let _result = runtime.block_on(check(&bytes));
        }
    }
}
