//! A real folder: what is read, and what each way of saving a file leads to.

// Helpers of tests may panic like the tests themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use base::ClusterId;
use config::{
    Change, Event,
    file::{load, load_mesh_config, watch, watch_mesh},
};
use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    time::{Duration, Instant},
};
use tokio::sync::mpsc::{Receiver, channel};

fn service(name: &str, port: u16) -> String {
    format!("---\napiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\nspec:\n  ports:\n  - {{name: http, port: {port}}}\n")
}

fn show(events: Vec<Event>) -> Vec<String> {
    let one = |event: Event| match event.change {
        Change::Set(istio_api::AnyObject::Service(service)) => format!("set {} {}", service.metadata.name, service.spec.ports[0].port),
        Change::Delete { name, .. } => format!("delete {name}"),
        Change::Findings { source, diagnostics } => format!("{source}: {}", diagnostics.len()),
        Change::Synced => "synced".into(),
        Change::Mesh(mesh) => format!("mesh {}", mesh.trust_domain),
        Change::Networks(networks) => format!("networks {}", networks.networks.len()),
        other => panic!("{other:?}"),
    };
    events.into_iter().map(one).collect()
}

async fn next(batches: &mut Receiver<Vec<Event>>) -> Vec<String> {
    show(tokio::time::timeout(Duration::from_secs(10), batches.recv()).await.expect("no batch came").expect("the watch ended"))
}

fn follow(folder: &Path) -> Receiver<Vec<Event>> {
    let (out, batches) = channel(16);
    let folder = folder.to_path_buf();
    tokio::spawn(async move { watch(&folder, &ClusterId::new("here"), out).await.unwrap() });
    batches
}

