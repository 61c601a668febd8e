//! What the user of a connection may do, as far as the lane depends on it, and the line that grants the rest.
//!
//! Found out by trying each command at connect, on a key of our own. Knows only permissions: what a server or a proxy
//! refuses for other reasons is not its business.

use std::fmt::Write as _;

use crate::fleet::FLEET_KEYS;
use crate::resp::Reply;

/// What `ACL SETUSER` takes, beside the application's own keys and commands. Every supported server knows all of it, as
/// one that does not know a word would grant nothing.
const WANTED: &str = "+hello +client|tracking +client|caching +client|no-evict +get +set +del +pttl +echo +multi +exec \
                      +eval +select +sadd +smembers +srem +pexpire +getrange +incrby";

/// What was found missing at connect. By default nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// As whom the server knows the connection, where it tells.
    pub user: Option<String>,
    /// Commands that were refused, in the words of `ACL SETUSER`: `+pttl`.
    pub missing: Vec<&'static str>,
    /// Whether keys of nearcache's own were refused.
    pub no_keys: bool,
}

impl Rights {
    /// Notes the reply to a command that `rule` would allow.
    pub(crate) fn note(&mut self, rule: &'static str, reply: &Reply) {
        let Reply::Error { code, message } = reply else {
            return;
        };
        // Refused itself, EXEC ends the transaction and says so first.
        let inner = message.contains("because of: NOPERM") && message.contains(&rule[1..]);
        match is_about_command(message) {
            _ if code != "NOPERM" && !inner => {}
            true => self.missing.push(rule),
            false => self.no_keys = true,
        }
    }

    pub(crate) fn may(&self, rule: &str) -> bool {
        !self.missing.contains(&rule)
    }

    /// Whether it may ask to be told of changes.
    pub(crate) fn may_track(&self) -> bool {
        self.may("+client|tracking") && self.may("+client|caching")
    }

    /// Whether it may read a value and its life in one, as is needed where nobody tells of changes.
    pub(crate) fn may_bound(&self) -> bool {
        self.may("+multi") && self.may("+pttl") && self.may("+exec")
    }

    /// What is missing and the whole line that grants it; empty if nothing is. `user`: as whom the client logged in.
    pub(crate) fn advice(&self, user: Option<&str>) -> String {
        let keys_missing = self.no_keys.then_some(FLEET_KEYS);
        let missing: Vec<_> = keys_missing
            .into_iter()
            .chain(self.missing.iter().copied())
            .collect();
        let mut advice = String::new();
        if !missing.is_empty() {
            let user = self.user.as_deref().or(user).unwrap_or("default");
            let missing = missing.join(" ");
            let _ = write!(
                advice,
                "; the user lacks {missing}, run: ACL SETUSER {user} {FLEET_KEYS} {WANTED}"
            );
        }
        advice
    }
}

/// Whether a `NOPERM` is about the command, rather than about a key of it.
fn is_about_command(message: &str) -> bool {
    message.contains("permissions to run")
}

/// What to do about a `NOPERM` in the answer to a call.
pub(crate) fn advice(message: &str) -> &'static str {
    match is_about_command(message) {
        true => "the Redis user may not run this command, allow it: ACL SETUSER <user> +<command>",
        false => {
            "the Redis user has no pattern for this key, add it: ACL SETUSER <user> ~<pattern>"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_keys_are_told_apart_in_the_words_of_every_server() {
        let mut rights = Rights::default();
        for (rule, words) in [
            ("+get", "NOPERM No permissions to access a key"),
            (
                "+set",
                "NOPERM this user has no permissions to access one of the keys used as arguments",
            ),
            ("+multi", "ERR unknown command 'MULTI'"),
            ("+exec", "ERR EXEC without MULTI"),
        ] {
            rights.note(rule, &Reply::error(words));
        }
        assert!(rights.no_keys && rights.missing.is_empty());
        for (rule, words) in [
            (
                "+pttl",
                "NOPERM this user has no permissions to run the 'pttl' command",
            ),
            (
                "+echo",
                "NOPERM User app has no permissions to run the 'echo' command",
            ),
            (
                "+exec",
                "EXECABORT Transaction discarded because of: NOPERM User app has no permissions to run the 'exec' command",
            ),
        ] {
            rights.note(rule, &Reply::error(words));
        }
        assert_eq!(rights.missing, ["+pttl", "+echo", "+exec"]);
        assert!(!rights.may_bound() && rights.may_track());
    }

    #[test]
    fn the_line_names_the_user_the_keys_and_all_that_is_needed() {
        assert_eq!(Rights::default().advice(Some("app")), "");
        let mut rights = Rights {
            no_keys: true,
            missing: vec!["+echo"],
            ..Rights::default()
        };
        let advice = |rights: &Rights, user| rights.advice(user);
        let line = advice(&rights, Some("app"));
        assert!(
            line.contains("lacks ~nearcache:* +echo, run: ACL SETUSER app ~nearcache:* +hello")
        );
        assert!(advice(&rights, None).contains("ACL SETUSER default ~nearcache:* "));
        rights.user = Some("told".to_owned());
        assert!(advice(&rights, Some("app")).contains("ACL SETUSER told ~nearcache:* "));
    }
}
