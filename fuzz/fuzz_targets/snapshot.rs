//! What a pod left for the process that takes its place.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nearcache_fuzz::{are_harmless, with_and_without_checksum};
use nearcache_proto::working_set::{Manifest, Snapshot};

fuzz_target!(|data: &[u8]| {
    with_and_without_checksum(data, |data| {
        let Ok(snapshot) = Snapshot::decode(data) else {
            return;
        };
        are_harmless(&snapshot.items);
        let again =
            Snapshot::decode(&snapshot.encode(usize::MAX)).expect("what was read can be written");
        assert_eq!(
            again,
            Snapshot {
                skipped: 0,
                ..snapshot.clone()
            }
        );
        let manifest = Manifest::from(snapshot);
        assert!(manifest.plan(1 << 16, 1 << 20).bytes() <= 1 << 16);
    });
});
