//! C13: values appear nowhere but in answers, and keys only where they were asked for.

use std::fmt::{Debug, Write as _};
use std::sync::{Mutex, Once, PoisonError};

use nearcache::{Error, NearCache, Ttl};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::stage::connect;
use super::{Net, Stage, eventually, on_both};

on_both!(c13_nothing_shows_a_value);

const SECRET: &str = "s3cret";

/// Everything this process logs, by any test.
static LOG: Mutex<String> = Mutex::new(String::new());

struct Collector;

struct Line<'a>(&'a mut String);

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, "{field}={value:?} ");
    }
}

impl Subscriber for Collector {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut log = LOG.lock().unwrap_or_else(PoisonError::into_inner);
        span.record(&mut Line(&mut log));
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, values: &Record<'_>) {
        let mut log = LOG.lock().unwrap_or_else(PoisonError::into_inner);
        values.record(&mut Line(&mut log));
    }
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut log = LOG.lock().unwrap_or_else(PoisonError::into_inner);
        event.record(&mut Line(&mut log));
        log.push('\n');
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing::subscriber::set_global_default(Collector).expect("no other test logs");
    });
}

fn c13_nothing_shows_a_value(stage: &Stage) {
    listen();
    let pod = connect(stage.hasty().capacity("1MiB"));
    let mut said = String::new();
    let mut note = |error: Error| {
        let mut source: Option<&dyn std::error::Error> = Some(&error);
        while let Some(error) = source {
            let _ = writeln!(said, "{error} {error:?}");
            source = error.source();
        }
    };
    let key = "s3cret-key";
    stage.cmd(&["RPUSH", key, SECRET]);
    note(pod.get(key).unwrap_err());
    note(pod.session().command(&["INCRBY", key, SECRET]).unwrap_err());
    note(
        pod.session()
            .command(&["SETEX", "k", SECRET, "1"])
            .unwrap_err(),
    );
    note(pod.set(key, SECRET, Ttl::millis(0)).unwrap_err());
    let fails = || Err(std::io::Error::other("the origin is away"));
    note(pod.get_or_load("absent", Ttl::NONE, fails).unwrap_err());
    #[cfg(feature = "json")]
    {
        stage.set("json", SECRET);
        note(
            pod.typed::<u64, _>(nearcache::Json)
                .get("json")
                .unwrap_err(),
        );
    }
    stage.set("k", SECRET);
    pod.get("k").unwrap();
    stage.net(Net::Stall);
    note(pod.set(key, SECRET, Ttl::NONE).unwrap_err());
    note(pod.get("missing").unwrap_err());
    stage.net(Net::Pass);
    stage.part(&pod);
    note(pod.get("missing").unwrap_err());
    eventually("an attempt to connect has failed", || {
        pod.stats().totals.connect_failures_total > 0
    });
    let _ = write!(said, "{} {:?} {pod:?}", pod.stats(), pod.stats());
    let _ = write!(said, "{:?} {:?}", pod.settings(), pod.session());
    said.push_str(&LOG.lock().unwrap_or_else(PoisonError::into_inner));
    assert!(said.contains("lane lost"), "the log is not collected");
    let shown = said.lines().find(|line| line.contains(SECRET));
    assert_eq!(shown, None);
}

#[test]
fn c13_nothing_shows_credentials() {
    Stage::watch(|| {
        listen();
        let url = "redis://someone:s3cret@127.0.0.1:1/0";
        let builder = NearCache::builder()
            .redis(url)
            .connect_timeout("300ms")
            .warm_deadline("1ms");
        let error = builder.clone().connect_blocking().map(drop).unwrap_err();
        let pod = builder.build().unwrap();
        let mut said = format!(
            "{error} {error:?} {pod:?} {:?} {}",
            pod.settings(),
            pod.stats()
        );
        for wrong in ["rediss:/s3cret@h", "redis://s3cret:s3cret@h/x"] {
            let error = NearCache::builder().redis(wrong).build().map(drop);
            let error = error.unwrap_err();
            let _ = write!(said, "{error} {error:?}");
        }
        said.push_str(&LOG.lock().unwrap_or_else(PoisonError::into_inner));
        assert!(said.contains("127.0.0.1:1"));
        let shown = said.lines().find(|line| line.contains(SECRET));
        assert_eq!(shown, None);
    });
}
