//! What the exchange of statistics costs, as text; and for how long it is simulated.

use std::fmt::Write as _;
use std::time::Duration;

use nearcache_sim::{Exchange, ExchangeCost, ExchangeKind};

use super::MergeUs;
use crate::grid::Grid;
use crate::show::{bytes, count};
use crate::terminal;

/// What `--exchange` is given.
pub(super) fn minutes(text: &str) -> Result<Duration, String> {
    let minutes = text.parse().ok().filter(|m| (1.0..=10_080.0).contains(m));
    let minutes: f64 = minutes.ok_or("the exchange is simulated for 1 to 10080 minutes")?;
    Ok(Duration::from_secs_f64(minutes * 60.0))
}

/// What is printed.
pub(super) fn text(exchange: &Exchange, merge_us: Option<MergeUs>) -> String {
    let mut text = format!(
        "\nWhat {} pods tell each other, and what that costs L2, in {:.0} min\n\n",
        exchange.pods,
        exchange.seconds / 60.0
    );
    let mut grid = Grid::new([
        "",
        ">commands/s",
        ">bytes/s",
        ">% of L2 reads",
        ">% of L2 bytes",
    ]);
    grid.row([
        "the fleet's own reads".to_owned(),
        count(exchange.l2_reads_per_second),
        bytes(exchange.l2_bytes_per_second),
    ]);
    for (kind, cost) in &exchange.kinds {
        grid.row(row(name(*kind), cost));
    }
    grid.row(row("all of the exchange", &exchange.total));
    text += &grid.text(terminal::columns());
    let _ = writeln!(
        text,
        "\n{} reads a second, {:.1} % of them hits. A pod publishes {} every {:.0} s and looks every {:.0} s; {} times it put \
         that off.",
        count(exchange.reads_per_second),
        100.0 * exchange.hit_rate,
        bytes(exchange.blob_bytes),
        exchange.published_every_seconds,
        exchange.looked_every_seconds,
        count(exchange.put_off as f64),
    );
    let merges = &exchange.merges;
    let took = merge_us.map_or_else(String::new, |us| {
        let (mean, max) = (count(us.mean), count(us.max));
        format!(" and takes {mean} us of one core (at most {max})")
    });
    let _ = writeln!(
        text,
        "A merge reads {} every {:.0} s{took}; the manifest has {} keys of {} pods in {}.",
        bytes(merges.bytes),
        merges.every_seconds,
        count(exchange.manifest_keys as f64),
        exchange.manifest_pods,
        bytes(exchange.manifest_bytes as f64),
    );
    if exchange.failed_reads > 0 {
        let failed = count(exchange.failed_reads as f64);
        let _ = writeln!(
            text,
            "{failed} reads failed, which should not be: the figures are wrong"
        );
    }
    text
}

fn row(name: &str, cost: &ExchangeCost) -> [String; 5] {
    [
        name.to_owned(),
        format!("{:.2}", cost.commands_per_second),
        bytes(cost.bytes_per_second),
        format!("{:.3}", cost.percent_of_reads),
        format!("{:.3}", cost.percent_of_bytes),
    ]
}

fn name(kind: ExchangeKind) -> &'static str {
    match kind {
        ExchangeKind::BlobsPublished => "blobs published",
        ExchangeKind::BlobsMerged => "blobs merged",
        ExchangeKind::LeaseAttempts => "tries for the lease",
        ExchangeKind::ManifestsRead => "manifests read",
        ExchangeKind::Pace => "leave to fetch ahead",
    }
}
