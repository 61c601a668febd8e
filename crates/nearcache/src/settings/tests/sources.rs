//! File, environment and builder: what they read, in which order they win, what they refuse.

use super::super::source::readable;
use super::*;

#[test]
fn toml_takes_strings_integers_and_booleans() {
    let settings = Settings::from_toml(
        "url = 'memory:'\ncapacity = 1048576\nmax_inline = '64KiB'\ncache_absent = false\nadmit_after = 2\n",
    )
    .unwrap();
    assert!(settings.is_memory());
    assert_eq!(
        (settings.capacity, settings.max_inline),
        (1 << 20, 64 << 10)
    );
    assert_eq!((settings.cache_absent, settings.admit_after), (false, 2));
    assert_eq!(Settings::from_toml("").unwrap(), Settings::default());
}

#[test]
fn toml_refusals_name_the_field_and_never_show_a_line() {
    let refused = |toml: &str| text(Settings::from_toml(toml));
    assert_eq!(
        refused("max_stalenes = '1s'"),
        "the TOML text: there is no setting \"max_stalenes\": did you mean `max_staleness`?"
    );
    let error = refused("max_staleness = 500");
    assert!(error.starts_with("the TOML text: setting `max_staleness` is \"500\": has no unit"));
    let error = refused("capacity = -5");
    assert!(error.contains("must be a size"), "{error}");
    assert_eq!(
        refused("url = ['redis://:s3cret@h']"),
        "the TOML text: setting `url` is of the TOML type array: expected address, as a string, an integer or a boolean"
    );
    assert!(refused("backoff_min = 0.5").contains("is of the TOML type float: expected duration"));
    assert!(refused("[nearcache]\ncapacity = 1").contains("no setting \"nearcache\""));
    for broken in [
        "capacity = 1\nurl = 'redis://:s3cret@h",
        "capacity = 1\nurl = redis://:s3cret@h",
        "capacity = 1\n  s3cret",
        "capacity = 1\nurl = 's3cret' 's3cret'",
        "capacity = 1\nurl = \"s3cret\\q\"",
    ] {
        let error = refused(broken);
        assert!(
            error.starts_with("the TOML text: not TOML at line 2 column "),
            "{error}"
        );
        assert!(!error.contains("s3cret"), "{error}");
    }
    let error = refused("capacity = 1\ncapacity = 2");
    assert!(error.contains("line 2 column 1: duplicate key"), "{error}");
}

#[test]
fn variables_are_read_and_foreign_ones_are_not() {
    let settings = environment(&[
        ("NEARCACHE_CAPACITY", "1MiB"),
        ("NEARCACHE_ON_UNPROVEN", "error"),
        ("NEARCACHE_DEAD_AFTER", ""),
        ("NEARCACHE_TEST_SERVER", "/usr/bin/redis-server"),
        ("NEARCACHE_SERVERS_DIR", "/srv"),
        ("CAPACITY", "2MiB"),
        ("PATH", "/bin"),
    ])
    .unwrap();
    assert_eq!(settings.capacity, 1 << 20);
    assert_eq!(settings.on_unproven, ReadPolicy::Error);
    assert_eq!(settings.dead_after, Duration::from_secs(10));
}

#[test]
fn variable_refusals_name_the_variable() {
    let refused = |name, value| text(environment(&[(name, value)]));
    assert_eq!(
        refused("NEARCACHE_CAPACTY", "1"),
        "there is no environment variable NEARCACHE_CAPACTY: did you mean NEARCACHE_CAPACITY?"
    );
    assert!(refused("NEARCACHE_capacity", "1").contains("did you mean NEARCACHE_CAPACITY?"));
    assert!(
        refused("NEARCACHE_CAPACITY", "x")
            .starts_with("environment variable NEARCACHE_CAPACITY is \"x\": must be a size")
    );
}

#[test]
fn names_of_a_newer_version_are_warnings_unless_strict() {
    let names = [
        "NEARCACHE_FUTURE_THING",
        "NEARCACHE_",
        "NEARCACHE_TEST_SERVERS",
    ];
    for name in names {
        let mut settings = environment(&[(name, "s3cret"), ("NEARCACHE_URL", "memory:")]).unwrap();
        let [warning] = &settings.warnings()[..] else {
            panic!("{:?}", settings.warnings());
        };
        assert!(
            warning.contains(name) && warning.contains("ignored"),
            "{warning}"
        );
        assert!(!warning.contains("s3cret"), "{warning}");
        settings.validate().unwrap();
        settings.strict = true;
        assert!(text(settings.validate()).contains(name));
    }
    let file =
        Settings::from_toml("url = 'memory:'\nfuture_thing = 's3cret'\nstrict = true").unwrap();
    let [warning] = &file.warnings()[..] else {
        panic!("{:?}", file.warnings());
    };
    assert!(
        warning.contains("future_thing") && !warning.contains("s3cret"),
        "{warning}"
    );
    assert!(text(file.validate()).contains("future_thing"));

    // A builder passes them on, once each, however often they are read.
    let base = environment(&[("NEARCACHE_FUTURE_THING", "1")]).unwrap();
    let again = SettingsBuilder::new()
        .base(base)
        .env_from(variables(&[("NEARCACHE_FUTURE_THING", "1")]));
    let built = again.url("memory:").build().unwrap();
    assert_eq!(built.warnings().len(), 1);
    let many: Vec<_> = (0..100)
        .map(|n| (format!("NEARCACHE_UNKNOWN_NAME_{n}"), String::new()))
        .collect();
    assert_eq!(
        Settings::load(None, many.into_iter())
            .unwrap()
            .warnings()
            .len(),
        16
    );
}

