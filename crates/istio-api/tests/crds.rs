//! The definitions in `crds/` are those that the types say (`make crds` writes them).

use istio_api::{Kind, crd};
use std::{env, fs, path::Path};

/// One file for each of Istio's kinds, and no other.
#[test]
fn the_files_say_what_the_types_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds");
    let mut expected = Vec::new();
    for kind in Kind::ALL {
        let Some(definition) = crd::definition(*kind) else { continue };
        let name = format!("{}.{}.yaml", kind.group(), kind.plural());
        let header = "# Generated from the types of crates/istio-api by `make crds`; do not edit.\n";
        let text = format!("{header}{}", serde_saphyr::to_string(&definition).unwrap());
        if env::var_os("BLESS").is_some() {
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(&name), &text).unwrap();
        }
        let stored = fs::read_to_string(folder.join(&name)).unwrap_or_default();
        assert!(stored == text, "crds/{name} is not what the types say: run `make crds`");
        expected.push(name);
    }
    expected.sort();
    let mut found: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".yaml"))
        .collect();
    found.sort();
    assert_eq!(found, expected);
}
