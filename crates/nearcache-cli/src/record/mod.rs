//! `nearcache record`: makes a trace file from what clients ask a live server, with `MONITOR`, under a limit of commands a
//! second. Changes nothing at the server.

mod commands;
mod fills;
mod link;
mod monitor;
mod output;
mod sizes;

use std::collections::HashSet;
use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use crate::outcome::{Failure, Outcome};
use crate::show;
use crate::terminal::outln;
use commands::Op;
use fills::Fills;
use link::{Got, Link, Target};
use monitor::{Arg, Line, Parser};
use output::{Names, Output, Request};
use sizes::Sizes;

/// What is recorded, and how carefully.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The server, for example redis://user:password@127.0.0.1:6379
    #[arg(long, value_name = "URL")]
    redis: String,
    /// PEM certificates of the authority to believe with rediss://, instead of the well-known ones
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// For how long, for example 30s or 5m
    #[arg(long, value_name = "T", value_parser = crate::text::duration)]
    duration: Duration,
    /// The trace file to make
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Write hashes of the keys instead of the keys; the same SALT makes the same hashes, without one nobody can repeat them
    #[arg(long, value_name = "SALT", num_args = 0..=1, default_missing_value = "")]
    hash_keys: Option<String>,
    /// Commands a second from which on MONITOR is dropped for the rest of that second
    #[arg(long, value_name = "N", default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(1..))]
    max_rate: u64,
    /// Values a second whose size is asked for with STRLEN
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    sample_sizes: u32,
}

/// The server's lines may be this late before it is given time to get rid of them.
const BEHIND_US: i64 = 2_000_000;
const SECOND: Duration = Duration::from_secs(1);
/// Client addresses that are told apart when they are counted.
const CLIENTS: usize = 65_536;

/// Records.
///
/// # Errors
///
/// The server cannot be reached or does not allow it, or the file cannot be written.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    let authority = args.cacert.as_ref().map(|path| {
        fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
    });
    let target = Target::new(&args.redis, authority.transpose()?)?;
    let hidden = args.hash_keys.is_some();
    outln!(
        "{}",
        show::wrapped(
            &format!(
                "MONITOR makes the server send a copy of every command: on a busy server that about halves its throughput, \
                 for up to {:.0} s, and holds what this command has not read yet in its memory. Above {} commands/s, or when its \
                 lines come over 2 s late, MONITOR is dropped until the second is over; what it costs ends with it. Sizes are asked for on a second \
                 connection, up to {}/s. The keys are written {}; values are not written.",
                args.duration.as_secs_f64(),
                show::count(args.max_rate as f64),
                args.sample_sizes,
                if hidden {
                    "as hashes"
                } else {
                    "as they are (see --hash-keys)"
                },
            ),
            "",
            110
        )
    );
    let word = format!("nearcache-record-{:016x}", RandomState::new().hash_one(0));
    let sizes = Sizes::open(&target.client, args.sample_sizes, word)?;
    let link = Link::open(&target)?;
    let output = Output::create(&args.output, Names::new(args.hash_keys.as_deref()))?;
    let mut recorder = Recorder::new(output, sizes, args.max_rate);
    let end = recorder.start + args.duration;
    let bad = listen(&mut recorder, &target, link, end)?;
    recorder.say(args, bad);
    Ok(Outcome::of(recorder.requests() > 0))
}

/// Takes what comes until the end; how many lines could not be read. Fails only where the file cannot be written: a
/// server that is gone is tried again each second, and what was recorded before stays.
fn listen(
    recorder: &mut Recorder,
    target: &Target,
    link: Link,
    end: Instant,
) -> Result<u64, Failure> {
    let (mut link, mut parser) = (Some(link), Parser::new());
    let mut buffer = vec![0; 64 << 10];
    let mut flushed = Instant::now();
    while Instant::now() < end {
        match &mut link {
            Some(open) => match open.read(&mut buffer) {
                Ok(Got::Bytes(bytes)) => {
                    recorder.received_bytes += bytes as u64;
                    parser.feed(&buffer[..bytes], &mut |line| recorder.take(line));
                }
                Ok(Got::Nothing) => {}
                Ok(Got::End) => recorder.lose("the server hung up".to_owned()),
                Err(error) => recorder.lose(error.to_string()),
            },
            None => match Link::open(target) {
                Ok(open) => (link, recorder.lost) = (Some(open), None),
                Err(why) => recorder.lose(why),
            },
        }
        if let Some(why) = recorder.failed.take() {
            return Err(why);
        }
        if flushed.elapsed() >= SECOND || recorder.pause.is_some() {
            recorder.output.flush()?;
            flushed = Instant::now();
        }
        if let Some(pause) = recorder.pause.take() {
            // Dropped first: the server has nothing to do for it while it rests.
            recorder.pauses += u64::from(link.take().is_some());
            let pause = pause.min(end.saturating_duration_since(Instant::now()));
            recorder.paused += pause;
            thread::sleep(pause);
            parser.reset();
            recorder.again();
        }
    }
    recorder.output.flush()?;
    Ok(parser.bad)
}

