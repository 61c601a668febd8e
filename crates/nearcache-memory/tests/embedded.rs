//! The embedded server beside a real one: the same random commands on several connections must give each
//! connection the same replies and pushes in the same order. One seed is one stream; a failure prints it.
//!
//! `NEARCACHE_TEST_SEED=n` runs one stream, `NEARCACHE_TEST_RUNS=n` that many. Nothing here depends on time.

// The seed to replay comes from the environment.
#![allow(clippy::disallowed_methods)]

use bytes::Bytes;
use nearcache_l1::Timestamp;
use nearcache_memory::{ConnId, MemoryServer, Output, Push};
use nearcache_proto::resp::Reply;
use nearcache_testkit::{Client, Server, Value};

/// Streams of an ordinary test run.
const RUNS: u64 = 60;

/// Commands of a stream.
const COMMANDS: usize = 400;

const CONNECTIONS: usize = 4;

const FLUSHES: [&str; 2] = ["FLUSHALL", "FLUSHDB"];

/// What a connection receives, in the same words for both servers.
#[derive(Clone, Debug, PartialEq)]
enum Said {
    Reply(String),
    Key(String),
    All,
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// A command whose effect and reply depend on nothing but what came before.
fn command(random: &mut Random, number: usize) -> Vec<String> {
    const KEYS: [&str; 4] = ["k0", "k1", "k2", "list"];
    let (k, l) = (random.of(&KEYS), random.of(&KEYS));
    let v = number.to_string();
    let v = v.as_str();
    let set = "return redis.call('set', KEYS[1], ARGV[1])";
    let again = "redis.call('get', KEYS[1]) return redis.call('set', KEYS[1], ARGV[1])";
    if random.below(4) == 0 {
        return sorted_set(random, v);
    }
    let words: &[&str] = match random.below(100) {
        0..14 => &["CLIENT", "CACHING", "YES"],
        14..26 => &["GET", k],
        26..36 => &["SET", k, v],
        36 => &["SET", k, v, "NX"],
        37 => &["SET", k, v, "XX", "GET"],
        38..42 => &["DEL", k],
        42 => &["DEL", k, l],
        43..46 => &["MGET", k, l],
        46 => &["EXISTS", k, l],
        47 => &["STRLEN", k],
        48 => &["GETRANGE", k, "0", "-1"],
        49 => &["APPEND", k, v],
        50 => &["INCR", k],
        51 => &["GETDEL", k],
        52 => &["TYPE", k],
        53..57 => &["SELECT", random.of(&["0", "1", "1", "99"])],
        57..61 => &["MULTI"],
        61..66 => &["EXEC"],
        66 => &["DISCARD"],
        67..69 => &["WATCH", k],
        69 => &["UNWATCH"],
        70..73 => &["EVAL", set, "1", k, v],
        73 => &["EVAL", again, "1", k, v],
        74 => &["EVAL_RO", "return redis.call('get', KEYS[1])", "1", k],
        75..77 => &["RENAME", k, l],
        77 => &["COPY", k, l, "REPLACE"],
        78 => &["MOVE", k, "1"],
        79 => &["FLUSHDB"],
        80 => &["FLUSHALL"],
        81 => &["SWAPDB", "0", "1"],
        82 => &["EXPIRE", k, "100000"],
        83 => &["PEXPIRE", k, "-1"],
        84 => &["PERSIST", k],
        85 => &["HSET", k, "f", v],
        86 => &["HGET", k, "f"],
        87 => &["RPUSH", "list", v],
        88 => &["LRANGE", "list", "0", "-1"],
        89 => &["MSET", k, v, l, v],
        90 => &["DBSIZE"],
        91 => &["PTTL", "never"],
        92 => &["GET"],
        93 => &["NOSUCHCOMMAND", k],
        94 => &["PING", v],
        95 => &["CLIENT", "TRACKING", "OFF"],
        96 => &["CLIENT", "TRACKING", "ON"],
        97 => &["CLIENT", "CACHING", "NO"],
        _ => &["CLIENT", "TRACKING", "ON", "OPTIN"],
    };
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// One of a sorted set, or a script that is called by name.
fn sorted_set(random: &mut Random, v: &str) -> Vec<String> {
    let k = random.of(&["z0", "z1", "z1", "z1", "k0"]);
    let (m, other) = (
        random.of(&["a", "b", "c", "d"]),
        random.of(&["a", "b", "e"]),
    );
    let scores = ["1", "1", "2.5", "-3", "0.1", "inf", "1e3", "nan", "x", "17"];
    let (s, t) = (random.of(&scores), random.of(&scores));
    let bounds = ["-inf", "+inf", "(1", "1", "(2.5", "0", "x", "1000"];
    let (min, max) = (random.of(&bounds), random.of(&bounds));
    let places = ["0", "-1", "1", "2", "-2", "9", "x"];
    let (from, to) = (random.of(&places), random.of(&places));
    let flag = random.of(&["NX", "XX", "GT", "LT", "CH", "INCR"]);
    let scan = random.of(&["1", "0", "-1", "2"]);
    let get = "return redis.call('get', KEYS[1])";
    // Its digest.
    let sha = "4e6d8fc8bb01276962cce5371fa795a7763657ae";
    let ranges = "return redis.call('zrange', KEYS[1], '0', '-1', 'WITHSCORES')";
    let words: &[&str] = match random.below(42) {
        0..5 => &["ZADD", k, s, m],
        5 => &["ZADD", k, s, m, t, other],
        6 => &["ZADD", k, flag, s, m],
        7 => &["ZADD", k, flag, "CH", s, m, t, other],
        8 => &["ZADD", k, "GT", flag, s, m],
        9 => &["ZINCRBY", k, s, m],
        10 => &["ZREM", k, m],
        11 => &["ZREM", k, m, other],
        12 => &["ZCARD", k],
        13 => &["ZSCORE", k, m],
        14 => &["ZMSCORE", k, m, other],
        15 => &["ZRANK", k, m],
        16 => &["ZREVRANK", k, m],
        17 => &["ZCOUNT", k, min, max],
        18 => &["ZRANGE", k, from, to],
        19 => &["ZRANGE", k, from, to, "WITHSCORES"],
        20 => &["ZRANGE", k, from, to, "REV", "WITHSCORES"],
        21 => &["ZRANGE", k, min, max, "BYSCORE"],
        22 => &["ZRANGE", k, max, min, "BYSCORE", "REV", "LIMIT", from, scan],
        23 => &[
            "ZRANGE",
            k,
            min,
            max,
            "BYSCORE",
            "LIMIT",
            from,
            scan,
            "WITHSCORES",
        ],
        24 => &["ZRANGE", k, from, to, "LIMIT", "0", "1"],
        25 => &["ZREVRANGE", k, from, to, "WITHSCORES"],
        26 => &["ZREVRANGE", k, from, to],
        27 => &["ZRANGEBYSCORE", k, min, max],
        28 => &[
            "ZRANGEBYSCORE",
            k,
            min,
            max,
            "WITHSCORES",
            "LIMIT",
            from,
            scan,
        ],
        29 => &["ZREVRANGEBYSCORE", k, max, min, "LIMIT", from, scan],
        30 => &["ZREMRANGEBYSCORE", k, min, max],
        31 => &["ZREMRANGEBYRANK", k, from, to],
        32 => &["ZPOPMIN", k],
        33 => &["ZPOPMAX", k],
        34 => &["ZPOPMIN", k, scan],
        35 => &["ZPOPMAX", k, scan],
        36 => &["TYPE", k],
        37 => &["EVAL", ranges, "1", k],
        38 => &["EVALSHA", sha, "1", "k1"],
        39 => &["SCRIPT", "LOAD", get],
        40 => &["SCRIPT", "EXISTS", sha, v],
        _ => &["SCRIPT", "FLUSH"],
    };
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn of_value(value: &Value) -> String {
    match value {
        Value::Nil => "nil".to_owned(),
        Value::Simple(text) => format!("+{text}"),
        // Versions word them differently; what they begin with is what clients go by.
        Value::Error(text) => format!("-{}", text.split(' ').next().unwrap_or_default()),
        Value::Int(number) => number.to_string(),
        Value::Bulk(bytes) => format!("{:?}", String::from_utf8_lossy(bytes)),
        Value::Number(text) => format!("{:?}", text.parse::<f64>()),
        Value::Array(items) => items.iter().map(|item| of_value(item) + ",").collect(),
        other => format!("{other:?}"),
    }
}

fn of_reply(reply: &Reply) -> String {
    match reply {
        Reply::Nil => "nil".to_owned(),
        Reply::Simple(text) => format!("+{text}"),
        Reply::Error { code, .. } => format!("-{code}"),
        Reply::Int(number) => number.to_string(),
        Reply::Bulk(bytes) => format!("{:?}", String::from_utf8_lossy(bytes)),
        Reply::Double(number) => format!("{:?}", Ok::<_, ()>(number)),
        Reply::Array(items) => items.iter().map(|item| of_reply(item) + ",").collect(),
        other => format!("{other:?}"),
    }
}

/// A connection to each server, and what each has said on it.
struct Pair {
    real: Client,
    /// Between `MULTI` and its end.
    in_multi: bool,
    /// The names of what it was asked.
    commands: Vec<String>,
    embedded: ConnId,
    said: [Vec<Said>; 2],
}

impl Pair {
    fn open(server: &Server, embedded: &mut MemoryServer) -> Self {
        let mut real = server.client();
        real.ok(&["HELLO", "3"]);
        Self {
            real,
            in_multi: false,
            commands: Vec::new(),
            embedded: embedded.connect(),
            said: Default::default(),
        }
    }

    fn run(&mut self, embedded: &mut MemoryServer, words: &[String]) {
        match words[0].as_str() {
            // Versions differ in whether it ends the transaction, and in where its push goes.
            "MULTI" | "WATCH" | "FLUSHALL" | "FLUSHDB" if self.in_multi => return,
            "MULTI" => self.in_multi = true,
            "EXEC" | "DISCARD" => self.in_multi = false,
            _ => {}
        }
        self.commands.push(words[0].clone());
        self.real.send(words).expect("the server is there");
        while self.hear() {}
        let argv: Vec<Bytes> = words.iter().map(|word| Bytes::from(word.clone())).collect();
        embedded.execute(self.embedded, &argv, Timestamp::from_micros(1_000_000));
    }

    /// Takes what the real server says next; whether it was news, and the reply is still to come.
    fn hear(&mut self) -> bool {
        match self.real.recv().expect("the server answers") {
            Value::Push(push) => {
                match push.get(1) {
                    Some(Value::Array(keys)) => {
                        let keys = keys.iter().map(|key| Said::Key(key.text()));
                        self.said[0].extend(keys);
                    }
                    _ => self.said[0].push(Said::All),
                }
                true
            }
            reply => {
                self.said[0].push(Said::Reply(of_value(&reply)));
                false
            }
        }
    }

    fn hear_embedded(&mut self, embedded: &mut MemoryServer) {
        for output in embedded.drain(self.embedded) {
            match output {
                Output::Reply(reply) => self.said[1].push(Said::Reply(of_reply(&reply))),
                Output::Push(Push::All) => self.said[1].push(Said::All),
                Output::Push(Push::Keys(keys)) => {
                    let text = |key: &Bytes| String::from_utf8_lossy(key).into_owned();
                    self.said[1].extend(keys.iter().map(|key| Said::Key(text(key))));
                }
            }
        }
    }

    /// Both, without what versions of the real server differ in: "everything" said twice in a row says
    /// nothing new, and to the connection that flushed it comes before its reply or after.
    fn told(&self) -> [Vec<Said>; 2] {
        self.said.clone().map(|mut said| {
            said.dedup_by(|a, b| *a == Said::All && a == b);
            let mut commands = self.commands.iter();
            let flushes = said.iter().map(|said| {
                matches!(said, Said::Reply(_))
                    && commands
                        .next()
                        .is_some_and(|name| FLUSHES.contains(&&**name))
            });
            let flushes: Vec<_> = flushes.collect();
            let is = |place: usize, what: &dyn Fn(usize) -> bool| place < said.len() && what(place);
            let all = |place: usize| is(place, &|place| said[place] == Said::All);
            let flush = |place: usize| is(place, &|place| flushes[place]);
            let mut told = Vec::new();
            for (place, what) in said.iter().enumerate() {
                let (before, after) = (place.wrapping_sub(1), place + 1);
                if flush(place) {
                    told.push(what.clone());
                    told.extend((all(before) || all(after)).then_some(Said::All));
                } else if !all(place) || !(flush(before) || flush(after)) {
                    told.push(what.clone());
                }
            }
            told
        })
    }
}

/// A command and the connection it is sent on.
type Step = (usize, Vec<String>);

fn steps(seed: u64) -> Vec<Step> {
    let mut random = Random(seed);
    let track = ["CLIENT", "TRACKING", "ON", "OPTIN"].map(str::to_owned);
    // Most connections track, as the lane does.
    let tracks = (1..CONNECTIONS).map(|connection| (connection, track.to_vec()));
    let mut steps: Vec<_> = tracks.collect();
    for number in 0..COMMANDS {
        let connection = random.below(CONNECTIONS);
        steps.push((connection, command(&mut random, number)));
    }
    steps
}

/// How the servers differ, if they do.
fn difference(server: &Server, steps: &[Step]) -> Option<String> {
    let mut embedded = MemoryServer::new();
    server.client().ok(&["FLUSHALL"]);
    server.client().ok(&["SCRIPT", "FLUSH"]);
    let mut pairs: Vec<_> = (0..CONNECTIONS)
        .map(|_| Pair::open(server, &mut embedded))
        .collect();
    for (connection, words) in steps {
        pairs[*connection].run(&mut embedded, words);
    }
    // Whatever was pushed is there when this is answered.
    for pair in &mut pairs {
        pair.run(&mut embedded, &["ECHO", "end"].map(str::to_owned));
    }
    pairs.iter_mut().enumerate().find_map(|(number, pair)| {
        pair.hear_embedded(&mut embedded);
        let [real, embedded] = pair.told();
        let same = real
            .iter()
            .zip(&embedded)
            .take_while(|(a, b)| a == b)
            .count();
        let around = |said: &[Said]| {
            format!(
                "{:?}",
                &said[same.saturating_sub(2)..said.len().min(same + 3)]
            )
        };
        let (real, embedded) = (real != embedded).then(|| (around(&real), around(&embedded)))?;
        Some(format!(
            "connection {number}:\n  real     {real}\n  embedded {embedded}"
        ))
    })
}

/// Leaves steps out for as long as the servers still differ.
fn shortened(server: &Server, mut steps: Vec<Step>) -> Vec<Step> {
    let mut size = steps.len() / 2;
    while size > 0 {
        let mut from = 0;
        while from < steps.len() {
            let mut less = steps.clone();
            less.drain(from..(from + size).min(steps.len()));
            match difference(server, &less) {
                Some(_) => steps = less,
                None => from += size,
            }
        }
        size /= 2;
    }
    steps
}

/// Whether the server shows a script the shortest digits that mean a number: Redis 7.0 shows 17 of those that are not
/// exact in binary.
fn shows_shortest(server: &Server) -> bool {
    let mut client = server.client();
    client.ok(&["ZADD", "z", "0.1", "m"]);
    let script = "return redis.call('zrange', KEYS[1], '0', '-1', 'WITHSCORES')[2]";
    client.ok(&["EVAL", script, "1", "z"]).text() == "0.1"
}

fn stream(server: &Server, seed: u64) {
    let mut steps = steps(seed);
    if !shows_shortest(server) {
        for word in steps.iter_mut().flat_map(|(_, words)| words) {
            if word == "0.1" {
                *word = "0.125".to_owned();
            }
        }
    }
    let Some(first) = difference(server, &steps) else {
        return;
    };
    let short = shortened(server, steps);
    let shown: Vec<_> = short
        .iter()
        .map(|(on, words)| format!("{on}: {}", words.join(" ")))
        .collect();
    let last = difference(server, &short).unwrap_or(first);
    panic!("seed {seed} differs on {last}\nafter\n{}", shown.join("\n"));
}

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")),
    )
}

#[test]
fn the_embedded_server_says_what_a_real_one_says_in_the_same_order() {
    let server = Server::start();
    if let Some(seed) = variable("NEARCACHE_TEST_SEED") {
        return stream(&server, seed);
    }
    for seed in 1..=variable("NEARCACHE_TEST_RUNS").unwrap_or(RUNS) {
        stream(&server, seed);
    }
}
