//! One schedule: handles of several pods and a foreign client on server A, each with a plain connection
//! on server B that is given the same commands, step by step.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use crate::command::Command;
use crate::forecast::Forecast;
use crate::link::{Beside, PlainLink, SubjectLink};
use crate::plan::{Planned, Planner, Role};
use crate::probe::Probe;
use crate::random::Random;
use crate::reply::Reply;
use crate::servers::Servers;
use crate::session::Session;
use crate::step::Step;
use crate::subject::CLONES_SHARE_SESSION;

/// How many steps a failure shows.
const SHOWN: usize = 12;

/// The connection of a handle on server A.
enum Hand {
    Pod(SubjectLink),
    Foreign(PlainLink),
}

struct Actor {
    role: Role,
    hand: Hand,
}

/// What a schedule did.
#[derive(Clone, Copy, Default, Debug)]
pub struct Tally {
    pub steps: u64,
    /// Commands through the subject that a near cache can serve.
    pub reads: u64,
    /// Those of them that nothing touched since the pod did the same.
    pub repeats: u64,
    pub errors: u64,
}

impl Tally {
    pub fn add(&mut self, other: Self) {
        self.steps += other.steps;
        self.reads += other.reads;
        self.repeats += other.repeats;
        self.errors += other.errors;
    }
}

/// See the module.
pub struct World<'a> {
    title: String,
    servers: &'a Servers,
    pods: Vec<Arc<SubjectLink>>,
    /// Pods that others have written beside of.
    behind: Vec<bool>,
    actors: Vec<Actor>,
    sessions: Vec<Session>,
    planner: Planner,
    probes: [Mutex<Probe>; 2],
    forecast: Forecast,
    shown: VecDeque<String>,
    tally: Tally,
}

impl<'a> World<'a> {
    /// `pods` has a pod for every handle that is wanted; `None` is a foreign client. `prefix` is that of
    /// all keys, empty when nobody else uses the servers.
    pub async fn new(
        servers: &'a Servers,
        title: &str,
        seed: u64,
        prefix: &str,
        handles: &[(Option<Arc<SubjectLink>>, usize)],
    ) -> Self {
        let mut pods: Vec<Arc<SubjectLink>> = Vec::new();
        let (mut actors, mut sessions): (Vec<Actor>, Vec<Session>) = (Vec::new(), Vec::new());
        for (pod, weight) in handles {
            let (pod, hand) = match pod {
                None => {
                    let link = servers.plain(&servers.subject).await;
                    (None, Hand::Foreign(link))
                }
                Some(pod) => {
                    let known = pods.iter().position(|known| Arc::ptr_eq(known, pod));
                    let index = known.unwrap_or_else(|| {
                        pods.push(pod.clone());
                        pods.len() - 1
                    });
                    (Some(index), Hand::Pod(pod.another().await))
                }
            };
            let shared = actors
                .iter()
                .find(|actor| CLONES_SHARE_SESSION && pod.is_some() && actor.role.pod == pod);
            let session = match shared {
                Some(actor) => actor.role.session,
                None => {
                    sessions.push(Session::new(servers.plain(&servers.reference).await));
                    sessions.len() - 1
                }
            };
            let role = Role {
                pod,
                session,
                weight: *weight,
            };
            actors.push(Actor { role, hand });
        }
        let roles = actors.iter().map(|actor| actor.role).collect();
        // Those who share a seed and not their keys do different things.
        let mix = |seed: u64, byte: u8| Random::new(seed ^ u64::from(byte)).next();
        let random = Random::new(prefix.bytes().fold(seed, mix));
        let stateful = prefix.is_empty() || !CLONES_SHARE_SESSION;
        Self {
            title: format!("{title} with NEARCACHE_TEST_SEED={seed} {prefix}"),
            servers,
            behind: vec![false; pods.len()],
            pods,
            actors,
            sessions,
            planner: Planner::new(random, prefix, roles, stateful),
            probes: [&servers.subject, &servers.reference].map(|server| Probe::of(server).into()),
            forecast: Forecast::default(),
            shown: VecDeque::new(),
            tally: Tally::default(),
        }
    }

    /// Performs at least `steps` steps, then looks at everything once more.
    pub async fn run(mut self, steps: u64) -> Tally {
        while self.tally.steps < steps {
            for planned in self.planner.plan() {
                self.step(planned).await;
            }
        }
        for planned in self.audit() {
            self.step(planned).await;
        }
        self.tally
    }

    /// Changes server A behind everybody's back, which must be found out.
    pub fn sabotage(&self, command: &Command) {
        let mut probe = self.probes[0].lock().expect("no holder panics");
        probe.run(0, command);
    }

    /// Reads of every key in the form of every type, by one handle of each pod and by a foreign client.
    fn audit(&mut self) -> Vec<Planned> {
        let keys: Vec<Vec<u8>> = self.planner.words.keys().cloned().collect();
        let mut steps = Vec::new();
        let mut seen = Vec::new();
        for (actor, Actor { role, .. }) in self.actors.iter().enumerate() {
            if seen.contains(&role.pod) {
                continue;
            }
            seen.push(role.pod);
            let one = |step| Planned {
                actor,
                step,
                settle: true,
            };
            let dbs: &[&str] = if role.pod.is_some() {
                &["0"]
            } else {
                &["1", "0"]
            };
            for db in dbs {
                steps.push(one(Step::one(&["SELECT", db])));
                for key in &keys {
                    let reads = ["TYPE", "GET", "HGETALL", "SMEMBERS", "TTL"]
                        .map(|name| Command::of(&[name.as_bytes(), key]));
                    let ranges = ["LRANGE", "ZRANGE"]
                        .map(|name| Command::of(&[name.as_bytes(), key, b"0", b"-1"]));
                    let streams = Command::of(&[b"XRANGE", &key[..], b"-", b"+"]);
                    let commands = [&reads[..], &ranges, &[streams]].concat();
                    let atomic = false;
                    steps.push(one(Step::Pipe { atomic, commands }));
                }
            }
        }
        steps
    }

