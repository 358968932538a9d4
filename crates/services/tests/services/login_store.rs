//! Redis "QR": what the suites of all login stores can't know.

use std::time::Duration;

use orinoco_domain::{
    ClientInfo,
    account::{Standing, UserId},
    challenge::{self, Challenge, ChallengeKey, Event, NewChallenge, Phone},
    refresh::{self, Family, FamilyId, NewFamily, RefreshToken},
    secret::{Binding, ChallengeId, CookieSecret, DerivationKey, DerivationKeys, KeyId, Proof, Salt, Verifier},
};
use orinoco_ports::{EndReason, LoginEvent, LoginStore, LoginStoreError, Swap};
use orinoco_services::{RedisLoginStore, RedisLoginStoreOptions};
use orinoco_testkit::{Redis, RedisKind, poll_until, unique_name};

const DEADLINE: Duration = Duration::from_secs(30);
const HOUR_MS: i64 = 3_600_000;
const ADA: UserId = UserId(1);

fn options(url: &str) -> RedisLoginStoreOptions {
    RedisLoginStoreOptions { families_per_user_max: 10, ..RedisLoginStoreOptions::new(url) }
}

async fn own_server() -> (Redis, RedisLoginStore) {
    let redis = Redis::start(RedisKind::Qr).await.unwrap();
    let store = RedisLoginStore::new(&options(redis.url())).unwrap();
    (redis, store)
}

fn random<const LENGTH: usize>() -> [u8; LENGTH] {
    std::array::from_fn(|_| fastrand::u8(..))
}

fn keys() -> DerivationKeys {
    DerivationKeys::new(vec![DerivationKey::from_bytes(KeyId(1), [42; 32])]).unwrap()
}

fn new_challenge(id: &ChallengeId, binding: Binding) -> NewChallenge {
    NewChallenge {
        key: ChallengeKey::of(id),
        salt: Salt::from_bytes(random()),
        key_id: keys().current().id(),
        binding,
        creator: ClientInfo::new("192.0.2.7", "curl/8"),
        device_grant: None,
        ttl_ms: 120_000,
    }
}

fn any_challenge() -> NewChallenge {
    new_challenge(&ChallengeId::from_bytes(random()), Binding::to_cookie(&CookieSecret::from_bytes(random())))
}

fn new_family(ttl_ms: i64) -> NewFamily {
    NewFamily {
        id: FamilyId::from_bytes(random()),
        user_id: ADA,
        generation: 0,
        client_id: None,
        salt: Salt::from_bytes(random()),
        client: ClientInfo::new("192.0.2.8", "phone"),
        ttl_ms,
    }
}

async fn log_in(store: &RedisLoginStore, ttl_ms: i64) -> (Family, RefreshToken) {
    let (family, token) = new_family(ttl_ms).begin(keys().current(), store.now_ms().await.unwrap());
    store.create_family(&family).await.unwrap();
    (family, token)
}

async fn step(store: &RedisLoginStore, current: Challenge, event: Event<'_>, began: Option<&Family>) -> Challenge {
    let decision = challenge::decide(&current, event, &keys(), store.now_ms().await.unwrap());
    assert_eq!(decision.answer, Ok(()));
    let next = decision.next.unwrap();
    assert_eq!(store.swap_challenge(&next, began).await.unwrap(), Swap::Swapped);
    next
}

/// An approved challenge, as its creator may exchange it.
async fn approved(store: &RedisLoginStore) -> (Challenge, Proof) {
    let cookie = CookieSecret::from_bytes(random());
    let new = new_challenge(&ChallengeId::from_bytes(random()), Binding::to_cookie(&cookie));
    let made = store.create_challenge(&new).await.unwrap();
    let phone = Phone { user_id: ADA, session: FamilyId::from_bytes(random()) };
    let nonce = made.nonce(&keys()).unwrap();
    let scanned = step(store, made, Event::Scan { nonce: &nonce, phone }, None).await;
    (step(store, scanned, Event::Approve { phone }, None).await, Proof::Cookie(cookie))
}

