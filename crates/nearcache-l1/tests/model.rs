//! The store against a plain oracle, through random sequences of everything a single thread can do.
//! The oracle does not predict evictions; it learns of them through the removal hook and then holds the store to them.
#![cfg(not(nearcache_loom))]

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use nearcache_l1::{
    DefaultWeigher, Entrance, EntryId, FlightGuard, Key, Landed, Published, Refusal, RemovalCause,
    StoreConfig, Weigher,
};
use proptest::collection::vec;
use proptest::prelude::*;
use support::*;

const CAPACITY: usize = 8 * 1024;
const MAX_ENTRY: usize = 1500;
const PER_KEY: usize = 3;

type Name = (u32, u8);

#[derive(Clone, Debug)]
enum Op {
    Get(Name),
    Enter(Name, bool, bool),
    Publish(usize, usize, bool),
    Complete(usize),
    Settle(usize),
    Abandon(usize),
    Invalidate(u8),
    Forget(Name),
    Expire(Name, bool),
    Attach(Name, usize, bool),
    Clear,
}

fn op() -> impl Strategy<Value = Op> {
    let name = || (0..2u32, 0..24u8);
    let size = prop_oneof![4 => 0..300usize, 1 => 300..2000usize];
    prop_oneof![
        16 => name().prop_map(Op::Get),
        24 => (name(), any::<bool>(), any::<bool>()).prop_map(|(n, u, j)| Op::Enter(n, u, j)),
        24 => (0..8usize, size, prop::bool::weighted(0.9)).prop_map(|(g, s, v)| Op::Publish(g, s, v)),
        1 => (0..8usize).prop_map(Op::Complete),
        1 => (0..8usize).prop_map(Op::Settle),
        1 => (0..8usize).prop_map(Op::Abandon),
        4 => (0..24u8).prop_map(Op::Invalidate),
        1 => name().prop_map(Op::Forget),
        1 => (name(), any::<bool>()).prop_map(|(n, same)| Op::Expire(n, same)),
        6 => (name(), 0..1600usize, any::<bool>()).prop_map(|(n, b, same)| Op::Attach(n, b, same)),
        1 => Just(Op::Clear),
    ]
}

struct Resident {
    id: EntryId,
    value: Bytes,
    decoded: Option<usize>,
}

struct Airborne {
    name: Name,
    guard: FlightGuard<u64, u64>,
    orphaned: bool,
    settled: Option<u64>,
}

type Events = Arc<Mutex<Vec<(Name, RemovalCause)>>>;

struct Model {
    store: TestStore,
    events: Events,
    resident: BTreeMap<Name, Resident>,
    air: Vec<Airborne>,
    writes: u8,
}

fn bytes_of(key: u8) -> Vec<u8> {
    // Some keys are long, so that both ways of storing them are in play.
    match key % 3 {
        0 => vec![key; 40],
        _ => vec![key],
    }
}

fn weight_of(key: &[u8], value_bytes: usize, decoded_bytes: usize) -> usize {
    DefaultWeigher.weigh(Key::new(0, key), value_bytes, decoded_bytes)
}

