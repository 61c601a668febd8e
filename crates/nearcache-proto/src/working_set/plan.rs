//! What a manifest is worth to one L1: which of its items to fetch, in which order.

use super::item::Item;

/// Items to fetch, best first, that fit a budget together.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    items: Vec<&'a Item>,
    bytes: u64,
    share: f64,
}

impl<'a> Plan<'a> {
    /// Takes each item that fits what is left of the budget: one too large does not end the plan.
    pub(super) fn new(
        items: &'a [Item],
        share: impl Fn(&Item) -> f64,
        budget_bytes: u64,
        max_entry_bytes: u64,
    ) -> Self {
        let mut plan = Self {
            items: Vec::new(),
            bytes: 0,
            share: 0.0,
        };
        for item in items {
            let bytes = plan.bytes.saturating_add(item.weight());
            let fits = bytes <= budget_bytes && u64::from(item.bytes) <= max_entry_bytes;
            if fits && item.key().is_some() {
                plan.bytes = bytes;
                plan.share += share(item);
                plan.items.push(item);
            }
        }
        plan.share = plan.share.min(1.0);
        plan
    }

    /// The items, best first.
    pub fn items(&self) -> &[&'a Item] {
        &self.items
    }

    /// What they will weigh in L1, as far as their sizes are known.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The part of the fleet's reads that are of these items, of 1.
    pub fn share(&self) -> f64 {
        self.share
    }
}

impl<'a> IntoIterator for Plan<'a> {
    type Item = &'a Item;
    type IntoIter = std::vec::IntoIter<&'a Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.into_iter()
    }
}
