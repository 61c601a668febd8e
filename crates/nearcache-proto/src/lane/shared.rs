//! Side connections that all sessions share: a few for each protocol, opened as they are needed and closed when they
//! were not used for long.
//!
//! Says where a command goes; never sends one, and never puts one behind an answer that is overdue if there is another place.

use std::sync::Arc;
use std::time::Duration;

use nearcache_l1::Timestamp;

use crate::op::{Op, PrimaryId, Protocol, Side};

/// Connections that speak one protocol. All of them full or slow, commands go one behind the other.
const MOST: usize = 4;

/// Commands in flight on one connection while there is another: what goes together costs less.
const FULL: usize = 32;

/// One that owes an answer and gave none for this long is slow, and what needs not wait goes elsewhere.
const SLOW: Duration = Duration::from_millis(2);

/// A connection that was not used for this long is closed.
const IDLE: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(super) struct Shared(Vec<Member>);

struct Member {
    side: Side,
    /// Each command in flight on it has a clone.
    seats: Arc<()>,
    used_at: Timestamp,
    /// When it gave an answer, or began to owe one.
    moved_at: Timestamp,
    /// It owes an answer that somebody has given up, or may be dead.
    late: bool,
}

impl Shared {
    /// Where the next command goes, with what it has to hold until it is answered.
    pub(super) fn place(
        &mut self,
        primary: PrimaryId,
        protocol: Protocol,
        now: Timestamp,
        number: impl FnOnce() -> u64,
    ) -> (Side, Arc<()>) {
        let mut open = 0;
        let mut best: Option<&mut Member> = None;
        for member in &mut self.0 {
            if member.side.protocol != protocol {
                continue;
            }
            open += 1;
            // What it owed it has answered.
            member.late &= member.busy() > 0;
            if member.is_quick(now) {
                return member.take(now);
            }
            if best.as_ref().is_none_or(|best| member.load() < best.load()) {
                best = Some(member);
            }
        }
        match best {
            Some(member) if open >= MOST => member.take(now),
            _ => {
                let mut member = Member {
                    side: Side {
                        primary,
                        id: number(),
                        may_open: true,
                        protocol,
                        db: Op::AS_IS,
                    },
                    seats: Arc::new(()),
                    used_at: now,
                    moved_at: now,
                    late: false,
                };
                let place = member.take(now);
                self.0.push(member);
                place
            }
        }
    }

    pub(super) fn has(&self, id: u64) -> bool {
        self.0.iter().any(|member| member.side.id == id)
    }

    /// It gave an answer.
    pub(super) fn answered(&mut self, id: u64, now: Timestamp) {
        let of_it = |member: &&mut Member| member.side.id == id;
        if let Some(member) = self.0.iter_mut().find(of_it) {
            member.moved_at = now;
        }
    }

    /// It is closed.
    pub(super) fn forget(&mut self, id: u64) {
        self.0.retain(|member| member.side.id != id);
    }

    /// It did not answer a command in time.
    pub(super) fn late(&mut self, id: u64) {
        for member in &mut self.0 {
            member.late |= member.side.id == id;
        }
    }

    /// Something happened that may have ended them all: those with nothing in flight, which are to be closed.
    pub(super) fn doubt(&mut self) -> Vec<u64> {
        self.0.iter_mut().for_each(|member| member.late = true);
        self.part(|member| member.busy() == 0)
    }

    /// When to ask for [`idle`](Self::idle) ones.
    pub(super) fn due(&self) -> Option<Timestamp> {
        let due = self.0.iter().map(Member::due);
        due.min()
    }

    /// Those that were not used for long, which are to be closed.
    pub(super) fn idle(&mut self, now: Timestamp) -> Vec<u64> {
        for member in &mut self.0 {
            if member.busy() > 0 && now >= member.due() {
                member.used_at = now;
            }
        }
        self.part(|member| now >= member.due())
    }

    fn part(&mut self, ended: impl Fn(&Member) -> bool) -> Vec<u64> {
        let (gone, kept) = std::mem::take(&mut self.0).into_iter().partition(ended);
        self.0 = kept;
        let gone: Vec<Member> = gone;
        gone.into_iter().map(|member| member.side.id).collect()
    }
}

impl Member {
    /// Commands in flight.
    fn busy(&self) -> usize {
        Arc::strong_count(&self.seats) - 1
    }

