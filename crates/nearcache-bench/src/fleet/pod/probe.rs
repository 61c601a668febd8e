//! A pod that reads through faults and tells of every read: in all the ways in which its answer may be judged, at a set
//! rate, however earlier reads fare. Waits for nothing, judges nothing.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use nearcache::{Error, Freshness, NearCache, ReadPolicy, Source};
use nearcache_cli::outcome::Failure;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::fleet::header::Header;
use crate::fleet::message::{Event, How, Instruction, Probe, Probed, Seen, Setup, Start};
use crate::machine::{now_ns, resident_bytes};
use crate::zipf::{Rng, Zipf};

/// How often a pod tells what it read.
const TELL: Duration = Duration::from_millis(200);
/// Reads that may be under way.
const UNDER_WAY_MAX: usize = 256;
/// How old a value may be that is served marked stale.
const STALE_MAX: Duration = Duration::from_secs(60);
/// Keys read at once.
const MANY: usize = 3;
/// Streams of random choices that lie below those of other parts of a run.
const STREAMS: u64 = 1 << 40;

/// The number of a write that no writer made: a value that does not decode, or another key's.
const NOBODYS: u64 = u64::MAX;

/// Reads until it is told to stop, or nobody listens.
pub(super) async fn probe(
    setup: &Setup,
    probe: &Probe,
    instructions: &mut UnboundedReceiver<Instruction>,
    tell: &mut dyn FnMut(Event),
) -> Result<(), Failure> {
    let url = setup.url.as_deref().ok_or("a pod has no server")?;
    let cache = NearCache::builder()
        .redis(url)
        .max_staleness(Duration::from_millis(setup.plan.max_staleness_ms))
        .capacity(setup.plan.capacity_bytes)
        .service(probe.name.clone())
        .build()
        .map_err(|error| error.to_string())?;
    tell(Event::Serving(Box::new(Start {
        ready_ns: now_ns(),
        ..Start::default()
    })));
    let names = (0..setup.plan.keys)
        .map(|key| setup.plan.name(key))
        .collect();
    let eye = Rc::new(Eye {
        cache,
        names,
        seen: RefCell::default(),
    });
    let zipf = Zipf::new(setup.plan.keys, setup.plan.zipf);
    let mut rng = Rng::new(setup.plan.seed, STREAMS + probe.stream);
    let mut reads = JoinSet::new();
    let gap = |rng: &mut Rng| Duration::from_secs_f64(rng.exponential(1.0 / probe.reads_per_s));
    let mut due = Instant::now() + gap(&mut rng);
    let mut told = Instant::now() + TELL;
    loop {
        tokio::select! {
            instruction = instructions.recv() => if !matches!(instruction, Some(Instruction::Serve(_) | Instruction::Run(_))) {
                break;
            },
            () = sleep_until(told) => {
                tell(Event::Probed(Box::new(eye.take())));
                told = Instant::now() + TELL;
            }
            () = sleep_until(due) => {
                while reads.try_join_next().is_some() {}
                due = (due + gap(&mut rng)).max(Instant::now());
                if reads.len() >= UNDER_WAY_MAX {
                    eye.seen.borrow_mut().shed += 1;
                    continue;
                }
                let (eye, how) = (Rc::clone(&eye), how(&mut rng));
                let keys: [u32; MANY] = std::array::from_fn(|_| zipf.sample(&mut rng));
                reads.spawn_local(async move { eye.read(how, keys).await });
            }
        }
    }
    while reads.join_next().await.is_some() {}
    tell(Event::Probed(Box::new(eye.take())));
    eye.cache.shutdown().await;
    tell(Event::Done(Box::default()));
    Ok(())
}

/// Mostly as applications read.
fn how(rng: &mut Rng) -> How {
    match rng.below(20) {
        0 | 1 => How::Many,
        2 | 3 => How::Validated,
        4 => How::Fresh,
        _ => How::Default,
    }
}

struct Eye {
    cache: NearCache,
    names: Vec<String>,
    seen: RefCell<Probed>,
}

impl Eye {
    async fn read(&self, how: How, keys: [u32; MANY]) {
        let (key, name) = (keys[0], &self.names[keys[0] as usize]);
        let started_ns = now_ns();
        let read = match how {
            How::Many => {
                let names = keys.map(|key| &self.names[key as usize]);
                let values = self.cache.get_many(&names).await;
                let values = values.into_iter().collect::<Result<_, Error>>();
                let seen = |values: Vec<Option<Bytes>>| {
                    let all = keys.into_iter().zip(values);
                    all.map(|(key, value)| (key, value, how, false)).collect()
                };
                values.map(seen)
            }
            How::Validated => {
                let value = self.cache.get_validated(name).await;
                value.map(|value| vec![(key, value, how, false)])
            }
            _ => self.one(how, key, name).await.map(|seen| vec![seen]),
        };
        let ended_ns = now_ns();
        let mut told = self.seen.borrow_mut();
        match read {
            Ok(values) => told
                .seen
                .extend(values.into_iter().map(|(key, value, how, hit)| Seen {
                    key,
                    sequence: value.map(|value| number(key, &value)),
                    started_ns,
                    ended_ns,
                    how,
                    hit,
                })),
            Err(error) => told.failed.push((ended_ns, said(&error))),
        }
    }

    async fn one(
        &self,
        how: How,
        key: u32,
        name: &str,
    ) -> Result<(u32, Option<Bytes>, How, bool), Error> {
        let policy = match how {
            How::Fresh => ReadPolicy::ServeStale { max: STALE_MAX },
            _ => ReadPolicy::PassThrough,
        };
        let read = self.cache.get_with(name, policy).await?;
        // Under the default policy the mark must not come; if it does, the value is judged all the same.
        let how = match (how, read.freshness) {
            (How::Fresh, Freshness::Stale(_)) => How::Stale,
            (how, _) => how,
        };
        Ok((key, read.value, how, read.source == Source::L1))
    }

    fn take(&self) -> Probed {
        let mut told = self.seen.take();
        told.resident_bytes = resident_bytes();
        told.l1_bytes = self.cache.stats().store.weight as u64;
        told
    }
}

/// Which write of the key a value comes from.
pub(crate) fn number(key: u32, value: &[u8]) -> u64 {
    match Header::decode(value) {
        Some(header) if header.key == key => header.sequence,
        _ => NOBODYS,
    }
}

/// What is counted of an error: its kind, and the words that are the same each time.
fn said(error: &Error) -> String {
    format!("{:?}: {error}", error.kind())
}
