//! What a gateway says of the certificate of its own caller: Envoy's header `x-forwarded-client-cert`.

use base::SpiffeIdentity;

/// The name of the header.
pub const FORWARDED_CERTIFICATE_HEADER: &str = "x-forwarded-client-cert";

/// The identity in the last element, which is the one of the gateway that calls us; those before it were there already when
/// the request came to it. `None` if it has no SPIFFE identity, or several URIs.
pub(crate) fn identity(header: &str) -> Option<SpiffeIdentity> {
    let element = split(header, ',').pop()?;
    let uri = |field: &str| {
        let (name, value) = field.split_once('=')?;
        name.trim().eq_ignore_ascii_case("uri").then(|| value.trim().trim_matches('"').to_owned())
    };
    let mut uris = split(element, ';').into_iter().filter_map(uri).filter(|uri| !uri.is_empty());
    match (uris.next(), uris.next()) {
        (Some(uri), None) => SpiffeIdentity::parse(&uri),
        _ => None,
    }
}

/// The parts between separators that do not stand in quotation marks.
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut quoted, mut escaped) = (false, false);
    let is_separator = |character: char| {
        let was_escaped = std::mem::take(&mut escaped);
        match character {
            '\\' if quoted && !was_escaped => escaped = true,
            '"' if !was_escaped => quoted = !quoted,
            _ => return character == separator && !quoted,
        }
        false
    };
    text.split(is_separator).collect()
}

#[cfg(test)]
mod tests {
    use super::identity;

    #[test]
    fn the_last_element_counts() {
        let of = |header: &str| identity(header).map(|identity| identity.to_string());
        let cart = Some("spiffe://mesh/ns/shop/sa/cart".to_owned());
        assert_eq!(of("By=spiffe://mesh/ns/edge/sa/gw;Hash=ab;Subject=\"\";URI=spiffe://mesh/ns/shop/sa/cart"), cart);
        assert_eq!(of("URI=spiffe://mesh/ns/shop/sa/admin,By=x;uri=spiffe://mesh/ns/shop/sa/cart;DNS=a"), cart);
        assert_eq!(of("URI=spiffe://mesh/ns/shop/sa/cart;Subject=\"CN=a,URI=spiffe://mesh/ns/shop/sa/admin\""), cart);
        assert_eq!(of("URI=spiffe://mesh/ns/shop/sa/cart;Subject=\"a\\\",URI=spiffe://mesh/ns/shop/sa/admin\""), cart);
        for none in ["", "Hash=ab", "URI=", "URI=https://a/b", "URI=spiffe://mesh/ns/shop/sa/cart;URI=spiffe://mesh/ns/shop/sa/admin"] {
            assert_eq!(of(none), None, "{none}");
        }
    }
}
