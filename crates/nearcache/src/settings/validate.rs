//! What values may be, alone and together. Reports the first thing that is wrong; changes nothing.

use std::ops::RangeInclusive;
use std::time::Duration;

use nearcache_proto::{Error, ReadPolicy, check_service};

use super::field::{quoted, show_duration, show_size};
use super::{DB_MAX, Field, Settings, configuration, url};

const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);

impl Settings {
    /// Checks every value, alone and against the others.
    ///
    /// # Errors
    ///
    /// [`Configuration`](nearcache_proto::ErrorKind::Configuration) for the first field that is wrong:
    /// it names the field, its value and what is allowed.
    pub fn validate(&self) -> Result<(), Error> {
        url::check(&self.url).or_else(|why| self.wrong("url", why))?;
        self.check_tls()?;
        self.check_sizes()?;
        self.check_durations()?;
        self.check_counts()?;
        self.check_fleet()?;
        match self.warnings().into_iter().next() {
            Some(warning) if self.strict => {
                Err(configuration(format!("{warning} (strict = true)")))
            }
            _ => Ok(()),
        }
    }

    fn check_tls(&self) -> Result<(), Error> {
        for (name, file) in [
            ("tls_ca_file", &self.tls_ca_file),
            ("tls_cert_file", &self.tls_cert_file),
            ("tls_key_file", &self.tls_key_file),
            ("tls_server_name", &self.tls_server_name),
        ] {
            if !file.is_empty() && url::is_plain(&self.url) {
                return self.wrong(
                    name,
                    "is for TLS: write rediss:// in `url`, or leave it out",
                );
            }
        }
        if self.tls_cert_file.is_empty() != self.tls_key_file.is_empty() {
            let (given, other) = match self.tls_key_file.is_empty() {
                true => ("tls_cert_file", "tls_key_file"),
                false => ("tls_key_file", "tls_cert_file"),
            };
            return self.wrong(
                given,
                &format!("set `{other}` as well, they belong together"),
            );
        }
        Ok(())
    }

    fn check_sizes(&self) -> Result<(), Error> {
        for (name, bytes) in [
            ("capacity", self.capacity),
            ("max_entry", self.max_entry_bytes()),
            ("max_inline", self.max_inline),
            ("inflight", self.inflight),
            ("warm_bytes", self.warm_bytes),
        ] {
            // A capacity below 8 bytes has no eighth: only a value that was given is wrong by itself.
            if bytes == 0 && (name != "max_entry" || self.max_entry.is_some()) {
                return self.wrong(name, "must be more than nothing");
            }
        }
        if self.max_entry_bytes() > self.capacity {
            let capacity = show_size(self.capacity);
            return self.wrong(
                "max_entry",
                &format!("must be at most `capacity` ({capacity})"),
            );
        }
        Ok(())
    }

    fn check_durations(&self) -> Result<(), Error> {
        if !(30 * MS..=60_000 * MS).contains(&self.max_staleness) {
            let why = "must be from 30ms to 1m: a heartbeat is sent every third of it, at most one in 10ms";
            return self.wrong("max_staleness", why);
        }
        self.within("connect_timeout", self.connect_timeout, MS..=HOUR)?;
        self.within("operation_timeout", self.operation_timeout, MS..=HOUR)?;
        self.within("dead_after", self.dead_after, MS..=HOUR)?;
        self.within("warm_deadline", self.warm_deadline, MS..=HOUR)?;
        self.within("publish_every", self.publish_every, 100 * MS..=HOUR)?;
        self.within("look_every", self.look_every, 100 * MS..=HOUR)?;
        self.within("half_life", self.half_life, 1000 * MS..=24 * HOUR)?;
        self.within("backoff_min", self.backoff_min, MS..=HOUR)?;
        self.within("backoff_max", self.backoff_max, MS..=HOUR)?;
        self.within("untracked_life", self.untracked_lifetime(), MS..=24 * HOUR)?;
        if let ReadPolicy::ServeStale { max } = self.on_unproven {
            self.within("on_unproven", max, MS..=24 * HOUR)?;
        }
        self.within("load_timeout", self.load_timeout, MS..=HOUR)?;
        if let Some(ttl) = self.negative_ttl {
            self.within("negative_ttl", ttl, MS..=24 * HOUR)?;
        }
        if self.dead_after < self.operation_timeout {
            let timeout = show_duration(self.operation_timeout);
            let why = format!(
                "must be at least `operation_timeout` ({timeout}), or a slow reply is taken for a dead lane"
            );
            return self.wrong("dead_after", &why);
        }
        if self.backoff_min > self.backoff_max {
            let most = show_duration(self.backoff_max);
            return self.wrong(
                "backoff_min",
                &format!("must be at most `backoff_max` ({most})"),
            );
        }
        Ok(())
    }

    fn check_counts(&self) -> Result<(), Error> {
        for (name, value, most) in [
            ("queue_requests", self.queue_requests, 1 << 20),
            ("flights_per_key", self.flights_per_key, 64),
            ("admit_after", self.admit_after, 2),
            ("max_loads", self.max_loads, 1 << 14),
            ("warm_reads", self.warm_reads, 1 << 30),
            ("warm_share", self.warm_share, 100),
        ] {
            if !(1..=most).contains(&value) {
                return self.wrong(name, &format!("must be from 1 to {most}"));
            }
        }
        Ok(())
    }

    fn check_fleet(&self) -> Result<(), Error> {
        if !self.service.is_empty() {
            check_service(self.service.trim()).or_else(|why| self.wrong("service", &why))?;
        }
        if self.fleet_db.is_some_and(|db| db > DB_MAX as usize) {
            return self.wrong("fleet_db", &format!("must be from 0 to {DB_MAX}"));
        }
        Ok(())
    }

    fn within(
        &self,
        name: &str,
        value: Duration,
        allowed: RangeInclusive<Duration>,
    ) -> Result<(), Error> {
        if allowed.contains(&value) {
            return Ok(());
        }
        let (least, most) = (
            show_duration(*allowed.start()),
            show_duration(*allowed.end()),
        );
        self.wrong(name, &format!("must be from {least} to {most}"))
    }

    #[cold]
    fn wrong(&self, name: &str, why: &str) -> Result<(), Error> {
        let field = Field::find(name).expect("validation names a field of the table");
        let value = quoted(&field.text(self));
        Err(configuration(format!("setting `{name}` is {value}: {why}")))
    }
}
