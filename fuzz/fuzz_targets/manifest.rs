//! The fleet's manifest, as a new pod reads it; and the plan it makes.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use nearcache_fuzz::{are_harmless, with_and_without_checksum};
use nearcache_l1::Key;
use nearcache_proto::working_set::Manifest;

fuzz_target!(|data: &[u8]| {
    with_and_without_checksum(data, |data| {
        let Ok(manifest) = Manifest::decode(data) else {
            return;
        };
        are_harmless(&manifest.items);
        let again =
            Manifest::decode(&manifest.encode(usize::MAX)).expect("what was read can be written");
        assert_eq!(
            again,
            Manifest {
                skipped: 0,
                ..manifest.clone()
            }
        );
        for budget in [0, 10_000, u64::MAX] {
            let plan = manifest.plan(budget, 1 << 20);
            assert!(plan.bytes() <= budget && (0.0..=1.0).contains(&plan.share()));
        }
        for item in &manifest.items {
            let reads =
                manifest.expected_reads(item, Duration::from_secs(3600), manifest.even_share());
            assert!(reads >= 0.0 && reads.is_finite());
        }
        let known = [Key::new(0, b"k"), Key::new(1, data)];
        let named = manifest.items.iter().filter_map(|item| item.key());
        let slots: Vec<_> = named.chain(known).collect();
        assert!(manifest.matching(&slots).items.len() <= slots.len());
    });
});
