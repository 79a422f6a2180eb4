//! Rules of a VirtualService that no request reaches, because an earlier rule takes it (Istio's
//! `analyzeUnreachableHTTPRules` and its siblings). Only warnings: the other rules work.

use crate::report::{Field, Report};
use base::Level;
use istio_api::networking::virtual_service::{HttpMatchRequest, StringMatch, StringMatcher, VirtualService};
use serde::Serialize;
use std::collections::BTreeMap;

/// A rule as far as it matters here.
struct Rule<'a> {
    name: &'a str,
    matches: Vec<Match>,
}

/// A condition: its path, and everything else as JSON, which is equal for equal conditions.
struct Match {
    path: Option<StringMatch>,
    rest: String,
}

impl Match {
    fn whole(matches: &impl Serialize) -> Self {
        Self { path: None, rest: serde_json::to_string(matches).unwrap_or_default() }
    }

    /// Names say nothing about what is matched.
    fn http(matches: &HttpMatchRequest) -> Self {
        let mut rest = HttpMatchRequest { name: String::new(), stat_prefix: String::new(), ..matches.clone() };
        let path = rest.uri.take();
        Self { path, ..Self::whole(&rest) }
    }
}

/// Looks at the three lists of rules.
pub(crate) fn rules(report: &mut Report, at: &Field<'_>, service: &VirtualService) {
    let http = service.http.iter().map(|rule| Rule { name: &rule.name, matches: rule.matches.iter().map(Match::http).collect() });
    list(report, &at.key("http"), &http.collect::<Vec<_>>());
    let tls = service.tls.iter().map(|rule| Rule { name: "", matches: rule.matches.iter().map(Match::whole).collect() });
    list(report, &at.key("tls"), &tls.collect::<Vec<_>>());
    let tcp = service.tcp.iter().map(|rule| Rule { name: "", matches: rule.matches.iter().map(Match::whole).collect() });
    list(report, &at.key("tcp"), &tcp.collect::<Vec<_>>());
}

/// Whether an earlier path takes all that a later one would: the same, or a prefix of it.
fn takes(earlier: Option<&StringMatch>, later: Option<&StringMatch>) -> bool {
    let matcher = |path: Option<&StringMatch>| match path {
        Some(path) => path.matcher().map(|matcher| match matcher {
            StringMatcher::Exact(text) => (false, Some(text.to_owned())),
            StringMatcher::Prefix(text) => (true, Some(text.to_owned())),
            StringMatcher::Regex(_) => (false, None),
        }),
        None => None,
    };
    earlier == later
        || matches!((matcher(earlier), matcher(later)), (Some((true, Some(prefix))), Some((_, Some(text)))) if text.starts_with(&prefix))
}

fn list(report: &mut Report, at: &Field<'_>, rules: &[Rule<'_>]) {
    // What was seen before: the rules and paths of every rest.
    let mut seen: BTreeMap<&str, Vec<(usize, Option<&StringMatch>)>> = BTreeMap::new();
    let mut catch_all = false;
    for (number, rule) in rules.iter().enumerate() {
        let (at, title) = (at.index(number), title(rule.name, number));
        if rule.matches.is_empty() {
            if catch_all {
                unused(report, &at, &title, "only the last rule can have no matches");
            }
            catch_all = true;
            continue;
        }
        let mut taken = 0;
        for (index, later) in rule.matches.iter().enumerate() {
            let before = seen.entry(&later.rest).or_default();
            let Some(&(by, _)) = before.iter().find(|(by, path)| *by < number && takes(*path, later.path.as_ref())) else {
                before.push((number, later.path.as_ref()));
                continue;
            };
            taken += 1;
            let by = rules.get(by).map_or_else(String::new, |rule| self::title(rule.name, by));
            report.finding(
                Level::Info,
                "IST0131",
                &at.key("match").index(index),
                format!("virtualService rule {title} match #{index} is not used (duplicate/overlapping match in rule {by})"),
            );
        }
        if taken == rule.matches.len() {
            unused(report, &at, &title, "all matches used by prior rules");
        }
    }
}

fn title(name: &str, number: usize) -> String {
    if name.is_empty() { format!("#{number}") } else { format!("{name:?}") }
}

fn unused(report: &mut Report, at: &Field<'_>, title: &str, reason: &str) {
    report.finding(
        Level::Warning,
        "IST0130",
        at,
        format!("virtualService rule {title} not used ({reason}); move it before the rule that takes its requests, or remove it"),
    );
}
