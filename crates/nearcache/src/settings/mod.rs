//! What a user can set: one table of plain values, and the type it makes.
//!
//! Owns the table; names, defaults, readers, printers, builder methods and the documentation all come from it.
//! Never reads the process environment except in `from_env`, and never opens a connection.

mod builder;
mod field;
mod service;
mod source;
mod url;
mod validate;

#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use nearcache_proto::{Error, ErrorKind, OnL2Down, ReadPolicy, WhileAway};

pub use builder::{SettingValue, SettingsBuilder};

pub use field::{Field, ManifestKeys};
pub(crate) use service::Service;
pub use source::IGNORED_VARIABLES;

use field::{
    COUNT, DURATION, LIST, NAMES, ON_L2_DOWN, OPTIONAL_COUNT, OPTIONAL_DURATION, OPTIONAL_NUMBER,
    OPTIONAL_SIZE, POLICY, SIZE, SWITCH, TEXT, URL, WHILE_AWAY,
};

/// The text of `url` that selects the embedded L2 instead of a server.
pub const MEMORY_URL: &str = "memory:";

/// Highest db number: far above what any server can be set to, and what L1's keys leave room for.
pub(crate) const DB_MAX: u32 = (1 << 29) - 1;

/// Hands the table of settings to the macro `$use`: one row is `docs, name: type, KIND, "default"`.
macro_rules! settings_table {
    ($use:ident) => {
        $use! {
            /// Where L2 is: `redis://host:6379/0`, `rediss://` for TLS (`valkey://` and `valkeys://` mean the same),
            /// `unix:///path`, or `memory:` for the embedded L2; with a user, a password and the protocol of replies:
            /// `redis://user:password@host:6379/0?protocol=resp3`. Must be given.
            url: String, URL, "";
            /// For `rediss://`: a PEM file with the certificates of the authorities that may have signed the server's, instead
            /// of the public ones. Empty: the file that `SSL_CERT_FILE` names, if any.
            tls_ca_file: String, TEXT, "";
            /// For `rediss://`: a file with the certificate, PEM, that is shown to a server that asks for one, and with those
            /// that lead to its authority. A file that is replaced is used from the next connection on.
            tls_cert_file: String, TEXT, "";
            /// The key, PEM, of `tls_cert_file`.
            tls_key_file: String, TEXT, "";
            /// The name that the server's certificate must be for, where it is reached by another: an address, say, or a name
            /// inside the cluster.
            tls_server_name: String, TEXT, "";
            /// Whether L1 is on. Without it nothing is kept, counted or fetched ahead, and every read goes to L2; loaders are
            /// still shared while they run, and everything else works as ever.
            enabled: bool, SWITCH, "true";
            /// Whether what is otherwise only a warning stops the start: names that this version does not know, in the file or
            /// among the variables, a `bypass` that looks like a pattern, and a `service` that has only the name of a program.
            strict: bool, SWITCH, "false";
            /// Bytes that L1 may hold, bookkeeping included. Its fixed tables, some 2 % of it, are taken off first: the
            /// statistics name what is left.
            capacity: usize, SIZE, "256MiB";
            /// Weight of the largest entry that L1 keeps; a heavier one passes through. Empty: an eighth of `capacity`.
            max_entry: Option<usize>, OPTIONAL_SIZE, "";
            /// Values above this are read on a side connection and not cached, so that they do not hold up the lane;
            /// `oversize_total` counts those reads, and a warning says once how many keys have such values.
            max_inline: usize, SIZE, "1MiB";
            /// How far behind L2 a hit may be; a heartbeat is sent every third of it. From 30ms to 1m.
            max_staleness: Duration, DURATION, "1s";
            /// What a read does when a resident value cannot be proven that fresh: ask L2; fail, if it is a `get` or a
            /// command of the drop-in about one key; or
            /// serve it if it was last known to be fresh no longer ago than that. Where an answer cannot carry a mark, a
            /// stale one is only counted (`stale_total`).
            on_unproven: ReadPolicy, POLICY, "pass_through";
            /// What a call with a loader does when L2 does not answer: run the loader all the same, and keep its value
            /// nowhere; or fail, so that an origin that could not bear it does not get the load of all pods.
            on_l2_down: OnL2Down, ON_L2_DOWN, "load";
            /// How long a loader may run. A call waits for one of the `max_loads` places at most an eighth longer, and for
            /// another call's load two `operation_timeout`s more.
            load_timeout: Duration, DURATION, "10s";
            /// Loaders that may run at a time in this pod, at most 16,384; further ones wait in line.
            max_loads: usize, COUNT, "64";
            /// How long this pod believes a loader that there is no value, unless the key is written. Empty: it asks
            /// again at once.
            negative_ttl: Option<Duration>, OPTIONAL_DURATION, "";
            /// Time for one attempt to connect; the hand-shake has as much again.
            connect_timeout: Duration, DURATION, "2s";
            /// Time for one request to L2, waiting for the lane and for room in line included.
            operation_timeout: Duration, DURATION, "2s";
            /// What calls do while L2 is away: `fail` at once, or `wait` for it up to `operation_timeout` - reads, and writes
            /// that were not sent; a write that was sent is never sent again. Calls with a loader run it instead, unless
            /// `on_l2_down = error`. Empty: `wait` for the drop-in, as redis-rs's `ConnectionManager` does, and `fail` for
            /// all else.
            while_away: Option<WhileAway>, WHILE_AWAY, "";
            /// A lane that is silent this long with a request outstanding is taken for dead and reconnected; at least
            /// `operation_timeout`.
            dead_after: Duration, DURATION, "10s";
            /// Longest wait before the first attempt to reconnect; what the wait grows from with each failure.
            backoff_min: Duration, DURATION, "50ms";
            /// Longest wait between two attempts to reconnect.
            backoff_max: Duration, DURATION, "2s";
            /// Requests that may wait to be sent to L2, each key of a read of several counted. More wait in line for that, first
            /// come, first served, up to `operation_timeout`.
            queue_requests: usize, COUNT, "4096";
            /// Estimated bytes of fills that may be on their way from L2 at a time.
            inflight: usize, SIZE, "4MiB";
            /// Fetches of one key that may be on their way at a time: the one that can be joined, and invalidated ones; at
            /// most 64.
            flights_per_key: usize, COUNT, "4";
            /// Reads of a key, counting the first, until its value is kept: 1 or 2.
            admit_after: usize, COUNT, "1";
            /// Life of an entry on a store that cannot announce writes. Empty: `max_staleness`;
            /// more than that gives up bounded staleness on such a store.
            untracked_life: Option<Duration>, OPTIONAL_DURATION, "";
            /// Prefixes of keys that L1 is not to hold, with commas between them: their reads all go to L2. They are no
            /// patterns: `*` stands for itself (all keys: `enabled = false`).
            bypass: Vec<String>, LIST, "";
            /// Whether fields of hashes may have expiries of their own (`HEXPIRE`). Then, on servers that know them,
            /// replies about hashes are kept for `max_staleness` at most, as the end of a field is announced late.
            hash_field_expiry: bool, SWITCH, "true";
            /// Whether the absence of a key is kept as well.
            cache_absent: bool, SWITCH, "true";
            /// What your service is called, in all its pods alike and in no other service: they tell each other what they
            /// read, in keys of L2 that begin with `nearcache:{service}:fleet:`. Empty: `OTEL_SERVICE_NAME`, else the name
            /// of the program, with a warning where that is one of many (`app`, `server`, `python`).
            service: String, TEXT, "";
            /// The db of L2 that these keys lie in. Empty: the one of `url`.
            fleet_db: Option<usize>, OPTIONAL_COUNT, "";
            /// Whether reads are counted by key and pods tell each other what they read. Without it, nothing is fetched
            /// ahead of demand.
            statistics: bool, SWITCH, "true";
            /// How keys are named in what pods publish about their reads: `plain`; `hashed`, which a new pod can use only
            /// with a snapshot of its own; or `off`, and nothing is published.
            manifest_keys: ManifestKeys, NAMES, "plain";
            /// How often a pod of a fleet of up to 64 publishes what it reads while that changes; in a larger one less
            /// often, in proportion.
            publish_every: Duration, DURATION, "10s";
            /// How often a running pod looks what the fleet reads, if it can afford that (docs/warming.md).
            look_every: Duration, DURATION, "1m";
            /// After this long a read counts half.
            half_life: Duration, DURATION, "30m";
            /// Whether a new pod fetches what the fleet reads before it is ready.
            warm_start: bool, SWITCH, "true";
            /// A pod is ready after this long, however warm it is; `connect` and `open` wait this long for a server that is
            /// not there yet.
            warm_deadline: Duration, DURATION, "4s";
            /// Keys a second that all pods together may fetch ahead of demand, whatever L2 has been seen to do.
            warm_reads: usize, COUNT, "5000";
            /// Bytes a second that all pods together may fetch ahead of demand, likewise.
            warm_bytes: usize, SIZE, "128MiB";
            /// Per cent of the highest rate at which the fleet was seen to read from L2 that may be fetched ahead of
            /// demand, where that is more than `warm_reads` and `warm_bytes`.
            warm_share: usize, COUNT, "20";
            /// Reads that a running pod must be expected to make of a key within the next hour before it fetches it because
            /// the fleet reads it: fewer raise hits and L2 reads. Empty: never.
            top_up: Option<f64>, OPTIONAL_NUMBER, "0.25";
            /// Whether what is read here is fetched again before it is missed: a key that somebody changed, if a read is expected within a minute, and a copy that is about to end by `max_staleness` or `untracked_life`.
            refetch: bool, SWITCH, "true";
            /// A directory that outlives the container: the names of the keys this pod reads are left there, for a start
            /// when L2 holds none. Empty: no snapshot.
            snapshot_dir: String, TEXT, "";
        }
    };
}

