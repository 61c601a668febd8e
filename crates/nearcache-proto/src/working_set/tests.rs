//! What is published reads back, and what is damaged or hostile is refused or does no harm.

use std::time::Duration;

use nearcache_l1::{Key, Timestamp};
use proptest::prelude::*;

use super::frame::{Kind, MOST_READS, seal};
use super::name::LONGEST;
use super::*;
use crate::commands;
use crate::entry_key::{self, EntryKey, compose};

const HALF_LIFE: Duration = Duration::from_secs(1800);

/// Scores that survive being written.
fn score() -> impl Strategy<Value = f64> {
    prop_oneof![
        (0.0_f32..1e6).prop_map(f64::from),
        Just(0.0),
        Just(f64::from(1e17_f32))
    ]
}

fn name() -> impl Strategy<Value = Name> {
    let key = || proptest::collection::vec(any::<u8>(), 0..40);
    let reply = (key(), key(), 0_u32..16).prop_map(|(key, field, db)| {
        let name = compose(commands::place("hget"), &[key, field]).unwrap();
        Name::plain(EntryKey::reply(db, &name).filed())
    });
    prop_oneof![
        4 => (0_u32..20, key()).prop_map(|(db, key)| Name::plain(Key::new(db, &key))),
        1 => reply,
        1 => any::<u64>().prop_map(Name::Hashed),
    ]
}

fn items() -> impl Strategy<Value = Vec<Item>> {
    let item = (name(), score(), any::<u32>());
    let item = item.prop_map(|(name, score, bytes)| Item { name, score, bytes });
    proptest::collection::vec(item, 0..40).prop_map(|mut items| {
        items.sort_by(|a, b| a.name.cmp(&b.name));
        items.dedup_by(|a, b| a.name == b.name);
        items
    })
}

fn blob() -> impl Strategy<Value = Blob> {
    let numbers = (any::<u64>(), any::<u64>(), score(), 0.0_f32..1e9);
    let end = (any::<u32>(), any::<bool>());
    let all = (numbers, end, items());
    all.prop_map(
        |((pod, sequence, mass, rate), (life, leaving), mut items)| {
            items.sort_by(item::by_score);
            Blob {
                pod,
                sequence,
                half_life: HALF_LIFE,
                mass,
                rates: Rates {
                    reads_per_s: rate,
                    l2_reads_per_s: rate / 2.0,
                    l2_bytes_per_s: 0.0,
                },
                life: Duration::from_millis(life.into()),
                leaving,
                items,
                skipped: 0,
            }
        },
    )
}

fn manifest() -> impl Strategy<Value = Manifest> {
    (blob(), any::<u32>(), any::<u32>()).prop_map(|(blob, fleet, merged)| {
        let mut items = blob.items;
        items.sort_by(item::by_density);
        Manifest {
            version: blob.sequence,
            half_life: blob.half_life,
            mass: blob.mass,
            fleet,
            merged,
            rates: blob.rates,
            items,
            skipped: 0,
        }
    })
}

fn snapshot() -> impl Strategy<Value = Snapshot> {
    blob().prop_map(|blob| Snapshot {
        half_life: blob.half_life,
        mass: blob.mass,
        items: blob
            .items
            .into_iter()
            .filter(|item| item.key().is_some())
            .collect(),
        skipped: 0,
    })
}

/// One of each kind, encoded.
fn published() -> Vec<Vec<u8>> {
    let mut counts = Counts::new(100, 1 << 16, HALF_LIFE);
    for n in 0..10 {
        let name = format!("product:{n}");
        counts.add(Timestamp::ZERO, Key::new(n % 3, name.as_bytes()), n + 1);
        counts.note_bytes(Key::new(n % 3, name.as_bytes()), 200 << 10);
    }
    let reply = compose(commands::place("hget"), &["user:1", "name"]).unwrap();
    counts.add(Timestamp::ZERO, EntryKey::reply(0, &reply).filed(), 9);
    let blob = Blob::new(1, 2, &counts, Timestamp::ZERO, 100);
    let snapshot = Snapshot::new(&counts, Timestamp::ZERO, 100);
    assert_eq!((blob.items.len(), blob.mass), (11, 64.0));
    let hashed = blob.encode(1 << 18, KeyNames::Hashed);
    let plain = blob.encode(1 << 18, KeyNames::Plain);
    let manifest = merge([(blob, Duration::ZERO)], 3, 6);
    vec![
        plain,
        manifest.encode(1 << 20),
        snapshot.encode(1 << 20),
        hashed,
    ]
}

