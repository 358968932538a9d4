//! What outlives the process.

use orinoco_domain::{
    challenge::{Challenge, Refusal, Status},
    refresh::{Family, RefreshToken},
};

use super::{
    LoginStoreFactory,
    fixture::{ADA, Act, Browser, LONG_MS, act_on, approved, browser, families_of, load, log_in, refresh},
};
use crate::{EndReason, LoginStore};

struct Written {
    browsers: Vec<(Browser, Challenge)>,
    families: Vec<Family>,
    token: RefreshToken,
    ended: RefreshToken,
}

async fn write(store: &dyn LoginStore) -> Written {
    let mut browsers = vec![browser(store).await, approved(store).await, approved(store).await];
    act_on(store, &browsers[2], Act::Exchange).await.unwrap();
    let (_, token) = log_in(store, ADA, LONG_MS).await;
    let (token, _) = refresh(store, &token).await.unwrap();
    let (family, ended) = log_in(store, ADA, LONG_MS).await;
    store.end_family(&family.id, EndReason::Logout).await.unwrap();
    let mut held = Vec::new();
    for browser in browsers.drain(..) {
        let challenge = load(store, browser.key()).await;
        held.push((browser, challenge));
    }
    Written { browsers: held, families: families_of(store, ADA, 10).await, token, ended }
}

async fn assert_there(store: &dyn LoginStore, written: &Written) {
    for (browser, challenge) in &written.browsers {
        assert_eq!(load(store, browser.key()).await, *challenge, "with its deadline of before");
    }
    assert_eq!(families_of(store, ADA, 10).await, written.families);
    assert_eq!(refresh(store, &written.ended).await, None, "a login that had ended is back");
    let (approved, exchanged) = (&written.browsers[1].0, &written.browsers[2].0);
    let again = act_on(store, exchanged, Act::Exchange).await;
    assert_eq!(again, Err(Refusal::Conflict(Status::Exchanged)));
    assert!(act_on(store, approved, Act::Exchange).await.is_ok());
    assert!(refresh(store, &written.token).await.is_some());
}

pub async fn challenges_and_logins_are_there_after_reopening(factory: &dyn LoginStoreFactory) {
    let store = factory.open().await;
    let written = write(&*store).await;
    drop(store);
    let store = factory.open().await;
    assert_there(&*store, &written).await;
}

pub async fn challenges_and_logins_are_there_after_a_kill(factory: &dyn LoginStoreFactory) {
    let store = factory.open().await;
    let written = write(&*store).await;
    let reopened = factory.open_as_after_kill().await;
    assert_there(&*reopened, &written).await;
}
