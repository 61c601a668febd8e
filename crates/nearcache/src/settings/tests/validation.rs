//! Values against each other, and what may be shown of an address.

use super::*;

#[test]
fn defaults_with_an_address_are_valid() {
    valid().validate().unwrap();
    for url in [
        "memory:",
        "redis://h",
        "rediss://user:p@h:6380/2",
        "valkey://[::1]:6379",
        "valkeys://:p@h",
        "unix:///run/redis.sock?db=1",
        "redis+unix:///run/redis.sock",
    ] {
        let mut settings = valid();
        settings.url = url.into();
        settings
            .validate()
            .unwrap_or_else(|error| panic!("{url}: {error}"));
    }
}

#[test]
fn addresses_say_what_is_wrong() {
    for (url, why) in [
        ("", "give the address of L2"),
        ("localhost:6379", "must begin with redis://"),
        ("http://h", "must begin with redis://"),
        ("memory", "must begin with redis://"),
        ("memory://", "must begin with redis://"),
        ("redis://", "has no host"),
        ("redis://:p@", "has no host"),
        ("redis://:6379", "has no host"),
        ("redis:///0", "has no host"),
        ("redis://h\n", "must not contain white space"),
        ("unix://run", "has no absolute path"),
    ] {
        let error = invalid(&[("url", url)]);
        assert!(error.starts_with("setting `url` is \""), "{error}");
        assert!(error.contains(why), "{url}: {error}");
    }
}

#[test]
fn c13_credentials_are_never_shown() {
    for (url, shown) in [
        ("redis://h:6379/1", "redis://h:6379/1"),
        ("redis://:s3cret@h:6379/1", "redis://***@h:6379/1"),
        ("redis://u:s3cret@h?protocol=resp3", "redis://***@h?***"),
        ("redis://s3cret@h", "redis://***@h"),
        ("redis://:s3cret@s3cret@h", "redis://***@h"),
        ("redis://:s3cret/?s3cret@h", "redis://***"),
        ("unix:///r.sock?pass=s3cret", "unix:///r.sock?***"),
        ("unix:///r.sock?pass=s3@cret", "unix://***"),
        ("http://:s3cret@h", "http://***@h"),
        ("redis:s3cret@h", "***@h"),
        ("u:s3cret@h://x", "***"),
        ("redis://:s3cret@", "redis://***@"),
    ] {
        let mut settings = valid();
        settings.set("url", url).unwrap();
        assert_eq!(settings.get("url").unwrap(), shown);
        let debug = format!("{settings:?} {settings:#?}");
        assert!(debug.contains(shown) && !debug.contains("cret"), "{debug}");
        if let Err(error) = settings.validate() {
            let both = format!("{error} {error:?}");
            assert!(!both.contains("cret"), "{both}");
        }
    }
}

#[test]
fn each_field_is_checked() {
    for (name, value, why) in [
        ("capacity", "0", "must be more than nothing"),
        ("max_entry", "0", "must be more than nothing"),
        ("max_entry", "257MiB", "must be at most `capacity` (256MiB)"),
        ("max_inline", "0", "must be more than nothing"),
        ("inflight", "0", "must be more than nothing"),
        (
            "max_staleness",
            "29ms",
            "must be from 30ms to 1m: a heartbeat is sent every third of it",
        ),
        ("max_staleness", "61s", "must be from 30ms to 1m"),
        ("connect_timeout", "0s", "must be from 1ms to 1h"),
        ("operation_timeout", "2h", "must be from 1ms to 1h"),
        (
            "dead_after",
            "1s",
            "must be at least `operation_timeout` (2s)",
        ),
        ("dead_after", "3y", "must be from 1ms to 1h"),
        ("backoff_min", "0s", "must be from 1ms to 1h"),
        ("backoff_min", "3s", "must be at most `backoff_max` (2s)"),
        (
            "backoff_max",
            "10ms",
            "must be at most `backoff_max` (10ms)",
        ),
        ("queue_requests", "0", "must be from 1 to 1048576"),
        ("flights_per_key", "65", "must be from 1 to 64"),
        ("admit_after", "3", "must be from 1 to 2"),
        ("untracked_life", "0s", "must be from 1ms to 1day"),
        ("service", "  ", "must be 1 to 64 bytes"),
        ("service", "{shop}", "without braces"),
        ("service", "two\nlines", "and control characters"),
        ("fleet_db", "536870912", "must be from 0 to 536870911"),
    ] {
        let error = invalid(&[(name, value)]);
        assert!(error.contains(why), "{name} = {value}: {error}");
    }
    assert_eq!(
        invalid(&[("max_staleness", "10ms")]),
        "setting `max_staleness` is \"10ms\": must be from 30ms to 1m: \
         a heartbeat is sent every third of it, at most one in 10ms"
    );
}

#[test]
fn limits_themselves_are_allowed() {
    for fields in [
        [("max_staleness", "30ms"), ("capacity", "1")],
        [("max_staleness", "1m"), ("max_entry", "256MiB")],
        [("dead_after", "2s"), ("backoff_min", "2s")],
        [("queue_requests", "1"), ("untracked_life", "1day")],
    ] {
        let mut settings = valid();
        for (name, value) in fields {
            settings.set(name, value).unwrap();
        }
        settings.validate().unwrap();
    }
}
