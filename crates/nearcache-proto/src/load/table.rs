//! Who loads in this pod, and who waits for what until when: places, turns, and what the lane's clock ends.
//!
//! Never runs a loader, and never wakes anybody or ends a flight under its own lock.
//!
//! Concurrency: `inner` is held for a few instructions and never together with a lock of the store or of a [`Turn`].

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use nearcache_l1::{EntryId, Key, Promise, PromiseFuture, Timestamp};

use super::turn::{Place, Turn};
use crate::counters::Counters;
use crate::epochs::key_hash;
use crate::error::Error;
use crate::shim::{AtomicU64, Mutex, Ordering, lock};

/// Bytes that one remembered value takes at most, of those lent and those replaced.
const REMEMBERED: usize = 256;
/// The longest key of a lent value that is remembered.
const LONGEST_LENT: usize = REMEMBERED - 2 * size_of::<Lent>();

/// All loads of a pod.
pub(crate) struct Loads {
    inner: Mutex<Inner>,
    /// Microseconds: when [`Loads::end_overdue`] has something to do; `u64::MAX`: not as things are.
    next: AtomicU64,
    /// How many values lent are remembered, and how many replaced.
    most_remembered: usize,
}

struct Inner {
    /// Loaders that may still start.
    free: usize,
    /// Last number given to a turn or a wait.
    numbers: u64,
    /// Turns that wait for a place, in order.
    queue: BTreeMap<u64, (Arc<Turn>, Promise<()>)>,
    turns: BTreeMap<u64, Arc<Turn>>,
    waits: BTreeMap<(Timestamp, u64), Promise<Result<(), Error>>>,
    /// Values of the origin that lie in L1 for callers of this pod, oldest first.
    lent: VecDeque<Lent>,
    /// When values that do not decode may be replaced again, by the hash of their key and db.
    replaced: HashMap<u64, Timestamp>,
}

/// A value of the origin that lies in L1 for a while.
struct Lent {
    db: u32,
    key: Box<[u8]>,
    id: EntryId,
    until: Timestamp,
}

/// A wait until a moment; dropped, it is forgotten.
pub(super) struct Wait {
    loads: Arc<Loads>,
    id: (Timestamp, u64),
    pub(super) over: PromiseFuture<Result<(), Error>>,
}

impl Drop for Wait {
    fn drop(&mut self) {
        lock(&self.loads.inner).waits.remove(&self.id);
    }
}

/// Whether the end of a value that was lent will be seen to.
pub(super) enum Lending {
    NotRemembered,
    Remembered,
    /// It will, if the lane hears of it.
    TellTheLane,
}

