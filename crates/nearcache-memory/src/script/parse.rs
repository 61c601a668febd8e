//! The grammar of scripts.

use bytes::Bytes;

/// One statement of a script.
#[derive(Debug, PartialEq)]
pub(super) enum Statement {
    /// `[return] redis.call(...)`.
    Call {
        words: Vec<Term>,
        returned: bool,
        protected: bool,
    },
    /// `if redis.call(...) ~= value then return value end`.
    Unless {
        words: Vec<Term>,
        is: Term,
        returns: Term,
    },
    /// `return` of a value.
    Return(Term),
}

/// A value in a script.
#[derive(Debug, PartialEq)]
pub(super) enum Term {
    Text(Bytes),
    Number(i64),
    Key(usize),
    Arg(usize),
    Nil,
}

impl Term {
    /// Whether it is this string: a number is not.
    pub(super) fn is_text(&self, text: &Bytes, keys: &[Bytes], args: &[Bytes]) -> bool {
        !matches!(self, Self::Number(_)) && self.value(keys, args).is_some_and(|own| own == *text)
    }

    /// The bytes it stands for.
    pub(super) fn value(&self, keys: &[Bytes], args: &[Bytes]) -> Option<Bytes> {
        let nth = |list: &[Bytes], n: usize| list.get(n.checked_sub(1)?).cloned();
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::Number(number) => Some(Bytes::from(number.to_string())),
            Self::Key(n) => nth(keys, *n),
            Self::Arg(n) => nth(args, *n),
            Self::Nil => None,
        }
    }
}

