//! A future that is finished even when nobody waits for it any more.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use crate::telemetry::task;

/// Drives `future` in its owner; when the owner goes away before the end, a task of its own drives it on. So a caller
/// that hangs up changes nothing about what happens to its batch, and one that stays pays for no task.
pub(super) struct Persist<F: Future<Output: Send> + Send + 'static> {
    name: &'static str,
    future: Option<Pin<Box<F>>>,
}

impl<F: Future<Output: Send> + Send + 'static> Persist<F> {
    pub(super) fn new(name: &'static str, future: F) -> Self {
        Self { name, future: Some(Box::pin(future)) }
    }
}

impl<F: Future<Output: Send> + Send + 'static> Future for Persist<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let future = self.future.as_mut().expect("nobody polls a future that has ended");
        let polled = future.as_mut().poll(cx);
        if polled.is_ready() {
            self.future = None;
        }
        polled
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for Persist<F> {
    fn drop(&mut self) {
        // Without a runtime the process is about to end; the spool finishes what it has in any case.
        if let Some(future) = self.future.take()
            && tokio::runtime::Handle::try_current().is_ok()
        {
            drop(task::spawn(self.name, future));
        }
    }
}
