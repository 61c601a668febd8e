//! Which server programs this machine has. Looks in the environment, on PATH and in the folder that `scripts/servers`
//! fills; never downloads anything itself.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const NAMES: [&str; 2] = ["redis-server", "valkey-server"];

/// What a test is told when no server program was found.
pub(crate) const NOT_FOUND: &str = "no Redis or Valkey server was found: run scripts/servers once (it downloads one into \
     target/servers without root), or put redis-server or valkey-server on PATH, or set NEARCACHE_TEST_SERVER to one";

/// A server program that answered `--version` with a version nearcache supports (Redis 7.0 or later, any Valkey).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binary {
    /// Path of the program.
    pub path: PathBuf,
    /// `redis` or `valkey`.
    pub product: &'static str,
    /// Major, minor and patch number.
    pub version: (u32, u32, u32),
}

impl Binary {
    /// Asks the program at `path` for its version; `None` when it does not run or is too old.
    pub fn probe(path: &Path) -> Option<Self> {
        let out = Command::new(path).arg("--version").output().ok()?;
        let (product, version) = parse_version(&String::from_utf8_lossy(&out.stdout))?;
        let supported = product == "valkey" || version >= (7, 0, 0);
        supported.then(|| Self {
            path: path.to_owned(),
            product,
            version,
        })
    }

    /// Product and version as one word, for example `valkey-9.1.2`.
    pub fn name(&self) -> String {
        let (major, minor, patch) = self.version;
        format!("{}-{major}.{minor}.{patch}", self.product)
    }
}

/// The server program that [`Server::start`](crate::Server::start) uses, if there is one: `NEARCACHE_TEST_SERVER`, else the first
/// on PATH, else the first that `scripts/servers` fetched. Looked up once per process.
pub fn try_find() -> Option<PathBuf> {
    static FOUND: OnceLock<Option<Binary>> = OnceLock::new();
    FOUND
        .get_or_init(|| match env::var_os("NEARCACHE_TEST_SERVER") {
            // An explicit choice is final: falling back would test something else than what was asked for.
            Some(path) if !path.is_empty() => Binary::probe(Path::new(&path)),
            _ => candidates().iter().find_map(|path| Binary::probe(path)),
        })
        .as_ref()
        .map(|found| found.path.clone())
}

/// Every server version on this machine, one program per version, for tests that run against all of them.
///
/// `NEARCACHE_TEST_SERVER` comes first but does not hide the others.
pub fn all() -> Vec<Binary> {
    let chosen = env::var_os("NEARCACHE_TEST_SERVER").map(PathBuf::from);
    let mut found: Vec<Binary> = Vec::new();
    for path in chosen.into_iter().chain(candidates()) {
        if let Some(binary) = Binary::probe(&path)
            && !found.iter().any(|other| other.name() == binary.name())
        {
            found.push(binary);
        }
    }
    found
}

fn candidates() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&path).collect();
    folders.extend(fetched_folders());
    folders
        .iter()
        .flat_map(|folder| NAMES.map(|name| folder.join(name)))
        .filter(|path| path.is_file())
        .collect()
}

/// The folders under `target/servers`, newest version last in name order, so reversed.
fn fetched_folders() -> Vec<PathBuf> {
    let root = match env::var_os("NEARCACHE_SERVERS_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => {
            // Cargo's word at run time first: several checkouts may share one build.
            let manifest = env::var_os("CARGO_MANIFEST_DIR")
                .unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
            Path::new(&manifest).join("../../target/servers")
        }
    };
    let Ok(entries) = fs::read_dir(root) else {
        return Vec::new();
    };
    let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    // Unfinished downloads live in folders whose name begins with a dot.
    folders.retain(|path| !hidden(path.file_name()));
    folders.sort();
    folders.reverse();
    folders
}

fn hidden(name: Option<&OsStr>) -> bool {
    name.is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// Reads `Redis server v=7.0.15 sha=...` and `Valkey server v=9.1.2 sha=...`.
fn parse_version(text: &str) -> Option<(&'static str, (u32, u32, u32))> {
    let product = if text.starts_with("Redis server") {
        "redis"
    } else if text.starts_with("Valkey server") {
        "valkey"
    } else {
        return None;
    };
    let word = text
        .split_whitespace()
        .find_map(|word| word.strip_prefix("v="))?;
    let mut numbers = word.split('.').map(|number| number.parse().ok());
    let mut next = || numbers.next().flatten();
    Some((product, (next()?, next()?, next().unwrap_or(0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        let redis = "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64";
        assert_eq!(parse_version(redis), Some(("redis", (7, 0, 15))));
        let valkey = "Valkey server v=9.1.2 sha=00000000:1 malloc=libc";
        assert_eq!(parse_version(valkey), Some(("valkey", (9, 1, 2))));
        assert_eq!(parse_version("memcached 1.6"), None);
        assert_eq!(parse_version("Redis server v=unknown"), None);
    }

    #[test]
    fn a_program_that_is_no_server_is_not_one() {
        assert_eq!(Binary::probe(Path::new("/bin/true")), None);
        assert_eq!(Binary::probe(Path::new("/nonexistent/redis-server")), None);
    }
}
