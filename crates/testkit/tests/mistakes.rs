//! No mistake in one object costs another object a request, and each is said.

use testkit::{
    live::{Network, in_own_network, mistakes},
    mistake,
    report::Failures,
};

#[test]
fn every_mistake_is_said() -> Result<(), Failures> {
    let certificate = rcgen::generate_simple_self_signed(["*.example.com".to_owned()]).map_err(anyhow::Error::from)?;
    let good = mistake::good_mesh(&certificate.cert.pem(), &certificate.signing_key.serialize_pem())?;
    let beside = mistake::said_of(&good, &[]);
    assert!(beside.is_empty(), "the good mesh: {beside:#?}");
    let mistakes = mistake::all()?;
    assert!(mistakes.len() >= 60, "{} mistakes", mistakes.len());
    let unsaid: Vec<String> =
        mistakes.iter().filter_map(|mistake| mistake.is_said(&good).err()).map(|error| format!("{error:#}")).collect();
    assert!(unsaid.is_empty(), "{}", unsaid.join("\n"));
    Ok(())
}

/// With `SOAK` each mistake is made alone after the others, otherwise many at a time; `MISTAKE` takes those whose name
/// contains it.
#[test]
fn good_routes_lose_nothing() -> Result<(), Failures> {
    in_own_network("good_routes_lose_nothing", beside_good_routes)
}

fn beside_good_routes(network: &Network) -> Result<(), Failures> {
    let wanted = std::env::var("MISTAKE").unwrap_or_default();
    let mut mistakes = mistake::all()?;
    mistakes.retain(|mistake| mistake.name.contains(&wanted));
    let together = if std::env::var_os("SOAK").is_some() { 1 } else { 12 };
    Ok(mistakes::check(&mistakes, together, network)?)
}
