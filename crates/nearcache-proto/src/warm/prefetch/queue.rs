//! What is to be fetched ahead of demand, the most worthwhile first, and what may be spent on it.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::Duration;

use nearcache_l1::Timestamp;

use super::fetch::{batch, size};
use crate::fill::Purpose;
use crate::warm::budget::LATEST;
use crate::warm::rate::Rate;
use crate::working_set::Item;

/// Entries that wait at a time; beyond that the least worthwhile are left out.
const MOST: usize = 8192;

/// How far a pod may be ahead of its allowance.
const AHEAD: Duration = Duration::from_secs(1);

/// Why an entry is fetched ahead of demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The fleet reads it, and it is not here.
    TopUp,
    /// Somebody changed it.
    Lost,
    /// The copy here is about to end.
    Ending,
}

impl Why {
    pub(super) fn purpose(self) -> Purpose {
        match self {
            Self::TopUp | Self::Lost => Purpose::Background,
            Self::Ending => Purpose::Refresh,
        }
    }
}

/// An entry that is to be fetched.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) item: Item,
    pub(super) why: Why,
    /// Reads a second that are expected of it here.
    pub(super) reads_per_s: f64,
    /// Afterwards it is no longer worth it.
    pub(super) until: Timestamp,
}

/// Wishes by what they are worth: the reads they save for what they take of the allowance.
#[derive(Default)]
pub(super) struct Queue {
    /// The best last, once it is in order.
    wishes: Vec<(f64, Wish)>,
    in_order: bool,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.wishes.is_empty()
    }

    /// Forgets everything; how many entries that were here once are left out with that.
    pub(super) fn clear(&mut self) -> u64 {
        let all = self.wishes.drain(..);
        all.filter(|(_, wish)| wish.why != Why::TopUp).count() as u64
    }

    /// Forgets what was wanted for one reason.
    pub(super) fn forget(&mut self, why: Why) {
        self.wishes.retain(|(_, wish)| wish.why != why);
    }

    /// Takes wishes in, each in the place of an earlier one for the same entry; how many entries that were here once are left
    /// out for want of room.
    pub(super) fn add(&mut self, rate: &Rate, wishes: impl IntoIterator<Item = Wish>) -> u64 {
        let worth = |wish: &Wish| {
            let cost = rate.cost(1, size(&wish.item)).as_secs_f64();
            wish.reads_per_s / cost.max(1e-9)
        };
        let wishes = wishes.into_iter();
        let new: BTreeMap<_, _> = wishes.map(|wish| (wish.item.name.clone(), wish)).collect();
        self.wishes
            .retain(|(_, wish)| !new.contains_key(&wish.item.name));
        self.wishes
            .extend(new.into_values().map(|wish| (worth(&wish), wish)));
        self.in_order = false;
        let beyond = self.wishes.len().saturating_sub(MOST);
        if beyond == 0 {
            return 0;
        }
        self.order();
        let left_out = self.wishes.drain(..beyond);
        left_out.filter(|(_, wish)| wish.why != Why::TopUp).count() as u64
    }

    /// Takes the best of what is still worth it out, in one batch; and how many entries that were here once have waited
    /// too long.
    pub(super) fn next(&mut self, rate: &Rate, now: Timestamp) -> (u64, Option<(Why, Vec<Item>)>) {
        let mut late = 0;
        self.wishes.retain(|(_, wish)| {
            let in_time = now < wish.until;
            late += u64::from(!in_time && wish.why != Why::TopUp);
            in_time
        });
        self.order();
        let Some((_, best)) = self.wishes.last() else {
            return (late, None);
        };
        let why = best.why;
        let alike = self.wishes.iter().rev().map(|(_, wish)| wish);
        let alike = alike.take_while(|wish| wish.why.purpose() == why.purpose());
        let count = batch(alike.map(|wish| &wish.item), rate.most_keys());
        let taken = self.wishes.drain(self.wishes.len() - count..).rev();
        (
            late,
            Some((why, taken.map(|(_, wish)| wish.item).collect())),
        )
    }

    fn order(&mut self) {
        if !self.in_order {
            self.wishes.sort_by(by_worth);
            self.in_order = true;
        }
    }
}

/// By name where they are worth the same, so that a seed replays.
fn by_worth((a, one): &(f64, Wish), (b, other): &(f64, Wish)) -> Ordering {
    let by_name = || other.item.name.cmp(&one.item.name);
    a.total_cmp(b).then_with(by_name)
}

/// This pod's part of the fleet's allowance: every pod keeps within its own, and asks nobody for leave.
#[derive(Default)]
pub(super) struct Budget {
    /// What has been spent is earned by then.
    even_at: Timestamp,
}

impl Budget {
    /// From when on something may be spent.
    pub(super) fn open_at(&self) -> Timestamp {
        let micros = self.even_at.as_micros();
        Timestamp::from_micros(micros.saturating_sub(AHEAD.as_micros() as u64))
    }

