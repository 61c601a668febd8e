//! The text of doubles against a real server: what a RESP2 connection shows must follow from what a RESP3 one gives.

use nearcache_proto::resp::DoubleText;
use nearcache_testkit::Server;
use redis::{Client, Connection, Value, cmd};

/// The same server twice, and the way it writes doubles by its own word.
struct Both {
    resp2: Connection,
    resp3: Connection,
    way: DoubleText,
}

impl Both {
    fn open(server: &Server) -> Self {
        let open = |query| {
            let url = format!("{}/?{query}", server.url());
            Client::open(url).unwrap().get_connection().unwrap()
        };
        let mut resp2 = open("protocol=resp2");
        let hello: Vec<Value> = cmd("HELLO").query(&mut resp2).unwrap();
        let field = |name| {
            let at = hello.iter().position(|word| text(word) == name).unwrap();
            text(&hello[at + 1])
        };
        let way = DoubleText::of(&field("server"), &field("version"));
        Self {
            resp2,
            resp3: open("protocol=resp3"),
            way,
        }
    }

    /// Runs a command that changes nothing on both; the replies' leaves in order.
    fn read(&mut self, argv: &[String]) -> (Vec<Value>, Vec<Value>) {
        let [mut old, mut new] = [Vec::new(), Vec::new()];
        leaves(command(argv).query(&mut self.resp2).unwrap(), &mut old);
        leaves(command(argv).query(&mut self.resp3).unwrap(), &mut new);
        assert_eq!(old.len(), new.len());
        (old, new)
    }

    /// Checks every double of the reply; returns how many there were.
    fn check(&mut self, argv: &[String], write: impl Fn(DoubleText, f64) -> String) -> usize {
        let way = self.way;
        let mut count = 0;
        let (old, new) = self.read(argv);
        for (old, new) in old.iter().zip(&new) {
            if let Value::Double(number) = new {
                assert_eq!(write(way, *number), text(old), "{number:e} of {}", argv[0]);
                count += 1;
            }
        }
        count
    }
}

fn leaves(value: Value, into: &mut Vec<Value>) {
    match value {
        Value::Array(items) => items.into_iter().for_each(|item| leaves(item, into)),
        leaf => into.push(leaf),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).unwrap(),
        Value::SimpleString(text) => text.clone(),
        _ => String::new(),
    }
}

fn command(argv: &[String]) -> redis::Cmd {
    let mut command = redis::Cmd::new();
    command.arg(argv);
    command
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

/// SplitMix64: few lines, and every seed is as good as another.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// From 0 to 1.
    fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Doubles of every magnitude, with many where texts change their form.
    fn double(&mut self) -> f64 {
        let value = match self.below(7) {
            0 => f64::from_bits(self.next()),
            1 => self.below(100_000_000) as f64 * 0.1,
            2 => (self.next() >> self.below(64)) as f64,
            3 => self.below(10_000) as f64 * 10_f64.powi(self.below(48) as i32 - 24),
            4 => f64::from_bits(self.below(1 << 52) >> self.below(52)),
            5 => 2_f64.powi(self.below(2_000) as i32 - 1_000) * (1.0 - f64::EPSILON),
            _ => self.part() * 10_f64.powi(self.below(40) as i32 - 20),
        };
        match self.below(3) {
            _ if value.is_nan() => f64::INFINITY,
            0 => -value,
            _ => value,
        }
    }
}

#[test]
fn the_text_of_a_score_follows_from_the_number() {
    let server = Server::start();
    let mut both = Both::open(&server);
    let mut random = Random(1);
    // A small sorted set is stored as text, a large one as numbers.
    for size in [40, 2_000, 2_000] {
        let mut add = words("ZADD k");
        let mut get = words("ZMSCORE k");
        for member in 0..size {
            add.extend([format!("{:e}", random.double()), format!("m{member}")]);
            get.push(format!("m{member}"));
        }
        let mut all = vec![words("ZRANGE k 0 -1 WITHSCORES"), get];
        all.push(words("ZUNION 1 k WITHSCORES"));
        let _: Value = command(&words("DEL k")).query(&mut both.resp2).unwrap();
        let _: Value = command(&add).query(&mut both.resp2).unwrap();
        for argv in all {
            assert_eq!(both.check(&argv, DoubleText::score), size);
        }
    }
}

#[test]
fn the_text_of_a_script_s_double_follows_from_the_number() {
    let server = Server::start();
    let mut both = Both::open(&server);
    for number in ["0/0", "-(0/0)", "1/0", "-1/0", "-0.0", "3.14", "2^62"] {
        let mut argv = words("EVAL script 0");
        argv[1] = format!("return {{double={number}}}");
        assert_eq!(both.check(&argv, DoubleText::score), 1);
    }
}

#[test]
fn the_text_of_a_coordinate_follows_from_the_number() {
    let server = Server::start();
    let mut both = Both::open(&server);
    let mut random = Random(2);
    let size = 2_000;
    let mut add = words("GEOADD g");
    let mut get = words("GEOPOS g");
    for member in 0..size {
        let near = [1.0, 2_f64.powi(-(random.below(26) as i32))][member % 2];
        let [x, y] = [random.part() - 0.5, random.part() - 0.5].map(|part| part * near);
        let member = format!("m{member}");
        add.extend([(x * 360.0).to_string(), (y * 170.0).to_string()]);
        add.push(member.clone());
        get.push(member);
    }
    let _: Value = command(&add).query(&mut both.resp2).unwrap();
    let search = words("GEOSEARCH g FROMLONLAT 0 0 BYRADIUS 30000 km ASC WITHCOORD");
    for argv in [get, search] {
        assert_eq!(both.check(&argv, DoubleText::coordinate), 2 * size);
    }
}
