//! What a pod published, as the pod that merges reads it; and what it makes of it.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use nearcache_fuzz::{are_harmless, with_and_without_checksum};
use nearcache_proto::working_set::{Blob, KeyNames, Manifest, merge};

fuzz_target!(|data: &[u8]| {
    with_and_without_checksum(data, |data| {
        let Ok(blob) = Blob::decode(data) else { return };
        are_harmless(&blob.items);
        let again = Blob::decode(&blob.encode(usize::MAX, KeyNames::Plain))
            .expect("what was read can be written");
        assert_eq!(
            again,
            Blob {
                skipped: 0,
                ..blob.clone()
            }
        );
        let age = Duration::from_micros(blob.sequence);
        let manifest = merge([(blob, age)], 3, 0);
        are_harmless(&manifest.items);
        Manifest::decode(&manifest.encode(Manifest::LIMIT_BYTES))
            .expect("what was merged can be read");
    });
});
