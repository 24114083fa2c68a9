//! Reading a request's body: at most so many bytes, in at most so much time, copied at most once.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header::CONTENT_LENGTH};
use http_body::Body;
use http_body_util::BodyExt;

use super::{capacity::Room, refusal::Refusal};
use crate::model::ProblemCode;

/// What is taken for a body whose length is not announced; it grows as the body does.
pub(super) const UNANNOUNCED_BYTES: usize = 16 * 1_024;

/// What the header says about the length; hyper has made sure that it is one number.
pub(super) fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads the whole body. `room` is what it may occupy; it grows where the length was not announced.
///
/// # Errors
/// 413 over `bytes_max`, 408 after `timeout` (in all, however steadily it trickles), 400 when it ends early or is
/// broken, 503 when there is no room for more of it.
pub(super) async fn read<B>(
    body: B,
    announced: Option<usize>,
    bytes_max: usize,
    timeout: Duration,
    room: Option<&mut Room>,
) -> Result<Bytes, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
{
    match tokio::time::timeout(timeout, collect(body, announced, bytes_max, room)).await {
        Ok(result) => result,
        Err(_late) => Err(Refusal::new(ProblemCode::RequestTimeout)),
    }
}

async fn collect<B>(
    mut body: B,
    announced: Option<usize>,
    bytes_max: usize,
    mut room: Option<&mut Room>,
) -> Result<Bytes, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
{
    let Some(first) = next(&mut body).await? else { return Ok(Bytes::new()) };
    if first.len() > bytes_max {
        return Err(Refusal::new(ProblemCode::BodyTooLarge));
    }
    if body.is_end_stream() {
        // The usual case: the socket had it all, and nothing is copied.
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(announced.unwrap_or(UNANNOUNCED_BYTES).clamp(first.len(), bytes_max));
    whole.extend_from_slice(&first);
    drop(first);
    while let Some(chunk) = next(&mut body).await? {
        let total = whole.len() + chunk.len();
        if total > bytes_max {
            return Err(Refusal::new(ProblemCode::BodyTooLarge));
        }
        if let Some(room) = room.as_deref_mut()
            && total > room.bytes()
        {
            room.grow_to((room.bytes() * 2).clamp(total, bytes_max.max(total)))?;
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}

/// The next bytes; `None` at the end. Trailers are skipped.
async fn next<B>(body: &mut B) -> Result<Option<Bytes>, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
{
    while let Some(frame) = body.frame().await {
        let broken = "The body ended early, or its transfer coding is broken.";
        let frame = frame
            .map_err(|_| Refusal::new(ProblemCode::MalformedEncoding).because("body_broken").with_detail(broken))?;
        if let Ok(data) = frame.into_data()
            && !data.is_empty()
        {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body::Frame;
    use http_body_util::Full;

    use super::*;

    /// A body that comes in these parts.
    struct Parts(std::collections::VecDeque<&'static str>);

    impl Body for Parts {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            std::task::Poll::Ready(self.0.pop_front().map(|part| Ok(Frame::data(Bytes::from_static(part.as_bytes())))))
        }
    }

    async fn check(parts: &[&'static str], announced: Option<usize>, max: usize) -> Result<Bytes, ProblemCode> {
        read(Parts(parts.to_vec().into()), announced, max, Duration::from_secs(5), None)
            .await
            .map_err(|refusal| refusal.problem)
    }

    #[tokio::test]
    async fn the_parts_make_the_whole() {
        assert_eq!(check(&["ab", "", "cd", "e"], Some(5), 5).await.unwrap(), "abcde");
        assert_eq!(check(&["ab", "cd", "e"], None, 5).await.unwrap(), "abcde");
        assert_eq!(check(&[], None, 5).await.unwrap(), "");
        assert_eq!(check(&["abc", "def"], None, 5).await, Err(ProblemCode::BodyTooLarge));
        assert_eq!(check(&["abcdef"], None, 5).await, Err(ProblemCode::BodyTooLarge));
    }

    #[tokio::test]
    async fn a_whole_body_is_not_copied() {
        let bytes = Bytes::from(vec![7; 100]);
        let result = read(Full::new(bytes.clone()), Some(100), 100, Duration::from_secs(5), None).await.unwrap();
        assert_eq!(result.as_ptr(), bytes.as_ptr());
    }
}
