//! Commands as what a server reads: bytes, or lists of words for one in this process.

use bytes::Bytes;

/// Where commands are written, each as its number of words and then the words.
pub trait Commands {
    /// A command of so many words begins.
    fn begin(&mut self, words: usize);

    /// The next word, a fixed one.
    fn word(&mut self, word: &'static str);

    /// The next word, a number or a name made for it.
    fn text(&mut self, word: &str);

    /// The next word, of a caller's.
    fn shared(&mut self, word: &Bytes);

    /// A whole command of fixed words.
    fn words(&mut self, words: &[&'static str]) {
        self.begin(words.len());
        words.iter().for_each(|word| self.word(word));
    }

    /// A whole command of a caller's words.
    fn command(&mut self, argv: &[Bytes]) {
        self.begin(argv.len());
        argv.iter().for_each(|word| self.shared(word));
    }
}

/// As RESP writes them: arrays of bulk strings.
impl Commands for Vec<u8> {
    fn begin(&mut self, words: usize) {
        header(b'*', words, self);
    }

    fn word(&mut self, word: &'static str) {
        bulk(word.as_bytes(), self);
    }

    fn text(&mut self, word: &str) {
        bulk(word.as_bytes(), self);
    }

    fn shared(&mut self, word: &Bytes) {
        bulk(word, self);
    }
}

impl Commands for Vec<Vec<Bytes>> {
    fn begin(&mut self, words: usize) {
        self.push(Vec::with_capacity(words));
    }

    fn word(&mut self, word: &'static str) {
        self.extend_last(Bytes::from_static(word.as_bytes()));
    }

    fn text(&mut self, word: &str) {
        self.extend_last(Bytes::copy_from_slice(word.as_bytes()));
    }

    fn shared(&mut self, word: &Bytes) {
        self.extend_last(word.clone());
    }
}

trait ExtendLast {
    fn extend_last(&mut self, word: Bytes);
}

impl ExtendLast for Vec<Vec<Bytes>> {
    fn extend_last(&mut self, word: Bytes) {
        if let Some(command) = self.last_mut() {
            command.push(word);
        }
    }
}

fn bulk(word: &[u8], out: &mut Vec<u8>) {
    out.reserve(word.len() + 32);
    header(b'$', word.len(), out);
    out.extend_from_slice(word);
    out.extend_from_slice(b"\r\n");
}

fn header(kind: u8, number: usize, out: &mut Vec<u8>) {
    let mut text = [0; 24];
    let mut at = text.len() - 2;
    text[at..].copy_from_slice(b"\r\n");
    let mut rest = number;
    loop {
        at -= 1;
        text[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    at -= 1;
    text[at] = kind;
    out.extend_from_slice(&text[at..]);
}