macro_rules! define_settings {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty, $kind:ident, $default:literal;)+) => {
        /// Everything that can be set as plain data: from a builder, a TOML file, the environment or text.
        ///
        /// Later sources win: defaults, then the file, then the environment, then explicit calls.
        /// Nothing is checked across fields until [`Settings::validate`].
        #[derive(Clone, PartialEq)]
        #[non_exhaustive]
        pub struct Settings {
            $($(#[doc = $doc])+ pub $name: $type,)+
            /// What the sources said that is not known here.
            ignored: Vec<String>,
        }

        /// The table of settings, in the order of the documentation.
        pub const FIELDS: &[Field] = &[
            $(Field {
                name: stringify!($name),
                kind: $kind.name,
                default: $default,
                doc: concat!($($doc),+),
                set: |settings, text| {
                    settings.$name = ($kind.parse)(text)?;
                    Ok(())
                },
                get: |settings| ($kind.show)(&settings.$name),
            },)+
        ];

        impl Default for Settings {
            fn default() -> Self {
                Self {
                    $($name: ($kind.parse)($default).expect("a default of the table parses"),)+
                    ignored: Vec::new(),
                }
            }
        }
    };
}

/// Makes one chaining method per setting, for a `must_use` builder with `fn set(self, &str, impl SettingValue) -> Self`.
macro_rules! setting_methods {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty, $kind:ident, $default:literal;)+) => {
        $($(#[doc = $doc])+
        ///
        #[doc = concat!("Default: `\"", $default, "\"`. A text that does not parse is reported when the cache is built.")]
        pub fn $name(self, value: impl $crate::settings::SettingValue) -> Self {
            self.set(stringify!($name), value)
        })+
    };
}

