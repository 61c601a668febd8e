//! Settings by calls: what is called wins over every other source, in whatever order it is called.
//!
//! Never fails before `build`, so that a chain of calls needs no `?`.

use std::path::PathBuf;
use std::time::Duration;

use nearcache_proto::{Error, OnL2Down, ReadPolicy, WhileAway};

use super::field::{show_duration, show_on_l2_down, show_policy, show_while_away};
use super::source::process_environment;
use super::{Settings, setting_methods, settings_table};

/// Collects settings from a file, the environment and calls, and checks them at the end.
///
/// ```
/// use std::time::Duration;
/// use nearcache::SettingsBuilder;
///
/// let settings = SettingsBuilder::new()
///     .url("redis://127.0.0.1:6379")
///     .capacity("64MiB")
///     .max_staleness(Duration::from_millis(500))
///     .build()?;
/// assert_eq!(settings.capacity, 64 << 20);
/// # Ok::<(), nearcache_proto::Error>(())
/// ```
#[derive(Clone, Default)]
#[must_use]
pub struct SettingsBuilder {
    base: Settings,
    file: Option<PathBuf>,
    process_environment: bool,
    environment: Vec<(String, String)>,
    calls: Vec<(String, String)>,
}

/// What a builder method takes: a text as in a file, or the value itself.
pub trait SettingValue {
    /// The text that stands for it.
    fn into_text(self) -> String;
}

impl SettingsBuilder {
    /// A builder that starts from the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    settings_table!(setting_methods);

    /// Starts from `base` instead of the defaults.
    pub fn base(mut self, base: Settings) -> Self {
        self.base = base;
        self
    }

    /// Reads this TOML file; it must exist.
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(path.into());
        self
    }

    /// Reads the `NEARCACHE_*` variables of this process.
    pub fn env(mut self) -> Self {
        self.process_environment = true;
        self
    }

    /// Reads these variables, after those of the process if both are asked for.
    pub fn env_from(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        self.environment.extend(variables);
        self
    }

    /// Sets one field by name.
    pub fn set(mut self, name: &str, value: impl SettingValue) -> Self {
        self.calls.push((name.to_owned(), value.into_text()));
        self
    }

    /// The settings, validated.
    ///
    /// # Errors
    ///
    /// [`Configuration`](nearcache_proto::ErrorKind::Configuration) with the first thing that is wrong.
    pub fn build(self) -> Result<Settings, Error> {
        let mut settings = self.base;
        if let Some(path) = &self.file {
            settings.apply_file(path)?;
        }
        if self.process_environment {
            settings.apply_environment(process_environment()?.into_iter())?;
        }
        settings.apply_environment(self.environment.into_iter())?;
        for (name, text) in &self.calls {
            settings.set(name, text)?;
        }
        settings.validate()?;
        Ok(settings)
    }
}

macro_rules! displayed {
    ($($type:ty),+) => {
        $(impl SettingValue for $type {
            fn into_text(self) -> String {
                self.to_string()
            }
        })+
    };
}

// `i32` is what a bare literal becomes; a negative one is refused as any other wrong text.
displayed!(&str, &String, i32, u32, u64, usize, bool, f64);

impl SettingValue for String {
    fn into_text(self) -> String {
        self
    }
}

impl SettingValue for Duration {
    fn into_text(self) -> String {
        show_duration(self)
    }
}

impl SettingValue for ReadPolicy {
    fn into_text(self) -> String {
        show_policy(self)
    }
}

impl SettingValue for OnL2Down {
    fn into_text(self) -> String {
        show_on_l2_down(self).to_owned()
    }
}

impl SettingValue for WhileAway {
    fn into_text(self) -> String {
        show_while_away(self).to_owned()
    }
}

/// `None` is the empty text: the default of an optional setting.
impl<T: SettingValue> SettingValue for Option<T> {
    fn into_text(self) -> String {
        self.map_or_else(String::new, T::into_text)
    }
}
