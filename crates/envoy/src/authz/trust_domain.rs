//! Principals of a trust domain and of its aliases are the same (Istio's `trustdomain.Bundle`).

/// The trust domain that policies may name in any mesh, whatever the mesh's own is called.
const ANY_MESH: &str = "cluster.local";

/// `principals`, each with the trust domain of the mesh and all of its aliases in place of its own, if its own is one of
/// them. A principal without the five parts of an identity, or whose trust domain is `*`, stays.
pub fn of_principals(principals: &[String], trust_domains: &[&str]) -> Vec<String> {
    let mut out = Vec::new();
    for principal in principals {
        match split(principal) {
            Some((domain, rest)) if is_own(domain, trust_domains) => {
                let mut aliases: Vec<String> = Vec::new();
                for own in trust_domains {
                    // A wildcard that covers the alias already says it.
                    let alias = if ends_as(own, domain) { principal.clone() } else { format!("{own}/{rest}") };
                    if !aliases.contains(&alias) {
                        aliases.push(alias);
                    }
                }
                out.extend(aliases);
            }
            _ => out.push(principal.clone()),
        }
    }
    out
}

/// Trust domains themselves, in the same way.
pub fn of_trust_domains(domains: &[String], trust_domains: &[&str]) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for domain in domains {
        let aliases = match domain.as_str() {
            "*" => vec![domain.clone()],
            domain if is_own(domain, trust_domains) => {
                let covers = |own: &str| ends_as(own, domain) || begins_as(own, domain);
                trust_domains.iter().map(|own| if covers(own) { domain.to_owned() } else { (*own).to_owned() }).collect()
            }
            domain => vec![domain.to_owned()],
        };
        for alias in aliases {
            if !out.contains(&alias) {
                out.push(alias);
            }
        }
    }
    out
}

/// The trust domain and the rest of `<trust domain>/ns/<namespace>/sa/<service account>`.
fn split(principal: &str) -> Option<(&str, &str)> {
    let (domain, rest) = principal.split_once('/')?;
    (rest.split('/').count() == 4 && domain != "*").then_some((domain, rest))
}

fn is_own(domain: &str, trust_domains: &[&str]) -> bool {
    domain == ANY_MESH
        || trust_domains.iter().any(|own| {
            domain == *own
                || *own == "*"
                || begins_as(domain, own)
                || begins_as(own, domain)
                || ends_as(domain, own)
                || ends_as(own, domain)
        })
}

/// Whether `pattern` is `x*` and `text` begins with `x`.
fn begins_as(text: &str, pattern: &str) -> bool {
    pattern.strip_suffix('*').is_some_and(|start| text.starts_with(start))
}

/// Whether `pattern` is `*x` and `text` ends with `x`.
fn ends_as(text: &str, pattern: &str) -> bool {
    pattern.strip_prefix('*').is_some_and(|end| text.ends_with(end))
}
