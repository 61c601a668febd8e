//! The address of L2 as text: what may be shown of it, and whether it can be one.
//!
//! Never shows credentials; reading host, port and database out of it is the client's work.

use super::MEMORY_URL;

const TCP: [&str; 4] = ["redis", "rediss", "valkey", "valkeys"];
const UNIX: [&str; 3] = ["unix", "redis+unix", "valkey+unix"];

/// The address without anything that may be a secret: user, password and query are masked.
pub(super) fn masked(url: &str) -> String {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), url),
    };
    // A scheme with an `@` or `?` is none: the secret may stand in front of the `://`.
    if scheme.contains(['@', '?']) {
        return "***".into();
    }
    match (rest.rfind('@'), rest.find('?')) {
        (None, None) => url.into(),
        (Some(at), None) => format!("{scheme}***{}", &rest[at..]),
        (None, Some(query)) => format!("{scheme}{}?***", &rest[..query]),
        (Some(at), Some(query)) if at < query => {
            format!("{scheme}***{}?***", &rest[at..query])
        }
        // A password with a `?`, or a query with an `@`: it cannot be told which part is safe.
        (Some(_), Some(_)) => format!("{scheme}***"),
    }
}

/// Whether it is the address of a server that is reached without TLS.
pub(super) fn is_plain(url: &str) -> bool {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| !["rediss", "valkeys"].contains(&scheme))
}

/// What is wrong with `url` as the address of L2, and what is allowed.
pub(super) fn check(url: &str) -> Result<(), &'static str> {
    if url.is_empty() {
        return Err(
            "give the address of L2, such as redis://127.0.0.1:6379, or memory: for the embedded one",
        );
    }
    if url == MEMORY_URL {
        return Ok(());
    }
    if url.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("must not contain white space (a line end from a file?)");
    }
    let known =
        "must begin with redis://, rediss://, valkey://, valkeys:// or unix://, or be memory:";
    let (scheme, rest) = url.split_once("://").ok_or(known)?;
    if TCP.contains(&scheme) {
        let host = rest.rsplit('@').next().unwrap_or_default();
        if host.is_empty() || host.starts_with(['/', ':', '?', '#']) {
            return Err("has no host: write it like redis://127.0.0.1:6379");
        }
        Ok(())
    } else if UNIX.contains(&scheme) {
        if !rest.starts_with('/') {
            return Err("has no absolute path: write it like unix:///run/redis.sock");
        }
        Ok(())
    } else {
        Err(known)
    }
}
