//! Finds the actor of a challenge, or starts it, and hands requests on.
//!
//! Supervised by `login`, after the pool that it starts challenges in. Invariant: it waits for no store and answers no request that a
//! [`Challenge`] can: what it hands on is answered from there. How many challenges live here is bounded by the pool's `max_children`; at the
//! bound a further one is refused with [`ChallengeError::Overloaded`]. It holds the daemon's one subscription to the login store: changes by
//! other daemons reach the challenges that live here, and after an outage those that are watched read again. It holds nothing that its
//! successor would need.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use orinoco_domain::{account::UserId, challenge::ChallengeKey, refresh::FamilyId};
use orinoco_ports::{EndReason, LoginEvent, LoginStore, LoginStoreError};
use orinoco_supervision::{
    Actor, Address, ChildStart, Context, Failure, Message, Pool, SendError, StartChildError, fault,
};

use crate::{Challenge, ChallengeArguments, ChallengeDeps, ChallengeError, ChallengeMessage, Health};

const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(4);
const SUBSCRIBE_AGAIN_AFTER: Duration = Duration::from_millis(500);
/// A challenge that ends, or restarts with its pool, is tried again after so long, so often.
const HAND_AGAIN_AFTER: Duration = Duration::from_millis(5);
const HAND_TRIES_MAX: u32 = 100;
/// Requests that wait for another try. Policy at the bound: refused as overload.
const WAITING_MAX: usize = 4_096;
/// Changes for a challenge whose mailbox is full are told again after so long.
const TELL_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// What is heard of logins, for those who serve them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginNotice {
    /// A login ended before its time (`family`), or all of a user's did (`None`).
    Ended { user_id: UserId, family: Option<FamilyId>, reason: EndReason },
    /// The subscription is new: logins may have ended unheard.
    MayHaveMissed,
}

/// All that can happen to a [`ChallengeRegistry`].
#[derive(Debug)]
pub enum ChallengeRegistryMessage {
    /// To the actor of this challenge, which is started where there is none.
    Hand {
        key: ChallengeKey,
        message: ChallengeMessage,
    },
    /// As [`Self::Hand`], for a challenge that was ending: the so-manieth try.
    HandAgain {
        key: ChallengeKey,
        message: ChallengeMessage,
        tries: u32,
    },
    Subscribed,
    Event(LoginEvent),
    SubscriptionEnded(LoginStoreError),
    /// Time to tell challenges of changes that their mailboxes had no room for.
    TellAgain,
}

impl Message for ChallengeRegistryMessage {
    fn kind(&self) -> &'static str {
        match self {
            Self::Hand { .. } => "hand",
            Self::HandAgain { .. } => "hand again",
            Self::Subscribed => "subscribed",
            Self::Event(_) => "event",
            Self::SubscriptionEnded(_) => "subscription ended",
            Self::TellAgain => "tell again",
        }
    }
}

/// What a [`ChallengeRegistry`] needs.
pub struct ChallengeRegistryArguments {
    pub deps: Arc<ChallengeDeps>,
    pub challenges: Pool<Challenge>,
    pub health: Health,
    /// Told of logins that ended. Must not block.
    pub notice: Arc<dyn Fn(LoginNotice) + Send + Sync>,
}

pub struct ChallengeRegistryState {
    arguments: ChallengeRegistryArguments,
    waiting: usize,
    /// Versions that challenges have not been told of.
    untold: HashMap<ChallengeKey, u64>,
}

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct ChallengeRegistry;

impl ChallengeRegistry {
    pub const COMPONENT: &'static str = "logins";
}

impl Actor for ChallengeRegistry {
    type Message = ChallengeRegistryMessage;
    type Arguments = ChallengeRegistryArguments;
    type State = ChallengeRegistryState;

    async fn pre_start(
        &self,
        context: &Context<ChallengeRegistryMessage>,
        arguments: ChallengeRegistryArguments,
    ) -> Result<ChallengeRegistryState, Failure> {
        subscribe(context, Arc::clone(&arguments.deps.store), Duration::ZERO);
        Ok(ChallengeRegistryState { arguments, waiting: 0, untold: HashMap::new() })
    }

    async fn handle(
        &self,
        context: &Context<ChallengeRegistryMessage>,
        message: ChallengeRegistryMessage,
        state: &mut ChallengeRegistryState,
    ) -> Result<(), Failure> {
        match message {
            ChallengeRegistryMessage::Hand { key, message } => {
                fault::point("challenge_registry.before_effect").await?;
                state.hand(context, key, message, 0).await;
                fault::point("challenge_registry.after_effect").await?;
            }
            ChallengeRegistryMessage::HandAgain { key, message, tries } => {
                state.waiting -= 1;
                state.hand(context, key, message, tries).await;
            }
            ChallengeRegistryMessage::Subscribed => state.subscribed(),
            ChallengeRegistryMessage::Event(event) => state.heard(context, event),
            ChallengeRegistryMessage::SubscriptionEnded(error) => {
                state.arguments.health.down(Self::COMPONENT, error);
                subscribe(context, Arc::clone(&state.arguments.deps.store), SUBSCRIBE_AGAIN_AFTER);
            }
            ChallengeRegistryMessage::TellAgain => {
                for (key, version) in std::mem::take(&mut state.untold) {
                    state.tell(context, key, version);
                }
            }
        }
        Ok(())
    }
}

