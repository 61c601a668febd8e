//! The server, the ways to it, the pods, and what is done to them. Every loss is entered in the history around it.
//! Judges nothing, and ends only what it started.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nearcache_cli::outcome::Failure;
use rustix::process::{Pid, Signal, kill_process};

use super::history::History;
use super::options::Options;
use super::schedule::{Fault, Planned};
use crate::fleet::control::info;
use crate::fleet::message::{Event, Instruction, Probe, Setup};
use crate::fleet::plan::{Arm, Plan};
use crate::fleet::pods::Handle;
use crate::fleet::proxy::Proxy;
use crate::fleet::server::Server;
use crate::machine::now_ns;
use crate::zipf::Rng;

/// How long the server may take to do what it is told; it may have been stopped until just now.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long the end of a pod may take.
const END: Duration = Duration::from_secs(5);
/// The least that the server is left under pressure, in bytes: what it takes itself.
const SERVER_BYTES: u64 = 256 << 10;

/// Everything that is broken during a run.
pub(super) struct Stage<'a> {
    plan: &'a Plan,
    server: Server,
    proxies: Vec<Proxy>,
    history: Arc<Mutex<History>>,
    slots: Vec<Slot>,
    /// Whose place each pod has, those that were killed included.
    lives: Vec<usize>,
    send: Sender<(usize, Event)>,
    /// What pods say, by their number.
    pub(super) events: Receiver<(usize, Event)>,
    /// Whom the fault under way hurts: pods or groups.
    victims: Vec<usize>,
    /// Pods killed so far.
    pub(super) killed: u64,
    /// Keys evicted so far, and when the pressure began, by the server's own count.
    pub(super) evicted: u64,
    evicted_before: u64,
}

/// The place of a pod, whichever has it.
struct Slot {
    handle: Handle,
    life: usize,
}

impl<'a> Stage<'a> {
    /// Starts the pods; none is waited for.
    pub(super) fn start(
        plan: &'a Plan,
        options: &Options,
        server: Server,
        history: &Arc<Mutex<History>>,
    ) -> Result<Self, Failure> {
        let (send, events) = channel();
        let ways = (0..options.groups).map(|_| Proxy::start(&server.address(), Duration::ZERO));
        let mut stage = Self {
            plan,
            proxies: ways.collect::<Result<_, _>>()?,
            server,
            history: Arc::clone(history),
            slots: Vec::new(),
            lives: Vec::new(),
            send,
            events,
            victims: Vec::new(),
            killed: 0,
            evicted: 0,
            evicted_before: 0,
        };
        for slot in 0..plan.pods {
            let fresh = stage.pod(slot)?;
            stage.slots.push(fresh);
        }
        Ok(stage)
    }

    /// Where whoever else has something to say says it.
    pub(super) fn sender(&self) -> Sender<(usize, Event)> {
        self.send.clone()
    }

    /// Whose place a pod has.
    pub(super) fn slot(&self, life: usize) -> Option<usize> {
        self.lives.get(life).copied()
    }

    /// Whether a pod still has its place.
    pub(super) fn is_current(&self, life: usize) -> bool {
        let slot = self.slot(life).and_then(|slot| self.slots.get(slot));
        slot.is_some_and(|slot| slot.life == life)
    }

    /// Begins a fault.
    pub(super) fn begin(&mut self, planned: Planned) -> Result<(), Failure> {
        let mut rng = Rng::new(planned.seed, 0);
        self.victims.clear();
        match planned.fault {
            Fault::ServerStop => signal(self.server.id(), Signal::STOP),
            Fault::ServerRestart => {
                self.history().wipe(now_ns());
                self.server.kill();
                self.history().wiped(now_ns());
                Ok(())
            }
            Fault::Partition => {
                self.victims = some(&mut rng, self.proxies.len(), 2);
                for &group in &self.victims {
                    self.proxies[group].stall(true);
                }
                Ok(())
            }
            Fault::Flush => {
                let mut connection = self.connection()?;
                self.history().wipe(now_ns());
                told(redis::cmd("FLUSHALL").exec(&mut connection))?;
                self.history().wiped(now_ns());
                Ok(())
            }
            Fault::PodKill => {
                for slot in some(&mut rng, self.slots.len(), 5) {
                    // At once: no time to put anything in order.
                    self.slots[slot].handle.end(Instant::now());
                    self.slots[slot] = self.pod(slot)?;
                    self.killed += 1;
                }
                Ok(())
            }
            Fault::PodStop => {
                self.victims = some(&mut rng, self.slots.len(), 3);
                for &slot in &self.victims {
                    self.signal_pod(slot, Signal::STOP)?;
                }
                Ok(())
            }
            Fault::Pressure => self.press(),
            Fault::Disconnect => self.disconnect(&mut rng),
        }
    }

    /// Ends a fault.
    pub(super) fn finish(&mut self, fault: Fault) -> Result<(), Failure> {
        match fault {
            Fault::ServerStop => signal(self.server.id(), Signal::CONT),
            Fault::ServerRestart => self.server.start_again(),
            Fault::Partition => {
                for &group in &self.victims {
                    self.proxies[group].stall(false);
                }
                Ok(())
            }
            Fault::PodStop => {
                for &slot in &self.victims {
                    self.signal_pod(slot, Signal::CONT)?;
                }
                Ok(())
            }
            Fault::Pressure => {
                let mut connection = self.connection()?;
                told(config(&mut connection, "maxmemory", "0"))?;
                self.history().relieve(now_ns());
                let evicted = told_number(&mut connection, "stats", "evicted_keys")?;
                self.evicted += evicted.saturating_sub(self.evicted_before);
                Ok(())
            }
            Fault::Flush | Fault::PodKill | Fault::Disconnect => Ok(()),
        }
    }

