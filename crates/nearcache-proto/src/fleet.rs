//! The names of the keys that nearcache itself writes to L2. No other code makes one.

/// Bytes of a service's name, at most: it is also that of a file.
const LONGEST: usize = 64;

/// The key under which the pods of a service keep `what`: `nearcache:{service}:fleet:what`.
///
/// Only what is between the braces decides on the hash slot, so all keys of a service are in one; and the pattern
/// `nearcache:*` of an ACL covers all of them.
pub fn fleet_key(service: &str, what: &str) -> String {
    format!("nearcache:{{{service}}}:fleet:{what}")
}

/// Whether a service may be called so.
///
/// # Errors
/// What it must be.
pub fn check_service(name: &str) -> Result<(), String> {
    let fits = !name.trim().is_empty() && name.len() <= LONGEST;
    let apart = |c: char| c == '{' || c == '}' || c.is_control();
    match fits && !name.contains(apart) {
        true => Ok(()),
        false => Err(format!(
            "must be 1 to {LONGEST} bytes of text, not only blanks, without braces and control characters: \
             it stands between braces in the names of nearcache's own keys"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_of_a_service_are_in_one_hash_slot_and_no_other_services() {
        let hashed = |key: &str| {
            let from = key.find('{').unwrap() + 1;
            key[from..from + key[from..].find('}').unwrap()].to_owned()
        };
        for what in ["manifest", "blob:0123", "canary:{x}"] {
            assert_eq!(hashed(&fleet_key("shop", what)), "shop");
        }
        assert_eq!(
            fleet_key("shop", "manifest"),
            "nearcache:{shop}:fleet:manifest"
        );
        // A name that ends or begins as another's: the closing brace keeps them apart.
        let all = |service: &str| fleet_key(service, "");
        assert!(!all("shop:fleet:x").starts_with(&all("shop")));
        assert!(!all("shop2").starts_with(&all("shop")));
    }

    #[test]
    fn c12_what_cannot_stand_between_braces_is_refused() {
        for name in ["shop", "my shop", "läden/eu-1", "a", &"ä".repeat(32)] {
            assert_eq!(check_service(name), Ok(()), "{name}");
        }
        let long = "ä".repeat(33);
        for name in [
            "", "  ", "{shop", "shop}", "{}", "a\nb", "a\0", "\u{85}", &long,
        ] {
            let why = check_service(name).unwrap_err();
            assert!(why.starts_with("must be 1 to 64 bytes"), "{why}");
        }
    }
}
