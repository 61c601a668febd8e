//! What a client is told when something fails: whether to try again, and nothing about keys or values.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use nearcache::ErrorKind;
use nearcache::redis::cause;
use nearcache::redis_rs::RedisError;

pub(crate) struct Failure(StatusCode);

impl From<nearcache::Error> for Failure {
    fn from(error: nearcache::Error) -> Self {
        tracing::warn!("{error}");
        Self(match error.kind() {
            // Of the database, or of nobody in time.
            ErrorKind::Loader => StatusCode::BAD_GATEWAY,
            ErrorKind::Retry | ErrorKind::Unproven | ErrorKind::Closed => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        })
    }
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        // nearcache's own errors say what to do; those of the server are redis-rs's.
        if let Some(cause) = cause(&error) {
            return cause.clone().into();
        }
        tracing::warn!("{error}");
        Self(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        tracing::warn!("{error}");
        Self(StatusCode::BAD_GATEWAY)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}