/// All that was ever written, as bytes: the append-only file.
fn append_only_file(redis: &Redis) -> Vec<u8> {
    let files = std::fs::read_dir(redis.folder().join("appendonlydir")).unwrap();
    files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
}

/// All that the server holds, as bytes: its keys and their values.
async fn dump(redis: &Redis) -> Vec<u8> {
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let names: Vec<Vec<u8>> = redis::cmd("KEYS").arg("*").query_async(&mut connection).await.unwrap();
    let mut bytes = Vec::new();
    for name in names {
        let kind: String = redis::cmd("TYPE").arg(&name).query_async(&mut connection).await.unwrap();
        let values: Vec<Vec<u8>> = match kind.as_str() {
            "string" => vec![redis::cmd("GET").arg(&name).query_async(&mut connection).await.unwrap()],
            "zset" => redis::cmd("ZRANGE").arg(&name).arg(0).arg(-1).query_async(&mut connection).await.unwrap(),
            other => panic!("a key of type {other}"),
        };
        bytes.extend(name);
        bytes.extend(values.concat());
    }
    bytes
}

#[tokio::test]
async fn redis_its_file_and_its_channel_hold_nothing_that_could_be_presented() {
    let (redis, store) = own_server().await;
    let mut subscription = store.subscribe().await.unwrap();
    let verifier = Verifier::from_bytes(random());
    let id = ChallengeId::from_bytes(random());
    let made = store.create_challenge(&new_challenge(&id, Binding::Verifier(verifier.code_challenge()))).await.unwrap();
    let phone = Phone { user_id: ADA, session: log_in(&store, HOUR_MS).await.0.id };
    let nonce = made.nonce(&keys()).unwrap();
    let scanned = step(&store, made, Event::Scan { nonce: &nonce, phone }, None).await;
    let approved = step(&store, scanned, Event::Approve { phone }, None).await;
    let now_ms = store.now_ms().await.unwrap();
    let otc = approved.otc(&keys(), now_ms).unwrap();
    let (family, token) = new_family(HOUR_MS).begin(keys().current(), now_ms);
    let proof = Proof::Verifier(verifier.clone());
    let mut held = dump(&redis).await;
    step(&store, approved, Event::Exchange { proof: &proof, otc: &otc }, Some(&family)).await;
    held.extend(dump(&redis).await);
    let standing = Standing { enabled: true, generation: 0 };
    let client = ClientInfo::new("192.0.2.9", "tab");
    let refresh::Decision::Rotate { next, successor } =
        refresh::decide(&family, &token, standing, &client, &keys(), now_ms)
    else {
        panic!("a fresh token is refused");
    };
    assert_eq!(store.swap_family(&next).await.unwrap(), Swap::Swapped);
    held.extend(dump(&redis).await);
    store.end_family(&family.id, EndReason::Logout).await.unwrap();
    for _ in 0..4 {
        let event = tokio::time::timeout(DEADLINE, subscription.next()).await.unwrap().unwrap();
        held.extend(format!("{event:?}").into_bytes());
    }
    held.extend(append_only_file(&redis));
    let tokens = [token.expose(), successor.expose()];
    // The first 20 bytes of a token name its family and sequence: no secret.
    let secret_parts = tokens.iter().map(|text| text[28..].to_owned());
    let secrets = [id.expose(), nonce.expose(), otc.expose(), verifier.expose().to_owned()];
    let contains = |text: &str| held.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(contains(&family.id.to_string()) && contains("\"headHash\""), "the dump is no dump");
    for secret in secrets.into_iter().chain(tokens.iter().cloned()).chain(secret_parts) {
        assert!(!contains(&secret), "a secret is stored or published");
    }
}

