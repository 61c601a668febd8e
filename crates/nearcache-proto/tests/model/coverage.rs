//! What schedules met: a fault that never struck an operation proves nothing about it.

use std::fmt;

macro_rules! named {
    ($(#[$doc:meta])* $type:ident: $($(#[$variant_doc:meta])* $variant:ident $text:literal,)*) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $type { $($(#[$variant_doc])* $variant,)* }

        impl $type {
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

named! {
    /// What can go wrong.
    Fault:
    Delay "delay",
    /// Answers of different connections, or of one IO thread's batches, are taken up in another order.
    Reorder "reorder",
    HalfOpen "half-open",
    Reset "reset",
    /// The server hangs up; what it had sent still arrives.
    HangUp "hang-up",
    SideReset "side reset",
    ServerPause "server pause",
    /// The pod's IO thread does not run, its callers do.
    IoStarved "io starved",
    /// The whole process is stopped, and goes on later.
    Stopped "pod stopped",
    /// A caller stops between two steps of a call, while all others go on.
    Preempted "preempted",
    ClockRate "clock rate",
    Restart "restart",
    RestartEmpty "restart empty",
    Flush "flush",
    Expiry "expiry",
    Eviction "eviction",
    Demotion "demotion",
    /// The next primary lacks the last writes.
    Failover "failover",
    SlowConsumer "slow consumer",
    TableFull "table full",
    Cancel "cancel",
    LoaderFails "loader fails",
    LoaderPanics "loader panics",
    LoaderHangs "loader hangs",
    LoaderRecurses "loader recurses",
    /// A caller's future is kept, and not polled any more.
    Parked "caller parked",
    CachingRefused "no caching",
    /// A key moves to another name, or another db.
    KeyMoves "key moves",
    Script "own script",
}

named! {
    /// What callers do.
    Operation:
    Get "get",
    Reply "reply",
    GetOrError "get/err",
    GetStale "get/stale",
    Many "many",
    Pipeline "pipeline",
    MGet "mget",
    Validated "valid",
    Load "load",
    Set "set",
    Delete "del",
    Script "script",
    Multi "multi",
    Exec "exec",
    Watch "watch",
    Mixed "mixed",
    Switched "select",
    Fence "fence",
    /// What the background does: fetches what nobody has asked for.
    Ahead "ahead",
}

named! {
    /// Why a fill was not kept.
    Cause:
    Key "key invalidated",
    Flushed "flushed",
    HistoryOver "history over",
    TooLarge "too large",
    NotAdmitted "not admitted",
    Failed "failed",
}

pub const FAULTS: usize = Fault::ALL.len();
const OPERATIONS: usize = Operation::ALL.len();
const CAUSES: usize = Cause::ALL.len();

macro_rules! coverage {
    ($($name:ident),* $(,)?) => {
        /// How often each thing happened.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Coverage {
            $(pub $name: u64,)*
            /// How often a fault struck.
            pub strikes: [u64; FAULTS],
            /// Calls that a fault struck, or during which it lasted, by operation.
            pub met: [[u64; OPERATIONS]; FAULTS],
            /// Hits served after a fault in the same schedule.
            pub hits_after: [u64; FAULTS],
            pub refused: [u64; CAUSES],
        }

        impl Coverage {
            fn counts(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }

            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
                add(&mut self.strikes, &other.strikes);
                add(&mut self.hits_after, &other.hits_after);
                add(&mut self.refused, &other.refused);
                for (mine, theirs) in self.met.iter_mut().zip(&other.met) {
                    add(mine, theirs);
                }
            }
        }
    };
}

coverage! {
    schedules, events, hits, peeks, kept_replies, l2_reads, stale_reads, renewals, many, together, validated, loads,
    loads_without_l2, loads_lent, loads_queued, loads_abandoned, load_timeouts, replaced, absences_loaded, loader_failures, fetched_ahead, own_writes, optimistic, foreign_writes, reconnects, degraded, away_writes, lost_writes, joined,
    not_sent, unknown_outcomes, timeouts, reads_failed, preempted_hits,
}

fn add(to: &mut [u64], from: &[u64]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += from;
    }
}

impl Coverage {
    /// Panics when something never happened.
    pub fn check(&self) {
        let mut never = Vec::new();
        let counts = self.counts();
        never.extend(
            counts
                .iter()
                .filter(|(_, n)| *n == 0)
                .map(|(name, _)| (*name).to_owned()),
        );
        for (fault, row) in Fault::ALL.iter().zip(&self.met) {
            for (operation, met) in Operation::ALL.iter().zip(row) {
                if *met == 0 {
                    never.push(format!("{} during {}", fault.name(), operation.name()));
                }
            }
        }
        let after = Fault::ALL
            .iter()
            .zip(&self.hits_after)
            .filter(|(_, n)| **n == 0);
        never.extend(after.map(|(fault, _)| format!("a hit after {}", fault.name())));
        let causes = Cause::ALL
            .iter()
            .zip(&self.refused)
            .filter(|(_, n)| **n == 0);
        never.extend(causes.map(|(cause, _)| format!("a fill refused: {}", cause.name())));
        assert!(
            never.is_empty(),
            "no schedule ever met: {}",
            never.join("; ")
        );
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (name, count)) in self.counts().iter().enumerate() {
            let end = if place % 6 == 5 { "\n" } else { "  " };
            write!(f, "{name} {count}{end}")?;
        }
        write!(f, "\nfills not kept:")?;
        for (cause, count) in Cause::ALL.iter().zip(&self.refused) {
            write!(f, "  {} {count}", cause.name())?;
        }
        write!(f, "\n\n{:<14} {:>8} {:>9}", "fault", "strikes", "hits then")?;
        for operation in Operation::ALL {
            write!(f, " {:>9}", operation.name())?;
        }
        for (number, fault) in Fault::ALL.iter().enumerate() {
            let (strikes, hits) = (self.strikes[number], self.hits_after[number]);
            write!(f, "\n{:<14} {strikes:>8} {hits:>9}", fault.name())?;
            for met in &self.met[number] {
                write!(f, " {met:>9}")?;
            }
        }
        Ok(())
    }
}