#[test]
fn a_bypass_that_looks_like_a_pattern_is_a_warning() {
    for pattern in ["*", "cart:*", "user:?", "[ab]"] {
        let settings = environment(&[("NEARCACHE_URL", "memory:"), ("NEARCACHE_BYPASS", pattern)]);
        let mut settings = settings.unwrap();
        let warnings = settings.warnings();
        assert!(
            warnings[0].contains(pattern) && warnings[0].contains("enabled"),
            "{warnings:?}"
        );
        settings.validate().unwrap();
        settings.strict = true;
        assert!(text(settings.validate()).contains(pattern));
    }
    assert!(
        environment(&[("NEARCACHE_BYPASS", "cart:,x")])
            .unwrap()
            .warnings()
            .is_empty()
    );
}

#[cfg(unix)]
#[test]
fn c12_only_our_variables_must_be_utf8() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt as _;

    let odd = || OsString::from_vec(vec![b'a', 0xff]);
    let foreign = [(OsString::from("PATH"), odd()), (odd(), "x".into())];
    assert_eq!(readable(foreign.into_iter()).unwrap(), []);
    let ours = [(OsString::from("NEARCACHE_URL"), odd())];
    let error = text(readable(ours.into_iter()));
    assert_eq!(
        error,
        "environment variable NEARCACHE_URL is not UTF-8 text"
    );
    Settings::from_env().map(drop).unwrap_or_else(|error| {
        assert_eq!(error.kind(), ErrorKind::Configuration);
    });
}

#[test]
fn trap_a_kubernetes_service_of_our_name_does_not_stop_the_pods() {
    for name in [
        "NEARCACHE_SERVICE_HOST",
        "NEARCACHE_SERVICE_PORT",
        "NEARCACHE_SERVICE_PORT_ADMIN",
        "NEARCACHE_PORT",
        "NEARCACHE_PORT_6379_TCP",
        "NEARCACHE_PORT_6379_TCP_PROTO",
        "NEARCACHE_PORT_53_UDP_ADDR",
        "NEARCACHE_REDIS_SERVICE_HOST",
        "NEARCACHE_REDIS_PORT_6379_TCP_PORT",
    ] {
        let read = environment(&[(name, "tcp://10.0.0.1:6379")]);
        assert_eq!(read.unwrap(), Settings::default(), "{name}");
    }
}

#[test]
fn file_then_environment_then_calls() {
    let file = File::new("order.toml", "capacity = 1\nmax_inline = 1\ninflight = 1\n");
    let variables = || variables(&[("NEARCACHE_MAX_INLINE", "2"), ("NEARCACHE_INFLIGHT", "2")]);
    let loaded = Settings::load(Some(&file.0), variables()).unwrap();
    assert_eq!(
        (loaded.capacity, loaded.max_inline, loaded.inflight),
        (1, 2, 2)
    );

    // The order of the calls does not matter, only that of the sources.
    let mut base = valid();
    base.set("admit_after", "2").unwrap();
    base.set("capacity", "9").unwrap();
    let built = SettingsBuilder::new()
        .inflight(3)
        .env_from(variables())
        .file(&file.0)
        .base(base)
        .build()
        .unwrap();
    assert_eq!(
        (built.capacity, built.max_inline, built.inflight),
        (1, 2, 3)
    );
    assert_eq!((built.admit_after, built.flights_per_key), (2, 4));
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = text(Settings::load(
        Some("/no/such.toml".as_ref()),
        variables(&[]),
    ));
    assert!(
        error.starts_with("cannot read the settings file /no/such.toml: "),
        "{error}"
    );
    let file = File::new("wrong.toml", "capacity = true");
    let error = text(SettingsBuilder::new().file(&file.0).build());
    assert!(
        error.contains("-wrong.toml: setting `capacity` is \"true\": "),
        "{error}"
    );
}

#[test]
fn builder_takes_texts_and_values() {
    let limit: Option<usize> = None;
    let built = SettingsBuilder::new()
        .url("memory:")
        .capacity("64MiB")
        .max_entry(limit)
        .max_inline(4096usize)
        .max_staleness(Duration::from_millis(1500))
        .on_unproven(ReadPolicy::Error)
        .cache_absent(false)
        .service(String::from("shop"))
        .untracked_life(Some("5s"))
        .set("admit_after", 2)
        .build()
        .unwrap();
    assert_eq!((built.capacity, built.max_inline), (64 << 20, 4096));
    assert_eq!(built.max_staleness, Duration::from_millis(1500));
    assert_eq!(
        (built.on_unproven, built.cache_absent),
        (ReadPolicy::Error, false)
    );
    assert_eq!(built.untracked_life, Some(Duration::from_secs(5)));
    assert_eq!(
        (&*built.service, built.admit_after, built.max_entry),
        ("shop", 2, None)
    );
    let wrong = SettingsBuilder::new().url("memory:").capacity(-1).build();
    assert!(text(wrong).starts_with("setting `capacity` is \"-1\""));
    let wrong = SettingsBuilder::new().set("ulr", "memory:").build();
    assert!(text(wrong).contains("did you mean `url`?"));
    assert!(text(SettingsBuilder::new().build()).contains("give the address of L2"));
}
