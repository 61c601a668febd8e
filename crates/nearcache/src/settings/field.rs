//! One row of the table: its name, its texts, and how a text becomes a value and back.
//!
//! Owns parsing and printing of single values; what values mean to each other is `validate`'s.

use std::fmt::Write as _;
use std::str::FromStr as _;
use std::time::Duration;

use bytesize::ByteSize;
use nearcache_proto::{Error, OnL2Down, ReadPolicy, WhileAway};

use super::source::{IGNORED_VARIABLES, VARIABLE_PREFIX};
use super::{FIELDS, Settings, configuration, url};

/// One setting: what the file, the environment, the builder and the documentation know of it.
pub struct Field {
    /// Its name in [`Settings`] and in a file.
    pub name: &'static str,
    /// What its text may be, in words.
    pub kind: &'static str,
    /// Its default as text.
    pub default: &'static str,
    pub(super) doc: &'static str,
    pub(super) set: fn(&mut Settings, &str) -> Result<(), String>,
    pub(super) get: fn(&Settings) -> String,
}

impl Field {
    /// The field of this name.
    pub fn find(name: &str) -> Option<&'static Field> {
        FIELDS.iter().find(|field| field.name == name)
    }

    /// What it means, in a sentence or two of Markdown.
    pub fn doc(&self) -> &'static str {
        self.doc.trim()
    }

    /// Its environment variable, such as `NEARCACHE_CAPACITY`.
    pub fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.name.to_ascii_uppercase())
    }

    /// Its value in `settings` as text; credentials are masked.
    pub fn text(&self, settings: &Settings) -> String {
        (self.get)(settings)
    }

    /// Sets it; an error calls it `label`.
    pub(super) fn set(
        &self,
        settings: &mut Settings,
        text: &str,
        label: &str,
    ) -> Result<(), Error> {
        (self.set)(settings, text)
            .map_err(|why| configuration(format!("{label} is {}: {why}", quoted(text))))
    }
}

/// How the values of one type are read and shown.
pub(super) struct Kind<T: 'static> {
    pub(super) name: &'static str,
    pub(super) parse: fn(&str) -> Result<T, String>,
    pub(super) show: fn(&T) -> String,
}

pub(super) const TEXT: Kind<String> = Kind {
    name: "text",
    parse: |text| Ok(text.to_owned()),
    show: String::clone,
};

pub(super) const LIST: Kind<Vec<String>> = Kind {
    name: "list",
    parse: parse_list,
    show: |items| items.join(","),
};

pub(super) const URL: Kind<String> = Kind {
    name: "address",
    parse: |text| Ok(text.to_owned()),
    show: |value| url::masked(value),
};

pub(super) const SIZE: Kind<usize> = Kind {
    name: "size",
    parse: parse_size,
    show: |value| show_size(*value),
};

pub(super) const OPTIONAL_SIZE: Kind<Option<usize>> = Kind {
    name: "size, or empty",
    parse: |text| optional(text, parse_size),
    show: |value| value.map_or_else(String::new, show_size),
};

pub(super) const DURATION: Kind<Duration> = Kind {
    name: "duration",
    parse: parse_duration,
    show: |value| show_duration(*value),
};

pub(super) const OPTIONAL_DURATION: Kind<Option<Duration>> = Kind {
    name: "duration, or empty",
    parse: |text| optional(text, parse_duration),
    show: |value| value.map_or_else(String::new, show_duration),
};

pub(super) const COUNT: Kind<usize> = Kind {
    name: "integer",
    parse: |text| {
        let plain = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = plain.then(|| text.parse().ok()).flatten();
        number.ok_or_else(|| "must be a whole number without a unit, such as 4".into())
    },
    show: usize::to_string,
};

pub(super) const OPTIONAL_COUNT: Kind<Option<usize>> = Kind {
    name: "integer, or empty",
    parse: |text| optional(text, COUNT.parse),
    show: |value| value.map_or_else(String::new, |number| number.to_string()),
};

pub(super) const SWITCH: Kind<bool> = Kind {
    name: "`true` or `false`",
    parse: |text| match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("must be true or false".into()),
    },
    show: bool::to_string,
};

pub(super) const POLICY: Kind<ReadPolicy> = Kind {
    name: "`pass_through`, `error` or `serve_stale(duration)`",
    parse: parse_policy,
    show: |value| show_policy(*value),
};

