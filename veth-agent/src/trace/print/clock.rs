//! Times as people and programs write them.

use std::{fmt, time::Duration};

use jiff::{Timestamp, tz::TimeZone};

/// The clock on the wall.
#[derive(Clone, Debug)]
pub struct Clock(TimeZone);

impl Clock {
    /// Of this machine: `TZ`, else `/etc/localtime`, else UTC.
    #[must_use]
    pub fn local() -> Self {
        Self(TimeZone::system())
    }

    /// In Greenwich.
    #[must_use]
    pub const fn utc() -> Self {
        Self(TimeZone::UTC)
    }

    /// `HH:MM:SS.nnnnnnnnn` of a time since 1970.
    pub(super) fn time_of_day(&self, since_1970: Duration) -> impl fmt::Display + use<> {
        let time = self.0.to_datetime(timestamp(since_1970)).time();
        fmt::from_fn(move |f| {
            let (hour, minute, second) = (time.hour(), time.minute(), time.second());
            write!(f, "{hour:02}:{minute:02}:{second:02}.{:09}", time.subsec_nanosecond())
        })
    }
}

/// RFC 3339 in UTC, with nanoseconds.
pub fn rfc3339(since_1970: Duration) -> String {
    format!("{:.9}", timestamp(since_1970))
}

/// The last one that there is, for times beyond the year 9999.
fn timestamp(since_1970: Duration) -> Timestamp {
    let signed = jiff::SignedDuration::try_from(since_1970);
    signed.and_then(Timestamp::from_duration).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_their_nanoseconds() {
        let time = Duration::new(1_700_000_000, 7);
        assert_eq!(rfc3339(time), "2023-11-14T22:13:20.000000007Z");
        assert_eq!(Clock::utc().time_of_day(time).to_string(), "22:13:20.000000007");
        assert!(rfc3339(Duration::MAX).starts_with("9999-12-30T"));
    }

    #[test]
    fn rfc_3339_has_nine_digits_and_days_of_leap_years() {
        assert_eq!(rfc3339(Duration::ZERO), "1970-01-01T00:00:00.000000000Z");
        let leap_day = Duration::new(1_709_251_199, 999_999_999);
        assert_eq!(rfc3339(leap_day), "2024-02-29T23:59:59.999999999Z");
        assert_eq!(rfc3339(leap_day + Duration::from_nanos(1)), "2024-03-01T00:00:00.000000000Z");
        assert_eq!(rfc3339(Duration::from_millis(1500)), "1970-01-01T00:00:01.500000000Z");
    }

    #[test]
    fn people_read_the_clock_on_their_wall() {
        let clock = Clock(TimeZone::fixed(jiff::tz::offset(-3)));
        assert_eq!(clock.time_of_day(Duration::from_secs(3600)).to_string(), "22:00:00.000000000");
    }
}
