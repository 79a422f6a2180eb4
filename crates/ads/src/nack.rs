//! A refusal: which resources a proxy's message is about.

use base::ObjectRef;
use std::sync::Arc;
use xds_wire::{Encoded, Part};

/// A resource of a response that is not acknowledged yet.
#[derive(Clone, Debug)]
pub(crate) struct Carried {
    pub resource: Arc<Encoded>,
    /// Its content was new to the client, rather than sent again.
    pub fresh: bool,
}

/// Envoy refuses a whole response, and its message names the resources that are at fault, if any. Without a name it is
/// the ones whose content was new.
pub(crate) fn at_fault(carried: &[Carried], message: &str) -> Vec<Arc<Encoded>> {
    let named: Vec<_> = carried.iter().filter(|c| names(message, &c.resource.name)).map(|c| c.resource.clone()).collect();
    if !named.is_empty() {
        return named;
    }
    carried.iter().filter(|c| c.fresh).map(|c| c.resource.clone()).collect()
}

/// The objects behind a resource; of one that consists of many parts, those behind the parts that hold a name out of the
/// message, if any does.
pub(crate) fn origins_of<'a>(resource: &'a Encoded, message: &str) -> Vec<&'a ObjectRef> {
    let ends = |c: char| !is_of_name(c) || c == ':';
    let words =
        message.split(|c: char| c.is_whitespace() || c == '\'' || c == '"').map(|word| word.trim_matches(ends).trim_end_matches('.'));
    let words: Vec<&str> = words.filter(|word| word.contains(['.', '|']) && **word != *resource.name).collect();
    let holds = |part: &&Arc<Part>| words.iter().any(|word| part.bytes.windows(word.len()).any(|window| window == word.as_bytes()));
    let guilty: Vec<_> = resource.parts().iter().filter(holds).collect();
    if guilty.is_empty() { resource.origins().collect() } else { guilty.into_iter().flat_map(|part| part.origins.iter()).collect() }
}

/// Whether `name` stands in `message` by itself and not as a part of a longer name (`80` is not in `:8080`).
fn names(message: &str, name: &str) -> bool {
    if name.is_empty() {
        return false;
    }
    message.match_indices(name).any(|(start, found)| {
        let (before, after) = message.split_at(start);
        let after = after.get(found.len()..).unwrap_or_default();
        !before.chars().next_back().is_some_and(is_of_name) && ends_name(after)
    })
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '|' | ':' | '/')
}

/// A point or colon before a space ends a sentence and not a name: `listener(s) l0: goo.gle/debug …`.
fn ends_name(rest: &str) -> bool {
    let mut rest = rest.chars();
    match rest.next() {
        None => true,
        Some('.' | ':') => rest.next().is_none_or(char::is_whitespace),
        Some(c) => !is_of_name(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xds_wire::ResourceType;

    fn carried(name: &str, fresh: bool) -> Carried {
        let resource = Encoded::new(ResourceType::Listener, name.into(), b"x", Arc::from([]));
        Carried { resource: Arc::new(resource), fresh }
    }

    fn found(all: &[Carried], message: &str) -> Vec<String> {
        at_fault(all, message).iter().map(|r| r.name.to_string()).collect()
    }

    #[test]
    fn the_objects_behind_the_part_that_is_named() {
        let part = |host: &str| Arc::new(Part::new(host.to_string().into(), Arc::from([ObjectRef::new("VirtualService", "shop", host)])));
        let routes = Encoded::assembled(ResourceType::Route, "80".into(), (b"", vec![part("a.test"), part("b.test")], b""));
        let names = |message: &str| origins_of(&routes, message).into_iter().map(ToString::to_string).collect::<Vec<_>>();
        let text = "Only unique values for domains are permitted. Duplicate entry of domain a.test in route 80";
        assert_eq!(names(text), ["VirtualService shop/a.test"]);
        assert_eq!(names("no name in here").len(), 2);
    }

    #[test]
    fn named_resources_or_else_the_new_ones() {
        let all = [carried("80", false), carried("l0", true), carried("outbound|80||a", true)];
        let text = "Error adding/updating listener(s) l0: goo.gle/debugstr at 0.0.0.0:80";
        assert_eq!(found(&all, text), ["l0"]);
        assert_eq!(found(&all, "cluster 'outbound|80||a' is bad"), ["outbound|80||a"]);
        assert_eq!(found(&all, "port 8080 is bad"), ["l0", "outbound|80||a"]);
        assert_eq!(found(&all, "Only unique values in route 80"), ["80"]);
        assert_eq!(found(&all, "outbound|80||a.example"), ["l0", "outbound|80||a"]);
    }
}
