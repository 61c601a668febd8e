//! The pods' own servers: started together, asked together, ended together. Filled by the pods, never from here.

use std::path::Path;

use nearcache_cli::outcome::Failure;

use super::report::Sidecars;
use crate::fleet::control::{Control, Place, Snapshot};
use crate::fleet::plan::Plan;
use crate::fleet::server::Server;

/// The servers of all pods.
pub(crate) struct Servers {
    servers: Vec<Server>,
    controls: Vec<Control>,
}

impl Servers {
    /// Starts one for each pod, as large as its L1 would be.
    pub(crate) fn start(program: &Path, plan: &Plan) -> Result<Self, Failure> {
        let capacity = plan.capacity_bytes.to_string();
        let limits = [
            "--maxmemory",
            &capacity,
            "--maxmemory-policy",
            "allkeys-lru",
        ];
        let mut all = Self {
            servers: Vec::new(),
            controls: Vec::new(),
        };
        for _ in 0..plan.pods {
            let server = Server::start(program, &limits)?;
            all.controls
                .push(Control::open(&Place::Server { url: server.url() })?);
            all.servers.push(server);
        }
        Ok(all)
    }

    /// Their addresses, pod by pod.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.servers.iter().map(Server::url).collect()
    }

    /// Asks all of them.
    pub(crate) fn snapshots(&mut self) -> Result<Vec<Snapshot>, Failure> {
        let all = self.controls.iter_mut().map(Control::snapshot);
        Ok(all
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .flatten()
            .collect())
    }
}

/// What they did between two looks, in `seconds`, and what they hold now.
pub(crate) fn between(start: &[Snapshot], end: &[Snapshot], seconds: f64) -> Sidecars {
    let total =
        |all: &[Snapshot], pick: &dyn Fn(&Snapshot) -> f64| all.iter().map(pick).sum::<f64>();
    let rate = |pick: &dyn Fn(&Snapshot) -> f64| {
        (total(end, pick) - total(start, pick)).max(0.0) / seconds.max(1e-9)
    };
    let sum = |pick: fn(&Snapshot) -> u64| end.iter().map(pick).sum::<u64>();
    Sidecars {
        reads_per_s: rate(&|snapshot| snapshot.reads as f64),
        commands_per_s: rate(&|snapshot| snapshot.commands as f64),
        bytes_per_s: rate(&|snapshot| snapshot.bytes_out as f64),
        cpu_percent: rate(&|snapshot| snapshot.cpu_seconds * 100.0),
        // Each has one from here.
        connections: sum(|snapshot| snapshot.connections.saturating_sub(1)),
        memory_bytes: sum(|snapshot| snapshot.memory_bytes),
        rss_bytes: sum(|snapshot| snapshot.resident_bytes),
    }
}