    /// Spends `cost` of the time of a fleet of so many pods.
    pub(super) fn spend(&mut self, cost: Duration, fleet: usize, now: Timestamp) {
        let cost = cost.saturating_mul(u32::try_from(fleet).unwrap_or(u32::MAX));
        // However many pods there are said to be.
        self.even_at = self.even_at.max(now).saturating_add(cost.min(LATEST));
    }
}

#[cfg(all(test, not(nearcache_loom)))]
mod tests {
    use nearcache_l1::Key;

    use super::*;
    use crate::warm::WarmConfig;
    use crate::working_set::Name;

    fn wish(name: &str, reads_per_s: f64, bytes: u32, why: Why) -> Wish {
        Wish {
            item: Item {
                name: Name::plain(Key::new(0, name.as_bytes())),
                score: 1.0,
                bytes,
            },
            why,
            reads_per_s,
            until: Timestamp::from_micros(1_000_000),
        }
    }

    fn rate() -> Rate {
        Rate::new(&WarmConfig::default())
    }

    fn names(batch: Option<(Why, Vec<Item>)>) -> Vec<String> {
        let (_, items) = batch.unwrap_or((Why::TopUp, Vec::new()));
        let name = |item: &Item| {
            item.key()
                .map(|key| String::from_utf8_lossy(key.bytes).into())
        };
        items.iter().filter_map(name).collect()
    }

    #[test]
    fn what_saves_most_reads_for_its_cost_goes_first_whatever_the_reason() {
        let mut queue = Queue::default();
        let wishes = [
            wish("rare", 0.1, 100, Why::Lost),
            wish("hot", 9.0, 100, Why::TopUp),
            wish("hot and large", 9.0, 200 << 10, Why::Lost),
            wish("warm", 5.0, 100, Why::Lost),
        ];
        queue.add(&rate(), wishes);
        queue.add(&rate(), [wish("came later", 6.0, 100, Why::TopUp)]);
        let (late, first) = queue.next(&rate(), Timestamp::ZERO);
        let order = ["hot", "came later", "warm", "hot and large", "rare"];
        assert_eq!((late, names(first)), (0, order.map(String::from).to_vec()));
        assert!(queue.is_empty());
    }

    #[test]
    fn an_entry_is_wanted_once_for_the_latest_reason() {
        let mut queue = Queue::default();
        queue.add(
            &rate(),
            [
                wish("a", 4.0, 100, Why::TopUp),
                wish("b", 9.0, 100, Why::Lost),
            ],
        );
        let again = [
            wish("b", 1.0, 100, Why::Lost),
            wish("b", 2.0, 100, Why::Lost),
        ];
        queue.add(&rate(), again);
        assert_eq!(names(queue.next(&rate(), Timestamp::ZERO).1), ["a", "b"]);
        assert_eq!(queue.add(&rate(), [wish("c", 1.0, 100, Why::Ending)]), 0);
        assert_eq!((queue.clear(), queue.is_empty()), (1, true));
    }

    #[test]
    fn a_batch_has_one_purpose() {
        let mut queue = Queue::default();
        let ending = wish("ending", 3.0, 100, Why::Ending);
        let others = [
            wish("a", 4.0, 100, Why::Lost),
            wish("b", 2.0, 100, Why::TopUp),
        ];
        queue.add(&rate(), others.into_iter().chain([ending]));
        for expected in ["a", "ending", "b"] {
            assert_eq!(names(queue.next(&rate(), Timestamp::ZERO).1), [expected]);
        }
    }

    #[test]
    fn what_waited_too_long_or_has_no_room_is_left_out_and_counted() {
        let mut queue = Queue::default();
        let many = |why| (0..MOST).map(move |n| wish(&n.to_string(), 1.0, 100, why));
        assert_eq!(queue.add(&rate(), many(Why::TopUp)), 0);
        assert_eq!(queue.add(&rate(), [wish("better", 2.0, 100, Why::Lost)]), 0);
        assert_eq!(queue.add(&rate(), [wish("worse", 0.5, 100, Why::Lost)]), 1);
        queue.forget(Why::TopUp);
        let (late, rest) = queue.next(&rate(), Timestamp::from_micros(1_000_000));
        assert_eq!((late, names(rest)), (1, Vec::new()));
    }

    #[test]
    fn a_pod_spends_its_part_and_at_most_a_second_ahead() {
        let mut budget = Budget::default();
        let now = Timestamp::from_micros(60_000_000);
        let mut spent = 0;
        while budget.open_at() <= now {
            budget.spend(Duration::from_millis(10), 50, now);
            spent += 1;
        }
        // Half a second each of the second it may be ahead: the third goes beyond it.
        assert_eq!(spent, 3);
        assert_eq!(
            budget.open_at(),
            now.saturating_add(Duration::from_millis(500))
        );
    }
}
