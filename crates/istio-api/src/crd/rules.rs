//! The rules (CEL) and constraints that several types share, and those that are too long to stand beside their type.
//!
//! What they ask is what Istio's CRDs ask, so that objects which a cluster has stored pass. An expression must be cheap
//! by the API server's estimate, which multiplies its cost by the most often that it could be evaluated: lists and maps
//! around it need bounds.

use crate::schema::cel;
use serde_json::{Value, json};

/// A DNS name in lower case, or nothing.
pub(crate) const DNS_NAME_OR_EMPTY: &str = r"^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// A port that must be usable.
pub(crate) fn port() -> Value {
    cel(&[("0 < self && self <= 65535", "must be a port from 1 to 65535", "")])
}

/// A port in a list that is a map by number.
pub(crate) fn listed_port() -> Value {
    json!({ "required": ["number"], "properties": { "number": {
        "type": "integer", "minimum": 1, "maximum": 65535, "description": "The number of the port, 1 to 65535.",
    } } })
}

/// The keys of the labels that a policy selects by.
pub(crate) fn selector_keys() -> Value {
    cel(&[
        ("self.all(key, !key.contains('*'))", "a label key cannot contain '*'; write it in full", ""),
        ("self.all(key, key.size() != 0)", "a label key cannot be empty", ""),
    ])
}

/// The values of the labels that a policy selects by.
pub(crate) fn selector_value() -> Value {
    let rules = cel(&[("!self.contains('*')", "a label value cannot contain '*'; write it in full", "")]);
    json!({ "maxLength": 63, "x-kubernetes-validations": rules })
}

/// At most one of the ways to say which workloads an object is about.
pub(crate) fn one_attachment(fields: &[&str]) -> Value {
    let count: Vec<String> = fields.iter().map(|field| format!("(has(self.{field}) ? 1 : 0)")).collect();
    let message = format!("only one of {} can be set", fields.join(", "));
    cel(&[(&format!("{} <= 1", count.join(" + ")), &message, "")])
}

/// The hosts of a ServiceEntry.
pub(crate) fn host() -> Value {
    json!({ "x-kubernetes-validations": cel(&[("self != '*'", "a host cannot be only '*'; write at least *.com", "")]) })
}

/// How endpoints and addresses fit the resolution of a ServiceEntry.
pub(crate) fn service_entry() -> Value {
    cel(&[
        ("!(has(self.workloadSelector) && has(self.endpoints))", "only one of workloadSelector and endpoints can be set", ".endpoints"),
        (
            "(has(self.resolution) ? self.resolution : 'NONE') in ['STATIC', 'NONE'] || \
             !(has(self.addresses) ? self.addresses : []).exists(address, address.contains('/'))",
            "a range of addresses needs resolution NONE or STATIC; write single addresses, or leave them out",
            ".addresses",
        ),
        (
            "(has(self.resolution) ? self.resolution : 'NONE') != 'NONE' || !has(self.endpoints)",
            "endpoints need a resolution other than NONE; write STATIC for IP addresses or DNS for names",
            ".endpoints",
        ),
        (
            "(has(self.resolution) ? self.resolution : '') != 'DNS_ROUND_ROBIN' || (has(self.endpoints) ? self.endpoints : []).size() <= 1",
            "resolution DNS_ROUND_ROBIN takes one endpoint; use DNS for several",
            ".endpoints",
        ),
    ])
}

/// The ports of a ServiceEntry among each other.
pub(crate) fn distinct_port_numbers() -> Value {
    cel(&[("self.all(one, self.exists_one(other, one.number == other.number))", "each port number can stand here only once", "")])
}

/// An endpoint outside of Kubernetes.
pub(crate) fn workload_entry() -> Value {
    let Value::Array(mut rules) = workload_template() else { return Value::Null };
    if let Value::Array(address) =
        cel(&[("has(self.address) || has(self.network)", "an address is required, unless a network is given", "")])
    {
        rules.splice(0..0, address);
    }
    rules.into()
}

/// The template of endpoints, which needs no address.
pub(crate) fn workload_template() -> Value {
    cel(&[(
        "!(has(self.address) ? self.address : '').startsWith('unix://') || !has(self.ports)",
        "an endpoint behind a Unix socket has no ports; leave them out",
        ".ports",
    )])
}

