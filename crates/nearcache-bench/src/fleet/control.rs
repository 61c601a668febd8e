//! The controller's own way to L2, beside the pods: fills it, writes to it and asks it what it has done.
//! Shares no code with nearcache where there is a server, so that its word on nearcache counts.

use std::time::Duration;

use nearcache::{MemoryL2, NearCache, Ttl, fleet_key};
use nearcache_cli::outcome::Failure;
use redis::{Connection, RedisError};

use super::plan::Plan;
use crate::machine::now_ns;

/// Where L2 is.
#[derive(Clone)]
pub(crate) enum Place {
    /// A server.
    Server { url: String },
    /// A store inside this process, shared by the pods.
    Embedded(MemoryL2),
}

/// A connection of the controller's own.
pub(crate) enum Control {
    /// An ordinary connection.
    Server(Connection),
    /// The embedded store has no ordinary connections: one more handle, which no pod shares, writes to it.
    Embedded(nearcache::blocking::NearCache),
}

/// What a server says it has done so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Snapshot {
    /// When it said so.
    pub(crate) at_ns: u64,
    /// `GET` and `MGET` commands executed.
    pub(crate) reads: u64,
    /// Commands executed, of every kind.
    pub(crate) commands: u64,
    /// Bytes sent, of everything.
    pub(crate) bytes_out: u64,
    /// Memory the server has set aside for data and connections.
    pub(crate) memory_bytes: u64,
    /// Memory of the server's process that is in RAM.
    pub(crate) resident_bytes: u64,
    /// Connections open.
    pub(crate) connections: u64,
    /// Processor time used, in seconds.
    pub(crate) cpu_seconds: f64,
}

impl Control {
    /// Opens it.
    pub(crate) fn open(place: &Place) -> Result<Self, Failure> {
        match place {
            Place::Server { url } => {
                let client = redis::Client::open(url.as_str()).map_err(|error| reached(&error))?;
                let connection = client.get_connection_with_timeout(Duration::from_secs(5));
                Ok(Self::Server(connection.map_err(|error| reached(&error))?))
            }
            Place::Embedded(store) => {
                let opened = NearCache::builder()
                    .store(store.clone())
                    .capacity("1MiB")
                    .connect_blocking();
                Ok(Self::Embedded(opened.map_err(|error| error.to_string())?))
            }
        }
    }

    /// Writes a value that lives for so many seconds, and waits for the answer.
    pub(crate) fn set(
        &mut self,
        name: &str,
        value: Vec<u8>,
        life_seconds: u64,
    ) -> Result<(), Failure> {
        let failed = |why: String| format!("L2 did not take a write: {why}");
        match self {
            Self::Server(connection) => redis::cmd("SET")
                .arg(name)
                .arg(value)
                .arg("EX")
                .arg(life_seconds)
                .exec(connection)
                .map_err(|error| failed(error.to_string())),
            Self::Embedded(cache) => cache
                .set(name, value, Ttl::secs(life_seconds))
                .map_err(|error| failed(error.to_string())),
        }
    }

    /// Deletes everything a run wrote.
    pub(crate) fn clean(&mut self, plan: &Plan) -> Result<(), Failure> {
        // What is embedded ends with the process.
        let Self::Server(connection) = self else {
            return Ok(());
        };
        let names: Vec<String> = (0..plan.keys)
            .chain([super::plan::WATCHED])
            .map(|key| plan.name(key))
            .collect();
        for names in names.chunks(512) {
            redis::cmd("DEL")
                .arg(names)
                .exec(connection)
                .map_err(|error| format!("cannot clean up: {error}"))?;
        }
        self.clean_statistics(&plan.service())
    }

    /// Whether pods of this service have summed up what they read.
    pub(crate) fn has_manifest(&mut self, service: &str) -> Result<bool, Failure> {
        let Self::Server(connection) = self else {
            return Ok(false);
        };
        redis::cmd("EXISTS")
            .arg(fleet_key(service, "manifest"))
            .query(connection)
            .map_err(|error| reached(&error))
    }

    /// Deletes what pods of this service told each other.
    pub(crate) fn clean_statistics(&mut self, service: &str) -> Result<(), Failure> {
        let Self::Server(connection) = self else {
            return Ok(());
        };
        let failed = |error: RedisError| format!("cannot clean up: {error}");
        let key = |what: &str| fleet_key(service, what);
        let pods: Vec<String> = redis::cmd("SMEMBERS")
            .arg(key("pods"))
            .query(connection)
            .map_err(failed)?;
        let blobs = pods.iter().map(|pod| key(&format!("blob:{pod}")));
        let names: Vec<String> = ["pods", "merge", "manifest", "brief", "pace"]
            .map(key)
            .into_iter()
            .chain(blobs)
            .collect();
        redis::cmd("DEL")
            .arg(names)
            .exec(connection)
            .map_err(failed)
    }