/// All three readers on the same bytes.
fn read(data: &[u8]) -> [Result<(), Ignored>; 3] {
    [
        Blob::decode(data).map(|blob| harmless(&blob.items, blob.mass)),
        Manifest::decode(data).map(|manifest| {
            harmless(&manifest.items, manifest.mass);
            let plan = manifest.plan(1 << 20, 1 << 19);
            assert!(plan.bytes() <= 1 << 20 && (0.0..=1.0).contains(&plan.share()));
        }),
        Snapshot::decode(data).map(|snapshot| harmless(&snapshot.items, snapshot.mass)),
    ]
}

/// What is true of anything that was not refused.
fn harmless(items: &[Item], mass: f64) {
    assert!((0.0..=MOST_READS).contains(&mass));
    for item in items {
        assert!((0.0..=MOST_READS).contains(&item.score));
        let Some(filed) = item.key() else { continue };
        let kind = EntryKey::of(filed).kind;
        let is_reply = kind == entry_key::Kind::Reply;
        assert!(is_reply || kind == entry_key::Kind::Value);
        assert!(filed.bytes.len() <= LONGEST);
        if is_reply {
            let (_, argv) = crate::entry_key::command(filed.bytes).expect("a command");
            assert!(commands::served(&argv).is_some(), "{argv:?}");
        }
    }
}

fn all_are(data: &[u8], expected: Ignored) {
    for result in read(data) {
        assert_eq!(result, Err(expected));
    }
}

/// Puts the right checksum and length on a frame that was tampered with.
fn resealed(mut data: Vec<u8>) -> Vec<u8> {
    data.truncate(data.len() - 4);
    let length = (data.len() + 4) as u32;
    data[8..12].copy_from_slice(&length.to_le_bytes());
    let checksum = crc32fast::hash(&data);
    data.extend_from_slice(&checksum.to_le_bytes());
    data
}

proptest! {
    #[test]
    fn a_blob_reads_back(blob in blob()) {
        let bytes = blob.encode(Blob::LIMIT_BYTES, KeyNames::Plain);
        prop_assert_eq!(Blob::decode(&bytes), Ok(blob));
    }

    #[test]
    fn a_manifest_reads_back(manifest in manifest()) {
        let bytes = manifest.encode(Manifest::LIMIT_BYTES);
        prop_assert_eq!(Manifest::decode(&bytes), Ok(manifest));
    }

    #[test]
    fn a_snapshot_reads_back(snapshot in snapshot()) {
        let bytes = snapshot.encode(1 << 20);
        prop_assert_eq!(Snapshot::decode(&bytes), Ok(snapshot));
    }

    #[test]
    fn what_has_no_room_is_the_last_of_the_ranking(blob in blob(), limit in 0_usize..2000) {
        let bytes = blob.encode(limit, KeyNames::Plain);
        prop_assert!(bytes.len() <= limit.max(71));
        let cut = Blob::decode(&bytes).unwrap();
        prop_assert_eq!(&cut.items[..], &blob.items[..cut.items.len()]);
        prop_assert_eq!(cut.mass, blob.mass);
    }

    #[test]
    fn c12_random_bytes_are_refused_without_harm(data in proptest::collection::vec(any::<u8>(), 0..300)) {
        for result in read(&data) {
            prop_assert!(result.is_err());
        }
    }

    #[test]
    fn c12_random_bytes_in_a_good_frame_do_no_harm(
        kind in 0_usize..3,
        header in proptest::collection::vec(any::<u8>(), 0..70),
        body in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let kind = [Kind::Blob, Kind::Manifest, Kind::Snapshot][kind];
        let _ = read(&seal(kind, &header, &body));
    }

    #[test]
    fn c12_any_byte_changed_under_a_good_checksum_does_no_harm(kind in 0_usize..4, at: prop::sample::Index, bits in 1_u8..) {
        let mut data = published().swap_remove(kind);
        let at = at.index(data.len() - 4);
        data[at] ^= bits;
        let _ = read(&resealed(data));
    }

    #[test]
    fn c12_the_end_cut_off_under_a_good_checksum_does_no_harm(kind in 0_usize..4, at: prop::sample::Index) {
        let mut data = published().swap_remove(kind);
        let end = 18 + at.index(data.len() - 18);
        data.truncate(end);
        let _ = read(&resealed(data));
    }
}