    /// Memory the server has set aside.
    pub(super) fn server_bytes(&self) -> Result<u64, Failure> {
        used(&mut self.connection()?)
    }

    /// Tells the pods to end.
    pub(super) fn stop(&mut self) -> Result<(), Failure> {
        for slot in &mut self.slots {
            slot.handle.tell(&Instruction::Stop)?;
        }
        Ok(())
    }

    /// A new pod for a place.
    fn pod(&mut self, slot: usize) -> Result<Slot, Failure> {
        let life = self.lives.len();
        self.lives.push(slot);
        let setup = Setup {
            plan: self.plan.clone(),
            pod: life,
            arm: Arm::After,
            url: Some(self.proxies[slot % self.proxies.len()].url()),
            sidecar: None,
            reads: Vec::new(),
            service: None,
            probe: Some(Probe {
                reads_per_s: self.plan.reads_per_pod,
                name: self.plan.prefix.trim_end_matches(':').to_owned(),
                stream: life as u64,
            }),
        };
        let handle = Handle::process(&setup, self.send.clone())?;
        Ok(Slot { handle, life })
    }

    /// Leaves the server less room than it has taken by a quarter of the data.
    fn press(&mut self) -> Result<(), Failure> {
        let mut connection = self.connection()?;
        let used = used(&mut connection)?;
        self.evicted_before = told_number(&mut connection, "stats", "evicted_keys")?;
        let room = used.saturating_sub(self.plan.data_bytes() / 4);
        self.history().press(now_ns());
        told(config(&mut connection, "maxmemory-policy", "allkeys-lru"))?;
        told(config(
            &mut connection,
            "maxmemory",
            &room.max(SERVER_BYTES).to_string(),
        ))
    }

    /// Half of all connections, whoever has them.
    fn disconnect(&self, rng: &mut Rng) -> Result<(), Failure> {
        let mut connection = self.connection()?;
        let own: u64 = told(redis::cmd("CLIENT").arg("ID").query(&mut connection))?;
        let list: String = told(redis::cmd("CLIENT").arg("LIST").query(&mut connection))?;
        let ids = list.lines().filter_map(|line| {
            let id = line.strip_prefix("id=")?.split(' ').next()?;
            id.parse::<u64>().ok()
        });
        for id in ids.filter(|&id| id != own) {
            if rng.below(2) == 0 {
                let kill = redis::cmd("CLIENT")
                    .arg("KILL")
                    .arg("ID")
                    .arg(id)
                    .exec(&mut connection);
                told(kill)?;
            }
        }
        Ok(())
    }

    fn signal_pod(&self, slot: usize, what: Signal) -> Result<(), Failure> {
        let id = self.slots[slot].handle.id();
        signal(id.ok_or("a pod has no process")?, what)
    }

    fn connection(&self) -> Result<redis::Connection, Failure> {
        let client = told(redis::Client::open(self.server.url()))?;
        let connection = told(client.get_connection_with_timeout(PATIENCE))?;
        told(connection.set_read_timeout(Some(PATIENCE)))?;
        Ok(connection)
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        for slot in &mut self.slots {
            // One that is stopped would never see that its input ends.
            if let Some(id) = slot.handle.id() {
                let _ = signal(id, Signal::CONT);
            }
            slot.handle.hang_up();
        }
        let deadline = Instant::now() + END;
        for slot in &mut self.slots {
            slot.handle.end(deadline);
        }
    }
}

/// At least one of `all`, and no more than one in `share` of them.
fn some(rng: &mut Rng, all: usize, share: usize) -> Vec<usize> {
    let most = (all / share).max(1);
    let count = 1 + rng.below(most as u32) as usize;
    let mut left: Vec<usize> = (0..all).collect();
    (0..count.min(all))
        .map(|_| left.swap_remove(rng.below(left.len() as u32) as usize))
        .collect()
}

fn signal(id: u32, what: Signal) -> Result<(), Failure> {
    let id = i32::try_from(id).ok().and_then(Pid::from_raw);
    let id = id.ok_or("a process has no number")?;
    kill_process(id, what).map_err(|error| format!("cannot signal a process: {error}"))
}

fn config(connection: &mut redis::Connection, name: &str, value: &str) -> redis::RedisResult<()> {
    redis::cmd("CONFIG")
        .arg("SET")
        .arg(name)
        .arg(value)
        .exec(connection)
}

fn used(connection: &mut redis::Connection) -> Result<u64, Failure> {
    told_number(connection, "memory", "used_memory")
}

/// A number of the server's `INFO`.
fn told_number(
    connection: &mut redis::Connection,
    section: &str,
    name: &str,
) -> Result<u64, Failure> {
    let text: String = told(redis::cmd("INFO").arg(section).query(connection))?;
    let number = info(&text, name).and_then(|number| number.parse().ok());
    number.ok_or_else(|| format!("the server does not tell its {name}"))
}

fn told<T>(done: redis::RedisResult<T>) -> Result<T, Failure> {
    done.map_err(|error| format!("the server does not do what it is told: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn victims_are_some_and_no_one_twice() {
        let mut rng = Rng::new(1, 2);
        for all in 1..20 {
            let mut chosen = some(&mut rng, all, 3);
            assert!(!chosen.is_empty() && chosen.len() <= (all / 3).max(1));
            chosen.sort_unstable();
            chosen.dedup();
            assert!(chosen.iter().all(|&one| one < all));
        }
    }
}
