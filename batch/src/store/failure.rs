//! What a store's error means to the user: whether it may pass, and what to do about it.

use std::error::Error as _;

use object_store::Error;

use super::transport::LeftAlone;

/// Errors of S3 by the code in the answer's body, whether a repetition is useless (the configuration or the bucket must be
/// changed first), and what to do. The codes: <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>.
const CODES: &[(&str, bool, &str)] = &[
    ("NoSuchBucket", true, "create the bucket, or correct store.url"),
    ("InvalidBucketName", true, "correct store.url"),
    ("PermanentRedirect", true, "the bucket is in another region: correct store.region and store.endpoint"),
    ("AuthorizationHeaderMalformed", true, "correct store.region"),
    ("AccessDenied", true, "these credentials may not do it: look at the policies of user and bucket"),
    ("AllAccessDisabled", true, "the store has closed this bucket: look at the account"),
    ("AccountProblem", true, "the store has closed this account: look at it"),
    ("InvalidAccessKeyId", true, "correct store.access_key_id"),
    ("SignatureDoesNotMatch", true, "correct store.secret_access_key"),
    ("ExpiredToken", true, "the temporary credentials have expired: renew them (access key, secret and session token)"),
    ("InvalidToken", true, "correct store.session_token, or renew the temporary credentials"),
    ("TokenRefreshRequired", true, "the temporary credentials have expired: renew them"),
    ("RequestTimeTooSkewed", false, "this machine's clock differs from the store's: set it"),
    ("RequestExpired", false, "this machine's clock differs from the store's: set it"),
    ("SlowDown", false, "the store asks for fewer requests: try again later"),
    ("TooManyRequests", false, "the store asks for fewer requests: try again later"),
];

fn code_of(error: &Error) -> Option<&'static (&'static str, bool, &'static str)> {
    // Not every request's failure has a kind; S3 names it in the body of its answer, which the text quotes.
    let text = error.to_string();
    // A redirection comes without the body: the client's own words.
    if text.contains("redirect without LOCATION") {
        return CODES.iter().find(|(code, ..)| *code == "PermanentRedirect");
    }
    CODES.iter().find(|(code, ..)| text.contains(&format!("<Code>{code}</Code>")))
}

/// Whether the store is as it should be and the configuration is not. To repeat the request is useless.
pub(crate) fn is_refused(error: &Error) -> bool {
    match code_of(error) {
        Some((_, refused, _)) => *refused,
        None => matches!(error, Error::PermissionDenied { .. } | Error::Unauthenticated { .. }),
    }
}

/// Whether the store wants to be left alone for longer than requests are repeated.
pub(crate) fn is_left_alone(error: &Error) -> bool {
    let mut cause = error.source();
    while let Some(found) = cause {
        if found.is::<LeftAlone>() {
            return true;
        }
        cause = found.source();
    }
    false
}

/// Whether the client went on reading behind an object's end: the answer said that it was longer than it was.
pub(crate) fn is_behind_end(error: &Error) -> bool {
    error.to_string().contains("<Code>InvalidRange</Code>")
}

/// Whether the object is not there. A bucket that is not there is another matter.
pub(crate) fn is_not_found(error: &Error) -> bool {
    matches!(error, Error::NotFound { .. }) && code_of(error).is_none()
}

/// What to do about it.
pub(crate) fn advice(error: &Error) -> &'static str {
    match code_of(error) {
        Some((.., advice)) => advice,
        None if is_refused(error) => "look at the credentials and the policies of user and bucket",
        None => "the store or the network failed: the same command may succeed later",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: &str, code: &str) -> Error {
        let text = format!("Server returned non-2xx status code: {status}: <Error><Code>{code}</Code></Error>");
        Error::Generic { store: "S3", source: text.into() }
    }

    #[test]
    fn what_may_pass_is_told_from_what_must_be_changed() {
        for (code, refused, word) in [
            ("NoSuchBucket", true, "bucket"),
            ("ExpiredToken", true, "renew"),
            ("SignatureDoesNotMatch", true, "secret"),
            ("RequestTimeTooSkewed", false, "clock"),
            ("SlowDown", false, "later"),
            ("InternalError", false, "later"),
        ] {
            let error = answered("400 Bad Request", code);
            assert_eq!(is_refused(&error), refused, "{code}");
            assert!(advice(&error).contains(word), "{code}: {}", advice(&error));
        }
    }

    #[test]
    fn a_bucket_that_is_gone_is_not_an_object_that_is_gone() {
        let missing = |code| Error::NotFound { path: "x".to_owned(), source: Box::new(answered("404", code)) };
        assert!(is_not_found(&missing("NoSuchKey")));
        assert!(!is_not_found(&missing("NoSuchBucket")));
        assert!(is_refused(&missing("NoSuchBucket")));
    }
}
