//! From when to when a certificate is valid (RFC 5280, section 4.1.2.5).

use der::{
    AnyRef, Decode, SliceReader, Tag, Tagged,
    asn1::{GeneralizedTime, UtcTime},
};

/// Unix time, seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) begins_at_s: i64,
    pub(super) expires_at_s: i64,
}

impl Validity {
    /// Of a certificate in DER.
    ///
    /// # Errors
    /// It is no certificate.
    pub(super) fn of(certificate: &[u8]) -> der::Result<Self> {
        let certificate = AnyRef::from_der(certificate)?;
        let signed = AnyRef::decode(&mut SliceReader::new(certificate.value())?)?;
        let mut fields = SliceReader::new(signed.value())?;
        let first = AnyRef::decode(&mut fields)?;
        // The version may be left out. What lies before the validity: serial number, signature algorithm, issuer.
        let before = if first.tag().is_context_specific() { 3 } else { 2 };
        for _ in 0..before {
            AnyRef::decode(&mut fields)?;
        }
        let validity = AnyRef::decode(&mut fields)?;
        let mut times = SliceReader::new(validity.value())?;
        // Before 1970 there is no difference to make.
        let begins_at_s = seconds(AnyRef::decode(&mut times)?).unwrap_or(0);
        let expires_at_s = seconds(AnyRef::decode(&mut times)?)?;
        Ok(Self { begins_at_s, expires_at_s })
    }
}

fn seconds(time: AnyRef<'_>) -> der::Result<i64> {
    let since_1970 = match time.tag() {
        Tag::UtcTime => time.decode_as::<UtcTime>()?.to_unix_duration(),
        _ => time.decode_as::<GeneralizedTime>()?.to_unix_duration(),
    };
    Ok(i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX))
}