impl Model {
    fn new(shards: usize) -> Self {
        let events = Events::default();
        let told = Arc::clone(&events);
        let mut config = StoreConfig::new(CAPACITY);
        config.max_entry_weight = Some(MAX_ENTRY);
        config.max_flights_per_key = PER_KEY;
        config.shards = Some(shards);
        config.on_removal = Some(Arc::new(move |key: Key<'_>, cause| {
            told.lock().unwrap().push(((key.db, key.bytes[0]), cause));
        }));
        Self {
            store: with(config),
            events,
            resident: BTreeMap::new(),
            air: Vec::new(),
            writes: 0,
        }
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Get(name) => self.get(name),
            Op::Enter(name, usable, joinable) => self.enter(name, usable, joinable),
            Op::Publish(at, size, valid) => self.publish(at, size, valid),
            Op::Complete(at) => self.end(at, Some(11)),
            Op::Abandon(at) => self.end(at, None),
            Op::Settle(at) => self.settle(at),
            Op::Invalidate(key) => self.invalidate(key),
            Op::Forget(name) => self.forget(name),
            Op::Expire(name, same) => self.expire(name, same),
            Op::Attach(name, bytes, same) => self.attach(name, bytes, same),
            Op::Clear => self.clear(),
        }
    }

    /// Learns what left for want of room; every other removal must be one the operation explains.
    fn learn(&mut self, mut explained: Vec<(Name, RemovalCause)>) {
        for event in self.events.lock().unwrap().drain(..) {
            if event.1 == RemovalCause::Evicted {
                assert!(
                    self.resident.remove(&event.0).is_some(),
                    "evicted twice: {event:?}"
                );
            } else {
                let at = explained.iter().position(|other| *other == event);
                explained.swap_remove(at.unwrap_or_else(|| panic!("unexplained {event:?}")));
            }
        }
        assert_eq!(explained, [], "the hook was not told");
    }

    fn get(&mut self, name: Name) {
        let bytes = bytes_of(name.1);
        let hit = self.store.get(Key::new(name.0, &bytes));
        let expected = self.resident.get(&name);
        assert_eq!(hit.is_some(), expected.is_some(), "presence of {name:?}");
        if let (Some(hit), Some(expected)) = (hit, expected) {
            assert_eq!(
                (hit.id, hit.value.as_ref()),
                (expected.id, Some(&expected.value))
            );
        }
        let decoded = self.store.get_decoded::<usize>(Key::new(name.0, &bytes));
        let decoded = decoded.and_then(|(_, form)| form).map(|form| *form);
        assert_eq!(decoded, expected.and_then(|expected| expected.decoded));
    }

    fn enter(&mut self, name: Name, usable: bool, joinable: bool) {
        let bytes = bytes_of(name.1);
        let key = Key::new(name.0, &bytes);
        let entrance = self.store.enter(key, |_| usable, |_| joinable, || 0);
        let hit = usable && self.resident.contains_key(&name);
        let mut flights: Vec<_> = self.air.iter_mut().filter(|air| air.name == name).collect();
        let open = flights
            .iter()
            .position(|air| !air.orphaned && air.settled.is_none());
        let pending = flights.iter().rposition(|air| air.settled.is_none());
        match entrance {
            Entrance::Hit(found) => assert!(hit && found.id == self.resident[&name].id),
            Entrance::Join(flight) => {
                let open = open.expect("there is an open flight to join");
                assert!(!hit && joinable && Arc::ptr_eq(&flight, flights[open].guard.flight()));
            }
            Entrance::Crowded(flight) => {
                assert!(!(hit || joinable && open.is_some()) && flights.len() == PER_KEY);
                let pending = pending.expect("there is a pending flight to wait for");
                assert!(Arc::ptr_eq(&flight, flights[pending].guard.flight()));
            }
            Entrance::Declined => panic!("nobody declines"),
            Entrance::Full => assert!(!hit && flights.len() == PER_KEY && pending.is_none()),
            Entrance::Lead(guard) => {
                assert!(!(hit || joinable && open.is_some()) && flights.len() < PER_KEY);
                for older in &mut flights {
                    older.orphaned = true;
                }
                self.air.push(Airborne {
                    name,
                    guard,
                    orphaned: false,
                    settled: None,
                });
            }
        }
    }

    fn take_off(&mut self, at: usize) -> Option<Airborne> {
        (!self.air.is_empty()).then(|| self.air.remove(at % self.air.len()))
    }

    fn publish(&mut self, at: usize, size: usize, valid: bool) {
        let Some(air) = self.take_off(at) else { return };
        let flight = Arc::clone(air.guard.flight());
        self.writes = self.writes.wrapping_add(1);
        let value = Bytes::from(vec![self.writes; size]);
        let name = air.name;
        let published = self
            .store
            .publish(air.guard, filled(value.clone()), |_| valid, 22);
        assert_eq!(
            flight.landed(),
            Some(Landed::Done(air.settled.unwrap_or(22)))
        );
        let weight = weight_of(&bytes_of(name.1), size, 0);
        let mut explained = Vec::new();
        let refusal = match (air.orphaned, valid) {
            (true, _) => Some(Refusal::Orphaned),
            (_, false) => Some(Refusal::Invalid),
            _ => (weight > MAX_ENTRY).then_some(Refusal::TooLarge),
        };
        // The older entry may have been evicted to make room before it could be replaced.
        let evicted = self
            .events
            .lock()
            .unwrap()
            .contains(&(name, RemovalCause::Evicted));
        if refusal.is_none_or(|refusal| refusal == Refusal::TooLarge) && !evicted {
            let old = self.resident.remove(&name);
            explained.extend(old.map(|_| (name, RemovalCause::Replaced)));
        }
        self.learn(explained);
        match (published, refusal) {
            (Published::Refused(reason), Some(expected)) => assert_eq!(reason, expected),
            (Published::Stored(id), None) => {
                let decoded = None;
                assert!(
                    !self.resident.values().any(|other| other.id == id),
                    "{id:?} twice"
                );
                self.resident.insert(name, Resident { id, value, decoded });
            }
            (published, refusal) => panic!("{published:?} where {refusal:?} was expected"),
        }
    }

    fn end(&mut self, at: usize, outcome: Option<u64>) {
        let Some(air) = self.take_off(at) else { return };
        let flight = Arc::clone(air.guard.flight());
        match outcome {
            Some(outcome) => air.guard.complete(outcome),
            None => drop(air.guard),
        }
        let expected = air
            .settled
            .or(outcome)
            .map_or(Landed::Abandoned, Landed::Done);
        assert_eq!(flight.landed(), Some(expected));
    }

    fn settle(&mut self, at: usize) {
        if self.air.is_empty() {
            return;
        }
        let at = at % self.air.len();
        let air = &mut self.air[at];
        air.guard.settle(33);
        air.settled = Some(33);
    }

    fn invalidate(&mut self, key: u8) {
        let count = self.store.invalidate(&bytes_of(key));
        let names: Vec<_> = (0..2).map(|db| (db, key)).collect();
        let gone: Vec<_> = names
            .iter()
            .filter(|name| self.resident.remove(name).is_some())
            .collect();
        assert_eq!(count, gone.len());
        self.learn(
            gone.iter()
                .map(|name| (**name, RemovalCause::Invalidated))
                .collect(),
        );
        self.orphan(|name| name.1 == key);
    }

    fn forget(&mut self, name: Name) {
        let bytes = bytes_of(name.1);
        let was = self.store.forget(Key::new(name.0, &bytes));
        assert_eq!(was, self.resident.remove(&name).is_some());
        self.learn(
            was.then_some((name, RemovalCause::Forgotten))
                .into_iter()
                .collect(),
        );
        self.orphan(|other| other == name);
    }

    fn expire(&mut self, name: Name, same: bool) {
        let bytes = bytes_of(name.1);
        let key = Key::new(name.0, &bytes);
        let id = match self.resident.get(&name) {
            Some(resident) if same => resident.id,
            _ => EntryId(u64::MAX),
        };
        let was = self.store.remove_entry(key, id, RemovalCause::Expired);
        assert_eq!(was, same && self.resident.remove(&name).is_some());
        self.learn(
            was.then_some((name, RemovalCause::Expired))
                .into_iter()
                .collect(),
        );
    }

    fn attach(&mut self, name: Name, decoded_bytes: usize, same: bool) {
        let bytes = bytes_of(name.1);
        let key = Key::new(name.0, &bytes);
        let resident = self.resident.get(&name);
        let id = match resident {
            Some(resident) if same => resident.id,
            _ => EntryId(u64::MAX),
        };
        let value_bytes = resident.map_or(0, |resident| resident.value.len());
        let weight = weight_of(&bytes, value_bytes, decoded_bytes);
        let twin = resident.is_some_and(|resident| resident.decoded.is_some());
        let attached = self
            .store
            .attach(key, id, Arc::new(decoded_bytes), decoded_bytes);
        self.learn(Vec::new());
        // Making room may have evicted the entry itself.
        let resident = self.resident.get_mut(&name);
        let fits = twin || weight <= MAX_ENTRY;
        assert_eq!(
            attached,
            same && fits && resident.is_some(),
            "{name:?} {weight}"
        );
        if let (true, false, Some(resident)) = (attached, twin, resident) {
            resident.decoded = Some(decoded_bytes);
        }
    }

    fn clear(&mut self) {
        self.store.clear();
        let gone = std::mem::take(&mut self.resident);
        self.learn(
            gone.into_keys()
                .map(|name| (name, RemovalCause::Cleared))
                .collect(),
        );
        self.orphan(|_| true);
    }

    fn orphan(&mut self, meant: impl Fn(Name) -> bool) {
        for air in self.air.iter_mut().filter(|air| meant(air.name)) {
            air.orphaned = true;
            assert!(air.guard.flight().is_orphaned());
        }
    }

    fn check(&self) {
        self.store.validate();
        assert_eq!(self.store.len(), self.resident.len());
        assert_eq!(self.store.flights_open(), self.air.len());
        let mut sum = 0;
        self.store.for_each(|key, info| {
            let resident = &self.resident[&(key.db, key.bytes[0])];
            assert_eq!(info.id, resident.id);
            assert_eq!(info.decoded_bytes, resident.decoded);
            let decoded = resident.decoded.unwrap_or(0);
            assert_eq!(
                info.weight,
                weight_of(key.bytes, resident.value.len(), decoded)
            );
            sum += info.weight;
        });
        assert_eq!(self.store.weight(), sum, "room was lost or counted twice");
        for air in &self.air {
            assert_eq!(air.guard.flight().is_orphaned(), air.orphaned);
            assert_eq!(air.guard.flight().is_settled(), air.settled.is_some());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 4 } else { 300 }, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_does_what_the_oracle_does(ops in vec(op(), 1..250), shards in 1..5usize) {
        let mut model = Model::new(shards);
        for op in &ops {
            model.apply(op);
            model.check();
        }
        drop(std::mem::take(&mut model.air));
        model.check();
        prop_assert_eq!(model.store.flights_open(), 0);
    }
}
