//! What is stored and logged is of no use to whoever reads it, but for the key file.

use std::{fs, path::Path};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;

use super::open;
use crate::support::{Mode, Tokens, World, exchange_http};

for_both_modes! {
    no_store_and_no_log_holds_a_usable_secret
}

/// A text, and the bytes that it stands for, as they are and in hexadecimal (as PostgreSQL's dump shows them).
struct Secret {
    name: &'static str,
    forms: Vec<Vec<u8>>,
}

impl Secret {
    fn new(name: &'static str, text: &str) -> Self {
        let mut forms = vec![text.as_bytes().to_vec()];
        if let Some(bytes) = URL_SAFE_NO_PAD.decode(text).ok().filter(|bytes| bytes.len() >= 16) {
            // The whole of it, and the secret at the end of a refresh token.
            for bytes in [&bytes[..], &bytes[bytes.len().saturating_sub(32)..]] {
                forms.push(bytes.to_vec());
                forms.push(bytes.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect());
            }
        }
        Self { name, forms }
    }
}

fn holds(dump: &[u8], text: &[u8]) -> bool {
    dump.windows(text.len()).any(|window| window == text)
}

async fn no_store_and_no_log_holds_a_usable_secret(mode: Mode) {
    let world = World::start(mode, open().set("telemetry.log", "info,orinoco=trace")).await;
    let http = world.daemon.http_address();
    let person = world.person().await;
    let pending = world.browser().await;
    let (approved, otc) = world.approved(&person.tokens).await;
    let (exchanged, exchanged_otc) = world.approved(&person.tokens).await;
    let tokens = Tokens::of(&exchanged.exchange(http, &exchanged_otc).await);
    let refreshed = Tokens::of(&world.refresh(&tokens.refresh).await);
    // What is wrong is not to be found in a log either.
    world.refresh(&tokens.access).await.assert_problem(401);
    let wrong = json!({"email": person.email, "password": "a wrong password, perhaps another site's"});
    world.call("POST", "auth/login", "", Some(wrong)).await.assert_problem(401);
    let by_cookie = exchange_http(http, "POST", "/api/v1/qr/challenges", &[], Some("{}".to_owned())).await;
    let cookie = by_cookie.header("set-cookie").unwrap().split([';', '=']).nth(1).unwrap().to_owned();
    let added = world.json(&["device", "add", "named-by-the-test", "--json"]);
    let device_secret = added[0]["secret"].as_str().unwrap();
    let secrets = [
        Secret::new("password", &person.password),
        Secret::new("wrong password", "a wrong password, perhaps another site's"),
        Secret::new("access token", &person.tokens.access),
        Secret::new("refresh token", &person.tokens.refresh),
        Secret::new("replaced refresh token", &tokens.refresh),
        Secret::new("refresh token that replaced it", &refreshed.refresh),
        Secret::new("nonce", &pending.nonce),
        Secret::new("challengeId", &pending.id),
        Secret::new("verifier", &approved.verifier),
        Secret::new("otc", &otc),
        Secret::new("used otc", &exchanged_otc),
        Secret::new("cookie", &cookie),
        Secret::new("device's secret", device_secret),
    ];
    let sessions = world.call("GET", "sessions", &person.tokens.access, None).await.json();
    let session = sessions["sessions"][0]["id"].as_str().unwrap();
    let log = world.daemon.stderr().unwrap().into_bytes();
    let mut places = vec![("log", log), ("data directory", read_all(&world.data_dir))];
    if let Some(services) = &world.services {
        places.extend([("Redis QR", services.dump_redis_qr()), ("PostgreSQL", services.dump_postgres())]);
    }
    for (place, dump) in &places {
        assert!(!dump.is_empty(), "{place} is empty");
        for secret in &secrets {
            let found = secret.forms.iter().position(|form| holds(dump, form));
            assert_eq!(found, None, "{place} holds a {}, in that form", secret.name);
        }
    }
    // The search finds what is there: else it would prove nothing.
    let finds =
        |text: &str| places.iter().any(|(_, dump)| Secret::new("", text).forms.iter().any(|it| holds(dump, it)));
    assert!(finds(&person.email) && finds(session) && finds("scrypt"), "the dumps are not whole");
}

/// Contents of all files below.
fn read_all(folder: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            all.extend(read_all(&entry.path()));
        } else if kind.is_file() {
            all.extend(fs::read(entry.path()).unwrap_or_default());
            all.push(b'\n');
        }
    }
    all
}
