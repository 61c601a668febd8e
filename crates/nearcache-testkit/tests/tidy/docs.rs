//! Rules about the documents: what they name exists, and what exists is named in ARCHITECTURE.md.

use std::collections::BTreeSet;
use std::path::Path;

use super::{crates, modules, report, root, text};

/// Documents whose paths are checked.
const DOCUMENTS: [&str; 4] = [
    "ARCHITECTURE.md",
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
];

/// Folders of the repository's root that a path in a document begins with.
const FOLDERS: [&str; 10] = [
    ".ci", ".github", "benches", "bindings", "compat", "crates", "deploy", "docs", "examples",
    "scripts",
];

/// Endings that make a word without a slash a file of the root. Lower-case names are more often examples of the user's.
const ENDINGS: [&str; 2] = [".md", ".toml"];

#[test]
fn architecture_names_every_crate_and_module_and_no_others() {
    let text = architecture();
    let sections = sections(&text);
    let mut complaints = Vec::new();
    for (name, _) in &sections {
        if !crates().contains(name) {
            complaints.push(format!(
                "ARCHITECTURE.md has a section on the crate `{name}`, which does not exist"
            ));
        }
    }
    for name in crates() {
        let Some((_, body)) = sections.iter().find(|(section, _)| *section == name) else {
            complaints.push(format!(
                "ARCHITECTURE.md has no heading with `{name}` in backticks"
            ));
            continue;
        };
        let modules = modules(&name);
        let named: BTreeSet<String> = quoted(body).iter().map(|word| module_name(word)).collect();
        for module in &modules {
            if !named.contains(module) {
                complaints.push(format!(
                    "ARCHITECTURE.md does not name the module `{module}` under `{name}`"
                ));
            }
        }
        for listed in listed(body) {
            if !modules.contains(&listed) {
                complaints.push(format!(
                    "ARCHITECTURE.md lists `{listed}` under `{name}`, which has no such module"
                ));
            }
        }
    }
    report(&complaints);
}

#[test]
fn every_path_in_a_document_exists() {
    let mut complaints = Vec::new();
    for document in documents() {
        let text = text(&root().join(&document)).unwrap_or_default();
        let folder = Path::new(&document)
            .parent()
            .map(|folder| root().join(folder))
            .unwrap_or_default();
        for word in quoted(&text) {
            if let Some(path) = repository_path(&word)
                && !root().join(path).exists()
                && !folder.join(path).exists()
            {
                complaints.push(format!("{document} names `{path}`, which does not exist"));
            }
        }
        for link in links(&text) {
            if !folder.join(&link).exists() {
                complaints.push(format!("{document} links to {link}, which does not exist"));
            }
        }
    }
    report(&complaints);
}

/// The documents of the root that exist, and everything in docs.
fn documents() -> Vec<String> {
    let mut found: Vec<String> = DOCUMENTS.map(str::to_owned).to_vec();
    if let Ok(entries) = std::fs::read_dir(root().join("docs")) {
        let names = entries
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned());
        found.extend(
            names
                .filter(|name| name.ends_with(".md"))
                .map(|name| format!("docs/{name}")),
        );
    }
    found.retain(|document| root().join(document).is_file());
    found.sort();
    found
}

fn architecture() -> String {
    let text = text(&root().join("ARCHITECTURE.md"));
    text.expect("ARCHITECTURE.md is missing: write it, with a heading for every crate that lists the crate's modules")
}

/// The crates that headings name in backticks, each with the text up to the next heading of the same or a higher level.
fn sections(text: &str) -> Vec<(String, String)> {
    let mut found: Vec<(usize, String, String)> = Vec::new();
    let mut done = Vec::new();
    for line in prose(text) {
        let level = line.bytes().take_while(|byte| *byte == b'#').count();
        if level > 0 {
            while found.last().is_some_and(|(open, _, _)| *open >= level) {
                done.extend(found.pop().map(|(_, name, body)| (name, body)));
            }
            let mut names = quoted(line)
                .into_iter()
                .map(|word| word.replace("crates/", ""));
            if let Some(name) = names.find(|name| name.starts_with("nearcache")) {
                found.push((level, name, String::new()));
            }
        }
        for (_, _, body) in &mut found {
            body.push_str(line);
            body.push('\n');
        }
    }
    done.extend(found.into_iter().map(|(_, name, body)| (name, body)));
    done
}

