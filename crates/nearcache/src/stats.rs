//! What an operator asks first: does it hit, is the lane up, how old can a hit be, what is failing.
//!
//! A snapshot of counters that are read one by one; no keys and no values.

use std::fmt;
use std::time::Duration;

use bytesize::ByteSize;
use nearcache_io::IoThread;
use nearcache_l1::StoreStats;
use nearcache_proto::{Cache, Io, LaneState, Totals};

/// A snapshot of one pod. Its [`Display`](fmt::Display) is a summary of a few lines.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// What the pod did since it started.
    pub totals: Totals,
    /// What L1 holds, and what became of what it held.
    pub store: StoreStats,
    /// The lanes, one for each primary: one, unless L2 is several.
    pub lanes: Vec<LaneStats>,
    /// Whether L1 is on (setting `enabled`).
    pub enabled: bool,
    /// One read in so many is counted for the fleet's statistics, and counts as so many.
    pub sampling_period: u32,
    /// The process.
    pub pid: u32,
}

/// The lane to one primary, as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LaneStats {
    /// Where the primary is, without credentials.
    pub l2: String,
    /// How the lane is.
    pub state: LaneState,
    /// Whether it ever was up.
    pub was_up: bool,
    /// How long ago the heartbeat was sent under which hits are served; `None`: none are.
    pub lease_age: Option<Duration>,
}

impl Stats {
    pub(crate) fn of(cache: &Cache<IoThread>, l2: &str, enabled: bool) -> Self {
        let pod = cache.pod();
        let lane = |lane: nearcache_proto::LaneStats| LaneStats {
            l2: l2.to_owned(),
            state: lane.state,
            was_up: lane.was_up,
            lease_age: lane.lease_age,
        };
        Self {
            totals: pod.totals(),
            store: pod.store_stats(),
            lanes: pod.lanes(cache.io().now()).into_iter().map(lane).collect(),
            enabled,
            sampling_period: pod.sampling_period(),
            pid: std::process::id(),
        }
    }

    /// All reads: hits, misses, and those that were served stale or refused by their policy.
    pub fn reads_total(&self) -> u64 {
        let t = &self.totals;
        t.hits_total + t.misses_total + t.stale_total + t.unproven_total
    }

    /// The share of all reads that were hits, from 0 to 1; `None` before the first read. It means
    /// nothing without the capacity: `store.capacity`.
    pub fn hit_rate(&self) -> Option<f64> {
        let reads = self.reads_total();
        (reads > 0).then(|| self.totals.hits_total as f64 / reads as f64)
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (t, s) = (&self.totals, &self.store);
        for lane in &self.lanes {
            writeln!(f, "{lane} | pid {}", self.pid)?;
        }
        match self.hit_rate() {
            _ if !self.enabled => f.write_str("reads   L1 IS OFF (enabled = false), no hits")?,
            Some(rate) => write!(f, "reads   {:.2} % hits", rate * 100.0)?,
            None => write!(f, "reads   none yet")?,
        }
        write!(f, " of {} with {}", self.reads_total(), size(s.capacity))?;
        write!(f, " | {} misses, {} joined", t.misses_total, t.joined_total)?;
        writeln!(
            f,
            " | {} stale, {} refused",
            t.stale_total, t.unproven_total
        )?;
        write!(f, "memory  {} of {}", size(s.weight), size(s.capacity))?;
        write!(f, " in {} entries | {} evicted", s.entries, s.evictions)?;
        writeln!(f, ", {} expired, {} invalidated", s.expired, s.invalidated)?;
        f.write_str("lease  ")?;
        for (place, lane) in self.lanes.iter().enumerate() {
            f.write_str(if place == 0 { " " } else { ", " })?;
            match lane.lease_age {
                Some(age) => write!(f, "{:.3} s old", age.as_secs_f64())?,
                None if matches!(lane.state, LaneState::Closed) => write!(f, "given up")?,
                None => write!(f, "NONE, nothing is served as fresh")?,
            }
        }
        let oldest = Duration::from_micros(t.lease_age_max_us).as_secs_f64();
        write!(
            f,
            ", at most {oldest:.3} s so far | {} ran out",
            t.lapsed_total
        )?;
        write!(
            f,
            " | {} connects, {} lost",
            t.connects_total, t.disconnects_total
        )?;
        writeln!(
            f,
            ", {} failed, {} degraded",
            t.connect_failures_total, t.degraded_total
        )?;
        write!(f, "l2      {} fills", t.fills_total)?;
        write!(f, " ({})", ByteSize::b(t.fill_bytes_total).display().iec())?;
        let (refused, large) = (t.fills_refused_total, t.oversize_total);
        write!(f, ", {refused} not kept, {large} too large to keep")?;
        write!(f, " | {} writes | {} loads", t.writes_total, t.loads_total)?;
        write!(f, " ({} without l2)", t.loads_l2_down_total)?;
        let pushes = t.invalidations_total;
        writeln!(f, " | {pushes} keys pushed, {} flushes", t.flushes_total)?;
        write!(
            f,
            "errors  {} fills, {} writes",
            t.fill_errors_total, t.write_errors_total
        )?;
        let kept = t.load_write_errors_total;
        write!(
            f,
            ", {} loads ({} timed out, {} abandoned), {kept} not written",
            t.load_errors_total, t.load_timeouts_total, t.loads_abandoned_total
        )?;
        write!(
            f,
            ", {} timeouts, {} rejected",
            t.timeouts_total, t.rejected_total
        )
    }
}

impl fmt::Display for LaneStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.state {
            LaneState::Up => write!(f, "lane    up")?,
            LaneState::Degraded(why) => write!(f, "lane    UP WITHOUT INVALIDATIONS: {why}")?,
            LaneState::Down(why) if !self.was_up => {
                write!(f, "lane    DOWN, never up yet: {why}")?;
            }
            LaneState::Down(why) => write!(f, "lane    DOWN: {why}")?,
            LaneState::Closed => write!(f, "lane    closed")?,
            other => write!(f, "lane    {other:?}")?,
        }
        write!(f, " | {}", self.l2)
    }
}

fn size(bytes: usize) -> String {
    ByteSize::b(bytes as u64).display().iec().to_string()
}
