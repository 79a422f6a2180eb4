//! One rule in CEL, as the API server evaluates it: `self` is the value, and there are Kubernetes' own functions.

use cel::{
    Context, Program,
    objects::{Key, Map, Value as CelValue},
};
use serde_json::Value;
use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

/// The standard functions and those of Kubernetes that the rules use.
static FUNCTIONS: LazyLock<Context<'static, 'static>> = LazyLock::new(|| {
    let mut context = Context::default();
    // Fails only for a name that CEL has already; the test of all rules would show it.
    drop(context.add_function("isURL", |text: Arc<String>| is_url(&text)));
    context
});

/// A rule that is ready to be asked.
pub(super) struct Rule {
    program: Program,
    /// What to do, for users.
    pub message: String,
    /// The field below that the rule is about, `.endpoints`; empty for the place of the rule itself.
    pub field: String,
}

impl Rule {
    /// Compiles an entry of `x-kubernetes-validations`. None if it cannot be compiled: the tests hold that there is none
    /// such among our own.
    pub fn compile(entry: &Value) -> Option<Self> {
        let text = |keyword: &str| entry.get(keyword).and_then(Value::as_str);
        let program = Program::compile(text("rule")?).ok()?;
        let (message, field) = (text("message")?.to_owned(), text("fieldPath").unwrap_or_default().to_owned());
        Some(Self { program, message, field })
    }

    /// Whether the rule holds. One that cannot be evaluated does not, as with the API server.
    pub fn holds(&self, value: &CelValue) -> bool {
        let mut context = FUNCTIONS.new_inner_scope();
        context.add_variable_from_value("self", value.clone());
        matches!(self.program.execute(&context), Ok(CelValue::Bool(true)))
    }
}

/// JSON as CEL sees it: whole numbers are `int`.
pub(super) fn to_cel(value: &Value) -> CelValue {
    match value {
        Value::Null => CelValue::Null,
        Value::Bool(value) => CelValue::Bool(*value),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => CelValue::Int(number),
            (_, Some(number)) => CelValue::UInt(number),
            _ => CelValue::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => CelValue::String(Arc::new(text.clone())),
        Value::Array(items) => CelValue::List(Arc::new(items.iter().map(to_cel).collect())),
        Value::Object(fields) => {
            let fields: HashMap<Key, CelValue> = fields.iter().map(|(key, value)| (Key::from(key.as_str()), to_cel(value))).collect();
            CelValue::Map(Map { map: Arc::new(fields) })
        }
    }
}

/// Kubernetes' `isURL`, which is Go's `url.ParseRequestURI`, as far as URLs with a scheme go.
fn is_url(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return text.starts_with('/') };
    let scheme_is_right = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    let host = rest.split('/').next().unwrap_or_default();
    let escapes_are_right = rest.split('%').skip(1).all(|part| part.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2);
    scheme_is_right
        && escapes_are_right
        && !rest.bytes().any(|b| b.is_ascii_control())
        && !host.contains([' ', '"', '<', '>', '\\', '^', '`', '{', '|', '}', '#'])
}
