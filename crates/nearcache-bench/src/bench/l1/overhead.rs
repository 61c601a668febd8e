//! What an entry costs beside its key and value, counted at the allocator.

use serde::Serialize;

use super::counting::live_bytes;
use super::hits;
use super::libraries::{self, Library};
use super::ratio::Store;

/// What one library needs.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Overhead {
    pub(super) library: &'static str,
    pub(super) keys: u32,
    pub(super) bytes_per_entry: f64,
}

const VALUE: usize = 100;

/// Fills each library with keys of 14 bytes and values of 100, all of which fit, and reads each once.
pub(super) fn measure(keys: u32) -> Vec<Overhead> {
    let names = hits::names(keys);
    let value = hits::value(VALUE);
    let row = |library, build: &dyn Fn() -> Box<dyn std::any::Any>| {
        let before = live_bytes();
        let built = build();
        let bytes = live_bytes().saturating_sub(before);
        drop(built);
        let payload: usize = names.iter().map(|name| name.len() + VALUE).sum();
        let bytes_per_entry = (bytes as f64 - payload as f64) / f64::from(keys);
        Overhead {
            library,
            keys,
            bytes_per_entry,
        }
    };
    // A buffer that is shared for the first time sets its counter aside, so each is read once.
    fn read<L: Library + 'static>(library: L, names: &[String]) -> Box<dyn std::any::Any> {
        for name in names {
            library.lookup(name);
        }
        Box::new(library)
    }
    vec![
        row("nearcache", &|| Box::new(Store::with_bytes(&names, value))),
        row("quick_cache", &|| {
            read(libraries::quick_cache(&names, value), &names)
        }),
        row("moka", &|| read(libraries::moka(&names, value), &names)),
        row("foyer", &|| read(libraries::foyer(&names, value), &names)),
        row("HashMap", &|| read(libraries::map(&names, value), &names)),
    ]
}