/// The address of an endpoint, if it is a Unix socket.
pub(crate) fn unix_address() -> Value {
    cel(&[
        (
            "!self.startsWith('unix://') || self.startsWith('unix:///') || self.startsWith('unix://@')",
            "a Unix socket is an absolute path (unix:///run/app.sock) or an abstract name (unix://@app)",
            "",
        ),
        ("!self.startsWith('unix://') || !self.endsWith('/')", "a Unix socket is a file, not a folder; remove the '/' at the end", ""),
    ])
}

/// The names of an endpoint's ports.
pub(crate) fn port_names() -> Value {
    cel(&[(
        "self.all(name, size(name) < 63 && name.matches('^[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?$'))",
        "a port name has letters, digits and '-', a letter or digit at both ends, and less than 63 characters",
        "",
    )])
}

/// Where a filter for waypoints is found.
pub(crate) fn waypoint_match() -> Value {
    cel(&[(
        "((has(self.context) ? self.context : '') == 'WAYPOINT') == has(self.waypoint)",
        "waypoint must be set for context WAYPOINT, and only then",
        "",
    )])
}

/// Service accounts already say everything about the peer.
pub(crate) fn service_accounts_alone() -> Value {
    cel(&[(
        "!(has(self.serviceAccounts) || has(self.notServiceAccounts)) || \
         !(has(self.principals) || has(self.notPrincipals) || has(self.namespaces) || has(self.notNamespaces))",
        "serviceAccounts cannot be combined with principals or namespaces; write two sources",
        "",
    )])
}

/// Modes by port are only for selected workloads.
pub(crate) fn port_level_needs_selector() -> Value {
    cel(&[(
        "!has(self.portLevelMtls) || (has(self.selector) && has(self.selector.matchLabels) && self.selector.matchLabels.size() > 0)",
        "portLevelMtls needs a selector with labels",
        ".portLevelMtls",
    )])
}

/// The keys of the modes by port.
pub(crate) fn port_keys() -> Value {
    cel(&[("self.all(port, 0 < int(port) && int(port) <= 65535)", "each key must be a port from 1 to 65535", "")])
}

/// Where the keys of an issuer come from.
pub(crate) fn one_key_source() -> Value {
    cel(&[(
        "(has(self.jwksUri) ? 1 : 0) + (has(self.jwks_uri) ? 1 : 0) + (has(self.jwks) ? 1 : 0) <= 1",
        "only one of jwksUri and jwks can be set",
        "",
    )])
}

/// An address of a web server.
pub(crate) fn http_url() -> Value {
    // An expression, or more texts, would exceed the budget.
    cel(&[("self.startsWith('https://') || self.startsWith('http://')", "must begin with https:// or http://", "")])
}

/// What happens to a tag and with which value.
pub(crate) fn tag_override() -> Value {
    cel(&[
        (
            "(has(self.operation) ? self.operation : '') != 'UPSERT' || (has(self.value) && self.value != '')",
            "UPSERT needs a value; write a CEL expression",
            "",
        ),
        ("(has(self.operation) ? self.operation : '') != 'REMOVE' || !has(self.value)", "REMOVE takes no value; leave it out", ""),
    ])
}

/// Where a module is.
pub(crate) fn module_url() -> Value {
    cel(&[
        (
            "!self.contains('://') || self.matches('^(oci|file|http|https)://')",
            "must begin with oci://, file://, http:// or https://, or be the name of an image",
            "",
        ),
        (
            "isURL(self.contains('://') ? self : 'oci://' + self)",
            "must be a URL or the name of an image, without spaces and other marks",
            "",
        ),
    ])
}

/// A variable of the plugin's environment.
pub(crate) fn value_only_inline() -> Value {
    cel(&[(
        "(has(self.valueFrom) ? self.valueFrom : '') != 'HOST' || !has(self.value)",
        "valueFrom HOST takes the value from the proxy's environment; leave value out",
        ".value",
    )])
}

/// A filter is one of both kinds.
pub(crate) fn traffic_extension() -> Value {
    cel(&[
        ("(has(self.selector) ? 1 : 0) + (has(self.targetRefs) ? 1 : 0) <= 1", "only one of selector, targetRefs can be set", ""),
        ("has(self.wasm) != has(self.lua)", "exactly one of wasm and lua must be set", ""),
    ])
}
