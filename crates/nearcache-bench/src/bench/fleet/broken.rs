//! Short runs, each made so that one mechanism of nearcache is needed, and with that mechanism switched off: the checker
//! must find stale reads then, and none with nothing switched off. Only with `--cfg nearcache_break`.

use std::thread;
use std::time::Duration;

use nearcache_cli::outcome::{Failure, Outcome};
use nearcache_cli::show;
use nearcache_cli::terminal::outln;
use serde::Serialize;

use super::behind;
use super::options::{self, Args};
use crate::document;
use crate::fleet::check::{Acks, Findings};
use crate::fleet::control::Control;
use crate::fleet::measure::{Work, measure};
use crate::fleet::message::Load;
use crate::fleet::plan::{Arm, Plan};
use crate::fleet::pods::Fleet;
use crate::fleet::progress::Progress;
use crate::fleet::proxy::Proxy;
use crate::fleet::sabotage::Sabotage;
use crate::fleet::side::Measured;
use crate::fleet::writer::{Updates, Writer};

/// What was found.
#[derive(Debug, Serialize)]
struct Broken {
    broken: Sabotage,
    seed: u64,
    stale_reads: u64,
    scenarios: Vec<Scenario>,
}

#[derive(Debug, Serialize)]
struct Scenario {
    made_for: Sabotage,
    max_staleness_ms: u64,
    checked_reads: u64,
    stale_reads: u64,
    behind_max_us: f64,
    /// A lane that stands still fails reads; that is what it should do.
    errors: u64,
}

/// Runs what is made for `broken`; everything, where nothing is broken.
pub(crate) fn run(args: &Args, broken: Sabotage) -> Result<Outcome, Failure> {
    if args.redis != "auto" {
        return Err(
            "--break flushes its server and so starts one of its own: leave out --redis".to_owned(),
        );
    }
    let all = [
        Sabotage::Token,
        Sabotage::Lease,
        Sabotage::Fence,
        Sabotage::Null,
    ];
    let wanted = all
        .into_iter()
        .filter(|made_for| broken == Sabotage::None || broken == *made_for);
    let mut found = Broken {
        broken,
        seed: args.seed,
        stale_reads: 0,
        scenarios: Vec::new(),
    };
    for made_for in wanted {
        let scenario = scenario(args, made_for, broken)?;
        outln!(
            "broken: {broken:?}; run made for {made_for:?}: {} of {} reads stale, the oldest behind by {}",
            scenario.stale_reads,
            show::count(scenario.checked_reads as f64),
            show::time(scenario.behind_max_us)
        );
        found.stale_reads += scenario.stale_reads;
        found.scenarios.push(scenario);
    }
    if let Some(path) = &args.json {
        document::write(path, &found)?;
    }
    Ok(Outcome::of(found.stale_reads == 0))
}

