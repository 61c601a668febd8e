//! `demo`: the same pods and the same reads on the same L2, first through an ordinary connection pool, then
//! through nearcache, with a writer beside them and a checker behind them.

mod html;
mod report;
mod table;

use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use nearcache::MemoryL2;
use nearcache_cli::outcome::{Failure, Outcome};
use nearcache_cli::show;
use nearcache_cli::terminal::{self, outln};
use nearcache_cli::text::command;

use crate::document::{self, Document, Head};
use crate::fleet::check::Acks;
use crate::fleet::control::{Control, Place};
use crate::fleet::header::HEADER;
use crate::fleet::measure::{Work, measure};
use crate::fleet::message::Load;
use crate::fleet::plan::{Arm, Asked, Plan};
use crate::fleet::pods::Fleet;
use crate::fleet::program;
use crate::fleet::progress::Progress;
use crate::fleet::server::Server;
use crate::fleet::side::{Phases, Side};
use crate::fleet::writer::{Updates, Writer};
use crate::limits;
use crate::machine::Hardware;
use html::Drawn;
use report::Run;

/// What the demo can be told.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Pods that share L2, each a process of its own
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    pods: u16,
    /// Keys
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    keys: u32,
    /// Size of each value
    #[arg(long, default_value = "20KB")]
    value_size: ByteSize,
    /// Exponent of the Zipf distribution of reads; 0 reads all keys alike
    #[arg(long, default_value_t = 0.99)]
    zipf: f64,
    /// Reads per second and pod
    #[arg(long, default_value_t = 1000.0)]
    rate: f64,
    /// Writes per second, spread evenly over the keys
    #[arg(long, default_value_t = 5.0)]
    writes: f64,
    /// How long each side is timed, for example 9s, after a cold start and a stretch at full throughput
    #[arg(long, value_name = "T", default_value = "9s", value_parser = nearcache_cli::text::duration)]
    duration: Duration,
    /// Bytes L1 may hold in each pod
    #[arg(long, default_value = "32MiB")]
    capacity: ByteSize,
    /// Connections in the ordinary pool of each pod
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pool: u16,
    /// Tasks per pod that read at full throughput
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1000))]
    tasks: u16,
    /// What all random choices follow from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The server, for example redis://127.0.0.1:6379; auto starts one
    #[arg(
        long,
        default_value = "auto",
        value_name = "URL",
        conflicts_with = "embedded"
    )]
    redis: String,
    /// Start this server program instead of one found on PATH
    #[arg(long, value_name = "PATH", conflicts_with = "embedded")]
    server: Option<PathBuf>,
    /// Use no server but the embedded store inside this process, whose figures say little about a real one
    #[arg(long)]
    embedded: bool,
    /// Write the figures to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a page for a browser to this file: it needs no other file and no network
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// Runs the demo.
pub(crate) fn run(args: &Args) -> Result<Outcome, Failure> {
    let plan = plan(args)?;
    let hardware = Hardware::detect();
    // Held until the end: dropping it ends the server.
    let (place, _server) = place(args)?;
    let mut control = Control::open(&place)?;
    let server = control.describe()?;
    announce(&plan, &place, &server, args.embedded);
    let head = Head {
        seed: plan.seed,
        hardware,
        server,
    };
    let result = compare(&plan, &place, &mut control, head);
    let cleaned = control.clean(&plan);
    let (document, drawn) = result?;
    cleaned?;
    outln!("\n{}", table::table(&document.run, terminal::columns()));
    document.say(&table::notes(&document));
    terminal::item(&document.origin());
    if let Some(path) = &args.json {
        document::write_pretty(path, &document)?;
    }
    if let Some(path) = &args.html {
        let command = command(std::env::args());
        document::put(path, &html::page(&document, &drawn, &command))?;
    }
    Ok(document.outcome())
}

fn plan(args: &Args) -> Result<Plan, Failure> {
    let bytes = |name: &str, size: ByteSize, least: u64| {
        usize::try_from(size.as_u64())
            .ok()
            .filter(|bytes| *bytes as u64 >= least && *bytes <= isize::MAX as usize)
            .ok_or_else(|| format!("--{name} must be at least {least} bytes, and fit into memory"))
    };
    let value_bytes = bytes("value-size", args.value_size, HEADER as u64)?;
    let capacity_bytes = bytes("capacity", args.capacity, 64 << 10)?;
    if value_bytes > 512 << 20 {
        return Err(
            "--value-size must be at most 512MiB, the largest value a server takes".to_owned(),
        );
    }
    if !(args.rate > 0.0 && args.rate <= 1e6) {
        return Err(
            "--rate must be above 0 and at most 1000000 reads per second and pod".to_owned(),
        );
    }
    let writes = limits::per_second("writes", args.writes, 0.0, 1e5)?;
    let zipf = limits::zipf(args.zipf)?;
    let seconds = limits::seconds(args.duration)?;
    Ok(Plan {
        watched_writes: 4.0,
        tasks: args.tasks.into(),
        pool: args.pool.into(),
        cold_seconds: seconds.min(2),
        flat_out_seconds: seconds.min(2),
        ..Plan::new(Asked {
            pods: args.pods.into(),
            keys: args.keys,
            value_bytes,
            zipf,
            reads_per_pod: args.rate,
            writes,
            capacity_bytes,
            seconds,
            seed: args.seed,
            prefix: "nearcache-demo:".to_owned(),
        })
    })
}

