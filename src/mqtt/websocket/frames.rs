//! Frames of WebSocket (RFC 6455 §5), taken apart as they come: no frame is ever held as a whole.

use bytes::{BufMut, BytesMut};

/// Payload of a control frame, at most (§5.5).
const CONTROL_BYTES_MAX: u64 = 125;
/// Pongs that wait for a client which does not read; more are not sent.
const PONG_BYTES_MAX: usize = 4 * 1_024;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;
const CONTINUATION: u8 = 0x0;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

/// The client broke the protocol, or sent text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Violation;

/// What was in a stretch of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    /// Bytes of payload, now at the front of the stretch.
    pub(super) payload: usize,
    /// The client closes.
    pub(super) is_closed: bool,
}

/// Where in the frames of a client we are.
#[derive(Debug, Default)]
pub(super) struct Frames {
    header: [u8; 14],
    header_len: usize,
    opcode: u8,
    left: u64,
    mask: [u8; 4],
    /// How far in the mask the next byte is.
    turn: usize,
    /// Whether a message goes on in further frames.
    is_amid_message: bool,
    /// The payload of a control frame that is being read. Without memory otherwise.
    control: BytesMut,
}

impl Frames {
    /// Takes a stretch of the connection's bytes apart: the payload of data frames is unmasked and moved to its front,
    /// pings are answered into `answers`.
    pub(super) fn take(&mut self, raw: &mut [u8], answers: &mut BytesMut) -> Result<Taken, Violation> {
        let (mut at, mut payload) = (0, 0);
        while at < raw.len() {
            if self.left == 0 {
                self.header[self.header_len] = raw[at];
                self.header_len += 1;
                at += 1;
                self.header()?;
            } else {
                let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(raw.len() - at);
                if self.opcode == BINARY {
                    raw.copy_within(at..at + count, payload);
                    self.unmask(&mut raw[payload..payload + count]);
                    payload += count;
                } else {
                    let before = self.control.len();
                    self.control.extend_from_slice(&raw[at..at + count]);
                    let mut control = std::mem::take(&mut self.control);
                    self.unmask(&mut control[before..]);
                    self.control = control;
                }
                at += count;
                self.left -= count as u64;
            }
            if self.left == 0 && self.header_len == 0 && self.ends_control(answers) {
                return Ok(Taken { payload, is_closed: true });
            }
        }
        Ok(Taken { payload, is_closed: false })
    }

    /// Looks at the header as far as it has come; once it is whole, its frame's payload follows.
    fn header(&mut self) -> Result<(), Violation> {
        let (first, second) = (self.header[0], self.header[1]);
        if self.header_len < 2 {
            return Ok(());
        }
        let (is_last, opcode) = (first & FIN != 0, first & 0x0f);
        let is_control = opcode >= CLOSE;
        let (extended, short) = match second & !MASKED {
            126 => (2, 0),
            127 => (8, 0),
            length => (0, u64::from(length)),
        };
        let fits = match opcode {
            BINARY => !self.is_amid_message,
            CONTINUATION => self.is_amid_message,
            CLOSE | PING | PONG => is_last && extended == 0,
            _ => false,
        };
        if first & RESERVED != 0 || second & MASKED == 0 || !fits {
            return Err(Violation);
        }
        if self.header_len < 2 + extended + 4 {
            return Ok(());
        }
        let (length, mask) = self.header[2..self.header_len].split_at(extended);
        let length = length.iter().fold(short, |length, byte| length << 8 | u64::from(*byte));
        self.mask.copy_from_slice(mask);
        self.turn = 0;
        self.header_len = 0;
        self.left = length;
        if is_control {
            debug_assert!(length <= CONTROL_BYTES_MAX, "a length without extension");
            self.opcode = opcode;
        } else {
            self.opcode = BINARY;
            self.is_amid_message = !is_last;
        }
        Ok(())
    }

    /// Does what a control frame asks for, if one has just ended; whether it was a close.
    fn ends_control(&mut self, answers: &mut BytesMut) -> bool {
        let control = std::mem::take(&mut self.control);
        match std::mem::replace(&mut self.opcode, BINARY) {
            CLOSE => true,
            PING => {
                if answers.len() < PONG_BYTES_MAX {
                    write(PONG, &control, answers);
                }
                false
            }
            _ => false,
        }
    }

    fn unmask(&mut self, payload: &mut [u8]) {
        let mut mask = self.mask;
        mask.rotate_left(self.turn);
        let mut words = payload.chunks_exact_mut(4);
        for word in &mut words {
            for (byte, mask) in word.iter_mut().zip(mask) {
                *byte ^= mask;
            }
        }
        for (byte, mask) in words.into_remainder().iter_mut().zip(mask) {
            *byte ^= mask;
        }
        self.turn = (self.turn + payload.len()) % 4;
    }
}

/// Writes a binary frame of ours.
pub(super) fn write_binary(payload: &[u8], to: &mut BytesMut) {
    write(BINARY, payload, to);
}

