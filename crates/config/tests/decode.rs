//! Every kind of diagnostic of the decoder, with its line and path.

// Helpers of tests may panic like the tests themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use base::{ClusterId, Diagnostic};
use config::{
    Change,
    file::{Contents, FileSet},
};
use istio_api::AnyObject;

/// The objects and diagnostics of one file.
fn read(text: &str) -> (Vec<AnyObject>, Vec<Diagnostic>) {
    let mut set = FileSet::new(ClusterId::new("here"));
    let (mut objects, mut findings) = (Vec::new(), Vec::new());
    for event in set.apply([("a.yaml".into(), Contents::Bytes(text.into()))]) {
        match event.change {
            Change::Set(object) => objects.push(object),
            Change::Findings { diagnostics, .. } => findings = diagnostics,
            other => panic!("{other:?}"),
        }
    }
    (objects, findings)
}

/// The diagnostics as `line code field: message`, and how many objects are used all the same.
fn findings(text: &str) -> (usize, Vec<String>) {
    let (objects, findings) = read(text);
    let line = |d: &Diagnostic| d.location.as_ref().map_or(0, |at| at.line);
    (objects.len(), findings.iter().map(|d| format!("{} {} {}: {}", line(d), d.code, d.field, d.message)).collect())
}

const GOOD: &str = "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: good, namespace: shop}
spec:
  hosts: [good]
  http: [{route: [{destination: {host: good}}]}]
";

#[test]
fn documents_behind_a_syntax_error_go_on() {
    let (objects, found) = findings(&format!("kind: [\n---\n{GOOD}"));
    assert_eq!(objects, 1);
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("1 SyntaxError :") || found[0].starts_with("2 SyntaxError :"), "{found:?}");
}

#[test]
fn an_unquoted_wildcard_is_explained() {
    let (_, found) = findings("# a comment\n---\nkind: Gateway\nhosts:\n- *\n");
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("5 SyntaxError") && found[0].contains("must be quoted"), "{found:?}");
}

#[test]
fn all_unknown_fields_and_wrong_types_are_found_with_their_lines() {
    let (objects, found) = findings(
        "apiVersion: networking.istio.io/v1beta1
kind: VirtualService
metadata:
  name: reviews
  labels:
    version: 1
spec:
  host: [reviews]
  hosts: [reviews]
  http:
  - timeout: 5
    retries: {attempts: \"3\", per_try_timeout: soon}
    route:
    - destination:
        host: reviews
        port: {number: http}
      weigth: 10
  exportTo: '*'
",
    );
    assert_eq!(objects, 0);
    let expected = [
        "6 IST0106 metadata.labels.version: must be a string but is the number 1; put it in quotes",
        "8 IST0106 spec.host: unknown field \"host\"; did you mean \"hosts\"?",
        "11 IST0106 spec.http[0].timeout: must be a string but is the number 5; put it in quotes",
        "12 IST0106 spec.http[0].retries.attempts: must be an integer but is the text \"3\"; remove the quotes",
        "12 IST0106 spec.http[0].retries.per_try_timeout: invalid duration: \"soon\" is not a duration; \
         write numbers with units such as 5s, 1.5s, 100ms or 1h30m",
        "16 IST0106 spec.http[0].route[0].destination.port.number: must be an integer but is the text \"http\"",
        "17 IST0106 spec.http[0].route[0].weigth: unknown field \"weigth\"; did you mean \"weight\"?",
        "18 IST0106 spec.exportTo: must be a list but is the text \"*\"; begin each item with \"- \"",
    ];
    assert_eq!(found, expected);
}

#[test]
fn an_object_is_used_without_an_unknown_field_unless_it_is_a_policy() {
    let (objects, found) = findings(&format!("{GOOD}extra: 1\n"));
    let rest = "only apiVersion, kind, metadata, spec and status can stand here";
    assert_eq!((objects, found), (1, vec![format!("7 IST0106 extra: unknown field \"extra\"; {rest}")]));
    let (objects, found) = findings(&GOOD.replace("  http", "  priority: 1\n  http"));
    assert_eq!((objects, found.len()), (1, 1), "{found:?}");
    let policy = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: x}\nspec: {rules: [{form: []}]}\n";
    assert_eq!(findings(policy), (0, vec!["4 IST0106 spec.rules[0].form: unknown field \"form\"; did you mean \"from\"?".into()]));
    let (objects, found) = findings(&GOOD.replace("name: good,", "name: Good,"));
    assert_eq!((objects, found.len()), (1, 1), "{found:?}");
}

#[test]
fn unknown_enum_values_list_the_known_ones() {
    let (_, found) =
        findings("apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: x}\nspec: {mtls: {mode: STRCT}}\n");
    assert_eq!(found, ["4 IST0106 spec.mtls.mode: \"STRCT\" is not one of UNSET, DISABLE, PERMISSIVE, STRICT"]);
}

