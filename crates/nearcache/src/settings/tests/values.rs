//! Single values: what each kind of text may be, and what a refusal says.

use super::*;

#[test]
fn sizes_have_units_or_are_bytes() {
    let mut settings = valid();
    for (written, bytes) in [
        ("0", 0),
        ("4096", 4096),
        ("1KiB", 1024),
        ("1 KB", 1000),
        ("256Mi", 256 << 20),
        ("1.5GiB", 3 << 29),
    ] {
        settings.set("capacity", written).unwrap();
        assert_eq!(settings.capacity, bytes, "{written}");
    }
    for written in [
        "", "MiB", "-1", "1MiB ", "ten", "1e6", "NaN", "∞", "1..5KiB",
    ] {
        let error = text(settings.set("capacity", written));
        assert!(error.contains("must be a size: whole bytes"), "{error}");
    }
    for written in ["99999999999 EiB", "18446744073709551615", "8EiB"] {
        let error = text(settings.set("capacity", written));
        assert!(
            error.ends_with("is more than this machine can address"),
            "{error}"
        );
    }
    assert_eq!(
        text(settings.set("capacity", "10 parsecs")),
        "setting `capacity` is \"10 parsecs\": must be a size: whole bytes, or a number with a unit, \
         such as 512KiB, 256MiB, 2GiB (KB, MB and GB count in thousands)"
    );
}

#[test]
fn durations_need_a_unit() {
    let mut settings = valid();
    settings.set("max_staleness", "1m 30s").unwrap();
    assert_eq!(settings.max_staleness, Duration::from_secs(90));
    settings.set("max_staleness", "250us").unwrap();
    assert_eq!(settings.max_staleness, Duration::from_micros(250));
    for bare in ["500", "0", "0.5"] {
        let error = text(settings.set("max_staleness", bare));
        assert_eq!(
            error,
            format!(
                "setting `max_staleness` is \"{bare}\": has no unit: \
                 write a duration such as 500ms, 2s or 1m (units: ns, us, ms, s, m, h)"
            )
        );
    }
    for wrong in [
        "",
        "fast",
        "-1s",
        "1 parsec",
        "99999999999999999999y",
        "ms",
        "1s,",
        "é",
    ] {
        let error = text(settings.set("max_staleness", wrong));
        assert!(error.contains("must be a duration such as"), "{error}");
    }
}

#[test]
fn counts_switches_and_policies_say_what_they_may_be() {
    let mut settings = valid();
    for wrong in ["", "-1", "+1", "4.0", "4k", "99999999999999999999999"] {
        let error = text(settings.set("queue_requests", wrong));
        assert!(error.ends_with("must be a whole number without a unit, such as 4"));
    }
    let error = text(settings.set("cache_absent", "yes"));
    assert_eq!(
        error,
        "setting `cache_absent` is \"yes\": must be true or false"
    );
    for (policy, written) in [
        (ReadPolicy::Error, "error"),
        (ReadPolicy::PassThrough, "pass_through"),
        (
            ReadPolicy::ServeStale {
                max: Duration::from_secs(90),
            },
            "serve_stale(1m 30s)",
        ),
    ] {
        settings.set("on_unproven", written).unwrap();
        assert_eq!(settings.on_unproven, policy);
        assert_eq!(policy.into_text(), written);
    }
    let error = text(settings.set("on_unproven", "serve_stale 5s"));
    assert!(error.contains("serve_stale(30s)"), "{error}");
    let error = text(settings.set("on_unproven", "serve_stale(5)"));
    assert!(error.contains("has no unit"), "{error}");
    for (on_l2_down, written) in [(OnL2Down::Load, "load"), (OnL2Down::Error, "error")] {
        settings.set("on_l2_down", written).unwrap();
        assert_eq!(settings.on_l2_down, on_l2_down);
        assert_eq!(on_l2_down.into_text(), written);
    }
    let error = text(settings.set("on_l2_down", "fail"));
    assert!(error.ends_with("must be load or error"), "{error}");
}

#[test]
fn a_long_or_odd_value_is_cut_and_escaped() {
    let mut settings = valid();
    let error = text(settings.set("capacity", &"é\n".repeat(1000)));
    assert!(error.len() < 350 && !error.contains('\n'), "{error}");
}

#[test]
fn an_unknown_name_names_the_nearest() {
    let mut settings = valid();
    for (wrong, meant) in [
        ("capasity", "capacity"),
        ("CAPACITY", "capacity"),
        ("max_stale", "max_staleness"),
        ("operation_timout", "operation_timeout"),
    ] {
        let error = text(settings.set(wrong, "1"));
        let expected = format!("there is no setting {wrong:?}: did you mean `{meant}`?");
        assert_eq!(error, expected);
    }
    assert_eq!(settings.get("capasity"), None);
}
