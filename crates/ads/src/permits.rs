//! The push permit of one stream. A permit belongs to a stream and never to a response: an acknowledgement may wait
//! for another response of the same stream.

use crate::connection::{Action, Observation};
use std::time::Instant;

/// Whether the stream may send large pushes.
#[derive(Default, Debug)]
pub(crate) enum PermitState {
    /// It has not asked.
    #[default]
    None,
    /// It waits for one.
    Asked,
    /// It holds one, until this time at the latest.
    Held(Instant),
}

impl PermitState {
    /// Whether a permit is there; asks for one if not.
    pub fn ask(&mut self, actions: &mut Vec<Action>) -> bool {
        match self {
            Self::Held(_) => true,
            Self::Asked => false,
            Self::None => {
                *self = Self::Asked;
                actions.push(Action::AcquirePermit);
                false
            }
        }
    }

    /// The permit is there.
    pub fn granted(&mut self, until: Instant) {
        *self = Self::Held(until);
    }

    /// Everything is acknowledged.
    pub fn release(&mut self, actions: &mut Vec<Action>) {
        if matches!(self, Self::Held(_)) {
            *self = Self::None;
            actions.push(Action::ReleasePermit);
        }
    }

    /// Gives the permit back if the acknowledgement takes too long, so that no client can stop the others.
    pub fn expire(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if let Self::Held(until) = self
            && now >= *until
        {
            *self = Self::None;
            actions.push(Action::ReleasePermit);
            actions.push(Action::Observe(Observation::PermitRanOut));
        }
    }

    /// When [`PermitState::expire`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Held(until) => Some(*until),
            _ => None,
        }
    }
}
