//! URLs as redis-rs reads them, or refused.

use redis::IntoConnectionInfo;

use super::*;

/// What both make of a URL: the same, or ours is an error.
fn compare(url: &str) -> bool {
    let theirs = url.into_connection_info();
    match (Target::parse(url), theirs) {
        (Ok(ours), Ok(theirs)) => {
            let theirs = Target::of(&theirs).unwrap_or_else(|_| panic!("{url}: only by URL"));
            let all = |t: &Target| {
                let (user, password) = (t.user.clone(), t.password.clone());
                (
                    t.address.clone(),
                    user,
                    password,
                    t.db,
                    t.protocol,
                    t.library.clone(),
                )
            };
            assert_eq!(all(&ours), all(&theirs), "{url}");
            true
        }
        (Ok(_), Err(error)) => panic!("{url}: redis-rs says {error}"),
        (Err(_), _) => false,
    }
}

#[test]
fn urls_mean_what_they_mean_to_redis_rs() {
    for url in [
        "redis://h",
        "redis://h/",
        "redis://h:7000/5",
        "redis://h//5/",
        "redis://user:p%2Fa%23%40@h/1?protocol=resp3",
        "redis://:word@h?protocol=3",
        "redis://user@h?protocol=2&protocol=resp3",
        "redis://us%20er:%C3%A4@h?protocol=2",
        "redis://[::1]:7000/1",
        "redis://127.0.0.1",
        "redis://H.Example/1",
        "rediss://h:1/2",
        "valkey://h",
        "valkeys://h",
        "unix:///run/r.sock",
        "unix:///run/r%20s.sock?db=2&user=u&pass=a@b&protocol=resp3",
        "unix:///r?db=1&db=2&pass=%41+b",
        "redis+unix:///p",
        "valkey+unix:///p?user=x",
    ] {
        assert!(compare(url), "{url} is refused");
    }
}

#[test]
fn what_redis_rs_refuses_is_refused() {
    for url in [
        "http://h",
        "",
        "redis:",
        "redis://",
        "redis://h/x",
        "redis://h:99999",
        "redis://0.0.0.0",
        "redis://[::]",
        "redis://h?protocol=4",
        "redis://%FF@h",
        "redis://:%FF@h",
        "rediss://h/#other",
        "unix:///r?db=x",
        "unix://host/p",
    ] {
        assert!(url.into_connection_info().is_err(), "{url}");
        assert!(Target::parse(url).is_err(), "{url}");
    }
}

/// Pieces of URLs in all orders: neither side reads one that the other reads otherwise.
#[test]
fn urls_made_of_pieces_mean_the_same() {
    let pieces = [
        "redis",
        "rediss",
        "unix",
        "valkey",
        "://",
        ":",
        "/",
        "@",
        "h",
        "127.0.0.1",
        "[::1]",
        "6379",
        "5",
        "?db=1",
        "&user=u",
        "?protocol=resp3",
        "#",
        "%41",
        "%",
        "é",
        " ",
    ];
    let mut seed = 1_u64;
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) as usize
    };
    let mut read = 0;
    for _ in 0..200_000 {
        let scheme = ["redis://", "rediss://", "unix:///", "valkey://"][next() % 4];
        let count = 1 + next() % 7;
        let rest: String = (0..count).map(|_| pieces[next() % pieces.len()]).collect();
        read += usize::from(compare(&format!("{scheme}{rest}")));
    }
    assert!(read > 10_000, "{read}");
}

#[test]
fn certificates_that_cannot_be_read_are_not_left_out() {
    let certificates = redis::TlsCertificates {
        client_tls: None,
        root_cert: None,
    };
    let client = redis::Client::build_with_tls("rediss://h", certificates).unwrap();
    let error = Target::of(client.get_connection_info()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("tls_ca_file"), "{error}");
    assert!(error.to_string().contains("open_with"), "{error}");
}
