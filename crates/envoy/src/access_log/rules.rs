//! Rules that change the value of a label after its operators were formatted.

use super::labels::Change;
use std::collections::BTreeMap;
use xds_api::{
    Wire,
    envoy::extensions::matching::{
        actions::transform_stat::v3::{TransformStat, transform_stat::UpdateTag},
        common_inputs::stats::v3::StatTagValueInput,
    },
    google::protobuf::Any,
    xds::{
        core::v3::TypedExtensionConfig,
        r#type::matcher::v3::{
            Matcher,
            matcher::{
                MatcherTree, MatcherType, OnMatch,
                matcher_tree::{MatchMap, TreeType},
                on_match,
            },
        },
    },
};

/// The rule behind `change`, if there is one.
pub(super) fn rule(change: Change) -> Option<Matcher> {
    match change {
        Change::None => None,
        Change::UnknownIfEmpty => Some(replace(TreeType::ExactMatchMap, "", "unknown", None)),
        Change::RequestProtocol => Some(replace(TreeType::PrefixMatchMap, "application/grpc", "grpc", Some("http"))),
        Change::SecurityPolicy => Some(replace(TreeType::ExactMatchMap, "", "none", Some("mutual_tls"))),
    }
}

/// `new` for a value that is, or begins with, `old`; `otherwise` for any other, if it is to change.
fn replace(kind: fn(MatchMap) -> TreeType, old: &str, new: &str, otherwise: Option<&str>) -> Matcher {
    let map = MatchMap { map: BTreeMap::from([(old.to_string(), update(new))]) };
    let input = extension("envoy.matching.common_inputs.stats_tag_value", StatTagValueInput {}.to_any());
    let tree = MatcherTree { input: Some(input), tree_type: Some(kind(map)) };
    Matcher { matcher_type: Some(MatcherType::MatcherTree(tree)), on_no_match: otherwise.map(|value| Box::new(update(value))) }
}

fn update(value: &str) -> OnMatch {
    let action = TransformStat { update_tag: Some(UpdateTag { new_tag_value: value.to_string() }), ..Default::default() };
    OnMatch { on_match: Some(on_match::OnMatch::Action(extension("update_tag", action.to_any()))), ..Default::default() }
}

fn extension(name: &str, config: Any) -> TypedExtensionConfig {
    TypedExtensionConfig { name: name.to_string(), typed_config: Some(config) }
}