    /// Deletes everything there is.
    #[cfg(nearcache_break)]
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        let Self::Server(connection) = self else {
            return Ok(());
        };
        redis::cmd("FLUSHALL")
            .exec(connection)
            .map_err(|error| format!("cannot flush: {error}"))
    }

    /// Asks the server; `None` for the embedded store, which counts nothing.
    pub(crate) fn snapshot(&mut self) -> Result<Option<Snapshot>, Failure> {
        let Self::Server(connection) = self else {
            return Ok(None);
        };
        let text: String = redis::cmd("INFO")
            .arg("all")
            .query(connection)
            .map_err(|error| {
                format!(
                    "L2 does not answer INFO, which is needed to count what reaches it: {error}"
                )
            })?;
        Ok(Some(Snapshot::parse(&text, now_ns())))
    }

    /// Product and number of the server.
    pub(crate) fn describe(&mut self) -> Result<String, Failure> {
        let Self::Server(connection) = self else {
            return Ok("embedded L2".to_owned());
        };
        let text: String = redis::cmd("INFO")
            .arg("server")
            .query(connection)
            .map_err(|error| reached(&error))?;
        Ok(
            match (info(&text, "valkey_version"), info(&text, "redis_version")) {
                (Some(number), _) => format!("Valkey {number}"),
                (None, Some(number)) => format!("Redis {number}"),
                (None, None) => "a server of unknown kind".to_owned(),
            },
        )
    }
}

impl Snapshot {
    fn parse(text: &str, at_ns: u64) -> Self {
        let number = |name: &str| {
            info(text, name)
                .and_then(|value| value.parse().ok())
                .unwrap_or(0)
        };
        let seconds = |name: &str| {
            info(text, name)
                .and_then(|value| value.parse::<f64>().ok())
                .unwrap_or(0.0)
        };
        Self {
            at_ns,
            reads: calls(text, "get") + calls(text, "mget"),
            commands: number("total_commands_processed"),
            bytes_out: number("total_net_output_bytes"),
            memory_bytes: number("used_memory"),
            resident_bytes: number("used_memory_rss"),
            connections: number("connected_clients"),
            cpu_seconds: seconds("used_cpu_user") + seconds("used_cpu_sys"),
        }
    }
}

/// How often a command was executed, as `cmdstat_get:calls=21,usec=175,...` says.
fn calls(text: &str, command: &str) -> u64 {
    let stats = info(text, &format!("cmdstat_{command}")).unwrap_or_default();
    let calls = stats
        .split(',')
        .find_map(|part| part.strip_prefix("calls="));
    calls.and_then(|calls| calls.parse().ok()).unwrap_or(0)
}

/// One field of an `INFO` answer.
pub(crate) fn info<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim)
}

fn reached(error: &RedisError) -> Failure {
    format!(
        "cannot reach L2: {error}; check the address given with --redis and that the server runs"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_is_read() {
        let text = "# Stats\r\ntotal_net_output_bytes:1234\r\nconnected_clients:9\r\nused_cpu_sys:1.5\r\n\
                    used_cpu_user:0.25\r\ncmdstat_get:calls=21,usec=175,usec_per_call=8.33\r\n\
                    cmdstat_mget:calls=2,usec=1\r\ncmdstat_getrange:calls=99,usec=1\r\n";
        let snapshot = Snapshot::parse(text, 7);
        assert_eq!(
            (
                snapshot.at_ns,
                snapshot.reads,
                snapshot.bytes_out,
                snapshot.connections
            ),
            (7, 23, 1234, 9)
        );
        assert!((snapshot.cpu_seconds - 1.75).abs() < 1e-9);
        assert_eq!(info(text, "process_id"), None);
    }

    #[test]
    fn a_server_that_does_not_answer_is_an_error_with_advice() {
        let place = Place::Server {
            url: "redis://127.0.0.1:1".to_owned(),
        };
        let Err(why) = Control::open(&place) else {
            panic!("nothing listens there")
        };
        assert!(why.contains("--redis"), "{why}");
        let place = Place::Server {
            url: "http://x".to_owned(),
        };
        assert!(Control::open(&place).is_err());
    }
}