#[test]
fn c12_corrupt_any_changed_byte_is_noticed() {
    for data in published() {
        for at in 0..data.len() {
            for bits in [1, 0x80, 0xff] {
                let mut data = data.clone();
                data[at] ^= bits;
                assert!(read(&data).iter().all(Result::is_err), "byte {at}");
            }
        }
        let mut corrupt = data.clone();
        let at = data.len() / 2;
        corrupt[at] ^= 1;
        all_are(&corrupt, Ignored::BadChecksum);
    }
}

#[test]
fn c12_truncated_at_any_place_is_noticed() {
    for data in published() {
        assert_eq!(
            read(&data).iter().filter(|result| result.is_ok()).count(),
            1
        );
        for end in 1..data.len() {
            all_are(&data[..end], Ignored::Truncated);
        }
    }
}

#[test]
fn c12_not_ours_is_told_from_damaged() {
    for data in [
        &b""[..],
        b"x",
        b"{\"keys\":[]}",
        b"NCWX\x01\0m\0",
        &[0; 100],
    ] {
        all_are(data, Ignored::NotOurs);
    }
    let [blob, manifest, ..] = &published()[..] else {
        panic!("four");
    };
    assert_eq!(Manifest::decode(blob), Err(Ignored::OtherKind));
    assert_eq!(Blob::decode(manifest), Err(Ignored::OtherKind));
}

#[test]
fn c12_future_version_is_ignored_whatever_it_holds() {
    for mut data in published() {
        data[4] = 2;
        all_are(&data, Ignored::FutureVersion(2));
        data.truncate(20);
        data[5] = 1;
        all_are(&data, Ignored::FutureVersion(258));
    }
}

#[test]
fn a_later_header_is_read_as_far_as_it_is_known() {
    for mut data in published() {
        let known = read(&data);
        let header = u16::from_le_bytes([data[12], data[13]]);
        let end = 14 + usize::from(header);
        data.splice(end..end, *b"what a later version says");
        data[12..14].copy_from_slice(&(header + 25).to_le_bytes());
        let later = resealed(data);
        assert_eq!(read(&later), known);
    }
}

