//! Commands out of templates: the keys, values, numbers and ranges that the placeholders stand for.

use crate::command::Command;
use crate::random::Random;

/// How many keys every letter of a placeholder has. `b`, bitmaps, and `p`, HyperLogLogs, are strings too.
const KEYS: [(char, usize); 9] = [
    ('s', 5),
    ('b', 1),
    ('h', 3),
    ('l', 2),
    ('e', 3),
    ('z', 2),
    ('g', 1),
    ('x', 1),
    ('p', 2),
];

/// In percent, how often a key of another letter stands where one of this letter is asked for.
const STRAY: usize = 4;

/// In percent, how often the key at hand stands where one of its letter is asked for.
const FOCUS: usize = 85;

/// Draws words; remembers the key at hand and the last id of a stream.
pub struct Words {
    pub random: Random,
    keys: Vec<(char, Vec<u8>)>,
    focus: Option<(char, Vec<u8>)>,
    last_id: u64,
}

impl Words {
    /// All keys begin with `prefix`, so that several can share a server.
    pub fn new(random: Random, prefix: &str) -> Self {
        let mut keys = Vec::new();
        for (letter, count) in KEYS {
            for number in 0..count {
                let mut key = format!("{prefix}{letter}{number}").into_bytes();
                match (letter, number) {
                    // No prefix, no key: the shortest there is.
                    ('s', 1) => key = prefix.into(),
                    ('s', 2) | ('h', 2) | ('e', 2) => key.extend(b" \0\r\n\xff"),
                    _ => {}
                }
                keys.push((letter, key));
            }
        }
        Self {
            random,
            keys,
            focus: None,
            last_id: 0,
        }
    }

    /// Chooses the key at hand.
    pub fn focus_on(&mut self, letter: char) -> Vec<u8> {
        let key = self.home(letter);
        self.focus = Some((letter, key.clone()));
        key
    }

    pub fn any_key(&mut self) -> Vec<u8> {
        self.random.pick(&self.keys).1.clone()
    }

    pub fn keys(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.keys.iter().map(|(_, key)| key)
    }

    fn home(&mut self, letter: char) -> Vec<u8> {
        let of_letter: Vec<&Vec<u8>> = self
            .keys
            .iter()
            .filter(|(home, _)| *home == letter)
            .map(|(_, key)| key)
            .collect();
        self.random.pick(&of_letter).to_vec()
    }

    fn key(&mut self, letter: char) -> Vec<u8> {
        if self.random.percent(STRAY) {
            return self.any_key();
        }
        match &self.focus {
            Some((home, key)) if *home == letter && self.random.percent(FOCUS) => key.clone(),
            _ => self.home(letter),
        }
    }

    /// A command out of a template.
    pub fn command(&mut self, template: &str) -> Command {
        let mut args = Vec::new();
        for word in template.split(' ') {
            let choices: Vec<&str> = word.split('|').collect();
            let choice = *self.random.pick(&choices);
            for part in choice.split(':').filter(|part| *part != "-") {
                let (part, times) = match part.strip_suffix('*') {
                    Some(part) if !part.is_empty() => (part, self.random.within(1, 3)),
                    _ => (part, 1),
                };
                for _ in 0..times {
                    args.push(self.word(part));
                }
            }
        }
        self.spell(&mut args[0]);
        Command(args).readable()
    }

    /// Names of commands are in any case.
    fn spell(&mut self, name: &mut [u8]) {
        match self.random.below(10) {
            0 => name.make_ascii_lowercase(),
            1 => {
                for byte in name {
                    if self.random.percent(50) {
                        byte.make_ascii_lowercase();
                    }
                }
            }
            _ => {}
        }
    }

