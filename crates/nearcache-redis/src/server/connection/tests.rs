//! A connection whose server says what the test wants, in pieces.

use std::future::poll_fn;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use nearcache_proto::{ConnectionId, Invalidations, OpReply, PrimaryId};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use bytes::Bytes;

use super::*;

#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl Log {
    fn add(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Invalidations for Log {
    fn invalidate(&self, connection: ConnectionId, key: &[u8]) {
        let key = String::from_utf8_lossy(key);
        self.add(format!("{} {key}", connection.number));
    }
    fn invalidate_all(&self, connection: ConnectionId) {
        self.add(format!("{} all", connection.number));
    }
    fn disconnected(&self, connection: ConnectionId) {
        self.add(format!("{} end", connection.number));
    }
}

/// A lane's connection, the server's end of it, and what it reports.
fn lane() -> (RedisConnection, UnixStream, Arc<Log>) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let log = Arc::new(Log::default());
    let id = ConnectionId {
        primary: PrimaryId::FIRST,
        number: 7,
    };
    let events = Events::new(id, log.clone());
    let con = RedisConnection::new(Socket::Unix(ours), "redis://h:1".into(), 0, Some(events));
    (con, theirs, log)
}

fn get(key: &'static str) -> Vec<Op> {
    let argv = vec![
        Bytes::from_static(b"GET"),
        Bytes::from_static(key.as_bytes()),
    ];
    vec![Op::Command { db: 0, argv }]
}

async fn answer(con: &mut RedisConnection) -> Result<BatchReply, Error> {
    poll_fn(|cx| con.poll_answer(cx)).await
}

/// What is reported of this, said before the answer to a command.
async fn reported(said: &str) -> (Vec<String>, bool) {
    let (mut con, mut server, log) = lane();
    con.send(get("k"));
    server.write_all(said.as_bytes()).await.unwrap();
    server.write_all(b":1\r\n").await.unwrap();
    let answered = answer(&mut con).await.is_ok();
    (log.take(), answered)
}

#[tokio::test]
async fn c12_unknown_shapes_of_an_invalidation_count_as_everything() {
    let push = |data: &str| format!(">2\r\n$10\r\ninvalidate\r\n{data}");
    for (data, expected) in [
        ("*2\r\n$1\r\na\r\n$0\r\n\r\n", &["7 a", "7 "][..]),
        ("_\r\n", &["7 all"]),
        ("$1\r\na\r\n", &["7 all"]),
        ("*2\r\n:1\r\n$1\r\na\r\n", &["7 all", "7 a"]),
        ("*0\r\n", &[]),
    ] {
        let found = reported(&push(data)).await;
        let expected = expected.iter().map(|line| (*line).to_owned()).collect();
        assert_eq!(found, (expected, true), "{data:?}");
    }
    assert_eq!(
        reported(">1\r\n+invalidate\r\n").await,
        (vec!["7 all".to_owned()], true)
    );
}

#[tokio::test]
async fn c12_what_nobody_asked_for_ends_in_a_defined_way() {
    // Pushes of other kinds say nothing of keys.
    for push in [
        ">3\r\n$11\r\nsunsubscribe\r\n".replace("$11", "$12") + "$1\r\nc\r\n:0\r\n",
        ">2\r\n+pubsub\r\n+later\r\n".to_owned(),
        ">1\r\n:5\r\n".to_owned(),
    ] {
        assert_eq!(reported(&push).await, (vec![], true), "{push:?}");
    }
    for end in [
        ">1\r\n$21\r\ntracking-redir-broken\r\n",
        "?what\r\n",
        "*1\r\n>1\r\n+a\r\n",
        "$?\r\n",
    ] {
        assert_eq!(
            reported(end).await,
            (vec!["7 end".to_owned()], false),
            "{end:?}"
        );
    }
    // A reply too many.
    let (mut con, mut server, log) = lane();
    server.write_all(b"+OK\r\n").await.unwrap();
    let error = answer(&mut con).await.unwrap_err();
    assert!(error.to_string().contains("nobody asked for"), "{error}");
    assert!(!con.is_open());
    assert_eq!(
        answer(&mut con).await.unwrap_err().to_string(),
        error.to_string()
    );
    assert_eq!(log.take(), ["7 end"], "told once");
}

#[tokio::test]
async fn c13_what_was_received_is_in_no_error() {
    let (mut con, mut server, _) = lane();
    con.send(get("k"));
    server.write_all(b"?secret\r\n").await.unwrap();
    let error = answer(&mut con).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("secret"));
}

/// Cut at every byte: what was whole by then is answered, and nothing else.
#[tokio::test]
async fn c15_a_connection_that_is_cut_anywhere_answers_what_came_whole() {
    let large = "x".repeat(40_000);
    let said = format!(
        "$1\r\na\r\n>2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n${}\r\n{large}\r\n:3\r\n",
        large.len()
    );
    let ends = [7, said.len() - 4, said.len()];
    let cuts = (0..60)
        .chain((60..said.len() - 20).step_by(997))
        .chain(said.len() - 20..=said.len());
    for cut in cuts {
        let (mut con, mut server, log) = lane();
        for _ in 0..3 {
            con.send(get("k"));
        }
        let part = said.as_bytes()[..cut].to_vec();
        let sent = tokio::spawn(async move {
            server.write_all(&part).await.unwrap();
            // What it was sent is not looked at: that would be a reset.
            let mut heard = vec![0; 1024];
            let _ = server.read(&mut heard).await;
        });
        let mut answers = 0;
        let error = loop {
            match answer(&mut con).await {
                Ok(_) => answers += 1,
                Err(error) => break error,
            }
        };
        sent.await.unwrap();
        assert_eq!(error.reason(), Some(Reason::Interrupted), "{error}");
        let whole = ends.iter().filter(|end| **end <= cut).count();
        assert_eq!(answers, whole, "cut at {cut}");
        let pushed = cut >= 7 + 32;
        assert_eq!(
            log.take().contains(&"7 k".to_owned()),
            pushed,
            "cut at {cut}"
        );
    }
}