pub(super) const ON_L2_DOWN: Kind<OnL2Down> = Kind {
    name: "`load` or `error`",
    parse: |text| match text {
        "load" => Ok(OnL2Down::Load),
        "error" => Ok(OnL2Down::Error),
        _ => Err("must be load or error".into()),
    },
    show: |value| show_on_l2_down(*value).to_owned(),
};

pub(super) const WHILE_AWAY: Kind<Option<WhileAway>> = Kind {
    name: "`wait` or `fail`, or empty",
    parse: |text| match text {
        "" => Ok(None),
        "wait" => Ok(Some(WhileAway::Wait)),
        "fail" => Ok(Some(WhileAway::Fail)),
        _ => Err("must be wait or fail, or empty".into()),
    },
    show: |value| value.map_or("", show_while_away).to_owned(),
};

pub(super) const OPTIONAL_NUMBER: Kind<Option<f64>> = Kind {
    name: "number, or empty",
    parse: |text| {
        optional(text, |text| {
            let number = text
                .parse()
                .ok()
                .filter(|n: &f64| n.is_finite() && *n >= 0.0);
            number.ok_or_else(|| "must be a number from 0 on, such as 0.5".into())
        })
    },
    show: |value| value.map_or_else(String::new, |number| number.to_string()),
};

pub(super) const NAMES: Kind<ManifestKeys> = Kind {
    name: "`plain`, `hashed` or `off`",
    parse: |text| match text {
        "plain" => Ok(ManifestKeys::Plain),
        "hashed" => Ok(ManifestKeys::Hashed),
        "off" => Ok(ManifestKeys::Off),
        _ => Err("must be plain, hashed or off".into()),
    },
    show: |value| value.as_str().to_owned(),
};

/// How keys are named in what pods publish about their reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ManifestKeys {
    /// As they are.
    #[default]
    Plain,
    /// By hashes.
    Hashed,
    /// Nothing is published.
    Off,
}

impl ManifestKeys {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Hashed => "hashed",
            Self::Off => "off",
        }
    }
}

fn parse_list(text: &str) -> Result<Vec<String>, String> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let items: Vec<_> = text.split(',').map(|item| item.trim().to_owned()).collect();
    match items.iter().any(String::is_empty) {
        true => Err(
            "has an empty item: separate items by single commas, such as `cart:,session:`".into(),
        ),
        false => Ok(items),
    }
}

fn optional<T>(text: &str, parse: fn(&str) -> Result<T, String>) -> Result<Option<T>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    parse(text).map(Some)
}

fn parse_size(text: &str) -> Result<usize, String> {
    let size = ByteSize::from_str(text).map_err(|_| {
        "must be a size: whole bytes, or a number with a unit, such as 512KiB, 256MiB, 2GiB (KB, MB and GB count in thousands)"
    })?;
    // The parser saturates; no allocation can be larger than `isize::MAX` either.
    usize::try_from(size.as_u64())
        .ok()
        .filter(|bytes| *bytes <= isize::MAX as usize)
        .ok_or_else(|| "is more than this machine can address".into())
}

pub(super) fn show_size(bytes: usize) -> String {
    const UNITS: [(u32, &str); 4] = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let exact = |shift: u32| bytes != 0 && bytes.trailing_zeros() >= shift;
    match UNITS.iter().find(|(shift, _)| exact(*shift)) {
        Some((shift, unit)) => format!("{}{unit}", bytes >> shift),
        None => bytes.to_string(),
    }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    const UNITS: &str = "such as 500ms, 2s or 1m (units: ns, us, ms, s, m, h)";
    let bare = |byte: u8| byte.is_ascii_digit() || byte == b'.';
    if !text.is_empty() && text.bytes().all(bare) {
        return Err(format!("has no unit: write a duration {UNITS}"));
    }
    humantime::parse_duration(text).map_err(|_| format!("must be a duration {UNITS}"))
}

pub(super) fn show_duration(value: Duration) -> String {
    humantime::format_duration(value).to_string()
}

fn parse_policy(text: &str) -> Result<ReadPolicy, String> {
    let stale = text
        .strip_prefix("serve_stale(")
        .and_then(|rest| rest.strip_suffix(')'));
    match (text, stale) {
        ("pass_through", _) => Ok(ReadPolicy::PassThrough),
        ("error", _) => Ok(ReadPolicy::Error),
        (_, Some(max)) => Ok(ReadPolicy::ServeStale {
            max: parse_duration(max)?,
        }),
        _ => Err("must be pass_through, error or serve_stale(30s), with any duration".into()),
    }
}

