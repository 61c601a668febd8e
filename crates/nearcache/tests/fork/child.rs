//! A forked child, and the bound on its life: the only unsafe code of these tests.
//!
//! Never waits for a child without end, and ends none but its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use nearcache_testkit::wait_until;

/// Far above what a loaded machine needs, so that only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process that was forked from this one.
pub(crate) struct Child {
    pid: libc::pid_t,
    born: Instant,
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The step that failed; 0: none.
    Step(i32),
    Signal(i32),
    Hung,
}

impl Child {
    /// A child that does `work` and ends. What fails in it is told by a number: nothing may be printed there, since
    /// whatever prints takes a lock that the child may have inherited.
    pub(crate) fn fork(work: impl FnOnce() -> i32) -> Self {
        // SAFETY: what else the child may call after a fork of several threads is what is tested here; it
        // ends by `_exit`, and by the alarm of `live` if it hangs and nobody ends it.
        Self::born(unsafe { libc::fork() }, work)
    }

    /// The same by the system call alone: nobody who asked the C library to be told of forks is told.
    #[cfg(target_os = "linux")]
    pub(crate) fn clone_behind_libc(work: impl FnOnce() -> i32) -> Self {
        let (flags, none) = (libc::c_long::from(libc::SIGCHLD), 0 as libc::c_long);
        // SAFETY: these arguments make it a fork, with the same stack in memory of its own. The C library is not told;
        // no other thread is inside it at this moment, so the child finds none of its locks taken.
        let pid = unsafe { libc::syscall(libc::SYS_clone, flags, none, none, none, none) };
        Self::born(pid as libc::pid_t, work)
    }

    fn born(pid: libc::pid_t, work: impl FnOnce() -> i32) -> Self {
        assert!(pid >= 0, "fork failed");
        if pid == 0 {
            live(work);
        }
        let born = Instant::now();
        Self { pid, born }
    }

    /// Its end, if it has ended. One that does not in time is killed.
    pub(crate) fn poll(&mut self) -> Option<End> {
        let mut status = 0;
        // SAFETY: `pid` is a child of this process that was not waited for yet; `status` outlives the call.
        let ended = unsafe { libc::waitpid(self.pid, &mut status, libc::WNOHANG) } == self.pid;
        if ended {
            return Some(match libc::WIFEXITED(status) {
                true => End::Step(libc::WEXITSTATUS(status)),
                false => End::Signal(libc::WTERMSIG(status)),
            });
        }
        if self.born.elapsed() < PATIENCE {
            return None;
        }
        // SAFETY: the child was not waited for, so the id is still its own; then it is.
        unsafe {
            libc::kill(self.pid, libc::SIGKILL);
            libc::waitpid(self.pid, &mut status, 0);
        }
        Some(End::Hung)
    }

    /// Its end, waited for.
    pub(crate) fn wait(mut self) -> End {
        let mut end = None;
        loop {
            wait_until(|| {
                end = self.poll();
                end.is_some()
            });
            if let Some(end) = end {
                return end;
            }
        }
    }
}

fn live(work: impl FnOnce() -> i32) -> ! {
    let seconds = 2 * PATIENCE.as_secs() as libc::c_uint;
    // SAFETY: both may be called at any moment; without a handler the alarm ends the process.
    unsafe {
        libc::alarm(seconds);
        libc::_exit(catch_unwind(AssertUnwindSafe(work)).unwrap_or(99))
    }
}