#[tokio::test]
async fn a_user_s_index_is_bounded_and_leaves_nothing_behind() {
    let (redis, store) = own_server().await;
    let index = "orinoco:{login}:user:1";
    let command = async |words: &[&str]| redis.address().command(0, words).await.unwrap();
    for _ in 0..15 {
        log_in(&store, HOUR_MS).await;
    }
    assert_eq!((command(&["ZCARD", index]).await, command(&["DBSIZE"]).await), (":10".to_owned(), ":11".to_owned()));
    assert_eq!(store.end_families_of(ADA, EndReason::Revoked).await.unwrap(), 10);
    assert_eq!(command(&["DBSIZE"]).await, ":0");
    // What expires is dropped with the next login, and the index goes with its last one.
    for _ in 0..3 {
        log_in(&store, 150).await;
    }
    let all_expired = async || (store.families_of(ADA, None, 10).await.unwrap().families.is_empty()).then_some(());
    poll_until(DEADLINE, "logins that expire", all_expired).await.unwrap();
    log_in(&store, 150).await;
    assert_eq!(command(&["ZCARD", index]).await, ":1");
    let nothing_left = async || (command(&["EXISTS", index]).await == ":0").then_some(());
    poll_until(DEADLINE, "an index that goes", nothing_left).await.unwrap();
    let (family, _) = log_in(&store, HOUR_MS).await;
    store.end_family(&family.id, EndReason::Logout).await.unwrap();
    assert_eq!(command(&["EXISTS", index]).await, ":0");
}

#[tokio::test]
async fn what_was_answered_is_there_after_redis_was_killed() {
    let (redis, store) = own_server().await;
    let (family, _) = log_in(&store, HOUR_MS).await;
    let (challenge, _) = approved(&store).await;
    let (ended, _) = log_in(&store, HOUR_MS).await;
    store.end_family(&ended.id, EndReason::Logout).await.unwrap();
    redis.kill().await.unwrap();
    let error = store.load_family(&family.id).await.unwrap_err();
    assert!(matches!(error, LoginStoreError::Unavailable { .. }), "{error:?}");
    redis.restart().await.unwrap();
    let back = async || store.load_family(&family.id).await.ok();
    assert_eq!(poll_until(DEADLINE, "a login after the kill", back).await.unwrap().record, Some(family.clone()));
    // Each of the other connections may have died too.
    let load = async || store.load_challenge(&challenge.key).await.ok();
    assert_eq!(poll_until(DEADLINE, "a challenge", load).await.unwrap().record, Some(challenge.clone()));
    let list = async || store.families_of(ADA, None, 10).await.ok();
    assert_eq!(poll_until(DEADLINE, "the logins", list).await.unwrap().families, [family]);
}

#[tokio::test]
async fn a_redis_that_does_not_answer_is_given_up_and_its_late_answers_are_nobody_s() {
    let redis = Redis::start(RedisKind::Qr).await.unwrap();
    let options = RedisLoginStoreOptions { call_timeout: Duration::from_millis(500), ..options(redis.url()) };
    let store = RedisLoginStore::new(&options).unwrap();
    let warm = async || store.now_ms().await.ok();
    poll_until(DEADLINE, "a first answer", warm).await.unwrap();
    redis.pause().unwrap();
    for _ in 0..3 {
        let outcome = store.now_ms().await;
        assert!(matches!(outcome, Err(LoginStoreError::Unavailable { .. })), "{outcome:?}");
    }
    redis.resume().unwrap();
    let new = any_challenge();
    let made = poll_until(DEADLINE, "a challenge after the pause", async || {
        match store.create_challenge(&new).await {
            Ok(made) => Some(made),
            // Given up, but done.
            Err(LoginStoreError::Taken { .. }) => store.load_challenge(&new.key).await.ok()?.record,
            Err(_) => None,
        }
    });
    assert_eq!(made.await.unwrap().key, new.key);
}

