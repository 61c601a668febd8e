//! Commands as the bytes that a server reads.

/// Appends a command, name and arguments, as RESP writes it: an array of bulk strings.
pub fn write_command<W: AsRef<[u8]>>(words: &[W], out: &mut Vec<u8>) {
    let bytes: usize = words.iter().map(|word| word.as_ref().len() + 16).sum();
    out.reserve(bytes + 16);
    header(b'*', words.len(), out);
    for word in words {
        let word = word.as_ref();
        header(b'$', word.len(), out);
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

fn header(kind: u8, number: usize, out: &mut Vec<u8>) {
    out.push(kind);
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(b"\r\n");
}
