//! On which destination ports an inspector is off: one that waits for the client's first bytes breaks protocols in which
//! the server speaks first.

use xds_api::envoy::config::listener::v3::{
    ListenerFilterChainMatchPredicate,
    listener_filter_chain_match_predicate::{MatchSet, Rule},
};
use xds_api::envoy::r#type::v3::Int32Range;

/// Destination ports on which a listener filter does not run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DisabledPorts {
    /// On these.
    Only(Vec<u16>),
    /// On all others.
    AllBut(Vec<u16>),
}

impl DisabledPorts {
    /// The predicate of a listener filter; `None` where it is never off.
    pub(super) fn predicate(&self) -> Option<ListenerFilterChainMatchPredicate> {
        match self {
            Self::Only(ports) => any_of(ports),
            Self::AllBut(ports) => Some(match any_of(ports) {
                Some(ports) => predicate(Rule::NotMatch(Box::new(ports))),
                None => predicate(Rule::AnyMatch(true)),
            }),
        }
    }
}

/// Whether the destination port is one of them. Envoy wants at least two rules in a set, so one port stands alone.
fn any_of(ports: &[u16]) -> Option<ListenerFilterChainMatchPredicate> {
    let mut rules: Vec<_> = ports.iter().map(|port| predicate(Rule::DestinationPortRange(range(*port)))).collect();
    match rules.len() {
        0 | 1 => rules.pop(),
        _ => Some(predicate(Rule::OrMatch(MatchSet { rules }))),
    }
}

fn predicate(rule: Rule) -> ListenerFilterChainMatchPredicate {
    ListenerFilterChainMatchPredicate { rule: Some(rule) }
}

/// The end does not belong to the range.
fn range(port: u16) -> Int32Range {
    Int32Range { start: i32::from(port), end: i32::from(port) + 1 }
}
