//! C12: odd keys, values, types, commands and replies: no panic, no corruption, and words that help.

use std::io::{Read, Write};
use std::net::TcpListener;

use nearcache::{Bytes, ErrorKind, NearCache, Ttl};

use super::{Stage, all, on_both, says, val};

on_both!(
    c12_a_key_of_another_type,
    c12_keys_and_values_of_any_bytes,
    c12_a_value_of_many_megabytes,
    c12_sizes_no_server_accepts,
    c12_odd_commands,
    c12_a_time_to_live_out_of_range,
);

fn c12_a_key_of_another_type(stage: &Stage) {
    let pod = stage.pod();
    stage.cmd(&["RPUSH", "k", "a", "b"]);
    for _ in 0..3 {
        let error = pod.get("k").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
        says(&error, &["WRONGTYPE"]);
        let error = all(pod.get_many(&["l", "k"])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
        assert!(pod.get_validated("k").is_err());
    }
    // The error was not kept.
    stage.cmd(&["DEL", "k"]);
    stage.set("k", "v");
    assert_eq!(pod.get("k").unwrap(), val("v"));
    assert_eq!(pod.get("l").unwrap(), None);
    assert_eq!(pod.stats().totals.disconnects_total, 0);
}

fn c12_keys_and_values_of_any_bytes(stage: &Stage) {
    let pod = stage.pod();
    let all: Vec<u8> = (0..=255).collect();
    let samples: [&[u8]; 8] = [
        b"",
        b"\0",
        b"\r\n",
        b"$-1\r\n",
        b"*1\r\n$4\r\nQUIT\r\n",
        b"\xff\xfe\xfd",
        "schl\u{fc}ssel \u{1f511}".as_bytes(),
        &all,
    ];
    let long = vec![b'k'; 100_000];
    for key in samples.iter().copied().chain([&long[..]]) {
        for value in samples {
            stage.cmd(&[b"SET", key, value]);
            pod.fence().unwrap();
            for _ in 0..2 {
                assert_eq!(pod.get(key).unwrap().as_deref(), Some(value));
            }
            pod.set(key, Bytes::copy_from_slice(value), Ttl::NONE)
                .unwrap();
            assert_eq!(pod.get(key).unwrap().as_deref(), Some(value));
        }
        assert!(pod.delete(key).unwrap());
        assert_eq!(pod.get(key).unwrap(), None);
    }
    assert_eq!(pod.stats().totals.disconnects_total, 0);
}

fn c12_a_value_of_many_megabytes(stage: &Stage) {
    let pod = stage.pod();
    let value = Bytes::from(vec![7u8; 20 << 20]);
    pod.set("k", value.clone(), Ttl::NONE).unwrap();
    for _ in 0..2 {
        assert!(pod.get("k").unwrap() == Some(value.clone()), "it differs");
    }
    assert_eq!(pod.get_resident("k"), None);
    pod.set("k", "small", Ttl::NONE).unwrap();
    assert_eq!(pod.get("k").unwrap(), val("small"));
}

fn c12_sizes_no_server_accepts(stage: &Stage) {
    let pod = stage.pod();
    // Never touched, so it takes no memory.
    let huge = Bytes::from(vec![0u8; (512 << 20) + 1]);
    let errors = [
        pod.set("k", huge.clone(), Ttl::NONE).unwrap_err(),
        pod.set(&huge, "v", Ttl::NONE).unwrap_err(),
        pod.get(&huge).unwrap_err(),
        all(pod.get_many(&[&huge])).unwrap_err(),
        pod.get_validated(&huge).unwrap_err(),
        pod.delete(&huge).unwrap_err(),
        pod.session().command(&[b"GET", &huge[..]]).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
        says(&error, &["512 MiB"]);
    }
    pod.set("k", "v", Ttl::NONE).unwrap();
    assert_eq!(pod.get("k").unwrap(), val("v"));
    assert_eq!(pod.stats().totals.disconnects_total, 0);
}

fn c12_odd_commands(stage: &Stage) {
    let pod = stage.pod();
    let mut session = pod.session();
    assert!(session.command(&[""; 0]).is_err());
    let odd: [&[&[u8]]; 5] = [
        &[b""],
        &[b"\r\nQUIT\r\n"],
        &[b"NOSUCHCOMMAND", b"k"],
        &[b"SET"],
        &[b"SET", b"k", b"v", b"PX", b"never"],
    ];
    for command in odd {
        let error = session.command(command).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage, "{command:?}: {error}");
        assert!(session.command(&["SET", "k", "v"]).is_ok());
        assert_eq!(pod.get("k").unwrap(), val("v"));
    }
    // A server repeats the name in its error, which then is no text: the side connection may not survive it.
    assert!(session.command(&[&b"\xff\xff"[..]]).is_err());
    assert!(session.command(&["SET", "k", "v"]).is_ok());
    let error = pod.with_db(99).get("k").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
    says(&error, &["99"]);
    assert!(session.command(&["SELECT", "99"]).is_err());
    assert!(session.command(&["SELECT", "x"]).is_err());
    assert_eq!(pod.get("k").unwrap(), val("v"));
    assert_eq!(pod.stats().totals.disconnects_total, 0);
}

fn c12_a_time_to_live_out_of_range(stage: &Stage) {
    let pod = stage.pod();
    let error = pod.set("k", "v", Ttl::millis(0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
    assert_eq!(stage.stored("k"), None);
    // As long as there is: refused by the server or taken, never a short life.
    let _ = pod.set("k", "v", Ttl::secs(u64::MAX));
    if stage.stored("k").is_some() {
        assert!(stage.cmd(&["PTTL", "k"]).int() > 1 << 40);
        assert_eq!(pod.get("k").unwrap(), val("v"));
        assert_eq!(pod.get("k").unwrap(), val("v"));
    }
}

/// Something that listens where a server is expected, and says what no server says.
fn impostor(words: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let Ok(mut socket) = socket else { return };
            let mut heard = [0; 1024];
            let _ = socket.read(&mut heard);
            let _ = socket.write_all(words);
        }
    });
    url
}

#[test]
fn c12_what_is_no_server_is_an_error() {
    Stage::watch(|| {
        for words in [
            &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
            b"\0\0\0\0\0\0\0\0\0\0",
            b"",
            b"\r\n\r\n",
            b"$-5\r\n",
            b"$99999999999999999999\r\n",
            b"$536870912\r\nshort",
            b"*2147483647\r\n",
            b"*9223372036854775807\r\n",
            b"%9223372036854775807\r\n",
            b">9223372036854775807\r\n",
            b">1\r\n$10\r\ninvalidate\r\n",
            b"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n",
            b"+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n",
            b":1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n",
            b"-ERR no\r\n-ERR no\r\n-ERR no\r\n-ERR no\r\n",
        ] {
            let builder = NearCache::builder()
                .redis(impostor(words))
                .connect_timeout("300ms")
                .warm_deadline("1ms");
            let error = builder.connect_blocking().map(drop).unwrap_err();
            let shown = String::from_utf8_lossy(words);
            assert!(
                [ErrorKind::Retry, ErrorKind::Configuration].contains(&error.kind()),
                "{shown:?}: {error}"
            );
            says(&error, &["127.0.0.1"]);
        }
    });
}