/// One run on a server of its own.
fn scenario(args: &Args, made_for: Sabotage, broken: Sabotage) -> Result<Scenario, Failure> {
    let plan = Plan {
        pods: 3,
        keys: if made_for == Sabotage::Token { 16 } else { 64 },
        value_bytes: 1_000,
        capacity_bytes: 64 << 20,
        tasks: 4,
        validated: made_for == Sabotage::Fence,
        sabotage: broken,
        ..options::parse(args)?.0
    };
    let (place, _server) = crate::bench::place(&args.redis, args.server.as_deref())?;
    let delay = match made_for {
        // The longer a push is on its way, the more reads there are that must wait for it.
        Sabotage::Fence => Duration::from_millis(20),
        Sabotage::Lease | Sabotage::Token => Duration::from_micros(2),
        _ => Duration::ZERO,
    };
    let (pods_place, proxy) = behind(&place, delay)?;
    let mut progress = Progress::new();
    progress.say("starting pods");
    let mut stage = Stage {
        fleet: Fleet::start(&plan, Arm::After, &pods_place, &[], &mut progress)?,
        control: Control::open(&place)?,
        progress,
        acks: Acks::default(),
        stream: 0,
    };
    let mut writer = Writer::new(&place, &plan)?;
    let filled = writer.fill(&mut stage.progress)?;
    stage.acks.add(&filled);
    let updates = |per_s| Updates {
        per_s,
        skewed: true,
        twice: false,
        traced: false,
    };
    let (mut measured, writer) = stage.phase(writer, Load::Fill, 0.0, updates(0.0))?;
    let load = match made_for {
        Sabotage::Token => {
            let twice = Updates {
                per_s: 8.0,
                skewed: false,
                twice: true,
                traced: false,
            };
            stage.stalled(need(&proxy)?, writer, twice, &stutter())?
        }
        // The lane stands still for longer than a copy may be old, and the writer does not.
        Sabotage::Lease => {
            let once = [(1_000_000, true), (3_000_000, false)];
            stage.stalled(need(&proxy)?, writer, updates(20.0), &once)?
        }
        Sabotage::Null => {
            stage.control.flush()?;
            let mut writer = writer;
            let filled = writer.fill(&mut stage.progress)?;
            stage.acks.add(&filled);
            stage.phase(writer, Load::Paced, 3.0, updates(0.0))?.0
        }
        Sabotage::Fence | Sabotage::None => stage.phase(writer, Load::Paced, 4.0, updates(50.0))?.0,
    };
    stage.progress.end();
    measured.extend(load);
    // A validated read reflects everything acknowledged before it began.
    let max_staleness_ms = match made_for {
        Sabotage::Fence => 0,
        _ => plan.max_staleness_ms,
    };
    let mut found = Findings::default();
    for phase in &measured {
        found.add(&phase.check(&stage.acks, max_staleness_ms));
    }
    Ok(Scenario {
        made_for,
        max_staleness_ms,
        checked_reads: found.checked,
        stale_reads: found.stale,
        behind_max_us: found.behind_max_ns as f64 / 1e3,
        errors: measured
            .iter()
            .map(|phase| phase.sum(|report| report.errors))
            .sum(),
    })
}

fn need(proxy: &Option<Proxy>) -> Result<&Proxy, Failure> {
    proxy.as_ref().ok_or_else(|| "there is no proxy".to_owned())
}

/// What the server says comes in lumps, so that the answer to a read and the word that its key was written since arrive
/// together.
fn stutter() -> Vec<(u64, bool)> {
    (0..120)
        .flat_map(|_| [(500, true), (35_000, false)])
        .collect()
}

struct Stage {
    fleet: Fleet,
    control: Control,
    progress: Progress,
    acks: Acks,
    stream: u64,
}

impl Stage {
    fn phase(
        &mut self,
        writer: Writer,
        load: Load,
        seconds: f64,
        updates: Updates,
    ) -> Result<(Vec<Measured>, Writer), Failure> {
        self.stream += 1;
        let work = Work {
            load,
            seconds,
            stream: self.stream,
            reads_per_pod: 300.0,
            reads: None,
        };
        let writing = writer.start(updates, self.stream << 1);
        let measured = measure(
            &mut self.fleet,
            &mut self.control,
            &mut self.progress,
            "broken",
            work,
        );
        let (writer, log) = writing.stop()?;
        self.acks.add(&log);
        Ok((vec![measured?], writer))
    }

    /// Reads at a set rate while the lane stands still at times: after so many microseconds it does, or does not.
    fn stalled(
        &mut self,
        proxy: &Proxy,
        writer: Writer,
        updates: Updates,
        stalls: &[(u64, bool)],
    ) -> Result<Vec<Measured>, Failure> {
        thread::scope(|scope| {
            scope.spawn(|| {
                for &(after_us, stalled) in stalls {
                    thread::sleep(Duration::from_micros(after_us));
                    proxy.stall(stalled);
                }
            });
            Ok(self.phase(writer, Load::Paced, 5.0, updates)?.0)
        })
    }
}
