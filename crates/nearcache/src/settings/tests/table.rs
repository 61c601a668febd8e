//! The table itself: every row reads, shows and documents what it says.

use std::collections::BTreeSet;

use super::*;

#[test]
fn every_default_parses_and_shows_as_written() {
    let settings = Settings::default();
    for field in FIELDS {
        assert_eq!(field.text(&settings), field.default, "{}", field.name);
        assert!(field.doc().ends_with('.'), "{}", field.name);
        assert!(!field.doc().contains('|'), "{}", field.name);
    }
    let names: BTreeSet<_> = FIELDS.iter().map(|field| field.name).collect();
    assert_eq!(names.len(), FIELDS.len());
}

#[test]
fn every_field_goes_through_text_and_back() {
    let other = |field: &Field| match field.kind {
        "address" => "memory:",
        "size" | "size, or empty" => "1536KiB",
        "duration" | "duration, or empty" => "1m 1s 5ms",
        "integer" | "integer, or empty" => "17",
        "`true` or `false`" => "false",
        "`pass_through`, `error` or `serve_stale(duration)`" => "serve_stale(1m 1s 5ms)",
        "`load` or `error`" => "error",
        "text" => "shop",
        "list" => "cart:,session:",
        "number, or empty" => "2.5",
        "`plain`, `hashed` or `off`" => "off",
        kind => panic!("a kind without a test: {kind}"),
    };
    for field in FIELDS {
        let mut settings = Settings::default();
        let other = match (other(field), field.default) {
            ("false", "false") => "true",
            (other, _) => other,
        };
        settings.set(field.name, other).unwrap();
        assert_ne!(settings, Settings::default(), "{}", field.name);
        assert_eq!(settings.get(field.name).unwrap(), other);
    }
}

#[test]
fn no_field_has_the_name_of_an_ignored_variable() {
    for field in FIELDS {
        let variable = field.variable();
        let set = environment(&[(&variable, field.default)]).unwrap();
        assert_eq!(set, Settings::default());
        let error = environment(&[(&variable, "\u{1}")]);
        let takes_any_text = ["address", "text", "list"].contains(&field.kind);
        assert_eq!(error.is_ok(), takes_any_text, "{variable} is read");
    }
}

#[test]
fn docs_equal_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/settings.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::create_dir_all(PathBuf::from(path).parent().unwrap()).unwrap();
        fs::write(path, Settings::markdown()).unwrap();
    }
    let committed = fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == Settings::markdown(),
        "docs/settings.md is not what the table says: run `UPDATE_DOCS=1 cargo test -p nearcache settings`"
    );
}

#[test]
fn unset_optional_fields_follow_others() {
    let mut settings = valid();
    assert_eq!(settings.max_entry_bytes(), 32 << 20);
    assert_eq!(settings.untracked_lifetime(), settings.max_staleness);
    assert_eq!(settings.heartbeat(), settings.max_staleness / 3);
    settings.max_entry = Some(7);
    settings.untracked_life = Some(Duration::from_secs(9));
    assert_eq!(settings.max_entry_bytes(), 7);
    assert_eq!(settings.untracked_lifetime(), Duration::from_secs(9));
    settings.set("max_entry", "").unwrap();
    assert_eq!(settings.max_entry, None);
}