/// The first word in backticks of every list item and table row that begins with one.
fn listed(body: &str) -> Vec<String> {
    body.lines()
        .filter_map(|line| {
            let rest = ["- `", "* `", "| `"]
                .iter()
                .find_map(|start| line.trim_start().strip_prefix(start))?;
            let word = rest.split('`').next()?;
            let plain = word
                .chars()
                .all(|c| c.is_ascii_lowercase() || c == '_' || c == '/' || c == '.');
            plain.then(|| module_name(word))
        })
        .collect()
}

/// `store`, `store.rs`, `store/` and `src/store.rs` are all the module `store`.
fn module_name(word: &str) -> String {
    let word = word.strip_prefix("src/").unwrap_or(word);
    let word = word.strip_suffix('/').unwrap_or(word);
    word.strip_suffix(".rs").unwrap_or(word).to_owned()
}

/// The words in single backticks outside code blocks.
fn quoted(text: &str) -> Vec<String> {
    prose(text)
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect()
}

/// The lines outside code blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut code = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    })
}

/// The path that a quoted word or command names, if it looks like one of this repository.
fn repository_path(word: &str) -> Option<&str> {
    let path = word.split_whitespace().next()?.trim_start_matches("./");
    if path.contains(['*', '<', '{', '$', ':', '(', '…']) {
        return None;
    }
    match path.split_once('/') {
        Some((first, rest)) => (FOLDERS.contains(&first) && !rest.is_empty()).then_some(path),
        None => {
            let upper = path.starts_with(|c: char| c.is_ascii_uppercase());
            let ends = ENDINGS.iter().any(|end| path.ends_with(end));
            ((upper && ends) || path.starts_with("LICENSE-")).then_some(path)
        }
    }
}

/// The targets of Markdown links that are files, without their anchors.
fn links(text: &str) -> Vec<String> {
    prose(text)
        .flat_map(|line| line.split("](").skip(1))
        .filter_map(|rest| rest.split([')', '#']).next())
        .filter(|target| !target.is_empty() && !target.contains(':'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn documents_are_read_as_meant() {
    let text = "# A\n## The store: `nearcache-l1`\n- `slot` and `key.rs`\n### More\n| `store/` | x |\n## B\n`else`\n";
    let sections = sections(text);
    assert_eq!(sections.len(), 1);
    assert_eq!(sections[0].0, "nearcache-l1");
    assert_eq!(listed(&sections[0].1), ["slot", "store"]);
    assert_eq!(
        quoted(&sections[0].1),
        ["nearcache-l1", "slot", "key.rs", "store/"]
    );
    assert_eq!(quoted("a `b` c\n```\n`d`\n```\n`e`"), ["b", "e"]);
    assert_eq!(
        repository_path("scripts/test --all-servers"),
        Some("scripts/test")
    );
    assert_eq!(repository_path("README.md"), Some("README.md"));
    assert_eq!(repository_path("nearcache.toml"), None);
    assert_eq!(repository_path("crates/*"), None);
    assert_eq!(links("[a](docs/x.md#y) [b](https://z)"), ["docs/x.md"]);
}

/// A promise is held by tests that exist.
#[test]
fn documents_name_tests_that_exist() {
    let sources: Vec<String> = super::rust_files().iter().filter_map(|f| text(f)).collect();
    let mut named = 0;
    let mut complaints = Vec::new();
    for document in super::files("docs") {
        let Some(content) = text(&document) else {
            continue;
        };
        for word in quoted(&content) {
            let promise = word.strip_prefix('c').is_some_and(|rest| {
                rest.starts_with(|letter: char| letter.is_ascii_digit()) && rest.contains('_')
            });
            if !promise && !word.starts_with("trap_") {
                continue;
            }
            named += 1;
            let function = format!("fn {word}(");
            if !sources.iter().any(|source| source.contains(&function)) {
                complaints.push(format!(
                    "{} names the test {word}, which does not exist",
                    super::short(&document)
                ));
            }
        }
    }
    report(&complaints);
    assert!(named > 80, "only {named} names of tests were found");
}
