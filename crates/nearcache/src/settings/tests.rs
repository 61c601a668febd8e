//! The table, each source, their order, and the text of every refusal.

mod sources;
mod table;
mod validation;
mod values;

use std::fs;
use std::path::PathBuf;
use std::process;

use super::*;

fn text(result: Result<impl Sized, Error>) -> String {
    let error = result.err().expect("must be refused");
    assert_eq!(error.kind(), ErrorKind::Configuration);
    error.to_string()
}

fn variables(pairs: &[(&str, &str)]) -> std::vec::IntoIter<(String, String)> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect::<Vec<_>>().into_iter()
}

fn environment(pairs: &[(&str, &str)]) -> Result<Settings, Error> {
    Settings::load(None, variables(pairs))
}

fn valid() -> Settings {
    Settings {
        url: "redis://127.0.0.1:6379".into(),
        ..Settings::default()
    }
}

/// Why `validate` refuses the defaults with these fields set.
fn invalid(fields: &[(&str, &str)]) -> String {
    let mut settings = valid();
    for (name, value) in fields {
        settings.set(name, value).unwrap();
    }
    text(settings.validate())
}

/// A file that is gone when the test ends.
struct File(PathBuf);

impl File {
    fn new(name: &str, content: &str) -> Self {
        let path = std::env::temp_dir().join(format!("nearcache-{}-{name}", process::id()));
        fs::write(&path, content).unwrap();
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