/// What was recorded so far.
struct Recorder {
    output: Output,
    sizes: Sizes,
    max_rate: u64,
    start: Instant,
    first_us: Option<u64>,
    /// By the server's clock, and commands in it.
    second: (u64, u64),
    /// The least that this host's clock was ahead of a line.
    ahead_us: Option<i64>,
    /// The connection that asks for sizes.
    own: Vec<u8>,
    pause: Option<Duration>,
    pauses: u64,
    paused: Duration,
    /// Why there is no connection.
    lost: Option<String>,
    received_bytes: u64,
    failed: Option<Failure>,
    fills: Fills,
    /// By number; as many as are counted.
    clients: HashSet<u32>,
    /// By [`Op`].
    counts: [u64; 4],
    with_size: u64,
    other: u64,
    long_keys: u64,
    left_out: u64,
}

impl Recorder {
    fn new(output: Output, sizes: Sizes, max_rate: u64) -> Self {
        Self {
            output,
            sizes,
            max_rate,
            start: Instant::now(),
            first_us: None,
            second: (0, 0),
            ahead_us: None,
            own: Vec::new(),
            pause: None,
            pauses: 0,
            paused: Duration::ZERO,
            lost: None,
            received_bytes: 0,
            failed: None,
            fills: Fills::default(),
            clients: HashSet::new(),
            counts: [0; 4],
            with_size: 0,
            other: 0,
            long_keys: 0,
            left_out: 0,
        }
    }

    fn requests(&self) -> u64 {
        self.counts[..3].iter().sum()
    }

    /// After a pause.
    fn again(&mut self) {
        self.second = (0, 0);
        self.ahead_us = None;
        self.fills.forget();
    }

    /// There is no connection; the next try is a second away.
    fn lose(&mut self, why: String) {
        self.lost = Some(why);
        self.pause = Some(SECOND);
    }

    /// Whether the server is asked too much of: by the rate, or because its lines pile up there.
    fn guard(&mut self, at_us: u64) {
        let second = at_us / 1_000_000;
        if second != self.second.0 {
            self.second = (second, 0);
        }
        self.second.1 += 1;
        let now_us = self.start.elapsed().as_micros() as i64;
        let ahead_us = now_us.saturating_sub_unsigned(at_us);
        let least = self.ahead_us.map_or(ahead_us, |least| least.min(ahead_us));
        self.ahead_us = Some(least);
        if self.second.1 > self.max_rate {
            self.pause = Some(Duration::from_micros(1_000_000 - at_us % 1_000_000));
        } else if ahead_us - least > BEHIND_US {
            self.pause = Some(SECOND);
        }
    }

