//! Commands as users of the drop-in write them: how each is judged, and what the embedded server makes of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nearcache_fuzz::{Feed, is_served};
use nearcache_l1::Timestamp;
use nearcache_memory::{MemoryServer, Output};
use nearcache_proto::commands::{self, Class};

/// What the server may hold, and answer a single command with.
const LIMIT: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let mut feed = Feed(data);
    let mut server = MemoryServer::new();
    server.set_memory_limit(LIMIT);
    server.table_limit(100, 1);
    let connections = [server.connect(), server.connect()];
    let mut now = Timestamp::from_micros(1_000_000);
    while !feed.is_empty() {
        let which = feed.byte();
        now = Timestamp::from_micros(now.as_micros() + u64::from(which >> 1) * 1000);
        let argv = feed.argv();
        let class = commands::classify(&argv);
        if let Some(name) = argv.first() {
            let _ = (commands::class(name), commands::resp2(name));
        }
        if let Class::Write { key } = class {
            assert!(key < argv.len(), "{argv:?}");
        }
        assert!(!is_served(&argv) || argv.len() > 1);
        let connection = connections[usize::from(which & 1)];
        server.execute(connection, &argv, now);
        let replies = server.drain(connection);
        let count = replies
            .iter()
            .filter(|output| matches!(output, Output::Reply(_)))
            .count();
        assert_eq!(count, 1, "one reply to each command");
    }
    server.tick(now);
    assert!(server.memory_used() <= LIMIT + data.len() * 2 + (1 << 16));
});
