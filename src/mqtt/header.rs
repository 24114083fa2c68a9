//! The fixed header of a packet that comes after the CONNECT: what is refused by it alone, before there is memory for
//! its body (MQTT 5 §2.1, §3.3.1).

use super::{Config, ending::Ending, wire::Head};

const PUBLISH: u8 = 3;
/// PUBACK, SUBSCRIBE, UNSUBSCRIBE, PINGREQ, DISCONNECT. The rest is for QoS 2, for enhanced authentication, or ours.
const OTHERS: [u8; 5] = [4, 8, 10, 12, 14];

/// Whether it is a PUBLISH, whose bytes are taken from the budget, or one of the small packets, whose are not.
///
/// # Errors
/// How the connection has to end.
pub(super) fn is_publish(head: Head, config: &Config) -> Result<bool, Ending> {
    if head.kind() != PUBLISH {
        return match OTHERS.contains(&head.kind()) {
            false => Err(Ending::Protocol),
            true if head.total() > config.connect_bytes_max => Err(Ending::TooLarge),
            true => Ok(false),
        };
    }
    match head.qos() {
        0 if head.is_resend() => return Err(Ending::Malformed),
        0 | 1 => {}
        2 => return Err(Ending::Qos),
        _ => return Err(Ending::Malformed),
    }
    if head.is_retained() {
        return Err(Ending::Retain);
    }
    if head.total() > config.packet_bytes_max {
        return Err(Ending::TooLarge);
    }
    Ok(true)
}
