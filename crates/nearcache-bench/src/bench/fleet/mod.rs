//! `bench fleet`: many pods on one server, under the same loads through an ordinary pool, through nearcache,
//! and from a server in each pod. What it costs is reported beside what it brings.

mod arms;
#[cfg(nearcache_break)]
mod broken;
mod figures;
mod html;
mod options;
mod report;
mod sidecar;
mod table;
mod verdict;

use std::time::Duration;

use nearcache_cli::outcome::{Failure, Outcome};
use nearcache_cli::show;
use nearcache_cli::terminal::{self, outln};

use crate::document::{self, Document, Head};
use crate::fleet::check::Acks;
use crate::fleet::control::{Control, Place};
use crate::fleet::plan::Plan;
use crate::fleet::program;
use crate::fleet::progress::Progress;
use crate::fleet::proxy::Proxy;
use crate::fleet::writer::Writer;
use crate::machine::{Hardware, free_bytes, now_ns};
use arms::Bench;
pub(crate) use options::Args;
use options::Options;
use report::Run;

/// Runs the benchmark.
pub(crate) fn run(args: &Args) -> Result<Outcome, Failure> {
    let start_ns = now_ns();
    let (plan, options) = options::parse(args)?;
    #[cfg(nearcache_break)]
    if let Some(sabotage) = args.sabotage {
        return broken::run(args, sabotage);
    }
    options::room(&plan, &options, free_bytes())?;
    let hardware = Hardware::detect();
    // Both are held until the end: dropping them ends them.
    let (place, _server) = super::place(&args.redis, args.server.as_deref())?;
    let program = match args.sidecar {
        true => Some(program::needed(args.server.as_deref())?),
        false => None,
    };
    let (pods_place, _proxy) = behind(&place, Duration::from_micros(options.l2_latency_us))?;
    let mut control = Control::open(&place)?;
    let server = control.describe()?;
    announce(&plan, &options, &server);
    let head = Head {
        seed: plan.seed,
        hardware,
        server,
    };
    let mut bench = Bench {
        plan: &plan,
        options: &options,
        place: &pods_place,
        control: Control::open(&place)?,
        writer: None,
        acks: Acks::default(),
        progress: Progress::new(),
        program,
        rows: Vec::new(),
        other_connections: 0,
        stream: 0,
    };
    let result = fill(&mut bench, &place).and_then(|()| bench.run());
    bench.progress.end();
    let cleaned = control.clean(&plan);
    let arms = result?;
    cleaned?;
    let rows = bench.rows;
    let run = Run {
        pods_are_processes: true,
        capacity_bytes: plan.capacity_bytes,
        data_bytes: plan.data_bytes(),
        plan,
        options,
        base_rate_per_s: arms.base_rate_per_s,
        before: arms.before,
        after: arms.after,
        sidecar: arms.sidecar,
        rows,
    };
    let verdict = verdict::verdict(&run);
    let mut document = Document::new(head, run, now_ns() - start_ns, verdict);
    document.goals = Some(verdict::goals(&document));
    show(&document);
    if let Some(path) = &args.json {
        document::write(path, &document)?;
    }
    if let Some(path) = &args.html {
        let command = html::command(std::env::args());
        document::put(path, &html::page(&document, &command))?;
    }
    Ok(document.outcome())
}

/// Fills L2.
fn fill(bench: &mut Bench<'_>, place: &Place) -> Result<(), Failure> {
    bench.progress.say("filling L2");
    let mut writer = Writer::new(place, bench.plan)?;
    bench.acks.add(&writer.fill(&mut bench.progress)?);
    bench.writer = Some(writer);
    let now = bench.control.snapshot()?;
    bench.other_connections = now.map_or(0, |snapshot| snapshot.connections);
    Ok(())
}

fn show(document: &Document<Run>) {
    let columns = terminal::columns();
    outln!("\n{}", table::arms(&document.run, columns));
    outln!("{}", table::rows(&document.run, columns));
    outln!("{}", document.goals_table(columns));
    document.say(&table::notes(document));
}

/// The same server through a proxy, where there is to be a delay.
fn behind(place: &Place, delay: Duration) -> Result<(Place, Option<Proxy>), Failure> {
    let Place::Server { url } = place else {
        return Ok((place.clone(), None));
    };
    if delay.is_zero() {
        return Ok((place.clone(), None));
    }
    // The proxy looks at no byte, so TLS, a user or a database would have to be taken over from the address.
    let target = url
        .strip_prefix("redis://")
        .or(url.strip_prefix("valkey://"));
    let target = target
        .map(|rest| rest.trim_end_matches('/'))
        .filter(|rest| !rest.contains(['@', '/', '?']))
        .ok_or("--l2-latency needs an address of the form redis://host:port")?;
    let target = match target.contains(':') {
        true => target.to_owned(),
        false => format!("{target}:6379"),
    };
    let proxy = Proxy::start(&target, delay)?;
    Ok((Place::Server { url: proxy.url() }, Some(proxy)))
}

fn announce(plan: &Plan, options: &Options, server: &str) {
    let (size, reads) = match &plan.traffic {
        None => ("", format!("by Zipf {}", plan.zipf)),
        Some(traffic) => {
            let dealt = match traffic.by_client {
                true => "each pod those of its clients",
                false => "dealt out in turn",
            };
            let own = match traffic.reads_per_s {
                Some(own) => format!(", where they are {} a second", show::count(own)),
                None => String::new(),
            };
            let guessed = match traffic.guessed {
                (0, _) => String::new(),
                (keys, bytes) => format!(
                    " (the sizes of {} of {} keys are not in it and taken as {})",
                    show::count(keys as f64),
                    show::count(plan.keys.into()),
                    show::bytes(bytes as f64)
                ),
            };
            (
                " on average",
                format!("as in the trace{guessed}{own}, {dealt}"),
            )
        }
    };
    let text = format!(
        "{} pods, each a process, on {server}. {} keys of {}{size}, read {reads}; updates {} of the reads and at least \
         {}/s; {} of L1 per pod; {} s at each rate; seed {}.",
        plan.pods,
        show::count(plan.keys.into()),
        show::bytes(plan.value_bytes as f64),
        show::percent(options.writes_percent / 100.0),
        options.writes_min_per_s,
        show::bytes(plan.capacity_bytes as f64),
        plan.seconds,
        plan.seed
    );
    terminal::paragraph(&text);
}
