//! Text that becomes part of a page, the command that a page shows, and the times that an option takes.

use std::time::Duration;

/// What `--duration` takes, of every command: `30`, `30s`, `1m 30s`, `2h`; whole seconds up to a day.
///
/// # Errors
///
/// Says what it takes.
pub fn duration(text: &str) -> Result<Duration, String> {
    let duration = match text.parse() {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => humantime::parse_duration(text),
    };
    match duration {
        Ok(time) if time.subsec_nanos() == 0 && (1..=86_400).contains(&time.as_secs()) => Ok(time),
        _ => Err("a time from 1s to 24h in whole seconds, for example 30s or 5m".to_owned()),
    }
}

/// Text as it may stand between tags and in quoted attributes.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            other => escaped.push(other),
        }
    }
    escaped
}

/// The command again, its program first, to be shown to others: without folders, and without the secrets of an address.
pub fn command(args: impl Iterator<Item = String>) -> String {
    let words = args.map(|word| {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (format!("{name}="), value),
            _ => (String::new(), word.as_str()),
        };
        quoted(&(name + &harmless(value)))
    });
    words.collect::<Vec<_>>().join(" ")
}

fn harmless(value: &str) -> String {
    match value.split_once("://") {
        Some((scheme, rest)) => match rest.rsplit_once('@') {
            Some((_, host)) => format!("{scheme}://...@{host}"),
            None => value.to_owned(),
        },
        None => {
            let name = value.rsplit(['/', '\\']).next();
            name.unwrap_or_default().to_owned()
        }
    }
}

fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_=.,:/@%+".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(words: &[&str]) -> String {
        let program = ["/folder/nearcache"];
        command(program.iter().chain(words).map(|word| (*word).to_owned()))
    }

    #[test]
    fn a_time_is_the_same_for_every_command() {
        let seconds = |text| duration(text).map(|time| time.as_secs()).ok();
        assert_eq!(seconds("30"), Some(30));
        assert_eq!(seconds("30s"), Some(30));
        assert_eq!(seconds("1m 30s"), Some(90));
        assert_eq!(seconds("24h"), Some(86_400));
        for bad in ["", "0", "0s", "1.5", "500ms", "25h", "soon", "-1s"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn tags_become_text() {
        assert_eq!(
            escape("<a b=\"c\">&'"),
            "&lt;a b=&quot;c&quot;&gt;&amp;&#39;"
        );
    }

    #[test]
    fn a_command_tells_neither_folders_nor_secrets() {
        assert_eq!(
            shown(&[
                "bench",
                "--html",
                "/folder/a b.html",
                "--server=/opt/x/valkey-server"
            ]),
            "nearcache bench --html 'a b.html' --server=valkey-server"
        );
        assert_eq!(
            shown(&["--redis", "rediss://user:p@ss@host:6379/0"]),
            "nearcache --redis rediss://...@host:6379/0"
        );
        assert_eq!(
            shown(&["--redis=redis://h:1"]),
            "nearcache --redis=redis://h:1"
        );
    }
}
