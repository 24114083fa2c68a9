//! The times that a session has to keep: its token's, its client's, those of a packet and of what is unsent.

use std::{pin::Pin, time::Duration};

use tokio::time::{Instant, Sleep, sleep_until};

use super::{Config, ending::Ending};

/// The times of one session, with one alarm for all of them.
pub(super) struct Clock {
    alarm: Pin<Box<Sleep>>,
    /// How long the client may be silent.
    patience: Duration,
    packet_timeout: Duration,
    unsent_timeout: Duration,
    /// The token's end.
    expires: Instant,
    /// When the last packet came, or reading began again.
    heard: Instant,
    /// Since when the packet that is being read is.
    packet_since: Option<Instant>,
    /// Since when the client has taken nothing of what is unsent, and how much had been written then.
    unsent_since: Option<(Instant, u64)>,
    /// Until when a publish over the rate limit waits.
    window: Option<Instant>,
    is_reading: bool,
}

/// What the clock is told before it is waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) is_reading: bool,
    pub(super) has_unsent: bool,
    /// Bytes written so far.
    pub(super) written: u64,
    /// Until when a publish over the rate limit waits.
    pub(super) window: Option<Instant>,
}

/// What it was time for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing: what the alarm was set for has moved on.
    Nothing,
    /// The publish over the rate limit has waited.
    Window,
    /// The end.
    End(Ending),
}

impl Clock {
    pub(super) fn new(config: &Config, patience: Duration, expires: Instant) -> Self {
        let heard = Instant::now();
        Self {
            alarm: Box::pin(sleep_until(expires.min(heard + patience))),
            patience,
            packet_timeout: config.packet_timeout(),
            unsent_timeout: config.unsent_timeout(),
            expires,
            heard,
            packet_since: None,
            unsent_since: None,
            window: None,
            is_reading: true,
        }
    }

    /// A packet has begun to come.
    pub(super) fn packet_began(&mut self) {
        self.packet_since = Some(Instant::now());
    }

    /// A packet has come.
    pub(super) fn packet_came(&mut self) {
        self.heard = Instant::now();
        self.packet_since = None;
    }

    /// Looks at how things are, and sets the alarm to the next time to keep. It is not set later when that moves on:
    /// it goes off, finds nothing due, and is set anew, which is cheaper than to set it with every packet.
    pub(super) fn arm(&mut self, now: Now) {
        self.look(now);
        let next = self.next();
        if next < self.alarm.deadline() {
            self.alarm.as_mut().reset(next);
        }
    }

    /// Waits for the alarm. Cancel-safe.
    pub(super) async fn alarm(&mut self) {
        self.alarm.as_mut().await;
    }

    /// What it is time for, now that the alarm has gone off.
    pub(super) fn due(&mut self, now: Now) -> Due {
        self.look(now);
        let instant = Instant::now();
        let due = self.ends().into_iter().flatten().find(|(at, _)| *at <= instant);
        let due = match (due, self.window) {
            (Some((_, ending)), _) => Due::End(ending),
            (None, Some(window)) if window <= instant => {
                self.window = None;
                Due::Window
            }
            (None, _) => Due::Nothing,
        };
        let next = self.next();
        self.alarm.as_mut().reset(next);
        due
    }

    fn look(&mut self, now: Now) {
        if now.is_reading && !self.is_reading {
            // What the client sent meanwhile lay unread: that was not its silence.
            self.heard = Instant::now();
            self.packet_since = self.packet_since.map(|_| self.heard);
        }
        self.is_reading = now.is_reading;
        self.window = now.window;
        self.unsent_since = match self.unsent_since {
            _ if !now.has_unsent => None,
            Some((since, written)) if written == now.written => Some((since, written)),
            _ => Some((Instant::now(), now.written)),
        };
    }

    /// What ends the session, and when.
    fn ends(&self) -> [Option<(Instant, Ending)>; 3] {
        let client = match (self.is_reading, self.packet_since) {
            (false, _) => None,
            (true, Some(since)) => Some((since + self.packet_timeout, Ending::Slow)),
            (true, None) => Some((self.heard + self.patience, Ending::Silent)),
        };
        let unsent = self.unsent_since.map(|(since, _)| (since + self.unsent_timeout, Ending::Slow));
        [Some((self.expires, Ending::TokenExpired)), client, unsent]
    }

    fn next(&self) -> Instant {
        let ends = self.ends().into_iter().flatten().map(|(at, _)| at);
        ends.chain(self.window).min().unwrap_or(self.expires)
    }
}
