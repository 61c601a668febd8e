//! Waits until a moment of the host's monotonic clock, more exactly than the runtime's timer with its milliseconds:
//! what that rounds up would pass for latency since the intended start. Knows nothing of what is waited for.

use std::io;

use crate::machine::now_ns;

/// A timer of one task.
#[cfg(target_os = "linux")]
pub(crate) struct Timer(tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>);

#[cfg(target_os = "linux")]
impl Timer {
    /// Makes one; only inside a runtime with IO.
    pub(crate) fn new() -> io::Result<Self> {
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        #[allow(
            deprecated,
            reason = "its replacement is unsafe for the sake of types that close what they own; this one does not"
        )]
        let timer = tokio::io::unix::AsyncFd::new(timer)?;
        Ok(Self(timer))
    }

    /// Ends at `at_ns`, at once when that is over.
    pub(crate) async fn until(&self, at_ns: u64) -> io::Result<()> {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};
        if at_ns <= now_ns() {
            return Ok(());
        }
        let at = Timespec {
            tv_sec: (at_ns / 1_000_000_000) as i64,
            tv_nsec: (at_ns % 1_000_000_000) as _,
        };
        let once = Itimerspec {
            it_interval: Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: at,
        };
        timerfd_settime(&self.0, TimerfdTimerFlags::ABSTIME, &once)?;
        loop {
            let mut ready = self.0.readable().await?;
            let mut expirations = [0; 8];
            let read = |timer: &tokio::io::unix::AsyncFd<_>| {
                Ok(rustix::io::read(timer.get_ref(), &mut expirations)?)
            };
            match ready.try_io(read) {
                Ok(read) => return read.map(drop),
                // Woken for nothing: the next look waits.
                Err(_) => continue,
            }
        }
    }
}

/// A timer of one task: the runtime's own, where the system has no better.
#[cfg(not(target_os = "linux"))]
pub(crate) struct Timer;

#[cfg(not(target_os = "linux"))]
impl Timer {
    /// Makes one.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self)
    }

    /// Ends at `at_ns`, at once when that is over.
    pub(crate) async fn until(&self, at_ns: u64) -> io::Result<()> {
        let left = at_ns.saturating_sub(now_ns());
        if left > 0 {
            tokio::time::sleep(std::time::Duration::from_nanos(left)).await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_ends_early() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let timer = Timer::new().unwrap();
            for after_ns in [0, 1, 300_000, 2_000_000] {
                let at_ns = now_ns() + after_ns;
                timer.until(at_ns).await.unwrap();
                assert!(now_ns() >= at_ns);
            }
        });
    }
}
