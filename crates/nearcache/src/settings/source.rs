//! Where settings come from: a TOML file and the environment, in order of precedence.
//!
//! Never shows a line of the file in an error: it may hold a password.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use nearcache_proto::{Error, ErrorKind};
use toml::Value;

use super::field::{LIST, nearest, unknown};
use super::{FIELDS, Field, Settings, configuration};

/// Names that are told of.
const MOST_IGNORED: usize = 16;

pub(super) const VARIABLE_PREFIX: &str = "NEARCACHE_";

/// Variables with the prefix of settings that are none: they belong to the project's own tests.
pub const IGNORED_VARIABLES: [&str; 4] = [
    "NEARCACHE_TEST_SERVER",
    "NEARCACHE_TEST_SEED",
    "NEARCACHE_TEST_RUNS",
    "NEARCACHE_SERVERS_DIR",
];

impl Settings {
    /// Settings from a file, if one is given, and then from `environment` (name and value), over the defaults.
    ///
    /// Not validated: explicit calls may still come. Variables without the prefix `NEARCACHE_` are skipped,
    /// and an empty variable counts as not set.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] if the file cannot be read or parsed, a name is a setting's but for one letter, or
    /// a value does not parse. Other unknown names are [warnings](Settings::warnings).
    pub fn load(
        path: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, Error> {
        let mut settings = Self::default();
        if let Some(path) = path {
            settings.apply_file(path)?;
        }
        settings.apply_environment(environment)?;
        Ok(settings)
    }

    /// Settings from the environment of this process, over the defaults. Not validated.
    ///
    /// # Errors
    ///
    /// As [`Settings::load`], and if the variable of a setting is not UTF-8.
    pub fn from_env() -> Result<Self, Error> {
        Self::load(None, process_environment()?.into_iter())
    }

    /// Settings from a text in TOML, over the defaults. Not validated.
    ///
    /// # Errors
    ///
    /// As [`Settings::load`].
    pub fn from_toml(text: &str) -> Result<Self, Error> {
        let mut settings = Self::default();
        settings.apply_toml(text, "the TOML text")?;
        Ok(settings)
    }

    pub(super) fn apply_file(&mut self, path: &Path) -> Result<(), Error> {
        let name = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|cause| {
            let message = format!("cannot read the settings file {name}: {cause}");
            Error::with_source(ErrorKind::Configuration, message, cause)
        })?;
        self.apply_toml(&text, &name)
    }

    fn apply_toml(&mut self, text: &str, origin: &str) -> Result<(), Error> {
        let table: toml::Table = text
            .parse()
            .map_err(|cause| not_toml(&cause, text, origin))?;
        for (name, value) in &table {
            let Some(field) = Field::find(name) else {
                // No version has tables: somebody took a section's name for part of the settings.
                if value.is_table() || is_typo(name) {
                    return Err(configuration(format!("{origin}: {}", unknown(name))));
                }
                self.ignore(format!("{origin}: {} It is ignored.", unknown(name)));
                continue;
            };
            let label = format!("{origin}: setting `{name}`");
            match value {
                Value::String(text) => field.set(self, text, &label)?,
                Value::Integer(number) => field.set(self, &number.to_string(), &label)?,
                Value::Boolean(switch) => field.set(self, &switch.to_string(), &label)?,
                Value::Array(items)
                    if field.kind == LIST.name && items.iter().all(Value::is_str) =>
                {
                    let items: Vec<_> = items.iter().filter_map(Value::as_str).collect();
                    field.set(self, &items.join(","), &label)?;
                }
                other => {
                    return Err(configuration(format!(
                        "{label} is of the TOML type {}: expected {}, as a string, an integer or a boolean",
                        other.type_str(),
                        field.kind
                    )));
                }
            }
        }
        Ok(())
    }

    pub(super) fn apply_environment(
        &mut self,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<(), Error> {
        for (variable, text) in environment {
            let Some(name) = setting_of(&variable) else {
                continue;
            };
            // Field names are lower case, so a variable in lower case is not one of ours.
            let field = Some(name.to_ascii_lowercase())
                .filter(|_| !name.contains(|c: char| c.is_ascii_lowercase()))
                .and_then(|name| Field::find(&name));
            let Some(field) = field else {
                let unknown = format!(
                    "there is no environment variable {variable}: did you mean {}?",
                    nearest(name).variable()
                );
                if is_typo(name) {
                    return Err(configuration(unknown));
                }
                self.ignore(format!("{unknown} It is ignored."));
                continue;
            };
            if !text.is_empty() {
                field.set(self, &text, &format!("environment variable {variable}"))?;
            }
        }
        Ok(())
    }
}

impl Settings {
    /// Keeps what was said of a name that is not known here: that of a newer version, before a rollback.
    fn ignore(&mut self, what: String) {
        if self.ignored.len() < MOST_IGNORED && !self.ignored.contains(&what) {
            self.ignored.push(what);
        }
    }
}

/// Whether a name is that of a setting but for its case or one letter: then nobody meant another.
fn is_typo(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    FIELDS
        .iter()
        .any(|field| strsim::damerau_levenshtein(field.name, &name) <= 1)
}

/// The variables of this process that may be settings.
pub(super) fn process_environment() -> Result<Vec<(String, String)>, Error> {
    // `env::vars` panics on a foreign variable that is not UTF-8.
    readable(env::vars_os())
}

pub(super) fn readable(
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Vec<(String, String)>, Error> {
    let mut ours = Vec::new();
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|name| setting_of(name).is_some()) else {
            continue;
        };
        let value = value
            .into_string()
            .map_err(|_| configuration(format!("environment variable {name} is not UTF-8 text")))?;
        ours.push((name.to_owned(), value));
    }
    Ok(ours)
}

/// The part of a variable's name behind our prefix, unless the variable is known not to be a setting.
fn setting_of(variable: &str) -> Option<&str> {
    let name = variable.strip_prefix(VARIABLE_PREFIX)?;
    (!IGNORED_VARIABLES.contains(&variable) && !is_service_link(name)).then_some(name)
}

/// Whether Kubernetes sets such a variable in every pod beside a Service called `nearcache` or `nearcache-…`:
/// `[…_]SERVICE_HOST`, `[…_]SERVICE_PORT[_…]`, `[…_]PORT`, `[…_]PORT_6379_TCP[_PROTO|_PORT|_ADDR]`.
fn is_service_link(name: &str) -> bool {
    let words: Vec<&str> = name.split('_').collect();
    let has = |pair: [&str; 2]| words.windows(2).any(|two| two == pair);
    let port = words.windows(3).any(|three| {
        let number = !three[1].is_empty() && three[1].bytes().all(|byte| byte.is_ascii_digit());
        three[0] == "PORT" && number && ["TCP", "UDP", "SCTP"].contains(&three[2])
    });
    has(["SERVICE", "HOST"]) || has(["SERVICE", "PORT"]) || words.last() == Some(&"PORT") || port
}

/// An error of the parser without its picture of the line.
#[cold]
fn not_toml(cause: &toml::de::Error, text: &str, origin: &str) -> Error {
    let before = cause.span().and_then(|span| text.get(..span.start));
    let place = before.map_or_else(String::new, |before| {
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        format!(" at line {line} column {column}")
    });
    let what = cause.message();
    configuration(format!("{origin}: not TOML{place}: {what}"))
}
