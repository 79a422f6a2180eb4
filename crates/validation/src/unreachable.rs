//! Rules of a VirtualService that no request reaches, because an earlier rule takes it (Istio's
//! `analyzeUnreachableHTTPRules` and its siblings). Only warnings: the other rules work.

use crate::report::{Field, Report};
use base::Level;
use istio_api::networking::virtual_service::{HttpMatchRequest, StringMatch, StringMatcher, VirtualService};
use serde::Serialize;
use std::collections::BTreeMap;

/// A rule as far as it matters here.
struct Rule<'a> {
    title: String,
    matches: Vec<Match<'a>>,
}

/// A condition.
struct Match<'a> {
    title: String,
    /// As JSON, which is equal for equal conditions.
    text: String,
    /// Of HTTP by the prefix of a path.
    prefix: Option<(&'a str, &'a HttpMatchRequest)>,
}

/// Looks at the three lists of rules.
pub(crate) fn rules(report: &mut Report, at: &Field<'_>, service: &VirtualService) {
    let http: Vec<Rule<'_>> = service
        .http
        .iter()
        .enumerate()
        .map(|(number, rule)| Rule { title: title(&rule.name, number), matches: rule.matches.iter().enumerate().map(http).collect() })
        .collect();
    list(report, &at.key("http"), &http);
    prefixes(report, &at.key("http"), &http);
    let tls = service.tls.iter().enumerate();
    list(report, &at.key("tls"), &tls.map(|(number, rule)| opaque(number, &rule.matches)).collect::<Vec<_>>());
    let tcp = service.tcp.iter().enumerate();
    list(report, &at.key("tcp"), &tcp.map(|(number, rule)| opaque(number, &rule.matches)).collect::<Vec<_>>());
}

fn http((number, matches): (usize, &HttpMatchRequest)) -> Match<'_> {
    // Names say nothing about what is matched.
    let nameless = HttpMatchRequest { name: String::new(), stat_prefix: String::new(), ..matches.clone() };
    let prefix = match matches.uri.as_ref().and_then(StringMatch::matcher) {
        Some(StringMatcher::Prefix(prefix)) if !prefix.is_empty() => Some((prefix, matches)),
        _ => None,
    };
    Match { title: title(&matches.name, number), text: serde_json::to_string(&nameless).unwrap_or_default(), prefix }
}

fn opaque<T: Serialize>(number: usize, matches: &[T]) -> Rule<'_> {
    let text = |(number, condition): (usize, &T)| Match {
        title: title("", number),
        text: serde_json::to_string(condition).unwrap_or_default(),
        prefix: None,
    };
    Rule { title: title("", number), matches: matches.iter().enumerate().map(text).collect() }
}

fn title(name: &str, number: usize) -> String {
    if name.is_empty() { format!("#{number}") } else { format!("{name:?}") }
}

/// Equal conditions, and rules behind one without conditions.
fn list(report: &mut Report, at: &Field<'_>, rules: &[Rule<'_>]) {
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    let mut catch_all = false;
    for (number, rule) in rules.iter().enumerate() {
        let at = at.index(number);
        if rule.matches.is_empty() {
            if catch_all {
                unused(report, &at, &rule.title, "only the last rule can have no matches");
            }
            catch_all = true;
            continue;
        }
        if catch_all {
            unused(report, &at, &rule.title, "route without matches defined before");
            continue;
        }
        let mut taken = 0;
        for (index, later) in rule.matches.iter().enumerate() {
            if let Some(by) = seen.get(later.text.as_str()) {
                ineffective(report, &at.key("match").index(index), &rule.title, &later.title, by);
                taken += 1;
            } else {
                seen.insert(&later.text, &rule.title);
            }
        }
        if taken == rule.matches.len() {
            unused(report, &at, &rule.title, "all matches used by prior rules");
        }
    }
}

/// Prefixes of which an earlier one is a part, while the other conditions are the same. Istio takes a condition without
/// method for one on GET.
fn prefixes(report: &mut Report, at: &Field<'_>, rules: &[Rule<'_>]) {
    let mut before: Vec<(&Rule<'_>, &Match<'_>, &str, &HttpMatchRequest)> = Vec::new();
    for (number, rule) in rules.iter().enumerate() {
        for (index, later) in rule.matches.iter().enumerate() {
            let Some((prefix, matches)) = later.prefix else { continue };
            for (earlier_rule, earlier, shorter, condition) in &before {
                if prefix != *shorter && prefix.starts_with(shorter) && covers(condition, matches) {
                    let (one, other) = (
                        format!("{} of prefix {prefix}", later.title),
                        format!("{} of prefix {shorter} on {}", earlier.title, earlier_rule.title),
                    );
                    ineffective(report, &at.index(number).key("match").index(index), &rule.title, &one, &other);
                }
            }
            before.push((rule, later, prefix, matches));
        }
    }
}

/// Whether `earlier` holds wherever `later` does, the paths apart.
fn covers(earlier: &HttpMatchRequest, later: &HttpMatchRequest) -> bool {
    let method =
        |matches: &HttpMatchRequest| Some(text(matches.method.as_ref())).filter(|text| !text.is_empty()).unwrap_or("exact GET".into());
    let maps = [
        (&earlier.headers, &later.headers),
        (&earlier.query_params, &later.query_params),
        (&earlier.without_headers, &later.without_headers),
    ];
    earlier.port == later.port
        && method(earlier).starts_with(&method(later))
        && text(earlier.authority.as_ref()).starts_with(&text(later.authority.as_ref()))
        && maps.iter().all(|(earlier, later)| {
            let holds = |(name, matches): (&String, &StringMatch)| {
                later.get(name).is_some_and(|other| text(Some(matches)).starts_with(&text(Some(other))))
            };
            earlier.len() == later.len() && earlier.iter().all(holds)
        })
}

/// Kind and text of a match; none for an expression.
fn text(matches: Option<&StringMatch>) -> String {
    match matches.and_then(StringMatch::matcher) {
        Some(StringMatcher::Exact(text)) => format!("exact {text}"),
        Some(StringMatcher::Prefix(text)) => format!("prefix {text}"),
        Some(StringMatcher::Regex(_)) | None => String::new(),
    }
}

fn ineffective(report: &mut Report, at: &Field<'_>, rule: &str, condition: &str, by: &str) {
    let text = format!("VirtualService rule {rule} match {condition} is not used (duplicate/overlapping match in rule {by}).");
    report.finding(Level::Info, "IST0131", at, text);
}

fn unused(report: &mut Report, at: &Field<'_>, rule: &str, reason: &str) {
    report.finding(Level::Warning, "IST0130", at, format!("VirtualService rule {rule} not used ({reason})."));
}
