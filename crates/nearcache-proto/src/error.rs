//! The one error of nearcache: what happened, in words that say what to do next.
//!
//! Never holds a value, and holds a key only where the caller passed it in.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// Why a call failed. One word wide, cheap to clone, so that every waiter of a flight gets it.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: ErrorKind,
    outcome: Option<WriteOutcome>,
    reason: Option<Reason>,
    message: String,
    /// The server's own words, which may quote arguments: shown only to who asks for them.
    server: Option<(String, String)>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What the caller should do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// L2 did not answer, is away, or a limit was reached: try again later.
    Retry,
    /// The read could not be proven fresh and its policy was [`ReadPolicy::Error`](crate::ReadPolicy::Error).
    Unproven,
    /// The set-up is wrong (address, credentials, permissions, a setting): fix the configuration.
    Configuration,
    /// The call itself is wrong (a key of another type, a command that cannot be sent here): fix the code.
    Usage,
    /// A stored value does not decode, or a value does not encode, with the codec in use.
    Codec,
    /// The loader returned an error, whose text this one repeats and which is its source, or it panicked.
    Loader,
    /// The cache was shut down: give up.
    Closed,
}

/// What stands in the way of a call that may be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// L2 was asked and did not answer in time.
    Timeout,
    /// A limit of this pod was reached: try again later, or raise the setting that the message names.
    Overloaded,
    /// L2 is away, or says that it cannot serve for now.
    Unavailable,
    /// The connection was lost while the call was under way, or what the call relied upon is gone.
    Interrupted,
}

/// What is known about a write that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// It never left this process.
    NotSent,
    /// It was sent and may or may not have been executed; it is never sent twice.
    Unknown,
    /// L2 refused it.
    Refused,
}

