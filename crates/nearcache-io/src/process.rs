//! Which process this is, and what each process makes for itself: the one place that knows of forks.
//!
//! A forked child has a copy of its parent's memory and none of its threads: a lock that one of them held stays locked,
//! and a descriptor is shared. So a child makes everything anew, and lets what it inherited lie: it never locks it,
//! uses it or drops it.
#![allow(
    unsafe_code,
    reason = "only the C library and the kernel know when the process forks; asking the system at each call costs too much"
)]

use std::mem::forget;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nearcache_proto::{Error, Reason, WriteOutcome};
use once_cell::race::OnceBox;

/// How many forks lie between this process and the first that used this library. A cache line of its own, since every
/// hit of every thread reads it.
#[repr(align(64))]
struct Generation(AtomicU64);

static GENERATION: Generation = Generation(AtomicU64::new(0));

#[inline]
fn generation() -> u64 {
    GENERATION.0.load(Ordering::Relaxed)
}

/// From now on a fork counts.
fn notice_forks() {
    // No `Once`, which a child could inherit half done: at worst two threads register, and a fork counts twice.
    static NOTICED: AtomicBool = AtomicBool::new(false);
    if NOTICED.load(Ordering::Acquire) {
        return;
    }
    #[cfg(unix)]
    {
        extern "C" fn in_child() {
            GENERATION.0.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: `in_child` has the type that is asked for and is never unloaded before its registration; it does one
        // atomic addition, which is allowed at any moment in any thread.
        if unsafe { libc::pthread_atfork(None, None, Some(in_child)) } != 0 {
            // Out of memory: whatever is made next tries again.
            return;
        }
    }
    NOTICED.store(true, Ordering::Release);
}

/// A page of memory that the kernel empties in every child, however it was forked: a look at it tells what asking for the
/// process id would, without a system call.
mod page {
    use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

    static PAGE: AtomicPtr<AtomicU64> = AtomicPtr::new(std::ptr::null_mut());
    static NUMBERS: AtomicU64 = AtomicU64::new(1);

    /// What is written there in this process; `None`: there is no such page.
    #[inline]
    pub(super) fn mark() -> Option<u64> {
        let page = PAGE.load(Ordering::Acquire);
        // SAFETY: it is null or points to the page, which is aligned and never unmapped, and only read as an atomic.
        unsafe { page.as_ref() }.map(|mark| mark.load(Ordering::Relaxed))
    }

    /// The same, written if it was not: in a process that has not marked it yet.
    pub(super) fn marked() -> Option<u64> {
        if PAGE.load(Ordering::Acquire).is_null() {
            map();
        }
        let page = PAGE.load(Ordering::Acquire);
        // SAFETY: as above.
        let mark = unsafe { page.as_ref() }?;
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        match mark.compare_exchange(0, number, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => Some(number),
            Err(found) => Some(found),
        }
    }

    #[cfg(target_os = "linux")]
    fn map() {
        // SAFETY: a new private mapping, of which nothing is assumed but what the calls say of it.
        unsafe {
            let bytes = match usize::try_from(libc::sysconf(libc::_SC_PAGESIZE)) {
                Ok(bytes) if bytes >= size_of::<AtomicU64>() => bytes,
                _ => return,
            };
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let page = libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0);
            if page == libc::MAP_FAILED {
                return;
            }
            let first = std::ptr::null_mut();
            let wiped = libc::madvise(page, bytes, libc::MADV_WIPEONFORK) == 0;
            if !wiped
                || PAGE
                    .compare_exchange(first, page.cast(), Ordering::AcqRel, Ordering::Acquire)
                    .is_err()
            {
                libc::munmap(page, bytes);
            }
        }
    }

    /// The system is asked instead.
    #[cfg(not(target_os = "linux"))]
    fn map() {}
}

/// In which process something was made.
#[derive(Clone, Copy)]
pub(crate) struct Origin {
    generation: u64,
    mark: Option<u64>,
    pid: u32,
}

