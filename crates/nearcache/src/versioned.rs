//! Names for values whose type changes from release to release. Knows nothing of what is stored.

/// The name under which a release keeps its own form of a key's value: the key, `:v` and the version.
///
/// For a change of a type that the code before cannot read, so that two releases of one rollout do not read each other's
/// values. Whoever changes the origin has to drop the key of every version that is in use.
///
/// ```
/// assert_eq!(nearcache::versioned("product:123", 2), b"product:123:v2");
/// ```
///
/// # Cost
/// One allocation.
pub fn versioned(key: impl AsRef<[u8]>, version: u32) -> Vec<u8> {
    let key = key.as_ref();
    let version = version.to_string();
    let mut name = Vec::with_capacity(key.len() + 2 + version.len());
    name.extend_from_slice(key);
    name.extend_from_slice(b":v");
    name.extend_from_slice(version.as_bytes());
    name
}
