//! Telemetry (Istio's `ValidateTelemetry`).

use crate::{
    report::{Field, Report, each},
    selector,
};
use istio_api::telemetry::{CustomTag, CustomTagValue, MetricMatch, Metrics, ProviderRef, TagOperation, Telemetry, Tracing};

pub(crate) fn validate(report: &mut Report, telemetry: &Telemetry) {
    let at = Field::Root("spec");
    selector::attachment(report, &at, telemetry.selector.as_ref(), telemetry.target_ref.as_ref(), &telemetry.target_refs);
    if telemetry.tracing.len() > 1 {
        report.warning(&at.key("tracing"), "multiple tracing is not currently supported; the first is used");
    }
    each(report, &at, "tracing", &telemetry.tracing, tracing);
    each(report, &at, "metrics", &telemetry.metrics, metrics);
    each(report, &at, "accessLogging", &telemetry.access_logging, |report, at, logging| {
        providers(report, at, &logging.providers);
        if let Some(filter) = &logging.filter {
            expression(report, &at.key("filter").key("expression"), &filter.expression);
        }
    });
}

fn providers(report: &mut Report, at: &Field<'_>, providers: &[ProviderRef]) {
    each(report, at, "providers", providers, |report, at, provider| {
        if provider.name.is_empty() {
            report.error(&at.key("name"), "providers.name may not be empty");
        }
    });
}

fn tracing(report: &mut Report, at: &Field<'_>, tracing: &Tracing) {
    if tracing.providers.len() > 1 {
        report.warning(&at.key("providers"), "multiple providers is not currently supported; the first is used");
    }
    providers(report, at, &tracing.providers);
    if tracing.random_sampling_percentage.is_some_and(|percent| !(0.0..=100.0).contains(&percent)) {
        report.error(&at.key("randomSamplingPercentage"), "randomSamplingPercentage must be in range [0.0, 100.0]");
    }
    let tags = at.key("customTags");
    for (name, tag) in &tracing.custom_tags {
        if name.is_empty() {
            report.error(&tags, "tag name may not be empty");
        }
        custom_tag(report, &tags.key(name), tag);
    }
}

fn custom_tag(report: &mut Report, at: &Field<'_>, tag: &CustomTag) {
    let (field, empty) = match tag.tag() {
        Some(CustomTagValue::Literal(literal)) => ("literal.value", literal.value.is_empty()),
        Some(CustomTagValue::Environment(environment)) => ("environment.name", environment.name.is_empty()),
        Some(CustomTagValue::Header(header)) => ("header.name", header.name.is_empty()),
        Some(CustomTagValue::Formatter(formatter)) => ("formatter.value", formatter.value.is_empty()),
        None => {
            report.error(at, "a tag needs one of literal, environment, header or formatter");
            return;
        }
    };
    if empty {
        report.error(at, format!("{field} may not be empty"));
    }
}

fn metrics(report: &mut Report, at: &Field<'_>, metrics: &Metrics) {
    providers(report, at, &metrics.providers);
    each(report, at, "overrides", &metrics.overrides, |report, at, change| {
        if let Some(MetricMatch::CustomMetric("")) = change.matches.as_ref().and_then(|matches| matches.metric_match()) {
            report.error(&at.key("match").key("customMetric"), "customMetric may not be empty");
        }
        let tags = at.key("tagOverrides");
        for (name, tag) in &change.tag_overrides {
            let at = tags.key(name);
            match tag.operation {
                TagOperation::Upsert if tag.value.is_empty() => {
                    report.error(&at, "tagOverrides.value must be set when operation is UPSERT");
                }
                TagOperation::Remove if !tag.value.is_empty() => {
                    report.error(&at, "tagOverrides.value may only be set when operation is UPSERT");
                }
                TagOperation::Upsert => expression(report, &at.key("value"), &tag.value),
                TagOperation::Remove => {}
            }
        }
    });
}

/// A CEL expression. Only what no expression can be is refused: brackets and quotes that do not close, an operator at an
/// end or two that cannot follow one another; Envoy's own parser says the rest.
fn expression(report: &mut Report, at: &Field<'_>, text: &str) {
    if let Some(reason) = expression_error(text) {
        report.error(at, format!("must be a valid CEL expression, {reason}"));
    }
}

fn expression_error(text: &str) -> Option<String> {
    let mut open = Vec::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '(' => open.push(')'),
            '[' => open.push(']'),
            '{' => open.push('}'),
            ')' | ']' | '}' if open.pop() != Some(letter) => return Some(format!("unexpected '{letter}'")),
            '"' | '\'' => {
                let mut escaped = false;
                let closed = letters.any(|inner| {
                    let ends = inner == letter && !escaped;
                    escaped = inner == '\\' && !escaped;
                    ends
                });
                if !closed {
                    return Some(format!("the text that begins with {letter} does not end"));
                }
            }
            _ => {}
        }
    }
    if let Some(missing) = open.pop() {
        return Some(format!("'{missing}' is missing"));
    }
    let ends_open = text.trim_end().ends_with(['+', '*', '/', '%', '<', '>', '=', '&', '|', '!', '.', ',', '?', ':']);
    let begins_open = text.trim_start().starts_with(['+', '*', '/', '%', '<', '>', '=', '&', '|', ',', '?', ':']);
    (ends_open || begins_open).then(|| "an operator at the beginning or end has no operand".into())
}
