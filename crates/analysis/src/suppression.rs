//! Findings that somebody does not want to see: `-S CODE=Kind name.namespace`, and the annotation of an object.

use base::{Diagnostic, ObjectRef};

/// One wish of the command line.
#[derive(Clone, Debug, PartialEq)]
pub struct Suppression {
    /// The code.
    pub code: String,
    /// `Kind name.namespace`, with `*` for any text.
    pub object: String,
}

impl Suppression {
    /// Reads `IST0102=DestinationRule primary.default`.
    ///
    /// # Errors
    /// A text without exactly one `=`; the error is Istio's text.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((code, object)) if !object.contains('=') => Ok(Self { code: code.to_owned(), object: object.to_owned() }),
            _ => Err(format!("{text} is not a valid suppression value. See istioctl analyze --help")),
        }
    }

    /// Whether it is about this message of this object.
    pub fn covers(&self, code: &str, kind: &str, namespace: &str, name: &str) -> bool {
        let object = match namespace {
            "" => format!("{kind} {name}"),
            namespace => format!("{kind} {name}.{namespace}"),
        };
        self.code == code && matches(&self.object, &object)
    }
}

/// Whether `text` is `pattern`, in which `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut left) = text.strip_prefix(start) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        match left.find(part).and_then(|at| left.get(at + part.len()..)) {
            Some(after) => left = after,
            None => return false,
        }
    }
    left.ends_with(end)
}

/// Whether the finding is not wanted, by the command line or by the annotation `galley.istio.io/analyze-suppress` of its
/// object, whose value is `annotation`.
pub fn is_suppressed(diagnostic: &Diagnostic, wishes: &[Suppression], annotation: Option<&str>) -> bool {
    let by_object = annotation.is_some_and(|codes| codes.split(',').any(|code| code == "*" || code == diagnostic.code));
    let named = |object: &ObjectRef, wish: &Suppression| wish.covers(diagnostic.code, object.kind, object.namespace.as_str(), &object.name);
    by_object || diagnostic.object.as_ref().is_some_and(|object| wishes.iter().any(|wish| named(object, wish)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_text() {
        for (pattern, text, expected) in [
            ("Pod *.a", "Pod x.a", true),
            ("Pod *.a", "Pod x.b", false),
            ("*", "", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "ac", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_code_and_an_object_are_needed() {
        assert!(Suppression::parse("IST0101").is_err() && Suppression::parse("IST0101=a=b").is_err());
        let wish = Suppression::parse("IST0101=Gateway *.shop").unwrap();
        let finding = Diagnostic::error("IST0101", Some(ObjectRef::new("Gateway", "shop", "front")), "", "");
        assert!(is_suppressed(&finding, std::slice::from_ref(&wish), None));
        assert!(!is_suppressed(&Diagnostic { code: "IST0102", ..finding.clone() }, &[wish], Some("IST0101")));
        assert!(is_suppressed(&finding, &[], Some("IST0102,IST0101")));
    }
}
