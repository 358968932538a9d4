//! What is left of the points in a build without the feature.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use crate::actor::{Failure, Message};
use crate::context::Context;
use crate::mailbox::Mailbox;

/// Ready at once, and of no size: an actor's future is no larger for the points that it passes.
#[derive(Debug)]
pub struct Nothing;

impl Future for Nothing {
    type Output = Result<(), Failure>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, _context: &mut TaskContext<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(()))
    }
}

/// A point at which a test may make the program fail; nothing in this build.
///
/// # Errors
/// None in this build.
#[inline(always)]
pub fn point(_name: &'static str) -> Nothing {
    Nothing
}

/// The actor that code outside of its handlers belongs to; nothing in this build.
#[derive(Debug, Clone, Default)]
pub struct Place(());

impl Place {
    /// The actor of this context.
    #[inline(always)]
    pub fn of<M: Message>(_context: &Context<M>) -> Self {
        Self(())
    }

    /// As [`point`].
    ///
    /// # Errors
    /// None in this build.
    #[inline(always)]
    pub fn point(&self, _name: &'static str) -> Nothing {
        Nothing
    }
}

#[inline(always)]
pub(crate) fn point_at(_name: &'static str, _path: &str) -> Nothing {
    Nothing
}

#[inline(always)]
pub(crate) fn notice(_name: &'static str, _path: &str) {}

#[inline(always)]
pub(crate) fn drops_reply() -> bool {
    false
}

#[inline(always)]
pub(crate) fn scope<M: Message, F: Future>(_mailbox: Arc<Mailbox<M>>, future: F) -> F {
    future
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_takes_no_room_in_a_build_without_the_feature() {
        assert_eq!(std::mem::size_of_val(&point("test.point")), 0);
        assert_eq!(std::mem::size_of::<Place>(), 0);
    }
}