pub(crate) use setting_methods;
pub(crate) use settings_table;

settings_table!(define_settings);

impl Settings {
    /// Sets one field from its text, as the file and the environment would.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] if there is no such field (the nearest one is named) or the text does not parse.
    pub fn set(&mut self, name: &str, text: &str) -> Result<(), Error> {
        let field = Field::find(name).ok_or_else(|| configuration(field::unknown(name)))?;
        field.set(self, text, &format!("setting `{name}`"))
    }

    /// The text of one field, with the credentials of `url` masked; `None` if there is no such field.
    pub fn get(&self, name: &str) -> Option<String> {
        Field::find(name).map(|field| field.text(self))
    }

    /// What is likely not meant so, in words for an operator: names that this version does not know, in the file or
    /// among the variables (a newer one may: a rollback must not stop), and a `bypass` that looks like a pattern. They
    /// are logged when the cache is built, and errors under `strict`.
    pub fn warnings(&self) -> Vec<String> {
        let patterns = self
            .bypass
            .iter()
            .filter(|prefix| prefix.contains(['*', '?', '[']));
        let patterns = patterns.map(|prefix| {
            let prefix = field::quoted(prefix);
            format!(
                "setting `bypass` has {prefix}, which is taken as it is and not as a pattern: give the prefix alone; \
                 for all keys set enabled = false"
            )
        });
        self.ignored.iter().cloned().chain(patterns).collect()
    }

    /// Whether `url` selects the embedded L2.
    pub fn is_memory(&self) -> bool {
        self.url == MEMORY_URL
    }

    /// Weight in bytes of the largest entry that L1 keeps: `max_entry`, or an eighth of `capacity`.
    pub fn max_entry_bytes(&self) -> usize {
        self.max_entry.unwrap_or(self.capacity / 8)
    }

    /// Life of an entry on a store that cannot announce writes: `untracked_life`, or `max_staleness`.
    pub fn untracked_lifetime(&self) -> Duration {
        self.untracked_life.unwrap_or(self.max_staleness)
    }

    /// Time between two heartbeats of a lane: a third of `max_staleness`.
    pub fn heartbeat(&self) -> Duration {
        self.max_staleness / 3
    }

    /// The page of documentation that this table makes.
    pub fn markdown() -> String {
        field::markdown(FIELDS)
    }
}

/// Every field by its text; the credentials of `url` are masked.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Settings");
        for field in FIELDS {
            out.field(field.name, &field.text(self));
        }
        out.finish()
    }
}

#[cold]
fn configuration(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Configuration, message)
}