#[tokio::test]
async fn trap_a_push_behind_the_echo_of_a_handshake_is_no_proof() {
    let push = ">2\r\n$10\r\ninvalidate\r\n*1\r\n$6\r\ncanary\r\n";
    let echo = "$16\r\n0000000000000001\r\n";
    let before = "+OK\r\n+OK\r\n%1\r\n+role\r\n+master\r\n-ERR unknown command\r\n$3\r\napp\r\n+OK\r\n*0\r\n+OK\r\n$-1\r\n:-2\r\n+OK\r\n";
    for (said, proof) in [
        ([before, push, echo], true),
        ([before, echo, push], false),
        ([push, before, echo], true),
        ([before, echo, ""], false),
    ] {
        let (mut con, mut server, _) = lane();
        let canary = Bytes::from_static(b"canary");
        // Not the last of its batch: its own last reply counts.
        let mut ops = vec![Op::Handshake { canary, nonce: 1 }];
        ops.extend(get("k"));
        con.send(ops);
        server.write_all(said.concat().as_bytes()).await.unwrap();
        server.write_all(b":1\r\n").await.unwrap();
        let answers = answer(&mut con).await.unwrap();
        let Ok(OpReply::Handshake { tracking, .. }) = &answers[0] else {
            panic!("{answers:?}");
        };
        assert_eq!(tracking.is_ok(), proof, "{said:?}");
    }
}

#[tokio::test]
async fn a_flood_of_pushes_does_not_keep_requests_waiting() {
    let (mut con, mut server, log) = lane();
    let push = ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n".repeat(200_000);
    let flood = tokio::spawn(async move {
        server.write_all(push.as_bytes()).await.unwrap();
        server
    });
    // Each poll ends, whatever is still to come.
    let mut polls = 0;
    while log.0.lock().unwrap().len() < 200_000 {
        poll_fn(|cx| Poll::Ready(con.poll_answer(cx).is_pending())).await;
        polls += 1;
        tokio::task::yield_now().await;
    }
    assert!(polls > 5, "{polls}");
    drop(flood.await.unwrap());
}

#[tokio::test]
async fn c12_a_server_that_is_always_behind_does_not_make_the_buffer_grow() {
    let (mut con, mut server, _) = lane();
    let value = Bytes::from(vec![b'v'; 10_000]);
    let set = || {
        let argv = ["SET", "k"].map(|word| Bytes::from_static(word.as_bytes()));
        let argv = argv.into_iter().chain([value.clone()]).collect();
        vec![Op::Command { db: 0, argv }]
    };
    let read = Arc::new(AtomicUsize::new(0));
    let count = read.clone();
    let reader = tokio::spawn(async move {
        let mut heard = vec![0; 100_000];
        while let Ok(bytes @ 1..) = server.read(&mut heard).await {
            count.fetch_add(bytes, Ordering::Relaxed);
        }
    });
    let mut sent = 0;
    while read.load(Ordering::Relaxed) < 50_000_000 {
        // Three hundred commands ahead of what the server has read, and never less.
        while sent < read.load(Ordering::Relaxed) + 3_000_000 {
            con.send(set());
            sent += 10_000;
        }
        poll_fn(|cx| Poll::Ready(con.poll_answer(cx).is_pending())).await;
        assert!(con.out.len() < 8 << 20, "{}", con.out.len());
        tokio::task::yield_now().await;
    }
    drop(con);
    reader.await.unwrap();
}

/// A server tells a connection of its own writes behind their replies: who is woken by such a reply reads the key next.
#[tokio::test]
async fn c3_a_push_right_behind_a_reply_is_applied_before_the_reply_is_handed_over() {
    let (mut con, mut server, log) = lane();
    con.send(get("k"));
    con.send(get("k"));
    let push = |key: &str| format!(">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\n{key}\r\n");
    let said = [":1\r\n", &push("a"), &push("b"), ":2\r\n", &push("c")].concat();
    server.write_all(said.as_bytes()).await.unwrap();
    answer(&mut con).await.unwrap();
    assert_eq!(log.take(), ["7 a", "7 b"]);
    answer(&mut con).await.unwrap();
    assert_eq!(log.take(), ["7 c"]);
    // Half of a push is no push yet, and is not lost.
    con.send(get("k"));
    con.send(get("k"));
    let (half, rest) = (
        ":3\r\n>2\r\n$10\r\ninval",
        "idate\r\n*1\r\n$1\r\nd\r\n:4\r\n",
    );
    server.write_all(half.as_bytes()).await.unwrap();
    answer(&mut con).await.unwrap();
    assert_eq!(log.take(), Vec::<String>::new());
    server.write_all(rest.as_bytes()).await.unwrap();
    answer(&mut con).await.unwrap();
    assert_eq!(log.take(), ["7 d"]);
}
