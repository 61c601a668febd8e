//! Opens trace files, which may be compressed with zstd; what is in them `nearcache_sim::Lines` reads.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use nearcache_sim::Lines;

use crate::outcome::Failure;

const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Reads a file; how it is packed and laid out is seen from its content.
///
/// # Errors
///
/// The file cannot be read, or is no trace: says which, and where in it.
pub fn read(path: &Path) -> Result<Lines, Failure> {
    let failed = |why: &dyn std::fmt::Display| format!("trace {}: {why}", path.display());
    let file = File::open(path).map_err(|error| failed(&error))?;
    let mut input = BufReader::with_capacity(1 << 16, file);
    let start = input.fill_buf().map_err(|error| failed(&error))?;
    let parsed = if start.starts_with(&ZSTD) {
        let unpacked = zstd::Decoder::with_buffer(input).map_err(|error| failed(&error))?;
        Lines::parse(BufReader::new(unpacked))
    } else {
        Lines::parse(input)
    };
    parsed.map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_and_plain_files_are_the_same_and_a_cut_one_is_an_error() {
        let dir = std::env::temp_dir().join(format!("nearcache-trace-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let text: String = (0..10_000)
            .map(|number| format!("key{}\n", number % 977))
            .collect();
        let packed = zstd::encode_all(text.as_bytes(), 3).unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let path = dir.join(name);
            std::fs::write(&path, bytes).unwrap();
            read(&path)
        };
        let plain = write("plain", text.as_bytes()).unwrap();
        assert_eq!(plain.requests.len(), 10_000);
        assert_eq!(write("packed", &packed).unwrap(), plain);
        assert!(write("cut", &packed[..packed.len() / 2]).is_err());
        let why = read(&dir.join("missing")).unwrap_err();
        assert!(why.contains("missing"), "{why}");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
