//! What was begun is finished, whatever the client or a handler does.

use std::{
    any::Any,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use crate::telemetry::task;

/// A future that goes on in a task of its own when it is dropped half-way: a client that hangs up while its batch is
/// being made durable changes nothing about the batch, its count, or the answer kept for its idempotency key.
pub(super) struct Finish<F: Future<Output: Send> + Send + 'static> {
    future: Option<Pin<Box<F>>>,
    is_begun: bool,
}

impl<F: Future<Output: Send> + Send + 'static> Finish<F> {
    pub(super) fn new(future: F) -> Self {
        Self { future: Some(Box::pin(future)), is_begun: false }
    }
}

impl<F: Future<Output: Send> + Send + 'static> Future for Finish<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.is_begun = true;
        let future = self.future.as_mut().expect("not polled after its end");
        let output = ready!(future.as_mut().poll(cx));
        self.future = None;
        Poll::Ready(output)
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for Finish<F> {
    fn drop(&mut self) {
        // After a panic the future must not be polled again; without a runtime there is nobody to poll it.
        let can_go_on = self.is_begun && !std::thread::panicking() && tokio::runtime::Handle::try_current().is_ok();
        if let Some(future) = self.future.take_if(|_| can_go_on) {
            task::spawn("request of a caller that hung up", future);
        }
    }
}

/// The output of `future`, or the words of its panic.
pub(super) async fn caught<F: Future>(future: F) -> Result<F::Output, String> {
    let mut future = pin!(future);
    poll_fn(move |cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(polled) => polled.map(Ok),
        Err(panic) => Poll::Ready(Err(words(panic.as_ref()))),
    })
    .await
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without words").to_owned()
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
        task::Poll,
    };

    use tokio::sync::oneshot;

    use super::{Finish, caught};

    #[tokio::test]
    async fn a_dropped_future_is_finished_if_it_was_begun() {
        for begun in [true, false] {
            let (go, wait) = oneshot::channel::<()>();
            let (done, finished) = oneshot::channel();
            let mut future = Finish::new(async move {
                wait.await.unwrap();
                done.send(()).unwrap();
            });
            if begun {
                let polled = std::future::poll_fn(|cx| Poll::Ready(std::pin::Pin::new(&mut future).poll(cx))).await;
                assert!(polled.is_pending());
            }
            drop(future);
            let _unheard = go.send(());
            assert_eq!(finished.await.is_ok(), begun);
        }
    }

    #[tokio::test]
    async fn a_panic_becomes_words_and_drops_what_the_future_held() {
        let held = Arc::new(AtomicBool::new(false));
        struct Flag(Arc<AtomicBool>);
        impl Drop for Flag {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let flag = Flag(held.clone());
        let outcome = caught(async move {
            let _flag = flag;
            tokio::task::yield_now().await;
            panic!("number {}", 7);
        })
        .await;
        assert_eq!(outcome, Err::<(), _>("number 7".to_owned()));
        assert!(held.load(Ordering::Relaxed));
    }
}
