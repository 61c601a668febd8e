//! One command as bytes, what its reply is compared by, and whether a near cache can serve it.

use std::fmt;

/// Commands that a near cache can serve. Their share of hits is what the test asserts.
const SERVED: [&str; 36] = [
    "GET",
    "MGET",
    "STRLEN",
    "GETRANGE",
    "EXISTS",
    "TYPE",
    "HGET",
    "HMGET",
    "HGETALL",
    "HLEN",
    "HEXISTS",
    "HKEYS",
    "HVALS",
    "SMEMBERS",
    "SISMEMBER",
    "SMISMEMBER",
    "SCARD",
    "ZRANGE",
    "ZRANGEBYSCORE",
    "ZRANGEBYLEX",
    "ZREVRANGE",
    "ZSCORE",
    "ZMSCORE",
    "ZCARD",
    "ZCOUNT",
    "ZRANK",
    "ZREVRANK",
    "LRANGE",
    "LLEN",
    "LINDEX",
    "GETBIT",
    "BITCOUNT",
    "BITPOS",
    "GEOPOS",
    "GEODIST",
    "GEOSEARCH",
];

/// Commands whose errors quote their arguments, and those that not every server knows.
const QUOTED: [&str; 16] = [
    "NOSUCHCOMMAND",
    "OBJECT",
    "XREADGROUP",
    "XPENDING",
    "XGROUP",
    "DELIFEQ",
    "MSETEX",
    "HEXPIRE",
    "HPEXPIRE",
    "HPERSIST",
    "HSETEX",
    "HGETEX",
    "HGETDEL",
    "HTTL",
    "FUNCTION",
    "FCALL",
];

/// How much of an argument or reply a message shows.
const SHOWN_MAX: usize = 48;

/// How the replies of two servers to one command are compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// Bit for bit.
    Exact,
    /// The order of the elements is the server's own affair.
    Bag,
    /// The order of the fields is.
    Pairs,
    /// Time that is left, or a time: equal within the tolerance unless negative.
    Clock(i64),
    /// Depends on the seeds inside the server: only present or absent.
    Opaque,
}

/// A command, name first.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Command(pub Vec<Vec<u8>>);

impl Command {
    pub fn of<A: AsRef<[u8]>>(args: &[A]) -> Self {
        Self(args.iter().map(|arg| arg.as_ref().to_vec()).collect())
    }

    /// The name in upper case.
    pub fn name(&self) -> String {
        String::from_utf8_lossy(&self.0[0]).to_ascii_uppercase()
    }

    pub fn cmd(&self) -> redis::Cmd {
        let mut cmd = redis::Cmd::new();
        for arg in &self.0 {
            cmd.arg(arg);
        }
        cmd
    }

    /// Whether a near cache can serve it.
    pub fn is_served(&self) -> bool {
        let name = self.name();
        let single = name != "EXISTS" || self.0.len() == 2;
        let listed = SERVED.contains(&&*name);
        listed && single && self.0.len() > 1
    }

    /// How many hits it makes when all it reads is there.
    pub fn most_hits(&self) -> u64 {
        match &*self.name() {
            "MGET" => self.0.len() as u64 - 1,
            _ => 1,
        }
    }

    pub fn shape(&self) -> Shape {
        // Generous: a machine may stand still between the two servers. What is set is far longer.
        const SECONDS: i64 = 60;
        match &*self.name() {
            "SMEMBERS" | "HKEYS" | "HVALS" | "SINTER" | "SUNION" | "SDIFF" | "KEYS" => Shape::Bag,
            // What is asked to be unsorted, of a set.
            "SORT" | "SORT_RO" if self.0.iter().any(|arg| arg == b"nosort") => Shape::Bag,
            "HGETALL" => Shape::Pairs,
            "TTL" | "EXPIRETIME" | "HTTL" | "HEXPIRETIME" => Shape::Clock(SECONDS),
            "PTTL" | "PEXPIRETIME" | "HPTTL" | "HPEXPIRETIME" => Shape::Clock(SECONDS * 1000),
            "DUMP" => Shape::Opaque,
            _ => Shape::Exact,
        }
    }

    /// Makes sure that an error is text: redis-rs gives up a connection on which one is not.
    pub fn readable(mut self) -> Self {
        if QUOTED.contains(&&*self.name()) {
            for byte in self.0.iter_mut().flatten().filter(|byte| !byte.is_ascii()) {
                *byte = b'.';
            }
        }
        self
    }

    /// Whether an argument is a time span: changing it at random would make keys expire by themselves.
    pub fn is_timed(&self) -> bool {
        const WORDS: [&str; 6] = ["EX", "PX", "EXAT", "PXAT", "GETEX", "RESTORE"];
        self.0.iter().any(|arg| {
            let word = String::from_utf8_lossy(arg).to_ascii_uppercase();
            WORDS.contains(&&*word) || word.contains("EXPIRE") || word.contains("SETEX")
        })
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, arg) in self.0.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{}", escaped(arg))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Bytes as ASCII that can be pasted into a client, cut when long.
pub fn escaped(bytes: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_graphic() && !b"\"\\".contains(byte);
    if !bytes.is_empty() && bytes.len() <= SHOWN_MAX && bytes.iter().all(plain) {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    let shown = &bytes[..bytes.len().min(SHOWN_MAX)];
    if bytes.len() > SHOWN_MAX {
        format!("\"{}\"...({} bytes)", shown.escape_ascii(), bytes.len())
    } else {
        format!("\"{}\"", shown.escape_ascii())
    }
}
