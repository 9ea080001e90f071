//! What `object_store` (0.13) leaves to the layer below it when an HTTP request fails.
//!
//! Its client repeats a request after a 5xx, 408 or 429 answer and after most failures of the connection, so often and so long
//! as [`StoreOptions`](super::StoreOptions) says, with a backoff of its own. Three things it does not do are done here, in its transport:
//!
//! - `Retry-After` is honoured: the answer is held back until the time that the server asked for has passed. Where that is
//!   longer than requests are repeated at all, the request fails at once and says so.
//! - An answer that is cut off in the middle is a failed request, which is repeated, also if its length says that it is
//!   whole: the client notices that in objects, and resumes them (their checksums are compared above), but gives up on listings and on
//!   what comes back from multipart uploads and deletions.
//! - Deleting several objects at once is repeated after any failure: to delete what is gone already does no harm.

use std::time::Duration;

use chrono::DateTime;
use futures::{FutureExt, future::BoxFuture};
use object_store::{
    ClientOptions,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
    },
};

/// Makes clients that do what the module says.
#[derive(Debug)]
pub(super) struct Connector {
    /// The longest time that a server may ask for before a request is repeated.
    pub wait_max: Duration,
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Transport { inner, wait_max: self.wait_max }))
    }
}

#[derive(Debug)]
struct Transport {
    inner: HttpClient,
    wait_max: Duration,
}

/// The server wants to be left alone for longer than requests are repeated.
#[derive(Debug, thiserror::Error)]
#[error(
    "the store answered {status} and asks to be left alone for {} seconds, longer than requests are repeated \
     (store.retry_timeout is {} seconds)",
    asked.as_secs(),
    wait_max.as_secs()
)]
pub(super) struct LeftAlone {
    status: u16,
    asked: Duration,
    wait_max: Duration,
}

impl Transport {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let form = Form::of(&request);
        let answered = self.inner.execute(request).await;
        let response = answered.map_err(|error| form.of_failure(error))?;
        let response = match form {
            Form::Object => response,
            _ => whole(response).await.map_err(|error| form.of_failure(error))?,
        };
        let Some(asked) = asked_to_wait(&response) else { return Ok(response) };
        if asked > self.wait_max {
            let left_alone = LeftAlone { status: response.status().as_u16(), asked, wait_max: self.wait_max };
            return Err(HttpError::new(HttpErrorKind::Unknown, left_alone));
        }
        tracing::debug!(seconds = asked.as_secs(), "the store asks to wait before the next request");
        tokio::time::sleep(asked).await;
        Ok(response)
    }
}

// Written without `async_trait`: what the macro would make.
impl HttpService for Transport {
    fn call<'a, 'b>(&'a self, request: HttpRequest) -> BoxFuture<'b, Result<HttpResponse, HttpError>>
    where
        'a: 'b,
        Self: 'b,
    {
        self.send(request).boxed()
    }
}

/// What a request is, as far as failures are concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    /// Reads an object. The body may be large and is passed on as it comes; the client resumes it where it broke off.
    Object,
    /// Deletes several objects.
    Deletion,
    /// Anything else. What comes back is short.
    Other,
}

impl Form {
    fn of(request: &HttpRequest) -> Form {
        let query = request.uri().query().unwrap_or("");
        let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
        match request.method().as_str() {
            "GET" if !has("list-type") => Form::Object,
            "POST" if has("delete") => Form::Deletion,
            _ => Form::Other,
        }
    }

    /// The failure as the client should take it.
    fn of_failure(self, error: HttpError) -> HttpError {
        match (self, error.kind()) {
            // To the client, a request that may be sent again.
            (Form::Deletion, HttpErrorKind::Timeout | HttpErrorKind::Interrupted | HttpErrorKind::Decode) => {
                HttpError::new(HttpErrorKind::Request, error)
            }
            // A body that breaks off. That the request had its effect is possible, so what is no safe request is not repeated.
            (_, HttpErrorKind::Decode) => HttpError::new(HttpErrorKind::Interrupted, error),
            _ => error,
        }
    }
}

/// An answer's body ends before its document does.
#[derive(Debug, thiserror::Error)]
#[error("the answer's document breaks off after {bytes} bytes")]
struct BrokenOff {
    bytes: usize,
}

/// The answer with its body read to the end.
async fn whole(response: HttpResponse) -> Result<HttpResponse, HttpError> {
    let (parts, body) = response.into_parts();
    let body = body.bytes().await?;
    if parts.status.is_success() && !ends(&body) {
        return Err(HttpError::new(HttpErrorKind::Interrupted, BrokenOff { bytes: body.len() }));
    }
    Ok(HttpResponse::from_parts(parts, body.into()))
}

/// Whether a body is something else than XML, or ends with the end of its root element.
fn ends(body: &[u8]) -> bool {
    let text = match std::str::from_utf8(body) {
        Ok(text) => text.trim(),
        // In the middle of a character, or no text at all.
        Err(error) => return error.error_len().is_some(),
    };
    let declared = text.strip_prefix("<?");
    let document = match declared.map(|rest| rest.split_once("?>")) {
        Some(None) => return false,
        Some(Some((_, document))) => document.trim_start(),
        None => text,
    };
    let Some(root) = document.strip_prefix('<') else { return declared.is_none() };
    let name = root.split(|c: char| c.is_whitespace() || c == '>' || c == '/').next().unwrap_or("");
    document.ends_with(&format!("</{name}>")) || (document.ends_with("/>") && document.matches('<').count() == 1)
}

/// How long the server asks to wait, if it does.
fn asked_to_wait(response: &HttpResponse) -> Option<Duration> {
    if !matches!(response.status().as_u16(), 429 | 503) {
        return None;
    }
    let header = |name: &str| response.headers().get(name)?.to_str().ok();
    wait_of(header("retry-after")?, header("date"))
}

/// The wait that a `Retry-After` asks for: seconds, or a date (RFC 9110, section 10.2.3), which is compared with the server's own clock.
fn wait_of(retry_after: &str, date: Option<&str>) -> Option<Duration> {
    let retry_after = retry_after.trim();
    if let Ok(seconds) = retry_after.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let until = DateTime::parse_from_rfc2822(retry_after).ok()?;
    let now = DateTime::parse_from_rfc2822(date?.trim()).ok()?;
    Some((until - now).to_std().unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_that_break_off_are_noticed() {
        let list = "<?xml version=\"1.0\"?>\n<ListBucketResult xmlns=\"s3\"><Key>a/</Key><Empty/></ListBucketResult>\n";
        for whole in ["", "not XML", "<Empty/>", " <Empty attribute=\"1\" /> ", list] {
            assert!(ends(whole.as_bytes()), "{whole}");
        }
        for length in 1..list.trim_end().len() {
            assert!(!ends(&list.as_bytes()[..length]), "{}", &list[..length]);
        }
    }

    #[test]
    fn waits_are_seconds_or_dates() {
        let now = Some("Wed, 25 Nov 2026 19:00:00 GMT");
        for (text, date, seconds) in [
            ("0", None, Some(0)),
            (" 120 ", None, Some(120)),
            ("Wed, 25 Nov 2026 19:00:30 GMT", now, Some(30)),
            ("Wed, 25 Nov 2026 18:59:30 GMT", now, Some(0)),
            ("Wed, 25 Nov 2026 19:00:30 GMT", None, None),
            ("-1", now, None),
            ("soon", now, None),
            ("18446744073709551616", now, None),
        ] {
            assert_eq!(wait_of(text, date), seconds.map(Duration::from_secs), "{text:?}");
        }
    }
}
