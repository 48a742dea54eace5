//! When a certificate is valid (RFC 5280 4.1.2.5).

use std::time::Duration;

use rustls::{pki_types::UnixTime, CertificateError};

use super::der::{elements, sequence, Tag};

/// Says that a certificate has expired or is not valid yet; `None` if it is valid, or cannot be
/// read, which others tell.
pub(super) fn fault(certificate: &[u8], now: UnixTime) -> Option<CertificateError> {
    let contents = sequence(sequence(certificate)?)?;
    // version, which the oldest certificates have not; serial number, algorithm, issuer, validity
    let mut fields = elements(contents).skip_while(|(tag, _)| *tag == Tag::CONTEXT_0).skip(3);
    let (_, validity) = fields.next()?;
    let mut times = elements(validity).map(|(tag, text)| time(tag, text));
    let (not_before, not_after) = (times.next()??, times.next()??);
    if now > not_after {
        return Some(CertificateError::ExpiredContext { time: now, not_after });
    }
    (now < not_before).then_some(CertificateError::NotValidYetContext { time: now, not_before })
}

/// Reads `YYMMDDhhmmssZ` or `YYYYMMDDhhmmssZ`; times before 1970 are those of 1970.
fn time(tag: Tag, text: &[u8]) -> Option<UnixTime> {
    let digits = text.strip_suffix(b"Z")?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |digits: &[u8]| digits.iter().fold(0, |n, digit| 10 * n + i64::from(digit - b'0'));
    let (year, rest) = match (tag, digits.len()) {
        (Tag::UTC_TIME, 12) => {
            let (year, rest) = digits.split_at_checked(2)?;
            let year = number(year);
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        (Tag::GENERALIZED_TIME, 14) => {
            let (year, rest) = digits.split_at_checked(4)?;
            (number(year), rest)
        }
        _ => return None,
    };
    let mut parts = rest.chunks(2).map(number);
    let mut next = || parts.next();
    let (month, day, hour, minute, second) = (next()?, next()?, next()?, next()?, next()?);
    let seconds = ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    Some(UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(seconds).unwrap_or(0))))
}

/// Days from 1970 to a date of the Gregorian calendar. Years begin in March here, so that a leap
/// day is the last of its year.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let from_march = (month + 9) % 12;
    let in_year = (153 * from_march + 2) / 5 + day - 1;
    365 * year + year / 4 - year / 100 + year / 400 + in_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_both_forms() {
        for (tag, text, seconds) in [
            (Tag::UTC_TIME, &b"941106084937Z"[..], Some(784_111_777)),
            (Tag::UTC_TIME, b"000229000000Z", Some(951_782_400)),
            (Tag::UTC_TIME, b"491231235959Z", Some(2_524_607_999)),
            (Tag::UTC_TIME, b"500101000000Z", Some(0)),
            (Tag::GENERALIZED_TIME, b"20500101000000Z", Some(2_524_608_000)),
            (Tag::GENERALIZED_TIME, b"99991231235959Z", Some(253_402_300_799)),
            (Tag::UTC_TIME, b"9411060849Z", None),
            (Tag::UTC_TIME, b"941106084937", None),
            (Tag::GENERALIZED_TIME, b"2050010100000xZ", None),
            (Tag::INTEGER, b"941106084937Z", None),
        ] {
            assert_eq!(time(tag, text).map(|time| time.as_secs()), seconds);
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_fault() {
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1));
        for bytes in [&b""[..], &[0x30], &[0x30, 0x00], &[0x30, 0x02, 0x30, 0x00]] {
            assert_eq!(fault(bytes, now), None);
        }
    }
}