    fn word(&mut self, word: &str) -> Vec<u8> {
        let Some(name) = word.strip_prefix('@') else {
            return word.into();
        };
        let number = match name {
            // By itself it would be nothing.
            "-" => return b"-".to_vec(),
            "k" => return self.any_key(),
            "F" => {
                let focus = self.focus.as_ref().map(|(_, key)| key.clone());
                return focus.unwrap_or_else(|| self.any_key());
            }
            "v" => return self.value(),
            "f" => return self.field(),
            "m" => return self.member(),
            "d" => return self.one_of(&["0", "1", "-1", "1.5", "3", "7", "2.25", "1e3", "10"]),
            "low" => return self.one_of(&["-inf", "0", "(0", "1", "(1.5", "-5"]),
            "high" => return self.one_of(&["+inf", "3", "(3", "7", "inf", "1"]),
            "from" => return self.one_of(&["-", "[a", "(a", "[b", "(1"]),
            "to" => return self.one_of(&["+", "[c", "(d", "[b", "[zz"]),
            "lon" => return self.one_of(&["13.361389", "15.087269", "2.35", "-0.12", "0"]),
            "lat" => return self.one_of(&["38.115556", "37.502669", "48.85", "51.5", "0"]),
            "km" => return self.one_of(&["10", "200", "2000", "8000"]),
            "id" => return self.next_id(),
            "seen" => {
                let last = self.last_id as i64;
                let id = self.random.within((last - 6).max(0), last);
                return format!("{id}-0").into_bytes();
            }
            "i" => self.random.within(-5, 20),
            "n" => self.random.within(-4, 7),
            "o" => *self.random.pick(&[0, 1, 2, 7, 8, 13, 40, 99]),
            "bit" => self.random.within(0, 1),
            "db" => self.random.within(0, 3),
            // Long enough to outlive every run, also on a machine that stands still for a while.
            "ttl" => self.random.within(200, 1000),
            "pttl" => self.random.within(200_000, 1_000_000),
            letter => {
                let mut letters = letter.chars();
                let (Some(home), None) = (letters.next(), letters.next()) else {
                    panic!("no such placeholder: @{letter}");
                };
                return self.key(home);
            }
        };
        number.to_string().into_bytes()
    }

    fn one_of(&mut self, words: &[&str]) -> Vec<u8> {
        (*self.random.pick(words)).into()
    }

    fn field(&mut self) -> Vec<u8> {
        match self.random.below(40) {
            0 => vec![b'f'; 70],
            _ => self.member(),
        }
    }

    /// Short: a sorted set with a long member is a skip list, in which a range by name over several
    /// scores depends on chance.
    fn member(&mut self) -> Vec<u8> {
        match self.random.below(40) {
            0 => Vec::new(),
            // Not the zero byte first: where it sorts as text, the server takes that for the empty one.
            1 => b"m\0\r\n\xff".to_vec(),
            _ => self.one_of(&["a", "b", "c", "d", "1", "2"]),
        }
    }

    pub fn value(&mut self) -> Vec<u8> {
        match self.random.below(250) {
            0 => self.long(100_000),
            1..=4 => self.long(3_000),
            5..=14 => self.long(300),
            15..=24 => self.long(64),
            25..=34 => Vec::new(),
            35..=49 => b"\x00\x01\r\n\xff\x80 ".to_vec(),
            50..=99 => self.random.within(-20, 200).to_string().into_bytes(),
            100..=119 => self.one_of(&["3.5", "-0.25", "1e2", " 1", "01"]),
            _ => self.one_of(&["a", "b", "c", "d", "hello", "world", "+OK\r\n", "$-1\r\n"]),
        }
    }

    fn long(&mut self, len: usize) -> Vec<u8> {
        let first = self.random.next() as u8;
        (0..len)
            .map(|at| first.wrapping_add((at % 251) as u8))
            .collect()
    }

    /// Mostly the next id, sometimes one that is too low.
    fn next_id(&mut self) -> Vec<u8> {
        if self.random.percent(90) {
            self.last_id += 1;
        }
        format!("{}-0", self.last_id).into_bytes()
    }
}