impl Loads {
    /// With room for so many loaders at a time, and so many bytes for what has to be remembered of values.
    pub(crate) fn new(places: usize, bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            most_remembered: (bytes / REMEMBERED).max(1),
            inner: Mutex::new(Inner {
                free: places.max(1),
                numbers: 0,
                queue: BTreeMap::new(),
                turns: BTreeMap::new(),
                waits: BTreeMap::new(),
                lent: VecDeque::new(),
                replaced: HashMap::new(),
            }),
            next: AtomicU64::new(u64::MAX),
        })
    }

    /// When the lane must look at this again.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        match self.next.load(Ordering::Acquire) {
            u64::MAX => None,
            micros => Some(Timestamp::from_micros(micros)),
        }
    }

    /// Enters a turn; the lane gives it up when it is overdue.
    pub(super) fn enter(&self, make: impl FnOnce(u64) -> Turn) -> Arc<Turn> {
        let mut inner = lock(&self.inner);
        let turn = Arc::new(make(inner.number()));
        inner.turns.insert(turn.number, turn.clone());
        turn
    }

    /// Takes a place for a turn, or gets it in line and returns what resolves when it is given one. Inside a loader, the
    /// place of that one will do for one load at a time: loaders that need each other must not wait for places for ever.
    pub(super) fn place(&self, turn: &Arc<Turn>) -> Option<PromiseFuture<()>> {
        let mut inner = lock(&self.inner);
        if inner.free > 0 {
            inner.free -= 1;
            turn.take_place(Place::Own);
            return None;
        }
        if turn.parent.as_ref().is_some_and(|parent| parent.lend()) {
            turn.take_place(Place::Parents);
            return None;
        }
        let given = Promise::new();
        let wait = given.future();
        inner.queue.insert(turn.number, (turn.clone(), given));
        Some(wait)
    }

    /// A turn is over: its place, if it has one, goes to the next in line.
    pub(super) fn leave(&self, turn: &Turn, its_place_too: bool) {
        let given = {
            let mut inner = lock(&self.inner);
            inner.turns.remove(&turn.number);
            inner.queue.remove(&turn.number);
            match its_place_too.then(|| turn.leave_place()) {
                Some(Place::Own) => inner.give_place(),
                Some(Place::Parents) => inner.give_back(turn),
                Some(Place::None) | None => None,
            }
        };
        if let Some(given) = given {
            given.complete(());
        }
    }

    /// A wait until `at`; whether the lane must be told, as nothing else ends so soon.
    pub(super) fn wait(self: &Arc<Self>, at: Timestamp) -> (Wait, bool) {
        let over = Promise::new();
        let mut inner = lock(&self.inner);
        let id = (at, inner.number());
        let wait = Wait {
            loads: self.clone(),
            id,
            over: over.future(),
        };
        inner.waits.insert(id, over);
        (wait, self.advance(&inner, at))
    }

    /// A turn is given up at `at`, unless it has got on by then; whether the lane must be told.
    pub(super) fn expect(&self, turn: &Turn, at: Timestamp) -> bool {
        let inner = lock(&self.inner);
        turn.expect(at);
        self.advance(&inner, at)
    }

    /// Has the lane look again at `at`; whether it must be told.
    fn advance(&self, _held: &Inner, at: Timestamp) -> bool {
        self.next.fetch_min(at.as_micros(), Ordering::AcqRel) > at.as_micros()
    }

    /// A value that was to be replaced was not even sent.
    pub(super) fn not_replaced(&self, key: Key<'_>) {
        lock(&self.inner).replaced.remove(&hash(key));
    }

    /// Whether a value that does not decode may be replaced now: once a minute a key, and as often as there is
    /// room to remember it.
    pub(super) fn may_replace(&self, key: Key<'_>, now: Timestamp, again: Timestamp) -> bool {
        let hash = hash(key);
        let mut inner = lock(&self.inner);
        let replaced = &mut inner.replaced;
        if replaced.len() >= self.most_remembered {
            replaced.retain(|_, until| *until > now);
        }
        if off!(ReplaceOften) {
            return true;
        }
        match replaced.get(&hash) {
            Some(until) if *until > now => false,
            None if replaced.len() >= self.most_remembered => false,
            _ => {
                replaced.insert(hash, again);
                true
            }
        }
    }

    /// Time has passed: gives up loads whose callers do nothing about them, then ends what waits for this moment.
    /// `expire` is to remove what was lent until then.
    pub(crate) fn end_overdue(
        &self,
        now: Timestamp,
        counters: &Counters,
        mut expire: impl FnMut(Key<'_>, EntryId),
    ) {
        if self.next().is_none_or(|next| now < next) {
            return;
        }
        let (overdue, over, expired) = {
            let mut inner = lock(&self.inner);
            let mut overdue = Vec::new();
            inner.turns.retain(|_, turn| {
                let is = turn.overdue_at() <= now;
                overdue.extend(is.then(|| turn.clone()));
                !is
            });
            let later = inner.waits.split_off(&(now.saturating_add(TICK), 0));
            let over = std::mem::replace(&mut inner.waits, later);
            let count = inner.lent.iter().take_while(|l| l.until <= now).count();
            let expired: Vec<_> = inner.lent.drain(..count).collect();
            let next = inner.next().as_micros();
            self.next.store(next, Ordering::Release);
            (overdue, over, expired)
        };
        if !off!(Abandon) {
            for turn in overdue {
                turn.give_up(|turn, its_place_too| {
                    self.leave(turn, its_place_too);
                    counters.loads_abandoned_total.bump();
                });
            }
        }
        for over in over.into_values() {
            over.complete(Ok(()));
        }
        for lent in expired {
            expire(Key::new(lent.db, &lent.key), lent.id);
        }
    }

    /// The lane tells no more time: who waits for it learns why.
    pub(crate) fn fail_waits(&self, error: &Error) {
        let over = {
            let mut inner = lock(&self.inner);
            self.next.store(u64::MAX, Ordering::Release);
            std::mem::take(&mut inner.waits)
        };
        for over in over.into_values() {
            over.complete(Err(error.clone()));
        }
    }

    /// Remembers a value of the origin that was put into L1, so that it takes no room there for longer than it may be
    /// served. One that there is no room to remember leaves by eviction.
    pub(super) fn note_lent(&self, filed: Key<'_>, id: EntryId, until: Timestamp) -> Lending {
        let mut inner = lock(&self.inner);
        let room = inner.lent.len() < self.most_remembered;
        if !room || filed.bytes.len() > LONGEST_LENT {
            return Lending::NotRemembered;
        }
        inner.lent.push_back(Lent {
            db: filed.db,
            key: filed.bytes.into(),
            id,
            until,
        });
        match self.advance(&inner, until) {
            true => Lending::TellTheLane,
            false => Lending::Remembered,
        }
    }
}

impl Inner {
    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// Gives a place that became free to the first in line.
    fn give_place(&mut self) -> Option<Promise<()>> {
        match self.queue.pop_first() {
            Some((_, (turn, given))) => {
                turn.take_place(Place::Own);
                Some(given)
            }
            None => {
                self.free += 1;
                None
            }
        }
    }

    /// Gives the place of a loader back to it, or on to the next load inside of it.
    fn give_back(&mut self, turn: &Turn) -> Option<Promise<()>> {
        let parent = turn.parent.as_ref()?;
        let inside = |other: &Turn| {
            let same = |other: &Arc<Turn>| Arc::ptr_eq(other, parent);
            other.parent.as_ref().is_some_and(same)
        };
        let mut waiting = self.queue.iter();
        let next = waiting.find_map(|(number, (other, _))| inside(other).then_some(*number));
        let next = next.and_then(|number| self.queue.remove(&number));
        let Some((turn, given)) = next else {
            parent.take_back();
            return None;
        };
        turn.take_place(Place::Parents);
        Some(given)
    }

    fn next(&self) -> Timestamp {
        let wait = self.waits.first_key_value().map(|((at, _), _)| *at);
        let turn = self.turns.values().map(|turn| turn.overdue_at()).min();
        let lent = self.lent.front().map(|lent| lent.until);
        let ends = [wait, turn, lent].into_iter().flatten();
        ends.min().unwrap_or(Timestamp::MAX)
    }
}

fn hash(key: Key<'_>) -> u64 {
    key_hash(key.bytes) ^ u64::from(key.db).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The clock's resolution: what ends at a moment has ended then.
const TICK: std::time::Duration = std::time::Duration::from_micros(1);
