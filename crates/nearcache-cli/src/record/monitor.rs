//! Reads what `MONITOR` sends, byte by byte as it comes: `+1339518083.107412 [0 127.0.0.1:60866] "get" "key"`. However long
//! a line is, only the beginning of each argument is kept, and its length.

/// The beginning of an argument that is kept; longer keys are not recorded.
const KEPT: usize = 4096;
/// Arguments of one command that are kept.
const ARGS: usize = 1024;
/// No address of a client is longer.
const HEAD: usize = 512;

/// An argument of a command.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Arg {
    bytes: Vec<u8>,
    /// Bytes it had.
    pub(super) len: u64,
}

impl Arg {
    /// All of it, if it was short enough to be kept.
    pub(super) fn whole(&self) -> Option<&[u8]> {
        (self.bytes.len() as u64 == self.len).then_some(&self.bytes[..])
    }

    fn push(&mut self, bytes: &[u8]) {
        self.len += bytes.len() as u64;
        let room = KEPT.saturating_sub(self.bytes.len());
        self.bytes
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// One command that somebody sent.
pub(super) struct Line<'a> {
    /// By the server's clock.
    pub(super) at_us: u64,
    /// Which database it concerns.
    pub(super) db: u32,
    /// Address of the sender; `lua` for what a script does.
    pub(super) client: &'a [u8],
    /// The command and its arguments, at least the command.
    pub(super) args: &'a [Arg],
    /// Arguments that were too many to be kept.
    pub(super) left_out: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    Between,
    Arg,
    Escape,
    Hex,
    HexEnd(u8),
    /// Waits for the end of a line that is none of `MONITOR`.
    Bad,
}

/// The place in the stream.
pub(super) struct Parser {
    state: State,
    head: Vec<u8>,
    /// Their memory is used again; the first `used` belong to this line.
    args: Vec<Arg>,
    used: usize,
    left_out: u64,
    /// Lines that could not be read.
    pub(super) bad: u64,
}

impl Parser {
    pub(super) fn new() -> Self {
        Self {
            state: State::Head,
            head: Vec::with_capacity(HEAD),
            args: Vec::new(),
            used: 0,
            left_out: 0,
            bad: 0,
        }
    }

    /// Forgets an unfinished line: the stream begins anew.
    pub(super) fn reset(&mut self) {
        self.state = State::Head;
        self.head.clear();
        self.used = 0;
        self.left_out = 0;
    }

