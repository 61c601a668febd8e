//! What this machine is and what its clock says.
//! The only place of the command that reads the system; it never changes anything.

use std::fs;
use std::thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

/// Nanoseconds on the host's monotonic clock: the same for all processes of one machine.
pub(crate) fn now_ns() -> u64 {
    let reading = clock_gettime(ClockId::Monotonic);
    // Neither part is ever negative on this clock.
    reading.tv_sec as u64 * 1_000_000_000 + reading.tv_nsec as u64
}

/// Nanoseconds of processor time that this thread has had: what others get of the processor meanwhile is not in it.
pub(crate) fn thread_ns() -> u64 {
    let reading = clock_gettime(ClockId::ThreadCPUTime);
    reading.tv_sec as u64 * 1_000_000_000 + reading.tv_nsec as u64
}

/// Sleeps this thread until the monotonic clock shows `at_ns`.
pub(crate) fn sleep_until(at_ns: u64) {
    let left = at_ns.saturating_sub(now_ns());
    if left > 0 {
        thread::sleep(Duration::from_nanos(left));
    }
}

/// Memory of this process that is in RAM, in bytes; `None` where the system does not tell.
pub(crate) fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kilobytes = field(&status, "VmRSS")?.split_whitespace().next()?;
    Some(kilobytes.parse::<u64>().ok()? * 1024)
}

/// Memory that programs can still have, in bytes; `None` where the system does not tell.
pub(crate) fn free_bytes() -> Option<u64> {
    let meminfo = fs::read_to_string("/proc/meminfo").ok()?;
    let kilobytes = field(&meminfo, "MemAvailable")?.split_whitespace().next()?;
    Some(kilobytes.parse::<u64>().ok()? * 1024)
}

/// The hardware a figure was made on.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Hardware {
    /// Name of the processor.
    pub(crate) cpu: String,
    /// How many threads can run at once.
    pub(crate) cores: usize,
    /// Bytes of memory, where the system tells.
    pub(crate) memory_bytes: Option<u64>,
    /// Operating system and architecture.
    pub(crate) system: String,
    /// How many programs wanted to run at once during the minute before, where the system tells: more than none of
    /// them makes figures worse.
    pub(crate) load_before: Option<f64>,
}

impl Hardware {
    /// Looks at this machine.
    pub(crate) fn detect() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let load = fs::read_to_string("/proc/loadavg").ok();
        let load = load.and_then(|text| text.split_whitespace().next()?.parse().ok());
        let memory = field(&meminfo, "MemTotal")
            .and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
        Self {
            cpu: field(&cpuinfo, "model name")
                .unwrap_or("unknown cpu")
                .to_owned(),
            cores: thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: memory.map(|kilobytes| kilobytes * 1024),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            load_before: load,
        }
    }

    /// A warning, where others use this machine.
    pub(crate) fn busy(&self) -> Option<String> {
        let load = self.load_before.filter(|load| *load > 0.5)?;
        let words = "this machine was busy with other things before the run (load average";
        Some(format!(
            "{words} {load:.1}): its figures are worse than they could be"
        ))
    }

    /// One line for people.
    pub(crate) fn line(&self) -> String {
        let memory = match self.memory_bytes {
            Some(bytes) => format!(", {:.1} GiB", bytes as f64 / f64::from(1 << 30)),
            None => String::new(),
        };
        format!(
            "{}, {} cores{memory}, {}",
            self.cpu, self.cores, self.system
        )
    }
}

/// The value of the first `name : value` line.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (left, right) = line.split_once(':')?;
        (left.trim() == name).then(|| right.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found() {
        let text = "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nVmRSS:\t  1234 kB\n";
        assert_eq!(field(text, "model name"), Some("Some CPU @ 2 GHz"));
        assert_eq!(field(text, "VmRSS"), Some("1234 kB"));
        assert_eq!(field(text, "flags"), None);
    }

    #[test]
    fn the_clock_goes_forward() {
        let first = now_ns();
        assert!(now_ns() >= first && first > 0);
    }
}