fn place(args: &Args) -> Result<(Place, Option<Server>), Failure> {
    if args.redis != "auto" {
        let url = args.redis.clone();
        return Ok((Place::Server { url }, None));
    }
    if args.embedded {
        return Ok((Place::Embedded(MemoryL2::new()), None));
    }
    let Some(program) = program::find(args.server.as_deref())? else {
        return Ok((Place::Embedded(MemoryL2::new()), None));
    };
    let server = Server::announced(&program)?;
    Ok((Place::Server { url: server.url() }, Some(server)))
}

fn announce(plan: &Plan, place: &Place, server: &str, embedded: bool) {
    let threads = format!(
        "{} pods as threads of this process on its embedded store, which says little about a real server",
        plan.pods
    );
    let pods = match place {
        Place::Server { .. } => format!("{} pods, each a process, on {server}", plan.pods),
        Place::Embedded(_) if embedded => threads,
        Place::Embedded(_) => {
            let mend = program::MEND;
            terminal::paragraph(&format!("There is no server. To see a real one: {mend}."));
            threads
        }
    };
    let load = format!(
        "{} keys of {}, read by Zipf {} at {}/s and pod; {} writes/s. Seed {}.",
        show::count(plan.keys.into()),
        show::bytes(plan.value_bytes as f64),
        plan.zipf,
        show::count(plan.reads_per_pod),
        plan.writes,
        plan.seed
    );
    terminal::paragraph(&format!("{pods}. {load}"));
}

/// Both sides, one after the other, and what follows.
fn compare(
    plan: &Plan,
    place: &Place,
    control: &mut Control,
    head: Head,
) -> Result<(Document<Run>, [Drawn; 2]), Failure> {
    let mut progress = Progress::new();
    progress.say("filling L2");
    let mut writer = Writer::new(place, plan)?;
    let mut acks = Acks::default();
    acks.add(&writer.fill(&mut progress)?);
    let (mut sides, mut drawn) = (Vec::new(), <[Drawn; 2]>::default());
    for (number, arm) in [Arm::Before, Arm::After].into_iter().enumerate() {
        let (figures, drew, back) =
            side(plan, place, control, writer, arm, &mut acks, &mut progress)
                .map_err(|why| format!("{} ({} of 2): {why}", arm.name(), number + 1))?;
        writer = back;
        sides.push(figures);
        drawn[number] = drew;
    }
    progress.end();
    let (after, before) = (
        sides.pop().unwrap_or_default(),
        sides.pop().unwrap_or_default(),
    );
    let verdict = report::verdict(&before, &after, plan.max_staleness_ms);
    let run = Run {
        pods_are_processes: matches!(place, Place::Server { .. }),
        capacity_bytes: plan.capacity_bytes,
        data_bytes: plan.data_bytes(),
        plan: plan.clone(),
        before,
        after,
    };
    Ok((Document::plain(head, run, verdict), drawn))
}

fn side(
    plan: &Plan,
    place: &Place,
    control: &mut Control,
    writer: Writer,
    arm: Arm,
    acks: &mut Acks,
    progress: &mut Progress,
) -> Result<(Side, Drawn, Writer), Failure> {
    let other_connections = control
        .snapshot()?
        .map_or(0, |snapshot| snapshot.connections);
    progress.say(&format!("{}: starting {} pods", arm.name(), plan.pods));
    let mut fleet = Fleet::start(plan, arm, place, &[], progress)?;
    let updates = Updates {
        per_s: plan.writes,
        skewed: false,
        twice: false,
        traced: false,
    };
    let writing = writer.start(updates, arm as u64 + 1);
    let mut phase = |name: &str, load, seconds: u64, stream| {
        let title = format!("{}: {name}", arm.name());
        let work = Work {
            load,
            seconds: seconds as f64,
            stream,
            reads_per_pod: plan.reads_per_pod,
            reads: None,
        };
        measure(&mut fleet, control, progress, &title, work)
    };
    // The same choices on both sides, so that both are asked the same questions.
    let cold = phase("cold", Load::Paced, plan.cold_seconds, 1)?;
    let flat_out = phase("flat out", Load::FlatOut, plan.flat_out_seconds, 2)?;
    let paced = phase("paced", Load::Paced, plan.seconds, 3)?;
    drop(fleet);
    let (writer, log) = writing.stop()?;
    acks.add(&log);
    let phases = Phases {
        cold: &cold,
        paced: &paced,
        flat_out: &flat_out,
        max_staleness_ms: plan.max_staleness_ms,
        other_connections,
        writes: log.len() as u64,
    };
    let drawn = Drawn::new(&cold, &paced);
    Ok((Side::new(arm, &phases, acks), drawn, writer))
}
