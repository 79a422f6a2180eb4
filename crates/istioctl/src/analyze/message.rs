//! One message, and the three forms in which messages are shown.

use super::{DOCUMENTATION, Format};
use base::{Diagnostic, Level};
use serde_json::{Value, json};
use std::cmp::Ordering;

/// One message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// How much it matters.
    pub level: Level,
    /// `IST0101`
    pub code: String,
    /// The object: kind, namespace and name.
    pub object: Option<(String, String, String)>,
    /// `file:line`
    pub reference: Option<String>,
    /// What is wrong.
    pub text: String,
}

/// Whether lines have colors.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Without.
    Plain,
    /// Warnings yellow, errors red and bold.
    Colored,
}

impl Message {
    /// The finding, at the place where it stands.
    pub fn new(finding: &Diagnostic, reference: Option<String>) -> Self {
        let object = finding.object.as_ref();
        Self {
            level: finding.level,
            code: finding.code.to_owned(),
            object: object.map(|object| (object.kind.to_owned(), object.namespace.to_string(), object.name.to_string())),
            reference,
            text: finding.message.clone(),
        }
    }

    /// `VirtualService shop/reviews`
    fn origin(&self) -> Option<String> {
        self.object.as_ref().map(|(kind, namespace, name)| match namespace.as_str() {
            "" => format!("{kind} {name}"),
            namespace => format!("{kind} {namespace}/{name}"),
        })
    }

    fn line(&self, style: Style) -> String {
        let (before, after) = match (style, self.level) {
            (Style::Plain, _) => ("", ""),
            (Style::Colored, Level::Info) => ("", "\u{1b}[0m"),
            (Style::Colored, Level::Warning) => ("\u{1b}[33m", "\u{1b}[0m"),
            (Style::Colored, Level::Error) => ("\u{1b}[1;31m", "\u{1b}[0m"),
        };
        let place = self.reference.as_ref().map(|place| format!(" {place}")).unwrap_or_default();
        let origin = self.origin().map(|origin| format!(" ({origin}{place})")).unwrap_or_default();
        format!("{before}{:?}{after} [{}]{origin} {}", self.level, self.code, self.text)
    }

    fn json(&self) -> Value {
        let mut value = json!({
            "code": self.code,
            "documentationUrl": format!("{DOCUMENTATION}/{}/?ref=istioctl-analyze", self.code.to_ascii_lowercase()),
            "level": format!("{:?}", self.level),
            "message": self.text,
        });
        if let (Value::Object(fields), Some(origin)) = (&mut value, self.origin()) {
            fields.insert("origin".into(), origin.into());
            fields.extend(self.reference.clone().map(|reference| ("reference".to_owned(), reference.into())));
        }
        value
    }
}

impl Ord for Message {
    /// Istio's order: errors first, then by code, kind, name and namespace of the object.
    fn cmp(&self, other: &Self) -> Ordering {
        let object = |message: &Self| message.object.as_ref().map(|(kind, namespace, name)| format!("{kind}/{name}/{namespace}"));
        let by_level = self.level.cmp(&other.level).then_with(|| self.code.cmp(&other.code));
        by_level.then_with(|| object(self).cmp(&object(other))).then_with(|| self.line(Style::Plain).cmp(&other.line(Style::Plain)))
    }
}

impl PartialOrd for Message {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// All messages in one form.
pub fn text(messages: &[&Message], format: Format, style: Style) -> anyhow::Result<String> {
    let values = || Value::Array(messages.iter().map(|message| message.json()).collect());
    Ok(match format {
        Format::Log => messages.iter().map(|message| message.line(style)).collect::<Vec<_>>().join("\n"),
        Format::Json => with_tabs(&values())?,
        Format::Yaml => serde_saphyr::to_string(&values())?,
    })
}

/// JSON that is indented with tabs, as Istio's.
fn with_tabs(value: &Value) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    serde::Serialize::serialize(value, &mut serde_json::Serializer::with_formatter(&mut bytes, formatter))?;
    Ok(String::from_utf8(bytes)?)
}
