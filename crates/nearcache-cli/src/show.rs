//! Figures as people read them: units, and text that fits a terminal.

/// Microseconds in the unit that suits them.
pub fn time(us: f64) -> String {
    match us {
        us if us >= 1e6 => format!("{:.2} s", us / 1e6),
        us if us >= 1e3 => format!("{:.2} ms", us / 1e3),
        us if us >= 100.0 => format!("{us:.0} us"),
        us if us >= 1.0 => format!("{us:.1} us"),
        us => format!("{us:.2} us"),
    }
}

/// Bytes in the unit that suits them.
pub fn bytes(bytes: f64) -> String {
    match bytes {
        b if b >= 1e9 => format!("{:.2} GB", b / 1e9),
        b if b >= 1e6 => format!("{:.1} MB", b / 1e6),
        b if b >= 1e3 => format!("{:.1} KB", b / 1e3),
        b => format!("{b:.0} B"),
    }
}

/// A number with its thousands set apart.
pub fn count(number: f64) -> String {
    let digits = format!("{:.0}", number.max(0.0));
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A share as a percentage.
pub fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

/// A figure, or a dash where there is none.
pub fn or_dash(value: Option<f64>, show: impl Fn(f64) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), show)
}

/// How many times less the second is.
pub fn factor(before: f64, after: f64) -> String {
    match before / after {
        ratio if !ratio.is_finite() || before <= 0.0 => "-".to_owned(),
        ratio if ratio >= 10.0 => format!("{}x less", count(ratio)),
        ratio if ratio > 1.05 => format!("{ratio:.1}x less"),
        ratio if ratio >= 0.95 => "the same".to_owned(),
        ratio if ratio > 0.1 => format!("{:.1}x more", 1.0 / ratio),
        ratio => format!("{}x more", count(1.0 / ratio)),
    }
}

/// Breaks a text into lines of at most `width` characters, each after `indent`.
pub fn wrapped(text: &str, indent: &str, width: usize) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("there is a first line");
        if !last.is_empty() && last.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines.join(&format!("\n{indent}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(count(1_234_567.0), "1,234,567");
        assert_eq!(count(999.4), "999");
        assert_eq!(time(0.12), "0.12 us");
        assert_eq!(time(1234.0), "1.23 ms");
        assert_eq!(bytes(20_500_000.0), "20.5 MB");
        assert_eq!(factor(300.0, 2.0), "150x less");
        assert_eq!(factor(2.0, 3.0), "1.5x more");
        assert_eq!(factor(0.0, 3.0), "-");
    }

    #[test]
    fn long_text_is_broken() {
        assert_eq!(wrapped("one two three", "  ", 7), "one two\n  three");
    }
}
