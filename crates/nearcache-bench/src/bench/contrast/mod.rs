//! `bench contrast`: the traps of client-side caching, tried on the drop-in and on redis-rs's own cache, each
//! through a proxy of its own to one server. A report, no gate: it fails only when it cannot be made.

mod traps;

use std::path::PathBuf;
use std::time::Duration;

use nearcache::{NearCache, redis as drop_in};
use nearcache_cli::grid::Grid;
use nearcache_cli::outcome::{Failure, Outcome};
use nearcache_cli::show;
use nearcache_cli::terminal::{self, outln};
use redis::caching::CacheConfig;
use redis::{AsyncConnectionConfig, Client, ProtocolVersion, RedisResult};
use serde::Serialize;
use tokio::runtime::{Builder, Runtime};

use super::l1::releases;
use crate::document;
use crate::fleet::control::{Control, Place};
use crate::fleet::program;
use crate::fleet::proxy::Proxy;
use crate::fleet::server::Server;
use traps::{ALL, Finding, Subject, Trap};

/// What it can be told.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Start this server program instead of one found on PATH
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,
    /// Write all figures to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Everything it found.
#[derive(Debug, Serialize)]
struct Run {
    version: &'static str,
    libraries: Vec<String>,
    server: String,
    traps: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    trap: Trap,
    nearcache: Finding,
    cache_aio: Finding,
}

/// Tries all traps.
pub(super) fn run(args: &Args) -> Result<Outcome, Failure> {
    let program = program::needed(args.server.as_deref())?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let server = Server::start(&program, &[])?;
    let place = Place::Server { url: server.url() };
    let run = Run {
        version: env!("CARGO_PKG_VERSION"),
        libraries: releases(&["redis"]),
        server: Control::open(&place)?.describe()?,
        traps: ALL
            .into_iter()
            .map(|trap| row(trap, &server, &runtime))
            .collect::<Result<_, _>>()?,
    };
    table(&run);
    if let Some(path) = &args.json {
        document::write(path, &run)?;
    }
    Ok(Outcome::Good)
}

fn row(trap: Trap, server: &Server, runtime: &Runtime) -> Result<Row, Failure> {
    Ok(Row {
        trap,
        nearcache: nearcache(trap, server, runtime)?,
        cache_aio: cache_aio(trap, server, runtime)?,
    })
}

fn nearcache(trap: Trap, server: &Server, runtime: &Runtime) -> Result<Finding, Failure> {
    let proxy = Proxy::start(&server.address(), Duration::ZERO)?;
    let cache = NearCache::builder()
        .redis(proxy.url())
        .warm_start(false)
        .connect_blocking()
        .map_err(|error| error.to_string())?;
    let subject = Subject {
        client: drop_in::Connection::new(cache.as_async()),
        proxy: &proxy,
        other: &mut other(server)?,
        server: server.id(),
        prefix: format!("nearcache-contrast:{trap:?}:a:"),
    };
    runtime.block_on(trap.try_on(subject))
}

fn cache_aio(trap: Trap, server: &Server, runtime: &Runtime) -> Result<Finding, Failure> {
    let proxy = Proxy::start(&server.address(), Duration::ZERO)?;
    let open = || -> RedisResult<_> {
        let client = Client::open(proxy.url())?;
        let info = client.get_connection_info().clone();
        let settings = info.redis_settings().clone();
        let info = info.set_redis_settings(settings.set_protocol(ProtocolVersion::RESP3));
        let config = AsyncConnectionConfig::new().set_cache_config(CacheConfig::new());
        let resp3 = Client::open(info)?;
        runtime.block_on(resp3.get_multiplexed_async_connection_with_config(&config))
    };
    let client = open().map_err(|error| format!("redis-rs cannot reach the server: {error}"))?;
    let subject = Subject {
        client,
        proxy: &proxy,
        other: &mut other(server)?,
        server: server.id(),
        prefix: format!("nearcache-contrast:{trap:?}:b:"),
    };
    runtime.block_on(trap.try_on(subject))
}

fn other(server: &Server) -> Result<redis::Connection, Failure> {
    let open = || Client::open(server.url())?.get_connection_with_timeout(Duration::from_secs(5));
    open().map_err(|error| format!("cannot reach the server: {error}"))
}

fn table(run: &Run) {
    let library = run.libraries.first().map_or("redis", String::as_str);
    outln!(
        "On {}; old answers after the event, asked for 5 s.\n",
        run.server
    );
    let library = format!("{library} cache-aio");
    let mut grid = Grid::new(["trap", "nearcache", &library]);
    for row in &run.traps {
        grid.row([
            row.trap.name().to_owned(),
            said(row.trap, &row.nearcache),
            said(row.trap, &row.cache_aio),
        ]);
    }
    outln!("{}", grid.text(terminal::columns()));
}

/// A finding in a few words.
fn said(trap: Trap, found: &Finding) -> String {
    let once = matches!(trap, Trap::Pipeline | Trap::Multi);
    let answer = match (found.old_until_ms, found.right) {
        (Some(_), _) if once => "wrong answer".to_owned(),
        (None, true) => "right at once".to_owned(),
        (None, false) => "no answer".to_owned(),
        (Some(ms), true) if trap == Trap::ServerStop => format!("hits for {}", time(ms)),
        (Some(ms), true) => format!("old for {}", time(ms)),
        (Some(ms), false) => format!("OLD as long as asked ({})", time(ms)),
    };
    match found.errors {
        0 => answer,
        errors => format!("{answer}, {errors} errors"),
    }
}

fn time(ms: u64) -> String {
    show::time(ms.max(1) as f64 * 1e3)
}