    /// Reads on; `each` gets the commands that are complete.
    pub(super) fn feed(&mut self, mut bytes: &[u8], each: &mut impl FnMut(&Line<'_>)) {
        while let Some((&byte, rest)) = bytes.split_first() {
            // The bulk of a long value, at once.
            if self.state == State::Arg {
                let plain = bytes
                    .iter()
                    .position(|byte| matches!(byte, b'"' | b'\\' | b'\n'));
                let (run, after) = bytes.split_at(plain.unwrap_or(bytes.len()));
                if !run.is_empty() {
                    self.push(run);
                    bytes = after;
                    continue;
                }
            }
            self.step(byte, each);
            bytes = rest;
        }
    }

    fn step(&mut self, byte: u8, each: &mut impl FnMut(&Line<'_>)) {
        if byte == b'\n' {
            self.end(each);
            return self.reset();
        }
        self.state = match (self.state, byte) {
            (State::Head, b'"') if self.head.ends_with(b"] ") => self.begin(),
            (State::Head, _) if self.head.len() == HEAD => State::Bad,
            (State::Head, _) => {
                self.head.push(byte);
                State::Head
            }
            (State::Between, b'"') => self.begin(),
            (State::Between, b' ' | b'\r') => State::Between,
            (State::Arg, b'"') => State::Between,
            (State::Arg, b'\\') => State::Escape,
            (State::Arg, _) => self.push(&[byte]),
            (State::Escape, b'x') => State::Hex,
            (State::Escape, b'n') => self.push(b"\n"),
            (State::Escape, b'r') => self.push(b"\r"),
            (State::Escape, b't') => self.push(b"\t"),
            (State::Escape, b'a') => self.push(b"\x07"),
            (State::Escape, b'b') => self.push(b"\x08"),
            (State::Escape, _) => self.push(&[byte]),
            (State::Hex, _) => hex(byte).map_or(State::Bad, State::HexEnd),
            (State::HexEnd(high), _) => match hex(byte) {
                Some(low) => self.push(&[high << 4 | low]),
                None => State::Bad,
            },
            (State::Between | State::Bad, _) => State::Bad,
        };
    }

    fn begin(&mut self) -> State {
        if self.used == ARGS {
            self.left_out += 1;
            return State::Arg;
        }
        if self.used == self.args.len() {
            self.args.push(Arg::default());
        }
        let arg = &mut self.args[self.used];
        arg.bytes.clear();
        arg.len = 0;
        self.used += 1;
        State::Arg
    }

    fn push(&mut self, bytes: &[u8]) -> State {
        if self.left_out == 0 {
            self.args[self.used - 1].push(bytes);
        }
        State::Arg
    }

    fn end(&mut self, each: &mut impl FnMut(&Line<'_>)) {
        match (self.state, head(&self.head)) {
            (State::Between, Some((at_us, db, client))) => each(&Line {
                at_us,
                db,
                client,
                args: &self.args[..self.used],
                left_out: self.left_out,
            }),
            // What the server says to MONITOR itself.
            (State::Head, _) if self.head == b"+OK\r" => {}
            _ => self.bad += 1,
        }
    }
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

/// Time, database and client of `+1339518083.107412 [0 127.0.0.1:60866] `.
fn head(head: &[u8]) -> Option<(u64, u32, &[u8])> {
    let head = head.strip_prefix(b"+")?.strip_suffix(b"] ")?;
    let open = head.iter().position(|byte| *byte == b'[')?;
    let (time, rest) = (head[..open].trim_ascii(), &head[open + 1..]);
    let (seconds, micros) = str::from_utf8(time).ok()?.split_once('.')?;
    let (seconds, micros): (u64, u64) = (seconds.parse().ok()?, micros.parse().ok()?);
    let space = rest.iter().position(|byte| *byte == b' ')?;
    let db = str::from_utf8(&rest[..space]).ok()?.parse().ok()?;
    let at_us = seconds.checked_mul(1_000_000)?.checked_add(micros)?;
    Some((at_us, db, &rest[space + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Read = (u64, u32, String, Vec<Vec<u8>>);

    /// What is read of this, the same however the stream is cut; and how many lines were bad.
    fn read(text: &[u8]) -> (Vec<Read>, u64) {
        let in_pieces = |size: usize| {
            let (mut parser, mut lines) = (Parser::new(), Vec::new());
            for piece in text.chunks(size) {
                parser.feed(piece, &mut |line| {
                    let args = line.args.iter().map(|arg| arg.bytes.clone()).collect();
                    let client = String::from_utf8_lossy(line.client).into_owned();
                    lines.push((line.at_us, line.db, client, args));
                });
            }
            (lines, parser.bad)
        };
        let whole = in_pieces(text.len().max(1));
        assert_eq!(whole, in_pieces(1));
        assert_eq!(whole, in_pieces(7));
        whole
    }

    #[test]
    fn ordinary_lines() {
        let text = b"+OK\r\n+1339518083.107412 [0 127.0.0.1:60866] \"keys\" \"*\"\r\n\
                     +1339518084.000001 [15 [::1]:1] \"GET\" \"a b\"\r\n+1.5 [2 lua] \"get\" \"k\"\r\n\
                     +2.000000 [0 unix:/tmp/a b.sock] \"ping\"\r\n";
        let (lines, bad) = read(text);
        assert_eq!((lines.len(), bad), (4, 0));
        let args = vec![b"keys".to_vec(), b"*".to_vec()];
        let first = (1_339_518_083_107_412, 0, "127.0.0.1:60866".to_owned(), args);
        assert_eq!(lines[0], first);
        assert_eq!((lines[1].1, lines[1].2.as_str()), (15, "[::1]:1"));
        assert_eq!(lines[1].3[1], b"a b");
        assert_eq!((lines[2].1, lines[2].2.as_str()), (2, "lua"));
        assert_eq!(lines[3].2, "unix:/tmp/a b.sock");
    }

    #[test]
    fn escaped_and_empty_arguments() {
        let text = br#"+1.000000 [0 a:1] "set" "\x00\xff\n\r\t\a\b\"\\] " "" "\q""#;
        let (lines, bad) = read(&[&text[..], b"\r\n"].concat());
        assert_eq!(bad, 0);
        let expected: [&[u8]; 4] = [b"set", b"\x00\xff\n\r\t\x07\x08\"\\] ", b"", b"q"];
        assert_eq!(lines[0].3, expected);
    }

    #[test]
    fn odd_lines_are_counted_and_the_next_is_read() {
        for odd in [
            "",
            "-ERR something",
            "+OK",
            "+1.0 [0 a:1] ",
            "+1.0 [0 a:1] \"get\" \"k",
            "+1.0 [0 a:1] \"get\" k",
            "+1.0 [0 a:1] \"get\" \"\\xg0\"",
            "+1.0 [0 a:1] \"get\" \"\\x",
            "+x.0 [0 a:1] \"get\" \"k\"",
            "+1 [0 a:1] \"get\" \"k\"",
            "+1.0 [z a:1] \"get\" \"k\"",
            "+99999999999999999999.0 [0 a:1] \"get\" \"k\"",
            "+18446744073709551615.0 [0 a:1] \"get\" \"k\"",
            "1.0 [0 a:1] \"get\" \"k\"",
            &"x".repeat(3 * HEAD),
        ] {
            let (lines, bad) = read(format!("{odd}\n+1.0 [0 a:1] \"get\" \"k\"\r\n").as_bytes());
            assert_eq!((lines.len(), bad), (1, 1), "{odd}");
        }
    }

    #[test]
    fn what_is_long_is_cut_and_measured() {
        let text = format!(
            "+1.0 [0 a:1] \"set\" \"k\" \"{}\"{}\r\n",
            "\\x00".repeat(100_000),
            " \"more\"".repeat(ARGS)
        );
        let (mut parser, mut lines) = (Parser::new(), 0);
        parser.feed(text.as_bytes(), &mut |line| {
            lines += 1;
            assert_eq!((line.args.len(), line.left_out), (ARGS, 3));
            assert_eq!(line.args[1].whole(), Some(&b"k"[..]));
            assert_eq!((line.args[2].whole(), line.args[2].len), (None, 100_000));
            assert_eq!(line.args[2].bytes.len(), KEPT);
            assert_eq!(line.args[ARGS - 1].whole(), Some(&b"more"[..]));
        });
        assert_eq!((lines, parser.bad), (1, 0));
    }
}