pub(super) fn show_policy(policy: ReadPolicy) -> String {
    match policy {
        ReadPolicy::PassThrough => "pass_through".into(),
        ReadPolicy::Error => "error".into(),
        ReadPolicy::ServeStale { max } => format!("serve_stale({})", show_duration(max)),
        // What this shows is refused where it is read.
        other => format!("{other:?}"),
    }
}

pub(super) fn show_while_away(while_away: WhileAway) -> &'static str {
    match while_away {
        WhileAway::Wait => "wait",
        _ => "fail",
    }
}

pub(super) fn show_on_l2_down(on_l2_down: OnL2Down) -> &'static str {
    match on_l2_down {
        OnL2Down::Error => "error",
        _ => "load",
    }
}

/// A value for an error: quoted, control characters escaped, cut to what fits a line.
pub(super) fn quoted(text: &str) -> String {
    const LONGEST: usize = 64;
    let cut = text.char_indices().nth(LONGEST).map(|(index, _)| index);
    match cut {
        Some(index) => format!("{:?}…", &text[..index]),
        None => format!("{text:?}"),
    }
}

/// What to say of a name that is no field.
pub(super) fn unknown(name: &str) -> String {
    let (wrong, nearest) = (quoted(name), nearest(name).name);
    format!("there is no setting {wrong}: did you mean `{nearest}`?")
}

/// The field whose name is most like `name`.
pub(super) fn nearest(name: &str) -> &'static Field {
    let name = name.to_ascii_lowercase();
    // The first is kind to shortened names, the second to swapped letters.
    let likeness = |field: &Field| {
        strsim::jaro_winkler(field.name, &name)
            + strsim::normalized_damerau_levenshtein(field.name, &name)
    };
    FIELDS
        .iter()
        .max_by(|one, other| likeness(one).total_cmp(&likeness(other)))
        .expect("the table has rows")
}

pub(super) fn markdown(fields: &[Field]) -> String {
    let mut page = format!(
        "# Settings\n\
         \n\
         This page is made from the table in `crates/nearcache/src/settings/mod.rs`; \
         `UPDATE_DOCS=1 cargo test -p nearcache settings` writes it anew.\n\
         \n\
         A setting comes from, in this order, later ones winning: its default, a TOML file (top-level keys), \
         the environment, and explicit calls on the builder. The builder reads a file or the environment only where it is \
         told to: `NearCache::builder().file(\"cache.toml\").env()`. The drop-in's `open` reads the environment and no file.\n\
         \n\
         - **size**: whole bytes, or a number with a unit: `512KiB`, `256MiB`, `2GiB`; `KB`, `MB` and `GB` count in thousands.\n\
         - **duration**: always with a unit: `500ms`, `2s`, `1m`.\n\
         - **list**: items with commas between them, spaces around them not counted; in a file also a list of texts.\n\
         - A name that is a setting's but for one letter or its case is an error, and so are an unknown name in a call, a \
         table in the file, and a value that does not parse.\n\
         - Any other unknown name in the file, or unknown variable that begins with `{VARIABLE_PREFIX}`, is ignored with a \
         warning when the cache is built (`Settings::warnings`), so that an older pod starts after a rollback. Under `strict` \
         it is an error.\n\
         - No warning is given for {}, and the variables that Kubernetes sets for a Service whose name begins with `nearcache` \
         (`…_SERVICE_HOST`, `…_SERVICE_PORT`, `…_PORT`, `…_PORT_6379_TCP` and the like).\n\
         - An empty variable counts as not set.\n\
         \n\
         | setting | variable | kind | default | meaning |\n\
         |---|---|---|---|---|\n",
        IGNORED_VARIABLES.map(|name| format!("`{name}`")).join(", "),
    );
    for field in fields {
        let default = match field.default {
            "" => "empty".to_owned(),
            text => format!("`{text}`"),
        };
        let (name, variable, kind, doc) = (field.name, field.variable(), field.kind, field.doc());
        writeln!(
            page,
            "| `{name}` | `{variable}` | {kind} | {default} | {doc} |"
        )
        .expect("writing to a String does not fail");
    }
    page
}
