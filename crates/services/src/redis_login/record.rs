//! Records and events as texts, and what the scripts answer, as values.
//!
//! A record is `version TAB subject TAB gone_at_ms LF JSON`: the first line is what the scripts compare. The subject is a challenge's
//! deadline, a family's user.

use orinoco_domain::{
    account::UserId,
    challenge::{Challenge, ChallengeKey, NewChallenge, Status},
    refresh::{Family, FamilyId},
};
use orinoco_ports::{EndReason, FamilyPage, LoginEvent, Swap};
use redis::{FromRedisValue, Value, from_redis_value};
use serde::{Serialize, de::DeserializeOwned};

/// Why a text or an answer can't be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unreadable(pub(super) String);

fn json<T: Serialize>(record: &T) -> Result<String, Unreadable> {
    serde_json::to_string(record).map_err(|error| Unreadable(format!("a record can't be written as JSON: {error}")))
}

/// # Errors
/// It can't be written as JSON.
pub(super) fn of_challenge(challenge: &Challenge) -> Result<String, Unreadable> {
    let Challenge { version, deadline_ms, .. } = challenge;
    Ok(format!("{version}\t{deadline_ms}\t{}\n{}", challenge.purge_at_ms(), json(challenge)?))
}

/// # Errors
/// As [`of_challenge`].
pub(super) fn of_family(family: &Family) -> Result<String, Unreadable> {
    let Family { version, user_id, expires_at_ms, .. } = family;
    Ok(format!("{version}\t{user_id}\t{expires_at_ms}\n{}", json(family)?))
}

/// The JSON of a new challenge before and behind its times, which the script puts in by the store's clock.
///
/// # Errors
/// As [`of_challenge`].
pub(super) fn around_times(new: &NewChallenge) -> Result<(String, String), Unreadable> {
    let text = json(&new.at(0))?;
    // A quote inside a string is escaped, so that no text of the client's can look like this.
    let times = format!("\"createdAtMs\":0,\"deadlineMs\":{}", new.ttl_ms);
    let parts = text.split_once(&times).map(|(before, behind)| (before.to_owned(), behind.to_owned()));
    parts.ok_or_else(|| Unreadable("a new challenge's times are not where they were".to_owned()))
}

/// # Errors
/// It is none of ours.
pub(super) fn read<T: DeserializeOwned>(record: &str) -> Result<T, Unreadable> {
    let (_, json) = record.split_once('\n').ok_or_else(|| Unreadable("a record has no first line".to_owned()))?;
    serde_json::from_str(json).map_err(|error| Unreadable(format!("a record: {error}")))
}

/// An answer's parts, in order.
pub(super) struct Answer(std::vec::IntoIter<Value>);

impl Answer {
    pub(super) fn new(parts: Vec<Value>) -> Self {
        Self(parts.into_iter())
    }

    /// # Errors
    /// There is no such part, or it is of another type.
    pub(super) fn next<T: FromRedisValue>(&mut self, what: &str) -> Result<T, Unreadable> {
        let value = self.0.next().ok_or_else(|| Unreadable(format!("{what} is missing")))?;
        from_redis_value(value).map_err(|error| Unreadable(format!("{what}: {error}")))
    }

    /// All that are left.
    ///
    /// # Errors
    /// As [`Answer::next`].
    pub(super) fn rest<T: FromRedisValue>(self, what: &str) -> Result<Vec<T>, Unreadable> {
        let values = self.0.map(from_redis_value);
        values.collect::<Result<_, _>>().map_err(|error| Unreadable(format!("{what}: {error}")))
    }
}

/// What a step that writes says.
pub(super) enum Outcome<T> {
    Swap(Swap<T>),
    Taken,
}

/// # Errors
/// It is no such answer.
pub(super) fn outcome<T: DeserializeOwned>(parts: Vec<Value>) -> Result<Outcome<T>, Unreadable> {
    let mut answer = Answer::new(parts);
    let kind: String = answer.next("kind of answer")?;
    Ok(match kind.as_str() {
        "done" => Outcome::Swap(Swap::Swapped),
        "gone" => Outcome::Swap(Swap::Gone),
        "taken" => Outcome::Taken,
        "conflict" => {
            let record: String = answer.next("record")?;
            Outcome::Swap(Swap::Conflict { current: read(&record)?, now_ms: answer.next("time")? })
        }
        other => return Err(Unreadable(format!("kind of answer is {other:?}"))),
    })
}

