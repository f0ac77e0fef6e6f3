//! Certificates that sign themselves: of `mpimg serve`, and of adapters that are tried as the
//! product runs them.

use std::net::IpAddr;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

use crate::error::{ErrorKind, Result, ResultExt as _};

/// Seconds.
const DAY: i64 = 86400;

/// A certificate and its key, both as PEM.
pub(crate) struct SelfSigned {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// Makes a certificate that says it is of `common_name`, for these names and addresses, from the
/// day before `today` to `end` (both in days since 1970): clocks differ.
pub(crate) fn self_signed(common_name: &str, names: &[String], today: i64, end: i64) -> Result<SelfSigned> {
    let cannot = || "cannot make a certificate".to_owned();
    let mut params = CertificateParams::new(Vec::new()).context(ErrorKind::Io, cannot)?;
    for name in names {
        params.subject_alt_names.push(match name.parse::<IpAddr>() {
            Ok(ip) => SanType::IpAddress(ip),
            Err(_) => SanType::DnsName(name.as_str().try_into().context(ErrorKind::Io, cannot)?),
        });
    }
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let [begin, end] = [today - 1, end].map(ymd);
    params.not_before = rcgen::date_time_ymd(begin.0, begin.1, begin.2);
    params.not_after = rcgen::date_time_ymd(end.0, end.1, end.2);
    let pair = KeyPair::generate().context(ErrorKind::Io, cannot)?;
    let made = params.self_signed(&pair).context(ErrorKind::Io, cannot)?;
    Ok(SelfSigned { certificate: made.pem(), key: pair.serialize_pem() })
}

/// The number of this day since 1970.
pub(crate) fn today() -> i64 {
    Timestamp::now().as_second() / DAY
}

/// Year, month and day, by the number of the day since 1970.
fn ymd(day: i64) -> (i32, u8, u8) {
    let date = Timestamp::from_second(day * DAY).unwrap_or_default().to_zoned(TimeZone::UTC);
    (date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs())
}
