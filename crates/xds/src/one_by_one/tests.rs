use super::*;
use xds_api::envoy::config::route::v3::VirtualHost;

fn host(name: &str, domain: &str) -> VirtualHost {
    VirtualHost { name: name.to_string(), domains: vec![domain.to_string()], ..VirtualHost::default() }
}

fn part(host: &VirtualHost) -> Arc<Part> {
    Arc::new(Part::new(envoy::route::encode_virtual_host(host), Arc::from([])))
}

fn routes(parts: Vec<Arc<Part>>) -> Vec<Arc<Encoded>> {
    let (start, end) =
        envoy::route::route_configuration(&envoy::route::RouteConfigurationInputs { name: "80", ignore_port_in_host_matching: true });
    vec![Arc::new(Encoded::assembled(ResourceType::Route, "80".into(), (&start, parts, &end)))]
}

fn names(resources: &Resources) -> Vec<String> {
    resources.iter().map(|resource| resource.name.to_string()).collect()
}

#[test]
fn virtual_hosts_are_named_after_their_route_configuration_and_the_rest_stays() {
    let (mut one_by_one, mut interner) = (OneByOne::default(), Interner::default());
    let all = Arc::new(Part::staying(envoy::route::encode_virtual_host(&host("allow_any", "*")), Arc::from([])));
    let (a, b) = (part(&host("a:80", "a")), part(&host("b:80", "b")));
    let first = routes(vec![a.clone(), b, all.clone()]);
    one_by_one.advance(&Resources::default(), &first, &mut interner);
    assert_eq!(names(&one_by_one.hosts), ["80/a:80", "80/b:80"]);
    let sent = VirtualHost::from_bytes(&one_by_one.hosts.get("80/a:80").unwrap().body()).unwrap();
    assert_eq!(sent, host("80/a:80", "a"));
    let bare = one_by_one.routes.get("80").unwrap().clone();
    let message = RouteConfiguration::from_bytes(&bare.body()).unwrap();
    assert_eq!(message.virtual_hosts, [host("allow_any", "*")]);
    assert!(message.vhds.is_some() && message.ignore_port_in_host_matching);
    assert!(bare.version.is_bare() && !first[0].version.is_bare());

    // One changes, one goes: the route configuration is the same as before.
    let before = Resources::default().replaced_by(first.iter().map(|routes| (routes.name.clone(), routes.clone())).collect());
    one_by_one.advance(&before, &routes(vec![part(&host("a:80", "other")), all]), &mut interner);
    assert_eq!(names(&one_by_one.hosts), ["80/a:80"]);
    let sent = VirtualHost::from_bytes(&one_by_one.hosts.get("80/a:80").unwrap().body()).unwrap();
    assert_eq!(sent, host("80/a:80", "other"));
    assert!(Arc::ptr_eq(one_by_one.routes.get("80").unwrap(), &bare));
    one_by_one.advance(&before, &[], &mut interner);
    assert_eq!((names(&one_by_one.routes), names(&one_by_one.hosts)), (vec![], vec![]));
}
