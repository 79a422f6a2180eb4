use super::*;
use istio_api::Metadata;

fn rule(name: &str, subset: &str, export_to: &[&str]) -> Arc<Object<api::DestinationRule>> {
    let metadata = Metadata { name: name.into(), namespace: "shop".into(), ..Metadata::default() };
    let spec = api::DestinationRule {
        host: "cart".to_string(),
        subsets: vec![api::Subset { name: subset.to_string(), ..api::Subset::default() }],
        export_to: export_to.iter().map(ToString::to_string).collect(),
        ..api::DestinationRule::default()
    };
    Arc::new(Object::new(metadata, spec))
}

fn subsets(rules: &[Arc<Object<api::DestinationRule>>]) -> Vec<Vec<String>> {
    let built = DestinationRules::build(rules.iter(), "cluster.local", &[], &DestinationRules::default());
    built.iter().map(|row| row.spec.subsets.iter().map(|subset| subset.name.clone()).collect()).collect()
}

#[test]
fn the_younger_adds_to_those_whose_whole_audience_sees_it() {
    let [private, public, other] = [rule("a", "v1", &["."]), rule("b", "v2", &["*"]), rule("c", "v3", &["else"])];
    assert_eq!(subsets(&[private.clone(), rule("d", "v2", &["."])]), [["v1", "v2"]]);
    assert_eq!(subsets(&[private.clone(), public.clone()]), [vec!["v1", "v2"], vec!["v2"]]);
    assert_eq!(subsets(&[public, private.clone()]), [["v2"], ["v1"]]);
    assert_eq!(subsets(&[private, other]), [["v1"], ["v3"]]);
}
