//! Times to live: how they are given, changed and shown.

use std::time::Duration;

use bytes::Bytes;
use nearcache_l1::Timestamp;

use super::args::{Outcome, flag, int, is, shown};
use super::keyspace::Keyspace;
use nearcache_proto::resp::Reply;

/// How a command gives a time.
#[derive(Clone, Copy)]
pub(super) struct Clock {
    seconds: bool,
    absolute: bool,
}

impl Clock {
    pub(super) const SECONDS: Self = Self::new(true, false);
    pub(super) const MILLIS: Self = Self::new(false, false);
    pub(super) const UNIX_SECONDS: Self = Self::new(true, true);
    pub(super) const UNIX_MILLIS: Self = Self::new(false, true);

    const fn new(seconds: bool, absolute: bool) -> Self {
        Self { seconds, absolute }
    }

    /// The option of `SET` and `GETEX` called `word`.
    pub(super) fn option(word: &[u8]) -> Option<Self> {
        [
            ("EX", Self::SECONDS),
            ("PX", Self::MILLIS),
            ("EXAT", Self::UNIX_SECONDS),
            ("PXAT", Self::UNIX_MILLIS),
        ]
        .into_iter()
        .find(|(name, _)| is(word, name))
        .map(|(_, clock)| clock)
    }

    /// The moment that `text` means. The past is [`Timestamp::ZERO`].
    pub(super) fn deadline(
        self,
        space: &Keyspace,
        text: &[u8],
        command: &str,
    ) -> Result<Timestamp, Reply> {
        let invalid = || Reply::error(&format!("ERR invalid expire time in '{command}' command"));
        let mut millis = int(text)?;
        if self.seconds {
            millis = millis.checked_mul(1000).ok_or_else(invalid)?;
        }
        if self.absolute {
            millis = millis.saturating_sub(space.unix_ms());
        } else {
            millis.checked_add(space.unix_ms()).ok_or_else(invalid)?;
        }
        Ok(match u64::try_from(millis) {
            Ok(millis) if millis > 0 => space.now().saturating_add(Duration::from_millis(millis)),
            _ => Timestamp::ZERO,
        })
    }

    /// The same where a time that is not positive is an error.
    pub(super) fn positive_deadline(
        self,
        space: &Keyspace,
        text: &[u8],
        command: &str,
    ) -> Result<Timestamp, Reply> {
        if int(text)? <= 0 {
            return Err(Reply::error(&format!(
                "ERR invalid expire time in '{command}' command"
            )));
        }
        self.deadline(space, text, command)
    }
}

pub(super) fn expire(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    set_deadline(space, argv, Clock::SECONDS, "expire")
}

pub(super) fn pexpire(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    set_deadline(space, argv, Clock::MILLIS, "pexpire")
}

pub(super) fn expireat(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    set_deadline(space, argv, Clock::UNIX_SECONDS, "expireat")
}

pub(super) fn pexpireat(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    set_deadline(space, argv, Clock::UNIX_MILLIS, "pexpireat")
}

pub(super) fn persist(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    let expires = space.entry(&argv[1]).is_some_and(|e| e.deadline.is_some());
    if expires {
        space.set_deadline(&argv[1], None);
    }
    Ok(flag(expires))
}

pub(super) fn ttl(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    Ok(life(space, &argv[1], |_, left| (left + 500) / 1000))
}

pub(super) fn pttl(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    Ok(life(space, &argv[1], |_, left| left))
}

pub(super) fn expiretime(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    Ok(life(space, &argv[1], |now, left| {
        now.saturating_add(left).saturating_add(500) / 1000
    }))
}

pub(super) fn pexpiretime(space: &mut Keyspace, argv: &[Bytes]) -> Outcome {
    Ok(life(space, &argv[1], i64::saturating_add))
}

/// -2 without key, -1 without expiry, else what `show` makes of now and what is left, in milliseconds.
fn life(space: &mut Keyspace, key: &[u8], show: fn(i64, i64) -> i64) -> Reply {
    let (now, unix_ms) = (space.now(), space.unix_ms());
    Reply::Int(match space.entry(key).map(|entry| entry.deadline) {
        None => -2,
        Some(None) => -1,
        Some(Some(deadline)) => {
            let left = deadline.saturating_since(now).as_millis();
            show(unix_ms, i64::try_from(left).unwrap_or(i64::MAX - 500))
        }
    })
}

fn set_deadline(space: &mut Keyspace, argv: &[Bytes], clock: Clock, command: &str) -> Outcome {
    let (mut nx, mut xx, mut gt, mut lt) = (false, false, false, false);
    for option in &argv[3..] {
        match option.to_ascii_uppercase().as_slice() {
            b"NX" => nx = true,
            b"XX" => xx = true,
            b"GT" => gt = true,
            b"LT" => lt = true,
            _ => {
                return Err(Reply::error(&format!(
                    "ERR Unsupported option {}",
                    shown(option)
                )));
            }
        }
    }
    if nx && (xx || gt || lt) {
        return Err(Reply::error(
            "ERR NX and XX, GT or LT options at the same time are not compatible",
        ));
    }
    if gt && lt {
        return Err(Reply::error(
            "ERR GT and LT options at the same time are not compatible",
        ));
    }
    let new = clock.deadline(space, &argv[2], command)?;
    let key = &argv[1];
    let Some(old) = space.entry(key).map(|entry| entry.deadline) else {
        return Ok(flag(false));
    };
    // Without expiry counts as living for ever.
    let unwanted = match old {
        None => xx || gt,
        Some(old) => nx || (gt && new <= old) || (lt && new >= old),
    };
    if unwanted {
        return Ok(flag(false));
    }
    if new <= space.now() {
        space.take(key);
    } else {
        space.set_deadline(key, Some(new));
    }
    Ok(flag(true))
}