#[tokio::test]
async fn scripts_are_loaded_again_after_redis_forgot_them() {
    let (redis, store) = own_server().await;
    let (family, _) = log_in(&store, HOUR_MS).await;
    redis.address().command(0, &["SCRIPT", "FLUSH"]).await.unwrap();
    assert_eq!(store.load_family(&family.id).await.unwrap().record, Some(family));
}

#[tokio::test]
async fn an_exchange_that_fails_in_redis_changes_nothing() {
    let (redis, store) = own_server().await;
    let (approved, proof) = approved(&store).await;
    let now_ms = store.now_ms().await.unwrap();
    let otc = approved.otc(&keys(), now_ms).unwrap();
    let next =
        challenge::decide(&approved, Event::Exchange { proof: &proof, otc: &otc }, &keys(), now_ms).next.unwrap();
    let (family, _) = new_family(HOUR_MS).begin(keys().current(), now_ms);
    let command = async |words: &[&str]| redis.address().command(0, words).await.unwrap();
    // No room.
    command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let error = store.swap_challenge(&next, Some(&family)).await.unwrap_err();
    assert!(matches!(error, LoginStoreError::Unavailable { .. }) && error.to_string().contains("maxmemory"), "{error}");
    command(&["CONFIG", "SET", "maxmemory", "0"]).await;
    // An index of a foreign type.
    command(&["SET", "orinoco:{login}:user:1", "foreign"]).await;
    let error = store.swap_challenge(&next, Some(&family)).await.unwrap_err();
    assert!(matches!(error, LoginStoreError::Corrupt { .. }) && error.to_string().contains("WRONGTYPE"), "{error}");
    command(&["DEL", "orinoco:{login}:user:1"]).await;
    assert_eq!(store.load_challenge(&approved.key).await.unwrap().record, Some(approved));
    assert_eq!(store.load_family(&family.id).await.unwrap().record, None);
    assert_eq!(store.swap_challenge(&next, Some(&family)).await.unwrap(), Swap::Swapped);
}

#[tokio::test]
async fn a_record_that_is_none_is_named_and_not_overwritten() {
    let (redis, store) = own_server().await;
    let new = any_challenge();
    let key = format!("orinoco:{{login}}:challenge:{}", new.key);
    redis.address().command(0, &["SET", &key, "foreign"]).await.unwrap();
    let error = store.load_challenge(&new.key).await.unwrap_err();
    assert!(matches!(error, LoginStoreError::Corrupt { .. }) && error.to_string().contains(&key), "{error}");
    assert!(matches!(store.create_challenge(&new).await, Err(LoginStoreError::Corrupt { .. })));
}

#[tokio::test]
async fn a_subscription_ends_with_redis_and_another_one_hears_again() {
    let (redis, store) = own_server().await;
    let mut killed = store.subscribe().await.unwrap();
    redis.kill().await.unwrap();
    let outcome = tokio::time::timeout(DEADLINE, killed.next()).await.unwrap();
    assert!(matches!(outcome, Err(LoginStoreError::Unavailable { .. })), "{outcome:?}");
    redis.restart().await.unwrap();
    let mut anew = poll_until(DEADLINE, "a subscription", async || store.subscribe().await.ok()).await.unwrap();
    // What a newer version of the program may publish is passed over.
    redis.address().command(0, &["PUBLISH", "orinoco:{login}:events", "novelty\t1\t2\t3"]).await.unwrap();
    let (family, _) = {
        let made = poll_until(DEADLINE, "a clock", async || store.now_ms().await.ok()).await.unwrap();
        new_family(HOUR_MS).begin(keys().current(), made)
    };
    let created = async || match store.create_family(&family).await {
        Ok(()) | Err(LoginStoreError::Taken { .. }) => Some(()),
        Err(_) => None,
    };
    poll_until(DEADLINE, "a login", created).await.unwrap();
    store.end_family(&family.id, EndReason::Reuse).await.unwrap();
    let event = tokio::time::timeout(DEADLINE, anew.next()).await.unwrap().unwrap();
    assert_eq!(event, LoginEvent::LoginsEnded { user_id: ADA, family: Some(family.id), reason: EndReason::Reuse });
}

