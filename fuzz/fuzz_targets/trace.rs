//! The lines of a trace file, with the header of CSV and without.
#![no_main]

use std::collections::HashSet;
use std::io::BufReader;

use libfuzzer_sys::fuzz_target;
use nearcache_sim::{Kind, Lines};

fuzz_target!(|data: &[u8]| {
    check(data);
    check(&[Lines::HEADER.as_bytes(), b"\n", data].concat());
});

fn check(data: &[u8]) {
    let parsed = Lines::parse(data);
    let in_pieces = Lines::parse(BufReader::with_capacity(7, data));
    assert_eq!(in_pieces, parsed, "what was read at once does not matter");
    let Ok(lines) = parsed else { return };
    is_sound(&lines, data.len());
    let csv = data
        .trim_ascii_start()
        .starts_with(Lines::HEADER.as_bytes());
    let again = Lines::parse(&written(&lines, csv)[..]).expect("what was read can be written");
    let at_ms = match csv {
        true => again.at_ms.clone(),
        // The numbers of lines, without those that were empty.
        false => lines.at_ms.clone(),
    };
    assert_eq!(Lines { at_ms, ..again }, lines);
}

/// What is true of any trace, and that it holds no more than there was.
fn is_sound(lines: &Lines, length: usize) {
    let requests = lines.requests.len();
    assert!((1..=length).contains(&requests));
    assert_eq!(
        (lines.at_ms.len(), lines.clients.len()),
        (requests, requests)
    );
    assert!(lines.at_ms.iter().all(|at_ms| *at_ms <= Lines::AT_MS_MAX));
    let keys = lines.keys as usize;
    assert_eq!((lines.names.len(), lines.sizes.len()), (keys, keys));
    let mut seen = 0;
    for (_, key) in &lines.requests {
        assert!(*key <= seen, "numbers go by first appearance");
        seen = seen.max(key + 1);
    }
    assert_eq!(seen, lines.keys, "every key was asked for");
    let names: HashSet<_> = lines.names.iter().collect();
    assert_eq!(names.len(), keys, "no key has two numbers");
    assert!(
        lines
            .names
            .iter()
            .all(|name| !name.is_empty() && !name.contains(&b'\n'))
    );
    let bytes: usize = lines.names.iter().map(|name| name.len()).sum();
    assert!(bytes <= length);
}

/// A file that says the same.
fn written(lines: &Lines, csv: bool) -> Vec<u8> {
    let mut file = Vec::new();
    if csv {
        file.extend_from_slice(Lines::HEADER.as_bytes());
        file.push(b'\n');
    }
    for (number, (kind, key)) in lines.requests.iter().enumerate() {
        let name = &lines.names[*key as usize];
        if csv {
            let op = match kind {
                Kind::Read => "get",
                Kind::Write => "set",
            };
            let (at_ms, client) = (lines.at_ms[number], lines.clients[number]);
            file.extend_from_slice(format!("{at_ms},{client},{op},").as_bytes());
            file.extend_from_slice(name);
            let size = lines.sizes[*key as usize].map(|bytes| bytes.to_string());
            file.extend_from_slice(format!(",{}", size.unwrap_or_default()).as_bytes());
        } else {
            file.extend_from_slice(name);
        }
        file.push(b'\n');
    }
    file
}
