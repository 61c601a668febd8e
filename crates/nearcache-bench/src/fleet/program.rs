//! Which server program a run starts: one that is on this machine, else one that `scripts/servers` of the checkout fetches
//! that this program was built in. An installed program never downloads.

use std::env;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nearcache_cli::outcome::Failure;
use nearcache_cli::terminal::errln;

const NAMES: [&str; 2] = ["valkey-server", "redis-server"];
/// How long the script may take: it may try several sources, each with time limits of its own.
const FETCH: Duration = Duration::from_secs(300);
/// What helps where no server can be had.
pub(crate) const MEND: &str = "install valkey-server or redis-server (apt-get install redis-server, brew install valkey), or \
     name such a program with --server PATH";

/// The server program to use: the one that was asked for, else `NEARCACHE_TEST_SERVER`, else the first on PATH, else
/// the first in `target/servers`, else, inside a checkout, what its `scripts/servers` fetches. `None`: none can be had.
pub(crate) fn find(asked: Option<&Path>) -> Result<Option<PathBuf>, Failure> {
    let variable = env::var_os("NEARCACHE_TEST_SERVER").filter(|path| !path.is_empty());
    // An explicit choice is final: falling back would show something else than what was asked for.
    if let Some(path) = asked.map(PathBuf::from).or(variable.map(PathBuf::from)) {
        return match path.is_file() {
            true => Ok(Some(path)),
            false => Err(format!("there is no server program at {}", path.display())),
        };
    }
    Ok(present().or_else(|| fetch(&checkout()?)))
}

/// The same, where a run cannot do without one.
pub(crate) fn needed(asked: Option<&Path>) -> Result<PathBuf, Failure> {
    find(asked)?.ok_or_else(|| format!("there is no server: {MEND}"))
}

/// The first that is on this machine already.
fn present() -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = env::var_os("PATH")
        .map(|path| env::split_paths(&path).collect())
        .unwrap_or_default();
    folders.extend(fetched_folders());
    let programs = folders
        .iter()
        .flat_map(|folder| NAMES.map(|name| folder.join(name)));
    programs.into_iter().find(|path| path.is_file())
}

/// The folders of `target/servers`, below the current folder and beside this program, newest name first.
fn fetched_folders() -> Vec<PathBuf> {
    let own = env::current_exe().ok();
    let beside = own
        .as_deref()
        .and_then(|exe| exe.parent()?.parent().map(|dir| dir.join("servers")));
    let named = env::var_os("NEARCACHE_SERVERS_DIR").map(PathBuf::from);
    let roots = [named, Some(PathBuf::from("target/servers")), beside];
    let mut folders = Vec::new();
    for root in roots.into_iter().flatten() {
        let Ok(entries) = root.read_dir() else {
            continue;
        };
        let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        // Unfinished downloads live in folders whose name begins with a dot.
        found.retain(|path| {
            path.file_name()
                .is_some_and(|name| !name.as_encoded_bytes().starts_with(b"."))
        });
        found.sort();
        folders.extend(found.into_iter().rev());
    }
    folders
}

/// The root of the checkout that this program was built in. The folder where it is run is of no account: a program that
/// was installed stays one inside somebody's checkout.
fn checkout() -> Option<PathBuf> {
    let exe = env::current_exe().ok();
    // Cargo says so, where its target folder is elsewhere.
    let package = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let above = |path: &Path| {
        path.ancestors()
            .find(|root| is_checkout(root))
            .map(PathBuf::from)
    };
    [exe, package].iter().flatten().find_map(|path| above(path))
}

fn is_checkout(root: &Path) -> bool {
    root.join("scripts/servers").is_file()
        && root.join("crates/nearcache-bench/Cargo.toml").is_file()
}

/// What the script of the checkout fetches; it says itself from where, and how much.
fn fetch(root: &Path) -> Option<PathBuf> {
    errln!(
        "There is no valkey-server or redis-server on PATH, so scripts/servers fetches one into target/servers, once. \
         Nothing is installed."
    );
    let mut child = Command::new(root.join("scripts/servers"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| errln!("scripts/servers does not run: {error}"))
        .ok()?;
    let deadline = Instant::now() + FETCH;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(20)),
            _ => {
                errln!("scripts/servers was not done after {} s.", FETCH.as_secs());
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    };
    let mut path = String::new();
    child.stdout.take()?.read_to_string(&mut path).ok()?;
    let path = PathBuf::from(path.lines().last()?);
    (status.success() && path.is_file()).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_not_there_is_said_by_name() {
        let why = find(Some(Path::new("/nonexistent/redis-server"))).unwrap_err();
        assert!(why.contains("/nonexistent/redis-server"), "{why}");
    }

    #[test]
    fn this_is_a_checkout() {
        let root = checkout().expect("the tests are built in one");
        assert!(root.join("Cargo.toml").is_file());
        assert!(!is_checkout(&root.join("crates")));
    }
}
