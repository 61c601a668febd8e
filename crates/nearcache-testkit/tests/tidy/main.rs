//! Tidy: the house rules of CONTRIBUTING.md that a program can check, run with the ordinary tests.
//! Reads the repository's own files and nothing else.

mod docs;
mod source;

use std::path::{Path, PathBuf};
use std::{env, fs};

/// Files of the repository's root that are not text written here.
const FOREIGN: [&str; 2] = ["Cargo.lock", "LICENSE-APACHE"];

/// The root of the repository.
fn root() -> PathBuf {
    // Cargo's word at run time first: several checkouts may share one build.
    let manifest =
        env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let root = Path::new(&manifest).join("../..");
    root.canonicalize().expect("the workspace exists")
}

/// Every file under `folder` of the repository, without build results and hidden folders (`.ci` and `.github` count).
fn files(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root().join(folder)];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder)
            .expect("a folder of the repository")
            .flatten()
        {
            let name = entry.file_name().to_string_lossy().into_owned();
            let hidden = name.starts_with('.') && name != ".ci" && name != ".github";
            let skip = hidden || ["target", "node_modules", "__pycache__"].contains(&&*name);
            if entry.path().is_dir() {
                if !skip {
                    open.push(entry.path());
                }
            } else if !FOREIGN.contains(&&*name) {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

/// Every Rust file under `crates`.
fn rust_files() -> Vec<PathBuf> {
    let mut files = files("crates");
    files.retain(|path| path.extension().is_some_and(|end| end == "rs"));
    files
}

/// Names of the crates, which are also the names of their folders.
fn crates() -> Vec<String> {
    let manifests = files("crates");
    let mut names: Vec<String> = manifests
        .iter()
        .filter(|path| {
            path.ends_with("Cargo.toml")
                && path.parent().is_some_and(|dir| dir.join("src").is_dir())
        })
        .filter_map(|path| Some(path.parent()?.file_name()?.to_string_lossy().into_owned()))
        .collect();
    names.sort();
    names
}

/// The modules a crate's root declares, by its files and folders.
fn modules(name: &str) -> Vec<String> {
    let src = root().join("crates").join(name).join("src");
    let mut names: Vec<String> = fs::read_dir(src)
        .expect("every crate has a src folder")
        .flatten()
        .filter(|entry| {
            entry.path().is_dir() || entry.path().extension().is_some_and(|end| end == "rs")
        })
        .filter_map(|entry| Some(entry.path().file_stem()?.to_string_lossy().into_owned()))
        .filter(|module| !["lib", "main", "tests", "bin"].contains(&&**module))
        .collect();
    names.sort();
    names.dedup();
    names
}

/// The path as messages name it.
fn short(path: &Path) -> String {
    path.strip_prefix(root())
        .unwrap_or(path)
        .display()
        .to_string()
}

/// Reads a text file; anything else is no business of tidy.
fn text(path: &Path) -> Option<String> {
    String::from_utf8(fs::read(path).ok()?).ok()
}

/// Fails with every complaint at once, so that one run is enough to mend them all.
#[track_caller]
fn report(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}