#[test]
fn reads_what_counts() {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("b.yml", &service("b", 80));
    write("inside/a.yaml", &service("a", 80));
    write("c.json", r#"{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "c"}, "spec": {"ports": [{"port": 81}]}}"#);
    write("README.md", "kind: [");
    write(".hidden.yaml", "kind: [");
    // A mounted ConfigMap: the visible file is a link through a hidden folder.
    write("mounted/..2026/d.yaml", &service("d", 80));
    std::os::unix::fs::symlink("..2026", folder.path().join("mounted/..data")).unwrap();
    std::os::unix::fs::symlink("..data/d.yaml", folder.path().join("mounted/d.yaml")).unwrap();
    std::os::unix::fs::symlink("..", folder.path().join("inside/loop")).unwrap();
    let events = show(load(folder.path(), &ClusterId::new("here")).unwrap());
    assert_eq!(events, ["set a 80", "set b 80", "set c 81", "set d 80", "synced"]);
    assert!(load(&folder.path().join("missing"), &ClusterId::new("here")).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn follows_every_way_of_saving() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("a.yaml"), service("a", 80)).unwrap();
    let mut batches = follow(folder.path());
    assert_eq!(next(&mut batches).await, ["set a 80", "synced"]);

    let start = Instant::now();
    fs::write(path("a.yaml"), service("a", 81)).unwrap();
    assert_eq!(next(&mut batches).await, ["set a 81"]);
    eprintln!("applied after {:?}", start.elapsed());

    // Renamed into place.
    fs::write(path("a.tmp"), service("a", 82)).unwrap();
    fs::rename(path("a.tmp"), path("a.yaml")).unwrap();
    assert_eq!(next(&mut batches).await, ["set a 82"]);

    // Renamed away and written anew, as vim does; the objects never go.
    fs::rename(path("a.yaml"), path("a.yaml~")).unwrap();
    fs::write(path("a.yaml"), service("a", 83)).unwrap();
    fs::remove_file(path("a.yaml~")).unwrap();
    assert_eq!(next(&mut batches).await, ["set a 83"]);

    // Written but never closed.
    let mut file = File::create(path("b.yaml")).unwrap();
    file.write_all(service("b", 80).as_bytes()).unwrap();
    assert_eq!(next(&mut batches).await, ["set b 80"]);
    drop(file);

    // A new folder, and one that is moved away with its files.
    fs::create_dir(path("inside")).unwrap();
    fs::write(path("inside/c.yaml"), service("c", 80)).unwrap();
    assert_eq!(next(&mut batches).await, ["set c 80"]);
    let elsewhere = tempfile::tempdir().unwrap();
    fs::rename(path("inside"), elsewhere.path().join("inside")).unwrap();
    assert_eq!(next(&mut batches).await, ["delete c"]);

    let start = Instant::now();
    fs::remove_file(path("b.yaml")).unwrap();
    assert_eq!(next(&mut batches).await, ["delete b"]);
    assert!(start.elapsed() >= Duration::from_millis(50));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_made_again_is_followed_again() {
    let above = tempfile::tempdir().unwrap();
    let folder = above.path().join("config");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a.yaml"), service("a", 80)).unwrap();
    let mut batches = follow(&folder);
    assert_eq!(next(&mut batches).await, ["set a 80", "synced"]);
    fs::remove_dir_all(&folder).unwrap();
    assert_eq!(next(&mut batches).await, ["delete a"]);
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a.yaml"), service("a", 81)).unwrap();
    assert_eq!(next(&mut batches).await, ["set a 81"]);
    fs::write(folder.join("a.yaml"), service("a", 82)).unwrap();
    assert_eq!(next(&mut batches).await, ["set a 82"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn follows_a_mounted_config_map() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let publish = |version: &str, port| {
        fs::create_dir(path(version)).unwrap();
        fs::write(path(version).join("a.yaml"), service("a", port)).unwrap();
        std::os::unix::fs::symlink(version, path("..data_tmp")).unwrap();
        fs::rename(path("..data_tmp"), path("..data")).unwrap();
    };
    publish("..1", 80);
    std::os::unix::fs::symlink("..data/a.yaml", path("a.yaml")).unwrap();
    let mut batches = follow(&folder.path().join("./"));
    assert_eq!(next(&mut batches).await, ["set a 80", "synced"]);
    publish("..2", 81);
    assert_eq!(next(&mut batches).await, ["set a 81"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn mesh_settings_come_from_files_or_config_maps_and_bad_ones_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (mesh, networks) = (folder.path().join("mesh.yaml"), folder.path().join("networks.yaml"));
    assert_eq!(load_mesh_config(&mesh).0.trust_domain, "cluster.local");
    let (out, mut batches) = channel(16);
    let paths = (mesh.clone(), networks.clone());
    tokio::spawn(async move { watch_mesh(&paths.0, &paths.1, &ClusterId::new("here"), out).await.unwrap() });
    assert_eq!(next(&mut batches).await, ["mesh cluster.local", "networks 0"]);
    fs::write(&mesh, "trustDomain: one\n").unwrap();
    assert_eq!(next(&mut batches).await, ["mesh one"]);
    let finding = format!("{}: 1", mesh.display());
    // A value that cannot be: what held before holds on, and who starts afresh takes the rest.
    fs::write(&mesh, "trustDomain: three\nconnectTimeout: 100us\n").unwrap();
    assert_eq!(next(&mut batches).await, [finding.as_str()]);
    let (fresh, said) = load_mesh_config(&mesh);
    assert_eq!((fresh.trust_domain.as_str(), fresh.connect_timeout), ("three", load_mesh_config(Path::new("missing")).0.connect_timeout));
    assert_eq!((said[0].field.as_str(), said[0].location.as_ref().unwrap().line), ("connectTimeout", 2));
    fs::write(&mesh, "trustDomain: 1\n").unwrap();
    assert_eq!(next(&mut batches).await, [finding.as_str()]);
    let config_map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio}\ndata:\n  mesh: |\n    trustDomain: two\n    notKnown: 1\n";
    fs::write(&mesh, config_map).unwrap();
    let batch = next(&mut batches).await;
    assert_eq!(batch, ["mesh two", finding.as_str()]);
    assert_eq!(load_mesh_config(&mesh).1[0].location.as_ref().unwrap().line, 7);
    fs::write(&networks, "networks: {n1: {endpoints: [{fromRegistry: c1}], gateways: []}}\n").unwrap();
    assert_eq!(next(&mut batches).await, ["networks 1"]);
}
