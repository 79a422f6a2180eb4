//! Who the peer of a request is, for the labels of metrics: each side of a request tells the other in a header, which is
//! taken off before an application or a foreign client could see it at this side. Istio's own Envoy does the same with
//! other headers (`istio.metadata_exchange`).

use crate::access_log::{PEER_METADATA_KEYS, PEER_METADATA_NAMESPACE, Reporter, WorkloadLabels};
use crate::filter::http_filter;
use xds_api::envoy::r#type::matcher::v3::{RegexMatchAndSubstitute, RegexMatcher};
use xds_api::envoy::{
    config::{
        common::mutation_rules::v3::{HeaderMutation, header_mutation::Action},
        core::v3::{HeaderValue, HeaderValueOption, header_value_option::HeaderAppendAction},
    },
    extensions::filters::{
        http::{
            header_mutation::v3::{HeaderMutation as HeaderMutationFilter, Mutations},
            header_to_metadata::v3::{
                Config, config,
                config::{KeyValuePair, Rule},
            },
        },
        network::http_connection_manager::v3::HttpFilter,
    },
};

/// The header: the values of [`PEER_METADATA_KEYS`], separated by `;`.
const HEADER: &str = "x-istio-workload";

/// Tells the peer who `own` is, and leaves what it says about itself in dynamic metadata. Of the client (and gateways), or
/// of the server of a request.
pub fn peer_metadata(reporter: Reporter, own: &WorkloadLabels<'_>) -> [HttpFilter; 2] {
    let (told, read) = (vec![tell(own)], read());
    let (mutations, config) = match reporter {
        Reporter::Source => {
            (Mutations { request_mutations: told, ..Mutations::default() }, Config { response_rules: read, ..Config::default() })
        }
        Reporter::Destination => {
            (Mutations { response_mutations: told, ..Mutations::default() }, Config { request_rules: read, ..Config::default() })
        }
    };
    let tell = HeaderMutationFilter { mutations: Some(mutations), ..HeaderMutationFilter::default() };
    [http_filter("envoy.filters.http.header_mutation", &tell), http_filter("envoy.filters.http.header_to_metadata", &config)]
}

fn tell(own: &WorkloadLabels<'_>) -> HeaderMutation {
    let WorkloadLabels { workload, namespace, canonical_service, canonical_revision, cluster, .. } = own;
    let value = [*workload, *namespace, *canonical_service, *canonical_revision, *cluster].join(";").replace('%', "%%");
    let header = HeaderValue { key: HEADER.to_owned(), value, ..HeaderValue::default() };
    let append_action = HeaderAppendAction::OverwriteIfExistsOrAdd.into();
    let option = HeaderValueOption { header: Some(header), append_action, ..HeaderValueOption::default() };
    HeaderMutation { action: Some(Action::Append(option)) }
}

/// One rule for each part, as a rule yields one key. The last one removes the header.
fn read() -> Vec<Rule> {
    let pattern = format!("^{}$", ["([^;]*)"; PEER_METADATA_KEYS.len()].join(";"));
    let rule = |(key, group): (&str, usize)| {
        let pair = KeyValuePair {
            metadata_namespace: PEER_METADATA_NAMESPACE.to_owned(),
            key: key.to_owned(),
            r#type: config::ValueType::String.into(),
            regex_value_rewrite: Some(RegexMatchAndSubstitute {
                pattern: Some(RegexMatcher { regex: pattern.clone(), ..RegexMatcher::default() }),
                substitution: format!("\\{group}"),
            }),
            ..KeyValuePair::default()
        };
        Rule { header: HEADER.to_owned(), on_header_present: Some(pair), remove: group == PEER_METADATA_KEYS.len(), ..Rule::default() }
    };
    PEER_METADATA_KEYS.into_iter().zip(1..).map(rule).collect()
}
