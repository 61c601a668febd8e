//! How long L2 keeps what is written. Plain data; what is out of range is refused by the write.

use std::time::Duration;

/// The time to live of a written key in L2, to the millisecond.
///
/// ```
/// # use std::time::Duration;
/// # use nearcache::Ttl;
/// assert_eq!(Ttl::secs(60), Ttl::from(Duration::from_secs(60)));
/// assert_eq!(Ttl::NONE.as_duration(), None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ttl(Option<Duration>);

impl Ttl {
    /// Until it is deleted or evicted.
    pub const NONE: Self = Self(None);

    /// That many seconds.
    pub const fn secs(secs: u64) -> Self {
        Self(Some(Duration::from_secs(secs)))
    }

    /// That many milliseconds. None at all is refused by the write.
    pub const fn millis(millis: u64) -> Self {
        Self(Some(Duration::from_millis(millis)))
    }

    /// The time; `None` for [`Ttl::NONE`].
    pub const fn as_duration(self) -> Option<Duration> {
        self.0
    }
}

impl From<Duration> for Ttl {
    fn from(time: Duration) -> Self {
        Self(Some(time))
    }
}