/// A page of logins, with the cursor `EXPIRY:ID` of the last one where there are more.
///
/// # Errors
/// It is no such answer.
pub(super) fn family_page(parts: Vec<Value>) -> Result<FamilyPage, Unreadable> {
    let mut answer = Answer::new(parts);
    let (expires_at_ms, id): (String, String) = (answer.next("expiry")?, answer.next("id")?);
    let texts: Vec<String> = answer.rest("logins")?;
    let families = texts.iter().map(|text| read(text)).collect::<Result<_, _>>()?;
    Ok(FamilyPage { families, next: (!expires_at_ms.is_empty()).then(|| format!("{expires_at_ms}:{id}")) })
}

/// `challenge TAB key TAB version TAB status`. (The scripts write `ended TAB user TAB family or - TAB reason`.)
pub(super) fn change_text(next: &Challenge) -> String {
    format!("challenge\t{}\t{}\t{}", next.key, next.version, next.status)
}

/// `None` for what this version of the program doesn't know.
pub(super) fn event(text: &str) -> Option<LoginEvent> {
    let mut fields = text.split('\t');
    let (kind, subject, detail, last) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    match kind {
        "challenge" => Some(LoginEvent::ChallengeChanged {
            key: ChallengeKey::parse(subject).ok()?,
            version: detail.parse().ok()?,
            status: Status::parse(last)?,
        }),
        "ended" => Some(LoginEvent::LoginsEnded {
            user_id: UserId(subject.parse().ok()?),
            family: match detail {
                "-" => None,
                id => Some(FamilyId::parse(id).ok()?),
            },
            reason: EndReason::parse(last)?,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use orinoco_domain::{
        ClientInfo,
        challenge::DeviceGrant,
        secret::{Binding, ChallengeId, CookieSecret, KeyId, Salt},
    };

    use super::*;

    fn new_challenge(user_agent: &str) -> NewChallenge {
        NewChallenge {
            key: ChallengeKey::of(&ChallengeId::from_bytes([1; 32])),
            salt: Salt::from_bytes([2; 16]),
            key_id: KeyId(3),
            binding: Binding::to_cookie(&CookieSecret::from_bytes([4; 32])),
            creator: ClientInfo::new("192.0.2.7", user_agent),
            device_grant: Some(DeviceGrant::new("orinoco-cli")),
            ttl_ms: 120_000,
        }
    }

    #[test]
    fn a_new_challenge_s_times_are_put_where_they_belong_whatever_its_client_is_called() {
        for user_agent in ["curl", "\"createdAtMs\":0,\"deadlineMs\":120000", "\\\"createdAtMs\":0,\\"] {
            let new = new_challenge(user_agent);
            let (before, behind) = around_times(&new).unwrap();
            let text = format!("1\t1120000\t1180000\n{before}\"createdAtMs\":1000000,\"deadlineMs\":1120000{behind}");
            assert_eq!(read::<Challenge>(&text).unwrap(), new.at(1_000_000));
            assert_eq!(text, of_challenge(&new.at(1_000_000)).unwrap());
        }
    }

    #[test]
    fn events_are_read_as_they_are_written() {
        let challenge = new_challenge("curl").at(0);
        let changed = LoginEvent::ChallengeChanged { key: challenge.key, version: 1, status: Status::Pending };
        assert_eq!(event(&change_text(&challenge)), Some(changed));
        let id = FamilyId::from_bytes([7; 16]);
        for (family, text) in [(None, "-".to_owned()), (Some(id), id.to_string())] {
            let ended = LoginEvent::LoginsEnded { user_id: UserId(-5), family, reason: EndReason::Reuse };
            assert_eq!(event(&format!("ended\t-5\t{text}\treuse")), Some(ended));
        }
        for text in ["", "ended\t1\t-", "ended\t1\t-\tboredom", "ended\tx\t-\treuse", "other\t1\t2\t3"] {
            assert_eq!(event(text), None, "{text:?}");
        }
    }
}
