//! `bench rollout`: what replacing the pods of a fleet, and many joining it at once, costs its readers and its
//! server; with the warm start and without it.

mod crew;
mod figures;
mod html;
mod options;
mod report;
mod stages;
mod table;
mod verdict;

use nearcache_cli::outcome::{Failure, Outcome};
use nearcache_cli::show;
use nearcache_cli::terminal::{self, outln};

use crate::document::{self, Document, Head};
use crate::fleet::check::Acks;
use crate::fleet::control::Control;
use crate::fleet::plan::Plan;
use crate::fleet::progress::Progress;
use crate::fleet::writer::Writer;
use crate::machine::{Hardware, now_ns};
pub(super) use options::Args;
use options::Options;
use report::{Run, Stage, Stages};
use stages::{Bench, Change};

/// Runs the benchmark.
pub(super) fn run(args: &Args) -> Result<Outcome, Failure> {
    let start_ns = now_ns();
    let (plan, options) = options::parse(args)?;
    let hardware = Hardware::detect();
    // Held until the end: dropping it ends it.
    let (place, _server) = super::place(&args.redis, args.server.as_deref())?;
    let mut control = Control::open(&place)?;
    let server = control.describe()?;
    announce(&plan, &options, &server);
    let mut bench = Bench {
        plan: &plan,
        options: &options,
        place: &place,
        control: Control::open(&place)?,
        writer: None,
        acks: Acks::default(),
        progress: Progress::new(),
        services: Vec::new(),
    };
    bench.progress.say("filling L2");
    let mut writer = Writer::new(&place, &plan)?;
    let result = writer.fill(&mut bench.progress).and_then(|log| {
        bench.acks.add(&log);
        bench.writer = Some(writer);
        sides(&mut bench)
    });
    bench.progress.end();
    let cleaned = control.clean(&plan).and(bench.clean());
    let (warm, cold) = result?;
    cleaned?;
    let run = Run {
        capacity_bytes: plan.capacity_bytes,
        data_bytes: plan.data_bytes(),
        plan: plan.clone(),
        options: options.clone(),
        warm,
        cold,
    };
    let head = Head {
        seed: plan.seed,
        hardware,
        server,
    };
    let (goals, verdict) = (verdict::goals(&run), verdict::verdict(&run));
    let mut document = Document::new(head, run, now_ns() - start_ns, verdict);
    document.goals = Some(goals);
    show(&document);
    if let Some(path) = &args.json {
        document::write(path, &document)?;
    }
    if let Some(path) = &args.html {
        let command = nearcache_cli::text::command(std::env::args());
        document::put(path, &html::page(&document, &command))?;
    }
    Ok(document.outcome())
}

/// With the warm start, and without it.
fn sides(bench: &mut Bench<'_>) -> Result<(Option<Stages>, Option<Stages>), Failure> {
    let (mut warm, mut cold) = (None, None);
    for with in bench.options.arms.clone() {
        let side = Stages {
            rolling: match bench.options.restarts {
                0 => None,
                _ => Some(stage(bench, with, Change::Rolling)?),
            },
            join: match bench.options.join {
                0 => None,
                _ => Some(stage(bench, with, Change::Join)?),
            },
        };
        match with {
            true => warm = Some(side),
            false => cold = Some(side),
        }
    }
    Ok((warm, cold))
}

fn stage(bench: &mut Bench<'_>, warm: bool, change: Change) -> Result<Stage, Failure> {
    let measured = bench.stage(warm, change)?;
    Ok(figures::stage(
        &measured,
        bench.plan,
        bench.options,
        &bench.acks,
    ))
}

fn show(document: &Document<Run>) {
    let columns = terminal::columns();
    outln!("\n{}", table::compared(&document.run, columns));
    outln!("{}", document.goals_table(columns));
    document.say(&table::notes(document));
}

fn announce(plan: &Plan, options: &Options, server: &str) {
    let data = plan.data_bytes() as f64;
    let text = format!(
        "{} pods, each a process, on {server}. {} keys of {}, {} in all; {} of L1 per pod, {:.0} % of that. {} reads/s of \
         the fleet by Zipf {}, {} updates/s; replaced one by one: {}; joining at once: {} into {}; seed {}. Fetched ahead: \
         at most {} keys/s of the fleet, or {} % of its highest rate at L2 where that is more.",
        plan.pods,
        show::count(plan.keys.into()),
        show::bytes(plan.value_bytes as f64),
        show::bytes(data),
        show::bytes(plan.capacity_bytes as f64),
        100.0 * plan.capacity_bytes as f64 / data,
        show::count(options.rate),
        plan.zipf,
        plan.writes,
        options.restarts,
        options.join,
        plan.pods - options.join,
        plan.seed,
        show::count(options.warm_reads as f64),
        options.warm_share
    );
    terminal::paragraph(&text);
}