#[test]
fn c12_oversized_is_refused_unread() {
    for (kind, data) in published().into_iter().take(3).enumerate() {
        let limit = if kind == 0 { 1 << 20 } else { 4 << 20 };
        let mut large = data.clone();
        large.resize(limit + 1, 0);
        let expected = Err(Ignored::TooLarge {
            bytes: limit + 1,
            limit,
        });
        assert_eq!(read(&large)[kind], expected);
        // What is only said to be longer than it is has lost its end.
        let mut lies = data;
        lies[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        all_are(&lies, Ignored::Truncated);
    }
}

#[test]
fn c12_hostile_counts_and_numbers_are_refused() {
    let hostile = |kind: usize, at: usize, bytes: &[u8]| {
        let mut data = published().swap_remove(kind);
        data[at..at + bytes.len()].copy_from_slice(bytes);
        let result = read(&resealed(data)).into_iter().nth(kind).unwrap();
        assert!(
            matches!(result, Err(Ignored::Hostile(_))),
            "{kind} {at}: {result:?}"
        );
    };
    // In each header: half-life, mass, count of items; and where the items begin.
    for (kind, half_life, mass, count, items_at) in [
        (0, 30, 38, 58, 67),
        (1, 22, 30, 58, 62),
        (2, 14, 22, 30, 34),
    ] {
        for micros in [0, 1, u64::MAX] {
            hostile(kind, half_life, &micros.to_le_bytes());
        }
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 1e19] {
            hostile(kind, mass, &number.to_le_bytes());
        }
        for items in [u32::MAX, 1 << 20, 10, 12] {
            hostile(kind, count, &items.to_le_bytes());
        }
        for number in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1.0, 1e19] {
            hostile(kind, items_at, &number.to_le_bytes());
        }
        // A name longer than what is left: behind score, size of three bytes, kind and db.
        hostile(kind, items_at + 4 + 3 + 2, &[0x7f]);
        // A header longer than what is left.
        hostile(kind, 12, &[0xff, 0xff]);
    }
    for rate in [46, 50, 54] {
        hostile(0, rate, &f32::NAN.to_le_bytes());
        hostile(1, rate, &(-1.0_f32).to_le_bytes());
    }
}

#[test]
fn zeros_with_a_sign_are_zeros() {
    for (kind, score) in [(0, 67), (1, 62), (2, 34)] {
        let mut data = published().swap_remove(kind);
        data[score..score + 4].copy_from_slice(&(-0.0_f32).to_le_bytes());
        let data = resealed(data);
        let items = match kind {
            0 => Blob::decode(&data).unwrap().items,
            1 => Manifest::decode(&data).unwrap().items,
            _ => Snapshot::decode(&data).unwrap().items,
        };
        let last = items.last().unwrap().score;
        assert!(last == 0.0 && last.is_sign_positive());
    }
}

#[test]
fn of_items_with_one_name_the_first_counts() {
    let item = |score| Item {
        name: Name::plain(Key::new(0, b"k")),
        score,
        bytes: 1,
    };
    let snapshot = Snapshot {
        half_life: HALF_LIFE,
        mass: 9.0,
        items: vec![item(1.0), item(5.0), item(3.0)],
        skipped: 0,
    };
    let read = Snapshot::decode(&snapshot.encode(1 << 20)).unwrap();
    assert_eq!((read.items, read.skipped), (vec![item(5.0)], 2));
}

#[test]
fn what_a_version_does_not_know_is_skipped_and_counted() {
    let data = published().swap_remove(0);
    let at = data.windows(4).position(|four| four == b"hget").unwrap();
    let mut unknown = data;
    unknown[at..at + 4].copy_from_slice(b"hnew");
    let blob = Blob::decode(&resealed(unknown)).unwrap();
    assert_eq!((blob.items.len(), blob.skipped), (10, 1));
}

#[test]
fn numbers_that_cannot_be_are_written_as_ones_that_can() {
    let item = |name: &[u8], score| Item {
        name: Name::plain(Key::new(0, name)),
        score,
        bytes: 1,
    };
    let snapshot = Snapshot {
        half_life: Duration::ZERO,
        mass: f64::INFINITY,
        items: vec![
            item(b"a", f64::INFINITY),
            item(b"b", f64::NAN),
            item(b"c", -1.0),
        ],
        skipped: 0,
    };
    let read = Snapshot::decode(&snapshot.encode(1 << 20)).unwrap();
    assert_eq!(read.mass, MOST_READS);
    assert_eq!(
        read.items.iter().filter(|item| item.score == 0.0).count(),
        2
    );
}

#[test]
fn c13_what_a_log_gets_is_short_and_names_no_key() {
    for ignored in [
        Ignored::NotOurs,
        Ignored::OtherKind,
        Ignored::FutureVersion(9),
        Ignored::Truncated,
        Ignored::BadChecksum,
        Ignored::TooLarge { bytes: 9, limit: 8 },
        Ignored::Hostile("a rate that is not one"),
    ] {
        let text = ignored.to_string();
        assert!((8..80).contains(&text.len()), "{text}");
    }
}