impl ChallengeRegistryState {
    async fn hand(
        &mut self,
        context: &Context<ChallengeRegistryMessage>,
        key: ChallengeKey,
        message: ChallengeMessage,
        tries: u32,
    ) {
        match self.find(key).await {
            Ok(challenge) => match challenge.try_send(message) {
                Ok(()) => {}
                Err(SendError::Full(message)) => message.refuse(ChallengeError::Overloaded),
                Err(SendError::Down(message)) => self.hand_again(context, key, message, tries),
            },
            Err(StartChildError::PoolFull { .. }) => message.refuse(ChallengeError::Overloaded),
            Err(_ends_or_restarts) => self.hand_again(context, key, message, tries),
        }
    }

    /// A start is quick: a challenge reads its record when it is first asked.
    async fn find(&self, key: ChallengeKey) -> Result<Address<ChallengeMessage>, StartChildError> {
        let name = key.to_string();
        if let Some(challenge) = self.arguments.challenges.get(name.as_str()) {
            return Ok(challenge);
        }
        let arguments = ChallengeArguments { key, deps: Arc::clone(&self.arguments.deps) };
        self.arguments.challenges.start_child_with(name, ChildStart::once(arguments)).await
    }

    fn hand_again(
        &mut self,
        context: &Context<ChallengeRegistryMessage>,
        key: ChallengeKey,
        message: ChallengeMessage,
        tries: u32,
    ) {
        if tries >= HAND_TRIES_MAX {
            return message.refuse(ChallengeError::unavailable("the challenges do not start"));
        }
        if self.waiting >= WAITING_MAX {
            return message.refuse(ChallengeError::Overloaded);
        }
        self.waiting += 1;
        let again = ChallengeRegistryMessage::HandAgain { key, message, tries: tries + 1 };
        context.send_after(HAND_AGAIN_AFTER, again);
    }

    fn subscribed(&self) {
        self.arguments.health.up(ChallengeRegistry::COMPONENT);
        for challenge in self.arguments.challenges.addresses() {
            // Full: each of its requests reads. Down: its successor reads.
            let _ = challenge.try_send(ChallengeMessage::Reread);
        }
        (self.arguments.notice)(LoginNotice::MayHaveMissed);
    }

    fn heard(&mut self, context: &Context<ChallengeRegistryMessage>, event: LoginEvent) {
        match event {
            LoginEvent::ChallengeChanged { key, version, .. } => self.tell(context, key, version),
            LoginEvent::LoginsEnded { user_id, family, reason } => {
                (self.arguments.notice)(LoginNotice::Ended { user_id, family, reason });
            }
        }
    }

    /// Tells the challenge, if it lives here. The untold ones are as many as challenges at most.
    fn tell(&mut self, context: &Context<ChallengeRegistryMessage>, key: ChallengeKey, version: u64) {
        let Some(challenge) = self.arguments.challenges.get(key.to_string()) else { return };
        // Down: it ends, or has read nothing yet.
        if let Err(SendError::Full(_)) = challenge.try_send(ChallengeMessage::Changed { version }) {
            let is_first = self.untold.is_empty();
            match self.untold.entry(key) {
                Entry::Occupied(mut untold) => drop(untold.insert(version.max(*untold.get()))),
                Entry::Vacant(untold) => drop(untold.insert(version)),
            }
            if is_first {
                context.send_after(TELL_AGAIN_AFTER, ChallengeRegistryMessage::TellAgain);
            }
        }
    }
}

/// Subscribes in a helper, and hears what comes until it ends.
fn subscribe(context: &Context<ChallengeRegistryMessage>, store: Arc<dyn LoginStore>, after: Duration) {
    let own = context.address();
    context.spawn(async move {
        tokio::time::sleep(after).await;
        let ended = match tokio::time::timeout(SUBSCRIBE_TIMEOUT, store.subscribe()).await {
            Ok(Ok(mut subscription)) => {
                let mut message = ChallengeRegistryMessage::Subscribed;
                loop {
                    // Down: the registry ends, and this helper with it.
                    if own.send(message).await.is_err() {
                        return;
                    }
                    match subscription.next().await {
                        Ok(event) => message = ChallengeRegistryMessage::Event(event),
                        Err(error) => break error,
                    }
                }
            }
            Ok(Err(error)) => error,
            Err(_elapsed) => LoginStoreError::Unavailable {
                place: "of challenges and logins".to_owned(),
                reason: "it does not answer a subscription".to_owned(),
            },
        };
        // As before.
        let _ = own.send(ChallengeRegistryMessage::SubscriptionEnded(ended)).await;
    });
}