impl Origin {
    /// This process.
    pub(crate) fn here() -> Self {
        notice_forks();
        Self {
            generation: generation(),
            mark: page::marked(),
            pid: std::process::id(),
        }
    }

    /// Whether that was another process than this. Finds forks, too, that the C library was not told of; they count from
    /// then on.
    #[inline]
    pub(crate) fn is_elsewhere(self) -> bool {
        if self.mark.is_some() && self.mark == page::mark() && self.generation == generation() {
            return false;
        }
        self.is_of_another()
    }

    #[cold]
    fn is_of_another(self) -> bool {
        if self.pid == std::process::id() {
            return self.generation != generation();
        }
        // Once, however many find out.
        let _ = GENERATION.0.compare_exchange(
            self.generation,
            self.generation + 1,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        true
    }
}

/// A value of which every process has one of its own, made at its first use there.
///
/// What a process inherits by a fork is never dropped in it. Never blocks: where threads race for the first use, each
/// makes a value and one is kept.
pub struct PerProcess<T: Clone> {
    make: Box<dyn Fn() -> T + Send + Sync>,
    first: Life<T>,
}

/// The value of one process, and behind it that of its child.
struct Life<T: Clone> {
    origin: Origin,
    value: T,
    next: OnceBox<Life<T>>,
}

impl<T: Clone> PerProcess<T> {
    /// `first` here, and in each forked child what `make` makes there.
    pub fn new(first: T, make: impl Fn() -> T + Send + Sync + 'static) -> Self {
        Self {
            make: Box::new(make),
            first: Life::new(first),
        }
    }

    /// The value of this process.
    ///
    /// # Cost
    /// In the process that made it: one load and one comparison.
    #[inline]
    pub fn get(&self) -> &T {
        match self.first.origin.generation == generation() {
            true => &self.first.value,
            false => &self.later().value,
        }
    }

    /// The value of this process, even if it was forked by a bare system call.
    ///
    /// # Cost
    /// One system call.
    pub fn get_surely(&self) -> &T {
        self.later().origin.is_elsewhere();
        self.get()
    }

    #[cold]
    fn later(&self) -> &Life<T> {
        let mut life = &self.first;
        while life.origin.generation != generation() {
            let make = || Box::new(Life::new((self.make)()));
            life = life.next.get_or_init(make);
        }
        life
    }
}

impl<T: Clone> Life<T> {
    fn new(value: T) -> Self {
        Self {
            origin: Origin::here(),
            value,
            next: OnceBox::new(),
        }
    }
}

impl<T: Clone> Drop for Life<T> {
    fn drop(&mut self) {
        if self.origin.is_elsewhere() {
            // One owner that never lets go.
            forget(self.value.clone());
        }
    }
}

/// A value with one owner, of no use in any process but the one that made it, and never dropped in another.
pub struct Owned<T> {
    generation: u64,
    value: Option<T>,
}

impl<T> Owned<T> {
    /// A value of this process.
    pub fn new(value: T) -> Self {
        Self {
            generation: generation(),
            value: Some(value),
        }
    }

    /// Whether it is of another process, so that nothing may be done to it that locks or sends.
    #[inline]
    pub fn is_inherited(&self) -> bool {
        self.generation != generation()
    }
}

const KEPT: &str = "taken when it is dropped, not before";

impl<T> Deref for Owned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect(KEPT)
    }
}

impl<T> DerefMut for Owned<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect(KEPT)
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        if self.is_inherited() {
            forget(self.value.take());
        }
    }
}

/// What a child answers in place of a transaction that its parent began: outside of it, what is left of it must not run.
#[cold]
pub fn left_behind() -> Error {
    let why = "the process was forked within this transaction, which goes on in the parent alone: begin again";
    Error::retry(Reason::Interrupted, why).for_write(WriteOutcome::NotSent)
}