    fn take(&mut self, line: &Line<'_>) {
        // What still came with the line that was too much is not taken: the rest of its second is missing as a whole.
        if self.pause.is_some() {
            return;
        }
        self.guard(line.at_us);
        if self.pause.is_some() || self.mine(line) {
            return;
        }
        let first_us = *self.first_us.get_or_insert(line.at_us);
        let at_ms = line.at_us.saturating_sub(first_us) / 1000;
        self.left_out += line.left_out;
        let client = self.output.names().client(line.client);
        if self.clients.len() < CLIENTS {
            self.clients.insert(client);
        }
        let life_us = commands::life_us(line.args);
        if let Some((key, life_us)) = commands::ended(line.args).and_then(Arg::whole).zip(life_us) {
            let number = self.output.names().number(line.db, key);
            self.fills
                .expires(number, line.at_us.saturating_add(life_us));
        }
        if commands::flushes(line.args) {
            self.fills.forget();
        }
        let recorded = commands::requests(line.args, |op, key, size| {
            let Some(key) = key.whole() else {
                self.long_keys += 1;
                return;
            };
            let number = self.output.names().number(line.db, key);
            let at_us = line.at_us;
            let (op, size) = match op {
                Op::Get => {
                    self.fills.read(number, client, at_us);
                    (op, self.sizes.of(line.db, key, number))
                }
                Op::Set | Op::Del | Op::Fill => {
                    self.sizes.written(number, size);
                    // Only of all of a value it is known whether it was there before.
                    let whole = op == Op::Set && size.is_some();
                    let fill = whole && self.fills.written(number, client, at_us, life_us);
                    if op == Op::Del {
                        self.fills.deleted(number);
                    }
                    (if fill { Op::Fill } else { op }, size)
                }
            };
            self.counts[op as usize] += 1;
            self.with_size += u64::from(size.is_some());
            let added = self.output.add(&Request {
                at_ms,
                client,
                op: op.name(),
                db: line.db,
                key,
                number,
                size,
            });
            self.failed = self.failed.take().or(added.err());
        });
        self.other += u64::from(!recorded);
    }

    /// Whether it is a question for a size. On a unix socket all clients have one name: others' `STRLEN` go with them.
    fn mine(&mut self, line: &Line<'_>) -> bool {
        let word = |at: usize| line.args.get(at).and_then(|arg| arg.whole());
        let (name, text) = (word(0).unwrap_or_default(), word(1).unwrap_or_default());
        if text == self.sizes.word.as_bytes() {
            self.own.clear();
            self.own.extend_from_slice(line.client);
            return true;
        }
        line.client == self.own && (name == b"STRLEN" || name == b"SELECT")
    }

    fn say(&self, args: &Args, bad: u64) {
        let [gets, sets, dels, fills] = self.counts.map(|count| show::count(count as f64));
        let clients = match self.clients.len() {
            0 | 1 => "one client address: a replay deals its requests out to all pods".to_owned(),
            CLIENTS.. => format!("at least {} client addresses", show::count(CLIENTS as f64)),
            clients => format!(
                "{} client addresses, each a pod",
                show::count(clients as f64)
            ),
        };
        outln!(
            "Recorded {} requests in {}: {gets} get, {sets} set, {dels} del, of {clients}; beside them {fills} fills, sets of what \
             the same client had just missed; {} with a size, {} sizes asked for.",
            show::count(self.requests() as f64),
            args.output.display(),
            show::count(self.with_size as f64),
            show::count(self.sizes.asked as f64),
        );
        outln!(
            "Skipped: {} commands of other kinds, {} keys over 4 KiB, {} arguments beyond 1,024 of a command, {bad} unreadable lines.",
            show::count(self.other as f64),
            self.long_keys,
            self.left_out
        );
        let whole = self.start.elapsed();
        outln!(
            "Cost to the server: MONITOR for {:.1} of {:.1} s, {} of lines, {} times STRLEN.",
            whole.saturating_sub(self.paused).as_secs_f64(),
            whole.as_secs_f64(),
            show::bytes(self.received_bytes as f64),
            show::count(self.sizes.asked as f64)
        );
        if self.fills.unfollowed > 0 {
            outln!(
                "There are too many keys to follow all: {} requests were of others, whose fills count as set.",
                show::count(self.fills.unfollowed as f64)
            );
        }
        if let Some(why) = &self.lost {
            outln!("The connection was lost at the end ({why}).");
        }
        if self.sizes.ended {
            outln!(
                "The connection that asks for sizes ended early: after that there are only those of writes."
            );
        }
        if self.pauses > 0 {
            outln!(
                "NOT ALL: MONITOR was dropped {} times, {:.1} s together, because there were more than {} commands/s or the server \
                 fell behind or hung up. Nothing of that time is in the file.",
                self.pauses,
                self.paused.as_secs_f64(),
                show::count(args.max_rate as f64)
            );
        }
        if self.requests() == 0 {
            outln!("There was no request: the file is no trace yet.");
        }
    }
}