    /// Whether a command would be answered there as soon as anywhere.
    fn is_quick(&self, now: Timestamp) -> bool {
        let waiting = now.saturating_since(self.moved_at);
        match self.busy() {
            0 => true,
            busy => !self.late && busy < FULL && waiting < SLOW,
        }
    }

    /// The least is the best place.
    fn load(&self) -> (bool, usize) {
        (self.late, self.busy())
    }

    fn take(&mut self, now: Timestamp) -> (Side, Arc<()>) {
        self.used_at = now;
        if self.busy() == 0 {
            self.moved_at = now;
        }
        (self.side, self.seats.clone())
    }

    fn due(&self) -> Timestamp {
        self.used_at.saturating_add(IDLE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::ZERO;

    fn numbers() -> impl FnMut() -> u64 {
        let mut last = 0;
        move || {
            last += 1;
            last
        }
    }

    #[test]
    fn what_is_quick_goes_together() {
        let (mut shared, mut next) = (Shared::default(), numbers());
        let seats: Vec<_> = (0..FULL)
            .map(|_| shared.place(PrimaryId::FIRST, Protocol::Resp3, NOW, &mut next))
            .collect();
        assert!(seats.iter().all(|(side, _)| side.id == 1));
        let (side, _other) = shared.place(PrimaryId::FIRST, Protocol::Resp2, NOW, &mut next);
        assert_eq!((side.id, side.protocol), (2, Protocol::Resp2));
        let full = shared.place(PrimaryId::FIRST, Protocol::Resp3, NOW, &mut next);
        assert_eq!(full.0.id, 3);
        drop(seats);
        assert_eq!(
            shared
                .place(PrimaryId::FIRST, Protocol::Resp3, NOW, &mut next)
                .0
                .id,
            1
        );
    }

    #[test]
    fn a_slow_answer_holds_up_nobody_else() {
        let (mut shared, mut next) = (Shared::default(), numbers());
        let slow = shared.place(PrimaryId::FIRST, Protocol::Resp3, NOW, &mut next);
        let later = NOW.saturating_add(SLOW);
        let other = shared.place(PrimaryId::FIRST, Protocol::Resp3, later, &mut next);
        assert_eq!((slow.0.id, other.0.id), (1, 2));
        // While it gives answers it is not slow, however long it is busy.
        shared.answered(1, later);
        assert_eq!(
            shared
                .place(PrimaryId::FIRST, Protocol::Resp3, later, &mut next)
                .0
                .id,
            1
        );
    }

    #[test]
    fn there_are_few_and_all_of_them_work() {
        let (mut shared, mut next) = (Shared::default(), numbers());
        let seats: Vec<_> = (0..400)
            .map(|_| shared.place(PrimaryId::FIRST, Protocol::Resp3, NOW, &mut next))
            .collect();
        for id in 1..=4 {
            assert_eq!(seats.iter().filter(|(side, _)| side.id == id).count(), 100);
        }
    }

    #[test]
    fn nothing_is_put_behind_an_overdue_answer_without_need() {
        let (mut shared, mut next) = (Shared::default(), numbers());
        let overdue = shared.place(PrimaryId::FIRST, Protocol::Resp3, NOW, &mut next);
        shared.late(overdue.0.id);
        let seats: Vec<_> = (0..200)
            .map(|_| shared.place(PrimaryId::FIRST, Protocol::Resp3, NOW, &mut next))
            .collect();
        assert!(seats.iter().all(|(side, _)| side.id != overdue.0.id));
        drop((overdue, seats));
        let (side, _seat) = shared.place(PrimaryId::FIRST, Protocol::Resp3, NOW, &mut next);
        assert_eq!(side.id, 1, "it has answered");
    }

    #[test]
    fn c10_what_is_not_used_is_closed() {
        let (mut shared, mut next) = (Shared::default(), numbers());
        let busy = shared.place(PrimaryId::FIRST, Protocol::Resp3, NOW, &mut next);
        shared.late(1);
        shared.place(PrimaryId::FIRST, Protocol::Resp3, NOW, &mut next);
        let due = shared.due().unwrap();
        assert_eq!(due, NOW.saturating_add(IDLE));
        assert_eq!(shared.idle(due), [2]);
        assert!(shared.has(1) && !shared.has(2));
        assert!(shared.due().unwrap() > due, "one that is busy is not idle");
        assert!(shared.doubt().is_empty());
        drop(busy);
        assert_eq!(shared.doubt(), [1]);
        assert_eq!(shared.due(), None);
    }
}