/// Writes a close frame of ours: 1000, all is well.
pub(super) fn write_close(to: &mut BytesMut) {
    write(CLOSE, &1_000_u16.to_be_bytes(), to);
}

/// A frame of a server: whole, and not masked (§5.1).
fn write(opcode: u8, payload: &[u8], to: &mut BytesMut) {
    to.reserve(payload.len() + 10);
    to.put_u8(FIN | opcode);
    match payload.len() {
        length @ 0..=125 => to.put_u8(length as u8),
        length @ 126..=0xffff => {
            to.put_u8(126);
            to.put_u16(length as u16);
        }
        length => {
            to.put_u8(127);
            to.put_u64(length as u64);
        }
    }
    to.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(first: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
        let mut frame = BytesMut::new();
        write(first & 0x0f, payload, &mut frame);
        let mut frame = frame.to_vec();
        frame[0] = first;
        frame[1] |= MASKED;
        let at = frame.len() - payload.len();
        for (byte, mask) in frame[at..].iter_mut().zip(mask.iter().cycle()) {
            *byte ^= mask;
        }
        frame.splice(at..at, mask);
        frame
    }

    fn take(frames: &mut Frames, bytes: &[u8], step: usize) -> Result<(Vec<u8>, Vec<u8>, bool), Violation> {
        let (mut payload, mut answers) = (Vec::new(), BytesMut::new());
        for stretch in bytes.chunks(step) {
            let mut stretch = stretch.to_vec();
            let taken = frames.take(&mut stretch, &mut answers)?;
            payload.extend_from_slice(&stretch[..taken.payload]);
            if taken.is_closed {
                return Ok((payload, answers.to_vec(), true));
            }
        }
        Ok((payload, answers.to_vec(), false))
    }

    proptest! {
        // RFC 6455 §5.2, §5.4: however the bytes are cut into frames and reads, the payload comes out as it was.
        #[test]
        fn payloads_come_out_whole(
            parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..5),
            large in 0_usize..70_000,
            mask in any::<[u8; 4]>(),
            step in 1_usize..5_000,
            ping in proptest::collection::vec(any::<u8>(), 0..=125),
        ) {
            let mut bytes = Vec::new();
            for (n, part) in parts.iter().enumerate() {
                let fin = if n + 1 == parts.len() { FIN } else { 0 };
                bytes.extend(frame(fin | if n == 0 { BINARY } else { CONTINUATION }, part, mask));
                bytes.extend(frame(FIN | PING, &ping, mask));
            }
            let block = vec![7; large];
            bytes.extend(frame(FIN | BINARY, &block, mask));
            let (payload, answers, is_closed) = take(&mut Frames::default(), &bytes, step).unwrap();
            prop_assert_eq!(payload, [parts.concat(), block].concat());
            let mut pong = BytesMut::new();
            write(PONG, &ping, &mut pong);
            prop_assert_eq!(answers, pong.repeat(parts.len()));
            prop_assert!(!is_closed);
        }

        // Whatever comes, it is taken or refused.
        #[test]
        fn any_bytes_are_taken_or_refused(
            bytes in proptest::collection::vec(any::<u8>(), 0..400),
            step in 1_usize..50,
        ) {
            let _either = take(&mut Frames::default(), &bytes, step);
        }
    }

    #[test]
    fn what_a_client_may_not_send_is_refused() {
        let mask = [1, 2, 3, 4];
        let unmasked = {
            let mut frame = BytesMut::new();
            write_binary(b"x", &mut frame);
            frame.to_vec()
        };
        for (what, bytes) in [
            ("text", frame(FIN | 0x1, b"x", mask)),
            ("a reserved bit", frame(FIN | 0x40 | BINARY, b"x", mask)),
            ("a reserved opcode", frame(FIN | 0x3, b"x", mask)),
            ("a continuation of nothing", frame(FIN | CONTINUATION, b"x", mask)),
            ("a second beginning", [frame(BINARY, b"x", mask), frame(FIN | BINARY, b"x", mask)].concat()),
            ("a ping in parts", frame(PING, b"x", mask)),
            ("a long ping", frame(FIN | PING, &[0; 126], mask)),
            ("no mask", unmasked.to_vec()),
        ] {
            assert_eq!(take(&mut Frames::default(), &bytes, 1), Err(Violation), "{what}");
        }
    }

    #[test]
    fn a_close_ends_it_after_what_came_before() {
        let mask = [9, 8, 7, 6];
        let bytes = [frame(FIN | BINARY, b"abc", mask), frame(FIN | CLOSE, &[3, 232], mask), vec![0; 50]].concat();
        for step in [1, 2, 7, 1_000] {
            let taken = take(&mut Frames::default(), &bytes, step).unwrap();
            assert_eq!(taken, (b"abc".to_vec(), Vec::new(), true));
        }
        let empty = frame(FIN | CLOSE, b"", mask);
        assert!(take(&mut Frames::default(), &empty, 100).unwrap().2);
    }
}
