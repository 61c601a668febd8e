//! One pod: connects, waits for work, does it, reports. Lives in a process of its own, or in a thread where L2 is
//! embedded. Ends when whoever started it is gone.

pub(crate) mod probe;
mod serve;

use std::io::{BufRead as _, BufReader, Write as _};
use std::rc::Rc;
use std::time::Duration;

use nearcache::MemoryL2;
use nearcache_cli::outcome::{Failure, Outcome};
use tokio::runtime;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::timeout;

use super::header::Header;
use super::load::Pod;
use super::message::{Event, Instruction, Phase, Report, Setup, Sighting};
use super::plan::WATCHED;
use super::reader::Reader;
use crate::machine::{now_ns, resident_bytes};

/// How often a pod says how far it is.
const PROGRESS: Duration = Duration::from_millis(250);
/// How often the watched key is read when nothing is heard of it.
const WATCH_ANYWAY: Duration = Duration::from_millis(500);
/// How often in a row it is read while it does not stay.
const WATCH_TRIES: usize = 4;

/// The pod's side of the process: reads its set-up and its instructions from standard input.
pub(crate) fn run_process() -> Result<Outcome, Failure> {
    let mut lines = BufReader::new(std::io::stdin()).lines();
    let first = match lines.next() {
        Some(Ok(line)) => line,
        _ => {
            return Err("this is a part of `demo` and `bench`; run those instead".to_owned());
        }
    };
    let setup: Setup =
        serde_json::from_str(&first).map_err(|error| format!("bad set-up of a pod: {error}"))?;
    let (send, instructions) = unbounded_channel();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let Ok(instruction) = serde_json::from_str(&line) else {
                break;
            };
            if send.send(instruction).is_err() {
                break;
            }
        }
        leave();
    });
    run(&setup, None, instructions, &mut |event| {
        let mut text = serde_json::to_string(&event).expect("events have only string keys");
        text.push('\n');
        // Nobody left to tell: the input has ended as well, and that ends the pod.
        let _ = std::io::stdout().lock().write_all(text.as_bytes());
    });
    Ok(Outcome::Good)
}

/// Ends the process at once. Whoever started it has hung up, perhaps in the middle of a phase that nobody waits for now.
#[allow(
    clippy::disallowed_methods,
    reason = "this is no library, and a pod has nothing to put in order"
)]
fn leave() {
    std::process::exit(0);
}

/// Does what the instructions say until they end. What happens goes to `tell`, a failure too.
pub(crate) fn run(
    setup: &Setup,
    store: Option<MemoryL2>,
    instructions: UnboundedReceiver<Instruction>,
    tell: &mut dyn FnMut(Event),
) {
    let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return tell(Event::Failed(format!("cannot start a runtime: {error}"))),
    };
    let worked = LocalSet::new().block_on(&runtime, work(setup, store, instructions, tell));
    if let Err(why) = worked {
        tell(Event::Failed(why));
    }
}

async fn work(
    setup: &Setup,
    store: Option<MemoryL2>,
    mut instructions: UnboundedReceiver<Instruction>,
    tell: &mut dyn FnMut(Event),
) -> Result<(), Failure> {
    #[cfg(nearcache_break)]
    setup.plan.sabotage.apply();
    if let Some(probe) = &setup.probe {
        return probe::probe(setup, probe, &mut instructions, tell).await;
    }
    let reader = Reader::open(setup, store).await?;
    let start = reader.start();
    let pod = Rc::new(Pod::new(setup, reader));
    if let Some(service) = &setup.service {
        tell(Event::Serving(Box::new(start)));
        return serve::serve(&pod, service, &mut instructions, tell).await;
    }
    let (seen, mut sightings) = unbounded_channel();
    let watched = setup.plan.name(WATCHED);
    let watcher = Rc::clone(&pod);
    let watching = spawn_local(async move {
        watch(&watcher, &watched, |sighting| seen.send(sighting).is_ok()).await;
    });
    tell(Event::Ready);
    while let Some(Instruction::Run(phase)) = instructions.recv().await {
        while sightings.try_recv().is_ok() {}
        let mut report = phase_of(&pod, phase, tell).await?;
        while let Ok((sighting, reads)) = sightings.try_recv() {
            report.watch_reads += reads;
            report.sightings.extend(sighting);
        }
        report.resident_bytes = resident_bytes();
        tell(Event::Done(Box::new(report)));
    }
    watching.abort();
    Ok(())
}

/// Does a phase and says meanwhile how far it is.
async fn phase_of(
    pod: &Rc<Pod>,
    phase: Phase,
    tell: &mut dyn FnMut(Event),
) -> Result<Report, Failure> {
    let mut running = spawn_local(pod.run(phase));
    loop {
        match timeout(PROGRESS, &mut running).await {
            Ok(report) => {
                return report.map_err(|error| format!("the load ended early: {error}"));
            }
            Err(_) => tell(Event::Progress(pod.progress())),
        }
    }
}

/// Reads the watched key again whenever it was invalidated, and now and then besides, so that an invalidation that
/// never came would show. Tells of the writes it sees, and how many reads went to L2 for it. A pod without a cache has
/// nothing to watch: all it reads comes from L2.
async fn watch(pod: &Pod, name: &str, mut tell: impl FnMut((Option<Sighting>, u64)) -> bool) {
    let Reader::Near {
        cache,
        changed: Some(changed),
        ..
    } = pod.reader()
    else {
        return;
    };
    let mut last = 0;
    loop {
        let mut reads = 0;
        let mut sighting = None;
        // A value that changed on its way is not kept, and what is not kept is not watched: ask again.
        for _ in 0..WATCH_TRIES {
            reads += u64::from(cache.get_resident(name).is_none());
            let value = pod.reader().read(name).await;
            let seen_ns = now_ns();
            let header = value
                .ok()
                .flatten()
                .and_then(|value| Header::decode(value.bytes()));
            let sequence = header.map_or(0, |header| header.sequence);
            if sequence > last {
                // The first one is older than the watch.
                sighting = sighting.or((last > 0).then_some(Sighting { sequence, seen_ns }));
                last = sequence;
            }
            if cache.get_resident(name).is_some() {
                break;
            }
        }
        if !tell((sighting, reads)) {
            return;
        }
        let _ = timeout(WATCH_ANYWAY, changed.notified()).await;
    }
}
