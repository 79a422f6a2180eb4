//! One attribute with the values that it must have and must not have, as conditions of a permission or a principal.

use xds_api::envoy::config::rbac::v3::{Permission, Principal, permission, principal};

/// A node in a tree of conditions: a permission or a principal.
pub trait Matcher: Sized {
    /// Everything.
    fn any() -> Self;
    /// All of them.
    fn all(matchers: Vec<Self>) -> Self;
    /// At least one of them.
    fn either(matchers: Vec<Self>) -> Self;
    /// Whatever this one does not match.
    fn negated(self) -> Self;
}

impl Matcher for Permission {
    fn any() -> Self {
        permission(permission::Rule::Any(true))
    }

    fn all(matchers: Vec<Self>) -> Self {
        permission(permission::Rule::AndRules(permission::Set { rules: matchers }))
    }

    fn either(matchers: Vec<Self>) -> Self {
        permission(permission::Rule::OrRules(permission::Set { rules: matchers }))
    }

    fn negated(self) -> Self {
        permission(permission::Rule::NotRule(Box::new(self)))
    }
}

impl Matcher for Principal {
    fn any() -> Self {
        principal(principal::Identifier::Any(true))
    }

    fn all(matchers: Vec<Self>) -> Self {
        principal(principal::Identifier::AndIds(principal::Set { ids: matchers }))
    }

    fn either(matchers: Vec<Self>) -> Self {
        principal(principal::Identifier::OrIds(principal::Set { ids: matchers }))
    }

    fn negated(self) -> Self {
        principal(principal::Identifier::NotId(Box::new(self)))
    }
}

/// A permission with this rule.
pub fn permission(rule: permission::Rule) -> Permission {
    Permission { rule: Some(rule) }
}

/// A principal that is identified so.
pub fn principal(identifier: principal::Identifier) -> Principal {
    Principal { identifier: Some(identifier) }
}

/// What a rule is translated for.
#[derive(Clone, Copy, Debug)]
pub struct RuleScope<'a> {
    /// The namespace of the policy.
    pub namespace: &'a str,
    /// The trust domain of the mesh, then its aliases.
    pub trust_domains: &'a [&'a str],
    /// A TCP chain, which knows nothing of requests.
    pub tcp: bool,
    /// `ALLOW`: a condition that cannot be checked makes its rule match nothing. For every other action such a condition
    /// is left out, so that the rule matches more. Both err on the safe side.
    pub strict: bool,
}

/// A condition cannot be checked: the chain does not know the attribute, or the value is none that it can have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unchecked;

/// An attribute of a connection or a request.
pub trait Attribute {
    /// What it becomes a condition of.
    type Matcher: Matcher;

    /// Whether only requests have it.
    fn is_http(&self) -> bool;

    /// The condition that it has one of the values, of which there is at least one; `None` if none of them can be checked.
    ///
    /// # Errors
    /// [`Unchecked`], if one of them cannot be checked and the scope is strict.
    fn any_of(&self, values: &[String], scope: &RuleScope<'_>) -> Result<Option<Self::Matcher>, Unchecked>;
}

/// The conditions of single values, one of which must hold.
pub fn each_value<M: Matcher>(
    values: &[String],
    scope: &RuleScope<'_>,
    one: impl Fn(&str) -> Result<M, Unchecked>,
) -> Result<Option<M>, Unchecked> {
    let mut matchers = Vec::new();
    for value in values {
        match one(value) {
            Ok(matcher) => matchers.push(matcher),
            Err(unchecked) if scope.strict => return Err(unchecked),
            Err(Unchecked) => {}
        }
    }
    Ok((!matchers.is_empty()).then(|| M::either(matchers)))
}

/// An attribute and its values.
#[derive(Clone, PartialEq, Debug)]
pub struct Condition<'a, A> {
    /// The attribute.
    pub attribute: A,
    /// It must have one of these.
    pub values: &'a [String],
    /// It must have none of these.
    pub not_values: &'a [String],
}

impl<A: Attribute> Condition<'_, A> {
    /// What must hold, all of it.
    fn matchers(&self, scope: &RuleScope<'_>) -> Result<Vec<A::Matcher>, Unchecked> {
        let checked = |values: &[String]| match (values, scope.tcp && self.attribute.is_http()) {
            ([], _) => Ok(None),
            (_, false) => self.attribute.any_of(values, scope),
            (_, true) if scope.strict => Err(Unchecked),
            (_, true) => Ok(None),
        };
        let (wanted, unwanted) = (checked(self.values)?, checked(self.not_values)?);
        Ok(wanted.into_iter().chain(unwanted.map(Matcher::negated)).collect())
    }
}

/// All conditions together; none are met by everything.
pub fn all<A: Attribute>(conditions: &[Condition<'_, A>], scope: &RuleScope<'_>) -> Result<A::Matcher, Unchecked> {
    let mut matchers = Vec::new();
    for condition in conditions {
        matchers.extend(condition.matchers(scope)?);
    }
    if matchers.is_empty() {
        matchers.push(A::Matcher::any());
    }
    Ok(A::Matcher::all(matchers))
}
