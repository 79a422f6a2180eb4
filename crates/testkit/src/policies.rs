//! AuthorizationPolicies and requests that look random, for the same few names: so that the one often meet the other.

use crate::random::Random;
use std::fmt::Write;

const PATHS: [&str; 8] = ["/", "/books", "/books/1", "/books/1/pages", "/books/drafts/2", "/admin", "/a/b/health", "/cover.png"];
const PATH_VALUES: [&str; 8] = ["/books", "/books/*", "*.png", "*", "/admin", "/books/{*}", "/{**}/health", "/books/{*}/{**}"];
const METHODS: [&str; 3] = ["GET", "POST", "DELETE"];
const METHOD_VALUES: [&str; 4] = ["GET", "POST", "D*", "*"];
const HOSTS: [&str; 3] = ["catalog:9080", "api.Example.com", "orders.shop"];
const HOST_VALUES: [&str; 4] = ["catalog*", "*.example.com", "ORDERS.shop", "*"];
const HEADERS: [Option<&str>; 4] = [None, Some("editor"), Some("chief-editor"), Some("reader")];
const HEADER_VALUES: [&str; 4] = ["editor", "chief-*", "*er", "*"];
const FORWARDED: [Option<&str>; 3] = [None, Some("203.0.113.9"), Some("198.51.100.7")];
const REMOTE_VALUES: [&str; 4] = ["203.0.113.0/24", "198.51.100.7", "127.0.0.0/8", "::/0"];
const SOURCE_VALUES: [&str; 3] = ["127.0.10.201", "127.0.10.0/24", "10.0.0.0/8"];
const PORT_VALUES: [&str; 3] = ["9080", "7000", "80"];
const PRINCIPAL_VALUES: [&str; 5] =
    ["cluster.local/ns/shop/sa/web", "cluster.local/ns/shop/*", "*/sa/robot", "*", "old.example/ns/batch/sa/robot"];
const NAMESPACE_VALUES: [&str; 4] = ["shop", "b*", "*p", "elsewhere"];
const ACCOUNT_VALUES: [&str; 3] = ["web", "batch/robot", "shop/robot"];

/// The clients: nobody, and peers with a certificate.
pub const IDENTITIES: [Option<&str>; 4] = [
    None,
    Some("spiffe://cluster.local/ns/shop/sa/web"),
    Some("spiffe://cluster.local/ns/batch/sa/robot"),
    Some("spiffe://cluster.local/ns/shop/sa/robot"),
];

/// A few policies for the workloads of the namespace `shop`, as YAML documents.
pub fn policies(random: &mut Random) -> String {
    let mut out = String::new();
    for number in 0..1 + random.below(4) {
        let action = pick(random, &["ALLOW", "ALLOW", "DENY"]);
        let _ = write!(
            out,
            "\n---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: policy-{number}, namespace: shop}}\nspec:\n  action: {action}\n  rules:\n"
        );
        for _ in 0..1 + random.below(3) {
            out.push_str(&rule(random));
        }
    }
    out
}

fn rule(random: &mut Random) -> String {
    let mut out = "  - ".to_owned();
    let mut first = true;
    let mut part = |out: &mut String, name: &str, entries: Vec<String>| {
        if entries.is_empty() {
            return;
        }
        let _ = writeln!(out, "{}{name}:", if first { "" } else { "    " });
        first = false;
        for entry in entries {
            let _ = writeln!(out, "    - {entry}");
        }
    };
    let from = (0..random.below(3)).map(|_| format!("source: {{{}}}", fields(random, &SOURCE))).collect();
    let to = (0..1 + random.below(2)).map(|_| format!("operation: {{{}}}", fields(random, &OPERATION))).collect();
    let when = (0..random.below(2)).map(|_| condition(random)).collect();
    part(&mut out, "from", from);
    part(&mut out, "to", to);
    part(&mut out, "when", when);
    out
}

/// A field, its negation, and values for both.
type Field = (&'static str, &'static str, &'static [&'static str]);

const SOURCE: [Field; 5] = [
    ("principals", "notPrincipals", &PRINCIPAL_VALUES),
    ("namespaces", "notNamespaces", &NAMESPACE_VALUES),
    ("serviceAccounts", "notServiceAccounts", &ACCOUNT_VALUES),
    ("ipBlocks", "notIpBlocks", &SOURCE_VALUES),
    ("remoteIpBlocks", "notRemoteIpBlocks", &REMOTE_VALUES),
];
const OPERATION: [Field; 4] = [
    ("paths", "notPaths", &PATH_VALUES),
    ("methods", "notMethods", &METHOD_VALUES),
    ("hosts", "notHosts", &HOST_VALUES),
    ("ports", "notPorts", &PORT_VALUES),
];

/// One or two of the fields.
fn fields(random: &mut Random, all: &[Field]) -> String {
    // Service accounts go with neither principals nor namespaces.
    let start = random.below(all.len());
    let taken = all.iter().cycle().skip(start).take(1 + random.below(2)).map(|field| field_text(random, *field)).collect::<Vec<_>>();
    if taken.iter().any(|text| text.contains("erviceAccounts")) {
        return taken.into_iter().filter(|text| text.contains("erviceAccounts")).collect();
    }
    taken.join(", ")
}

fn field_text(random: &mut Random, (field, negated, values): Field) -> String {
    let name = if random.below(4) == 0 { negated } else { field };
    format!("{name}: {}", list(random, values))
}

fn condition(random: &mut Random) -> String {
    let (key, values): (&str, &[&str]) = match random.below(5) {
        0 => ("request.headers[x-role]", &HEADER_VALUES),
        1 => ("source.principal", &PRINCIPAL_VALUES),
        2 => ("source.namespace", &NAMESPACE_VALUES),
        3 => ("destination.port", &PORT_VALUES),
        _ => ("remote.ip", &REMOTE_VALUES),
    };
    let name = if random.below(3) == 0 { "notValues" } else { "values" };
    format!("{{key: \"{key}\", {name}: {}}}", list(random, values))
}

/// One or two of the values.
fn list(random: &mut Random, values: &[&str]) -> String {
    let chosen: Vec<String> = (0..1 + random.below(2)).map(|_| format!("\"{}\"", pick(random, values))).collect();
    format!("[{}]", chosen.join(", "))
}

/// The methods and authorities of requests, in all combinations.
pub fn heads() -> impl Iterator<Item = (&'static str, &'static str)> {
    METHODS.into_iter().flat_map(|method| HOSTS.into_iter().map(move |host| (method, host)))
}

/// A request, without who makes it.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its method.
    pub method: &'static str,
    /// Its authority.
    pub host: &'static str,
    /// Its path.
    pub path: &'static str,
    /// By lower-case name.
    pub headers: Vec<(String, String)>,
}

/// A request for the workload.
pub fn request(random: &mut Random) -> Request {
    let (role, forwarded) = (pick(random, &HEADERS), pick(random, &FORWARDED));
    let header = |name: &str, value: Option<&str>| value.map(|value| (name.to_owned(), value.to_owned()));
    Request {
        method: pick(random, &METHODS),
        host: pick(random, &HOSTS),
        path: pick(random, &PATHS),
        headers: header("x-role", role).into_iter().chain(header("x-forwarded-for", forwarded)).collect(),
    }
}

/// One of them; the default of nothing.
fn pick<T: Copy + Default>(random: &mut Random, all: &[T]) -> T {
    all.get(random.below(all.len())).copied().unwrap_or_default()
}