/// Reads a whole script.
pub(super) fn parse(text: &[u8]) -> Result<Vec<Statement>, String> {
    let mut parser = Parser { text, at: 0 };
    let mut statements = Vec::new();
    loop {
        parser.space();
        if parser.at == text.len() {
            return Ok(statements);
        }
        if let Some(Statement::Return(_) | Statement::Call { returned: true, .. }) =
            statements.last()
        {
            return Err("nothing may follow return".to_owned());
        }
        statements.push(parser.statement()?);
        parser.space();
        parser.eat(b";");
    }
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Parser<'a> {
    fn statement(&mut self) -> Result<Statement, String> {
        let mut word = self.word();
        if word == b"if" {
            return self.unless();
        }
        let returned = word == b"return";
        if returned {
            self.space();
            let before = self.at;
            word = self.word();
            if !matches!(word, b"redis" | b"server") {
                self.at = before;
                return self.term().map(Statement::Return);
            }
        } else if !matches!(word, b"redis" | b"server") {
            return Err(self.unexpected("redis.call or return"));
        }
        self.expect(b".")?;
        let protected = match self.word() {
            b"call" => false,
            b"pcall" => true,
            _ => return Err(self.unexpected("call or pcall")),
        };
        Ok(Statement::Call {
            words: self.words()?,
            returned,
            protected,
        })
    }

    fn unless(&mut self) -> Result<Statement, String> {
        if !matches!(self.word(), b"redis" | b"server") {
            return Err(self.unexpected("redis.call"));
        }
        self.expect(b".")?;
        self.expect(b"call")?;
        let words = self.words()?;
        self.expect(b"~=")?;
        let is = self.term()?;
        self.expect(b"then")?;
        self.expect(b"return")?;
        let returns = self.term()?;
        self.expect(b"end")?;
        Ok(Statement::Unless { words, is, returns })
    }

    fn words(&mut self) -> Result<Vec<Term>, String> {
        self.expect(b"(")?;
        let mut words = vec![self.term()?];
        loop {
            self.space();
            if self.eat(b")") {
                return Ok(words);
            }
            self.expect(b",")?;
            words.push(self.term()?);
        }
    }

    fn term(&mut self) -> Result<Term, String> {
        self.space();
        match self.text.get(self.at) {
            Some(quote @ (b'\'' | b'"')) => self.string(*quote),
            Some(b'-' | b'0'..=b'9') => self.number().map(Term::Number),
            _ => {
                let before = self.at;
                match self.word() {
                    b"KEYS" => self.index().map(Term::Key),
                    b"ARGV" => self.index().map(Term::Arg),
                    b"nil" => Ok(Term::Nil),
                    _ => {
                        self.at = before;
                        Err(self.unexpected("a string, a number, KEYS[n] or ARGV[n]"))
                    }
                }
            }
        }
    }

    fn index(&mut self) -> Result<usize, String> {
        self.expect(b"[")?;
        let number = self.number()?;
        self.expect(b"]")?;
        usize::try_from(number).map_err(|_| self.unexpected("a positive index"))
    }

    fn number(&mut self) -> Result<i64, String> {
        self.space();
        let start = self.at;
        self.eat(b"-");
        while self.text.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        std::str::from_utf8(&self.text[start..self.at])
            .ok()
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(|| self.unexpected("an integer"))
    }

    fn string(&mut self, quote: u8) -> Result<Term, String> {
        let mut content = Vec::new();
        loop {
            self.at += 1;
            match self.text.get(self.at) {
                None => return Err("a string does not end".to_owned()),
                Some(byte) if *byte == quote => break,
                Some(b'\\') => {
                    self.at += 1;
                    content.push(match self.text.get(self.at) {
                        Some(b'n') => b'\n',
                        Some(b'r') => b'\r',
                        Some(b't') => b'\t',
                        Some(byte @ (b'\\' | b'\'' | b'"')) => *byte,
                        _ => return Err(self.unexpected("a simple escape")),
                    });
                }
                Some(byte) => content.push(*byte),
            }
        }
        self.at += 1;
        Ok(Term::Text(Bytes::from(content)))
    }

    fn word(&mut self) -> &'a [u8] {
        self.space();
        let start = self.at;
        while self
            .text
            .get(self.at)
            .is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
        {
            self.at += 1;
        }
        &self.text[start..self.at]
    }

    fn expect(&mut self, token: &[u8]) -> Result<(), String> {
        self.space();
        if self.eat(token) {
            return Ok(());
        }
        Err(self.unexpected(&String::from_utf8_lossy(token)))
    }

    fn eat(&mut self, token: &[u8]) -> bool {
        let found = self.text[self.at..].starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    /// Skips blanks and comments.
    fn space(&mut self) {
        loop {
            let rest = &self.text[self.at..];
            match rest {
                [b' ' | b'\t' | b'\r' | b'\n', ..] => self.at += 1,
                [b'-', b'-', ..] => {
                    self.at += rest
                        .iter()
                        .position(|byte| *byte == b'\n')
                        .unwrap_or(rest.len());
                }
                _ => return,
            }
        }
    }

    fn unexpected(&self, wanted: &str) -> String {
        format!(
            "expected {wanted} at byte {}; the embedded store runs only \
             redis.call statements (and `if redis.call(...) ~= value then return value end`) with literal, KEYS and ARGV arguments",
            self.at
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &'static str) -> Term {
        Term::Text(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn statements() {
        let script = "redis.call('set', KEYS[1], \"a\\n\", -5) -- why\n\
                      ; redis.pcall( 'x' ) return server.call('get',ARGV[ 2 ]);";
        let call = |words, returned, protected| Statement::Call {
            words,
            returned,
            protected,
        };
        assert_eq!(
            parse(script.as_bytes()),
            Ok(vec![
                call(
                    vec![text("set"), Term::Key(1), text("a\n"), Term::Number(-5)],
                    false,
                    false
                ),
                call(vec![text("x")], false, true),
                call(vec![text("get"), Term::Arg(2)], true, false),
            ])
        );
        let returned = |term| Ok(vec![Statement::Return(term)]);
        assert_eq!(parse(b" return 1 "), returned(Term::Number(1)));
        assert_eq!(parse(b"return nil"), returned(Term::Nil));
        assert_eq!(parse(b""), Ok(vec![]));
        assert_eq!(
            parse(b"if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end return 1"),
            Ok(vec![
                Statement::Unless {
                    words: vec![text("get"), Term::Key(1)],
                    is: Term::Arg(1),
                    returns: Term::Number(0),
                },
                Statement::Return(Term::Number(1)),
            ])
        );
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for script in [
            "local x = redis.call('GET', 'a')",
            "if true then return 1 end",
            "if redis.call('GET', 'a') == 'b' then return 1 end",
            "if redis.call('GET', 'a') ~= 'b' then return 1",
            "if redis.pcall('GET', 'a') ~= 'b' then return 1 end",
            "return redis.call('GET' 'a')",
            "return redis.call()",
            "return redis.call('GET', KEYS[-1])",
            "return redis.call('GET', KEYS[99999999999999999999])",
            "return redis.call('GET', 'a",
            "return redis.call('GET', '\\",
            "return 1 return 2",
            "return 1 + 1",
            "redis.set('a')",
            "\u{fffd}",
        ] {
            assert!(parse(script.as_bytes()).is_err(), "{script}");
        }
    }

    #[test]
    fn c12_any_bytes_are_an_answer_or_an_error() {
        let script = b"return redis.call('GET', KEYS[1], \"\\n\", ARGV[2]) -- x";
        for end in 0..script.len() {
            for byte in 0..=255 {
                let mut damaged = script[..end].to_vec();
                damaged.push(byte);
                let _ = parse(&damaged);
            }
        }
    }
}