#[test]
fn one_member_of_a_oneof() {
    let (_, found) = findings(&format!(
        "{}    match: [{{uri: {{exact: /a, prefix: /b}}}}]\n",
        GOOD.replace("[{route", "\n  - route").replace("}]}]\n", "}]\n")
    ));
    assert_eq!(found, ["8 IST0106 spec.http[0].match[0].uri: only one of exact, prefix can be set; keep one"]);
}

#[test]
fn identity_is_read_as_the_api_server_does() {
    let (objects, found) = read(&GOOD.replace(", namespace: shop", "").replace("/v1", "/v1alpha3"));
    assert!(found.is_empty(), "{found:?}");
    assert_eq!(objects[0].object_ref().to_string(), "VirtualService default/good");
    let (objects, _) = read("apiVersion: v1\nkind: Node\nmetadata: {name: n, namespace: ignored}\n");
    assert_eq!(objects[0].object_ref().to_string(), "Node n");
    let cases = [
        (
            GOOD.replace("name: good,", ""),
            "3 InvalidMetadata metadata.name: VirtualService: metadata.name is missing; every object needs one",
        ),
        (
            GOOD.replace("name: good,", "name: go/od,"),
            "3 IST0106 metadata.name: \"go/od\" is not a valid name; use lower-case letters, digits, '-' and '.', with a letter or digit at both ends",
        ),
        (
            GOOD.replace("kind: VirtualService", ""),
            "1 MissingKind kind: kind is missing; write what the document is, e.g. kind: VirtualService",
        ),
        (
            GOOD.replace("apiVersion: networking.istio.io/v1", ""),
            "2 MissingKind apiVersion: apiVersion is missing; write apiVersion: networking.istio.io/v1",
        ),
        (
            GOOD.replace("io/v1", "io/v2"),
            "1 UnknownKind apiVersion: there is no VirtualService in apiVersion networking.istio.io/v2; write apiVersion: networking.istio.io/v1",
        ),
        (
            GOOD.replace("VirtualService", "VirtualServce"),
            "2 UnknownKind kind: there is no kind VirtualServce in apiVersion networking.istio.io/v1; did you mean VirtualService?",
        ),
        ("- a\n- b\n".into(), "1 NotAnObject : a document must be an object with apiVersion, kind and metadata, but it is a list"),
        (
            GOOD.replace("  hosts: [good]\n", "  hosts: [good]\n  hosts: [bad]\n"),
            "6 DuplicateKey spec.hosts: the key stands here a second time in the same mapping; remove one",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(findings(&text), (0, vec![expected.to_owned()]));
    }
}

#[test]
fn kinds_of_other_software_are_skipped_and_kubernetes_kinds_decode_leniently() {
    let (objects, found) = read(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec:\n  \
         ports: [{port: 80, name: http}]\n  someNewField: 1\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: x}\nstringData: {tls.crt: pem}\n",
    );
    assert!(found.is_empty(), "{found:?}");
    assert_eq!(objects.len(), 2);
    let AnyObject::Secret(secret) = &objects[1] else { panic!("{objects:?}") };
    assert_eq!(secret.spec.data["tls.crt"].0, b"pem");
    let (_, found) = findings("apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec:\n  ports:\n  - port: \"80\"\n");
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("6 InvalidObject spec.ports[0].port: "), "{found:?}");
}

#[test]
fn lists_json_anchors_and_spellings() {
    let list = format!("apiVersion: v1\nkind: List\nitems:\n- {}", GOOD.trim_end().replace('\n', "\n  "));
    assert_eq!(findings(&list), (1, vec![]));
    let json = r#"{"apiVersion": "networking.istio.io/v1", "kind": "Sidecar",
      "metadata": {"name": "x", "annotations": {"note": "\ud83d\ude00 \/"}}, "spec": {"egress": [{"hosts": ["./*"]}]}}"#;
    assert_eq!(findings(json), (1, vec![]));
    let anchored = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: x}\nspec:\n  host: x\n  traffic_policy: &p\n    \
                    connection_pool: {tcp: {max_connections: 7}}\n  subsets:\n  - name: a\n    trafficPolicy:\n      <<: *p\n";
    let (objects, found) = read(anchored);
    assert!(found.is_empty(), "{found:?}");
    let AnyObject::DestinationRule(rule) = &objects[0] else { panic!("{objects:?}") };
    assert_eq!(rule.spec.subsets[0].traffic_policy, rule.spec.traffic_policy);
    assert!(rule.spec.traffic_policy.is_some());
}

#[test]
fn a_text_cannot_expand_without_bounds() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let previous = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb += &format!("a{level}: &a{level} [{previous}]\n");
    }
    for text in [bomb, "[".repeat(100_000), format!("a: {}", "{a: ".repeat(5_000)), "a: &a [*a]".into()] {
        let (objects, found) = findings(&text);
        assert_eq!((objects, found.len()), (0, 1));
        assert!(found[0].contains("SyntaxError"), "{found:?}");
    }
}
