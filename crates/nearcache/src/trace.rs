//! A trace of what this pod reads, for `nearcache simulate`, without `MONITOR` at the server.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use nearcache_io::Owned;
use nearcache_proto::working_set::{ReadTrace, TraceNames};
use nearcache_proto::{Error, ErrorKind};

use crate::NearCache;

/// A trace of this pod's reads that is being made, until this is dropped ([`NearCache::export_trace`]).
pub struct TraceExport(Owned<Arc<ReadTrace>>);

impl NearCache {
    /// Begins a trace of what this pod reads, in the format of `nearcache simulate` and `bench fleet --trace`,
    /// from the samples that it counts reads with anyway. At most `most_bytes` of lines wait to be
    /// [taken](TraceExport::take); further ones are left out and counted.
    ///
    /// ```
    /// # use nearcache::{NearCache, TraceNames};
    /// # let cache = NearCache::builder().memory().build()?;
    /// let trace = cache.export_trace(TraceNames::Hashed("a salt for all pods".into()), 64 << 20)?;
    /// // ... later, once or again and again:
    /// let mut file = Vec::new(); // or a real one
    /// file.extend(trace.take());
    /// # assert!(file.starts_with(b"ts_ms,client,op,key,size\n"));
    /// # Ok::<(), nearcache::Error>(())
    /// ```
    ///
    /// - Each line is a read, a hit or not, with the size of the value if it is resident. A pod of up to some 4,000 reads
    ///   a second notes all of them; of a busier one a line stands for several ([`TraceExport::reads_total`]), and a
    ///   replay hits less than the pod does.
    /// - Times are when reads were counted, a second to ten late.
    /// - Writes are not in it: give `simulate --writes` what [`Stats`](crate::Stats) counted as pushed keys.
    /// - Pods of one fleet have numbers of their own: their files make one trace when their lines are sorted by time, with
    ///   one header. Keys are called the same in all of them, if hashed under the same salt.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] where reads are not counted (`statistics` or `enabled` is false), and
    /// [`ErrorKind::Usage`] while another trace of this pod is being made.
    pub fn export_trace(&self, names: TraceNames, most_bytes: usize) -> Result<TraceExport, Error> {
        let settings = self.settings();
        if !(settings.statistics && settings.enabled) {
            return Err(Error::new(
                ErrorKind::Configuration,
                "a trace is made of the reads that are counted: set statistics = true and enabled = true",
            ));
        }
        let unix = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let unix_ms = u64::try_from(unix.as_millis()).unwrap_or(u64::MAX);
        let zero = unix_ms.saturating_sub(nearcache_io::now().as_micros() / 1000);
        // Half of it is as good a number of a pod.
        let client = crate::builder::random() as u32;
        let trace = Arc::new(ReadTrace::new(names, client, zero, most_bytes));
        match self.cache().pod().begin_trace(&trace) {
            true => Ok(TraceExport(Owned::new(trace))),
            false => Err(Error::new(
                ErrorKind::Usage,
                "a trace of this pod is being made: drop its TraceExport first",
            )),
        }
    }
}

impl TraceExport {
    /// The lines since this was called last; before the first, the header. One behind the other they are a trace file.
    /// Reads of the last seconds come with the next call. Nothing in a forked child, whose reads are its own.
    pub fn take(&self) -> Vec<u8> {
        match self.0.is_inherited() {
            true => Vec::new(),
            false => self.0.take(),
        }
    }

    /// Lines so far.
    pub fn lines_total(&self) -> u64 {
        self.figure(ReadTrace::lines_total)
    }

    /// Reads that those lines stand for.
    pub fn reads_total(&self) -> u64 {
        self.figure(ReadTrace::reads_total)
    }

    /// Lines that were left out for want of room.
    pub fn left_out_total(&self) -> u64 {
        self.figure(ReadTrace::left_out_total)
    }

    fn figure(&self, of: impl Fn(&ReadTrace) -> u64) -> u64 {
        match self.0.is_inherited() {
            true => 0,
            false => of(&self.0),
        }
    }
}

impl std::fmt::Debug for TraceExport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TraceExport").finish_non_exhaustive()
    }
}