impl Error {
    /// An error of `kind` with a message that says what to do.
    #[cold]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            kind,
            outcome: None,
            reason: (kind == ErrorKind::Retry).then_some(Reason::Unavailable),
            message: message.into(),
            server: None,
            source: None,
        }))
    }

    /// The same, keeping the error that caused it.
    #[cold]
    pub fn with_source(
        kind: ErrorKind,
        message: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self(Arc::new(Inner {
            kind,
            outcome: None,
            reason: (kind == ErrorKind::Retry).then_some(Reason::Unavailable),
            message: message.into(),
            server: None,
            source: Some(source.into()),
        }))
    }

    /// The same error as the answer to a write whose outcome is `outcome`.
    #[must_use]
    pub fn for_write(&self, outcome: WriteOutcome) -> Self {
        let source: Option<Box<dyn StdError + Send + Sync>> = Some(Box::new(self.clone()));
        let message = match outcome {
            WriteOutcome::NotSent => format!("not sent: {}", self.0.message),
            WriteOutcome::Unknown => format!("unknown outcome: {}", self.0.message),
            WriteOutcome::Refused => self.0.message.clone(),
        };
        Self(Arc::new(Inner {
            kind: self.0.kind,
            outcome: Some(outcome),
            reason: self.0.reason,
            message,
            server: self.0.server.clone(),
            source,
        }))
    }

    /// The same error as the reason why something that was tried for long was given up.
    pub(crate) fn given_up(&self, tried: &str) -> Self {
        let source: Option<Box<dyn StdError + Send + Sync>> = Some(Box::new(self.clone()));
        Self(Arc::new(Inner {
            kind: self.0.kind,
            outcome: self.0.outcome,
            reason: self.0.reason,
            message: format!("{}; {tried}", self.0.message),
            server: self.0.server.clone(),
            source,
        }))
    }

    /// An error of kind [`ErrorKind::Retry`] for this reason; [`new`](Self::new) takes [`Reason::Unavailable`].
    #[cold]
    pub fn retry(reason: Reason, message: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            kind: ErrorKind::Retry,
            outcome: None,
            reason: Some(reason),
            message: message.into(),
            server: None,
            source: None,
        }))
    }

    /// The same error, of kind [`ErrorKind::Retry`], for this reason.
    #[must_use]
    pub fn because(self, reason: Reason) -> Self {
        Self(Arc::new(Inner {
            kind: ErrorKind::Retry,
            outcome: self.0.outcome,
            reason: Some(reason),
            message: self.0.message.clone(),
            server: self.0.server.clone(),
            source: Some(Box::new(self)),
        }))
    }

    /// What stands in the way of a call that may be tried again: there when [`kind`](Self::kind) is
    /// [`ErrorKind::Retry`].
    pub fn reason(&self) -> Option<Reason> {
        self.0.reason
    }

    /// The same error, with the words of the server that caused it.
    pub(crate) fn of_server(self, code: &str, message: &str) -> Self {
        Self(Arc::new(Inner {
            kind: self.0.kind,
            outcome: self.0.outcome,
            reason: self.0.reason,
            message: self.0.message.clone(),
            server: Some((code.to_owned(), message.to_owned())),
            source: None,
        }))
    }

    /// When it is an error that L2 answered with: its first word (`WRONGTYPE`, `ERR`, ...) and the rest, as
    /// the server sent them. They may quote arguments of the call; the error's own text never does.
    pub fn server_error(&self) -> Option<(&str, &str)> {
        let (code, message) = self.0.server.as_ref()?;
        Some((code, message))
    }

    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// For a failed write: whether it was sent.
    pub fn write_outcome(&self) -> Option<WriteOutcome> {
        self.0.outcome
    }

    pub(crate) fn closed() -> Self {
        Self::new(
            ErrorKind::Closed,
            "the cache was shut down while this call was in flight",
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({:?}: {})", self.0.kind, self.0.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0
            .source
            .as_deref()
            .map(|s| s as &(dyn StdError + 'static))
    }
}

/// An error and what caused it, in one line of bounded length. What repeats the words of its cause is not said twice.
pub(crate) fn causes(error: &(dyn StdError + 'static)) -> String {
    const DEPTH: usize = 8;
    const LONGEST: usize = 512;
    let mut said = String::new();
    let chain = std::iter::successors(Some(error), |error| (*error).source());
    for text in chain.take(DEPTH).map(ToString::to_string) {
        if said.contains(&text) {
            continue;
        }
        if !said.is_empty() {
            said.push_str(": ");
        }
        said.push_str(&text);
    }
    let mut line: String = said
        .chars()
        .map(|sign| if sign.is_control() { ' ' } else { sign })
        .take(LONGEST + 1)
        .collect();
    if let Some((end, _)) = line.char_indices().nth(LONGEST) {
        line.replace_range(end.., "…");
    }
    line
}

#[cold]
pub(crate) fn crowded() -> Error {
    Error::retry(
        Reason::Overloaded,
        "the key changes faster than it can be read, or its readers are cancelled: try again",
    )
}

#[cold]
pub(crate) fn no_room() -> Error {
    Error::retry(
        Reason::Overloaded,
        "too many requests wait to be sent to L2 (queue_requests), until operation_timeout: L2 is slow or the load is \
         too high, try again later",
    )
}

#[cold]
pub(crate) fn timed_out() -> Error {
    Error::retry(
        Reason::Timeout,
        "L2 did not answer in time (operation_timeout): it is slow or out of reach, try again",
    )
}

#[cold]
pub(crate) fn unexpected() -> Error {
    Error::new(
        ErrorKind::Retry,
        "the store answered with a reply of another kind: the connection was closed, try again",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Link(&'static str, Option<Box<Link>>);

    impl fmt::Display for Link {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl StdError for Link {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            self.1.as_deref().map(|cause| cause as _)
        }
    }

    #[test]
    fn causes_are_chained_once_each_in_one_bounded_line() {
        let cause = Link("connection\nrefused", None);
        let chain = Link(
            "no row: timed out",
            Some(Box::new(Link("timed out", Some(Box::new(cause))))),
        );
        assert_eq!(causes(&chain), "no row: timed out: connection refused");
        assert_eq!(
            causes(&Link("ä".repeat(900).leak(), None)).chars().count(),
            513
        );
        assert_eq!(causes(&Link("", None)), "");
    }
}
