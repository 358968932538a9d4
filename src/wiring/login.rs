//! Which of the login's actors is given what.

use std::sync::Arc;

use orinoco_actors::{
    Challenge, ChallengeDeps, ChallengeRegistry, ChallengeRegistryArguments, ChallengeRegistryMessage, Challenges,
    Health, LoginNotice, SseLimits, SseSession, SseStreams,
};
use orinoco_supervision::{Catalog, Group};

use crate::auth::Auth;

/// The names of supervision.toml.
mod names {
    pub(super) const REGISTRY: &str = "ChallengeRegistry";
    pub(super) const CHALLENGE: &str = "Challenge";
    pub(super) const SSE_SESSION: &str = "SseSession";
}

/// Streams that may watch one challenge: its creator's tabs.
const WATCHERS_MAX: usize = 8;

/// How the HTTP port reaches them.
pub(super) struct LoginActors {
    pub(super) challenges: Challenges,
    pub(super) streams: SseStreams,
}

/// Enters them.
pub(super) fn enter(catalog: &mut Catalog, auth: &Arc<Auth>, health: &Health) -> LoginActors {
    let registry: Group<ChallengeRegistryMessage> = catalog.group(names::REGISTRY);
    let challenges = catalog.pool(names::CHALLENGE, || Challenge);
    let streams = catalog.pool(names::SSE_SESSION, || SseSession);
    health.expect(ChallengeRegistry::COMPONENT);
    let keys = Arc::clone(auth.derivation());
    let deps = Arc::new(ChallengeDeps {
        store: Arc::clone(&auth.logins),
        keys: Arc::new(move || Arc::clone(&keys)),
        watchers_max: WATCHERS_MAX,
    });
    let (auth, health) = (Arc::clone(auth), health.clone());
    let notice: Arc<dyn Fn(LoginNotice) + Send + Sync> = Arc::new(move |notice| auth.hear(notice));
    catalog.actor(
        names::REGISTRY,
        || ChallengeRegistry,
        move |_| ChallengeRegistryArguments {
            deps: Arc::clone(&deps),
            challenges: challenges.clone(),
            health: health.clone(),
            notice: Arc::clone(&notice),
        },
    );
    LoginActors {
        challenges: Challenges::new(registry.clone()),
        streams: SseStreams::new(streams, registry, SseLimits::default()),
    }
}

/// Enters their names, without anything to start: for `orinoco check`.
pub(super) fn enter_names(catalog: &mut Catalog) {
    fn nothing<T>(_: u32) -> T {
        unreachable!("this catalog starts nothing")
    }
    catalog.actor(names::REGISTRY, || ChallengeRegistry, nothing);
    catalog.pool(names::CHALLENGE, || Challenge);
    catalog.pool(names::SSE_SESSION, || SseSession);
}