    async fn step(&mut self, planned: Planned) {
        let Planned {
            actor,
            step,
            settle,
        } = planned;
        self.tally.steps += 1;
        let role = self.actors[actor].role;
        if settle && let Some(pod) = role.pod {
            self.settle(pod).await;
        }
        if matches!(step, Step::Renew) {
            self.show(actor, &step, &[]);
            return self.renew(actor).await;
        }
        self.count(role, &step);
        let db = self.sessions[role.session].db;
        let [probe_a, probe_b] = &self.probes;
        let beside = Beside { probe: probe_a, db };
        let left = match &mut self.actors[actor].hand {
            Hand::Pod(link) => link.perform(&step, beside).await,
            Hand::Foreign(link) => link.perform(&step, beside).await,
        };
        let session = &mut self.sessions[role.session];
        let beside = Beside { probe: probe_b, db };
        let right = session.reference.perform(&step, beside).await;

        let commands = step.commands();
        let agree = left.len() == right.len()
            && if commands.len() == right.len() {
                std::iter::zip(commands, left.iter().zip(&right))
                    .fold(true, |all, (command, (left, right))| {
                        session.agrees(command, left, right) && all
                    })
            } else {
                left == right
            };
        let broken = right.iter().any(|reply| reply.is_broken());
        let error = |reply: &&Reply| reply.value().is_none();
        self.tally.errors += right.iter().filter(error).count() as u64;
        self.show(actor, &step, &right);
        assert!(agree, "{}", self.report(&left, &right));
        let report = || self.report(&left, &right);
        assert!(!broken, "the reference lost its connection\n{}", report());

        if let Step::Expire { key, .. } = &step {
            for probe in &self.probes {
                let mut probe = probe.lock().expect("no holder panics");
                probe.wait_gone(db, key);
            }
        }
        self.note_writes(role, &step);
    }

    /// Who has to hear of this step before it reads from its copies.
    fn note_writes(&mut self, role: Role, step: &Step) {
        // What the server or somebody else did is news for the handle's own pod too.
        let others = match step {
            Step::Expire { .. } => true,
            Step::Transaction { conflict, .. } => conflict.is_some(),
            _ => false,
        };
        if step.only_reads() {
            return;
        }
        for (pod, behind) in self.behind.iter_mut().enumerate() {
            *behind |= others || role.pod != Some(pod);
        }
    }

    async fn settle(&mut self, pod: usize) {
        if std::mem::take(&mut self.behind[pod]) {
            self.pods[pod].settle().await;
        }
    }

    async fn renew(&mut self, actor: usize) {
        let Actor { role, hand } = &mut self.actors[actor];
        match (role.pod, hand) {
            (Some(pod), Hand::Pod(link)) => *link = self.pods[pod].another().await,
            (_, Hand::Foreign(link)) => *link = self.servers.plain(&self.servers.subject).await,
            _ => {}
        }
        // A clone that shares its session has still the same.
        if !CLONES_SHARE_SESSION || role.pod.is_none() {
            let reference = self.servers.plain(&self.servers.reference).await;
            self.sessions[role.session] = Session::new(reference);
        }
    }

    fn count(&mut self, role: Role, step: &Step) {
        let served = match step {
            Step::One(_) | Step::Pipe { atomic: false, .. } => role.pod,
            _ => None,
        };
        let in_multi = self.sessions[role.session].queue.is_some();
        if let Some(pod) = served
            && !in_multi
        {
            for command in step.commands().iter().filter(|c| c.is_served()) {
                self.tally.reads += command.most_hits();
                self.tally.repeats += u64::from(self.forecast.read(pod, command));
            }
        }
        if !step.only_reads() {
            self.forecast.written(step);
        }
    }

    fn show(&mut self, actor: usize, step: &Step, replies: &[Reply]) {
        let Actor { role, .. } = &self.actors[actor];
        let name = match role.pod {
            Some(pod) => format!("pod {pod} handle {actor}"),
            None => "foreign".to_owned(),
        };
        let db = self.sessions[role.session].db;
        let line = format!(
            "{:>6} {name} db {db}: {step}\n         -> {}",
            self.tally.steps,
            listed(replies)
        );
        self.shown.push_back(line);
        if self.shown.len() > SHOWN {
            self.shown.pop_front();
        }
    }

    fn report(&self, left: &[Reply], right: &[Reply]) -> String {
        let steps: Vec<&str> = self.shown.iter().map(String::as_str).collect();
        format!(
            "a difference: {}\nstep {}; the last ones, and what the reference said:\n{}\n\
             the subject said   {}\nthe reference said {}\n",
            self.title,
            self.tally.steps,
            steps.join("\n"),
            listed(left),
            listed(right)
        )
    }
}

fn listed(replies: &[Reply]) -> String {
    let replies: Vec<String> = replies.iter().map(Reply::to_string).collect();
    replies.join(" ; ")
}
