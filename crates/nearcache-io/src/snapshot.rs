//! The names of what a pod read, in a file of a directory that outlives the container.
//!
//! A file is replaced as a whole or not at all. A failure costs a cold start later, never the process.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use nearcache_proto::warm::Snapshots;

/// A snapshot in a directory, one per service.
pub struct SnapshotFile {
    path: PathBuf,
    complained: AtomicBool,
}

impl SnapshotFile {
    /// The snapshot of this service in `directory`, which is made when there is something to save.
    pub fn new(directory: impl AsRef<Path>, service: &str) -> Self {
        Self {
            path: directory.as_ref().join(file_name(service)),
            complained: AtomicBool::new(false),
        }
    }

    fn replace(&self, snapshot: &[u8]) -> io::Result<()> {
        if let Some(directory) = self.path.parent() {
            fs::create_dir_all(directory)?;
        }
        // A name of its own: two processes may share the directory.
        let draft = self
            .path
            .with_extension(format!("{}.tmp", std::process::id()));
        let written = File::create(&draft).and_then(|mut file| {
            file.write_all(snapshot)?;
            // Before it takes the place of a good one.
            file.sync_all()
        });
        let replaced = written.and_then(|()| fs::rename(&draft, &self.path));
        if replaced.is_err() {
            let _ = fs::remove_file(&draft);
        }
        replaced
    }

    fn complain(&self, what: &str, error: &io::Error) {
        if !self.complained.swap(true, Ordering::Relaxed) {
            let path = self.path.display();
            tracing::warn!("the snapshot {path} cannot be {what} ({error}): see snapshot_dir");
        }
    }
}

/// Another for each service.
fn file_name(service: &str) -> String {
    let mut name = String::new();
    for byte in service.bytes() {
        match byte {
            b'-' | b'_' | b'.' => name.push(byte.into()),
            byte if byte.is_ascii_alphanumeric() => name.push(byte.into()),
            byte => name.push_str(&format!("%{byte:02x}")),
        }
    }
    name + ".keys"
}

impl Snapshots for SnapshotFile {
    fn load(&self, limit: usize) -> Option<Vec<u8>> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                self.complain("read", &error);
                return None;
            }
        };
        let mut snapshot = Vec::new();
        // One more than is good, so that what is too long is seen to be.
        match file.take(limit as u64 + 1).read_to_end(&mut snapshot) {
            Ok(_) => Some(snapshot),
            Err(error) => {
                self.complain("read", &error);
                None
            }
        }
    }

    fn save(&self, snapshot: &[u8]) {
        if let Err(error) = self.replace(snapshot) {
            self.complain("written", &error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(name: &str) -> PathBuf {
        let directory =
            std::env::temp_dir().join(format!("nearcache-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        directory
    }

    #[test]
    fn what_is_saved_last_is_loaded() {
        let directory = directory("snapshot");
        let file = SnapshotFile::new(&directory, "shop:v1/../x");
        assert_eq!(file.load(100), None);
        file.save(b"first");
        file.save(b"second");
        assert_eq!(file.load(100).as_deref(), Some(&b"second"[..]));
        assert_eq!(
            file.load(3).as_deref(),
            Some(&b"seco"[..]),
            "seen to be too long"
        );
        let names: Vec<_> = fs::read_dir(&directory)
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(names, ["shop%3av1%2f..%2fx.keys"]);
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_directory_that_cannot_be_costs_nothing_but_the_snapshot() {
        let file = SnapshotFile::new("/dev/null/no", "x");
        file.save(b"lost");
        assert_eq!(file.load(100), None);
    }
}