#[tokio::test]
async fn installations_on_one_server_are_kept_apart_by_the_prefix() {
    let database = Redis::shared(RedisKind::Qr).await.unwrap().fresh_database().await.unwrap();
    let open = |prefix: &str| {
        let options = RedisLoginStoreOptions { prefix: unique_name(prefix), ..options(database.url()) };
        RedisLoginStore::new(&options).unwrap()
    };
    let (one, other) = (open("one"), open("other"));
    let mut subscription = other.subscribe().await.unwrap();
    let (family, _) = log_in(&one, HOUR_MS).await;
    assert_eq!(other.load_family(&family.id).await.unwrap().record, None);
    one.end_family(&family.id, EndReason::Logout).await.unwrap();
    other.end_families_of(ADA, EndReason::Disabled).await.unwrap();
    let event = tokio::time::timeout(DEADLINE, subscription.next()).await.unwrap().unwrap();
    assert_eq!(event, LoginEvent::LoginsEnded { user_id: ADA, family: None, reason: EndReason::Disabled });
}

#[tokio::test]
async fn a_page_goes_on_behind_a_login_that_ended_meanwhile() {
    let (_redis, store) = own_server().await;
    let mut made = Vec::new();
    for number in 0..6 {
        made.push(log_in(&store, HOUR_MS + number * 60_000).await.0);
    }
    made.reverse();
    let first = store.families_of(ADA, None, 3).await.unwrap();
    assert_eq!(first.families, made[..3]);
    for ended in [&made[2], &made[0]] {
        store.end_family(&ended.id, EndReason::Logout).await.unwrap();
    }
    let second = store.families_of(ADA, first.next.as_deref(), 3).await.unwrap();
    assert_eq!((second.families.as_slice(), second.next), (&made[3..], None));
    let anew = store.families_of(ADA, Some("nonsense"), 9).await.unwrap();
    assert_eq!(anew.families.len(), 4, "what is no cursor begins anew");
}

#[tokio::test]
async fn a_probe_says_what_would_lose_logins() {
    let (redis, store) = own_server().await;
    let command = async |words: &[&str]| redis.address().command(0, words).await.unwrap();
    let healthy = store.probe().await.unwrap();
    assert!(healthy.version.starts_with("Redis ") && healthy.advice.is_empty(), "{healthy:?}");
    command(&["CONFIG", "SET", "appendfsync", "everysec"]).await;
    command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).await;
    let advice = store.probe().await.unwrap().advice.join("\n");
    assert!(advice.contains("appendfsync everysec") && advice.contains("allkeys-lru"), "{advice}");
    command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await;
    command(&["ACL", "SETUSER", "default", "-config"]).await;
    let advice = store.probe().await.unwrap().advice;
    assert!(advice.len() == 1 && advice[0].contains("refused"), "{advice:?}");
}

#[tokio::test]
async fn options_and_errors_don_t_show_the_password() {
    let redis = Redis::start(RedisKind::Qr).await.unwrap();
    let url = redis.url().replace("redis://", "redis://user:s3cret@");
    redis.stop().await.unwrap();
    let options = RedisLoginStoreOptions { call_timeout: Duration::from_millis(300), ..options(&url) };
    let store = RedisLoginStore::new(&options).unwrap();
    let text = format!("{} {options:?} {store:?}", store.now_ms().await.unwrap_err());
    assert!(text.contains("127.0.0.1") && text.contains("refused") && !text.contains("s3cret"), "{text}");
    let text = RedisLoginStore::new(&RedisLoginStoreOptions::new("http://:s3cret@x")).err().unwrap().to_string();
    assert!(text.contains("redis_qr.url") && !text.contains("s3cret"), "{text}");
}
