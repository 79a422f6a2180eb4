//! What the file source makes of contents that come, break, move and go.

// Helpers of tests may panic like the tests themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use base::{ClusterId, Level};
use config::{
    Change,
    file::{Contents, FileSet},
};

fn service(name: &str, port: u16) -> String {
    format!("---\napiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\nspec:\n  ports:\n  - {{name: http, port: {port}}}\n")
}

struct Files(FileSet);

impl Files {
    fn new() -> Self {
        Self(FileSet::new(ClusterId::new("here")))
    }

    fn apply(&mut self, changes: &[(&str, Contents)]) -> Vec<String> {
        let events = self.0.apply(changes.iter().map(|(file, contents)| ((*file).into(), contents.clone())));
        events.into_iter().map(|event| show(event.change)).collect()
    }

    fn write(&mut self, file: &str, text: &str) -> Vec<String> {
        self.apply(&[(file, Contents::Bytes(text.into()))])
    }
}

/// `set a 80`, `delete a`, `a.yaml: 3 DuplicateObject …`
fn show(change: Change) -> String {
    match change {
        Change::Set(istio_api::AnyObject::Service(service)) => format!("set {} {}", service.metadata.name, service.spec.ports[0].port),
        Change::Delete { name, .. } => format!("delete {name}"),
        Change::Findings { source, diagnostics } => {
            assert!(diagnostics.iter().all(|d| d.level == Level::Error));
            let lines = diagnostics.iter().map(|d| format!("{} {}", d.location.as_ref().unwrap().line, d.code));
            format!("{source}: {}", lines.collect::<Vec<_>>().join(", "))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_what_changed_is_said() {
    let mut files = Files::new();
    assert_eq!(files.write("a.yaml", &(service("a", 80) + &service("b", 80))), ["set a 80", "set b 80"]);
    assert_eq!(files.write("a.yaml", &(service("a", 80) + "# moved\n" + &service("b", 81))), ["set b 81"]);
    assert_eq!(files.write("a.yaml", &service("b", 81)), ["delete a"]);
    assert_eq!(files.apply(&[("a.yaml", Contents::Removed)]), ["delete b"]);
    assert!(files.0.files_below("").is_empty());
}

#[test]
fn a_broken_document_keeps_what_no_good_one_names() {
    let mut files = Files::new();
    files.write("a.yaml", &(service("a", 80) + &service("b", 80) + &service("c", 80)));
    let broken = service("a", 80).replace("name: a", "name: [a");
    let findings = files.write("a.yaml", &(broken.clone() + &service("b", 81)));
    assert_eq!(findings.first().map(String::as_str), Some("set b 81"));
    assert!(findings[1].contains("SyntaxError"), "{findings:?}");
    // Mended: what no document names any more goes.
    assert_eq!(files.write("a.yaml", &(service("a", 82) + &service("b", 81))), ["set a 82", "delete c", "a.yaml: "]);
}

#[test]
fn a_bad_object_keeps_its_former_version_and_only_that() {
    let mut files = Files::new();
    files.write("a.yaml", &(service("a", 80) + &service("b", 80)));
    let bad = service("a", 80).replace("port: 80", "port: http");
    assert_eq!(files.write("a.yaml", &bad), ["delete b", "a.yaml: 8 InvalidObject"]);
    // Bad from the start: there is nothing to keep.
    assert_eq!(files.write("c.yaml", &bad.replace("name: a", "name: c")), ["c.yaml: 8 InvalidObject"]);
    assert_eq!(files.apply(&[("a.yaml", Contents::Removed)]), ["delete a", "a.yaml: "]);
}

#[test]
fn the_first_of_two_wins_and_gives_way_to_the_other() {
    let mut files = Files::new();
    assert_eq!(files.write("b.yaml", &service("a", 81)), ["set a 81"]);
    assert_eq!(files.write("a.yaml", &service("a", 80)), ["set a 80", "b.yaml: 2 DuplicateObject"]);
    assert_eq!(files.write("b.yaml", &service("a", 82)), [""; 0]);
    assert_eq!(files.apply(&[("a.yaml", Contents::Removed)]), ["set a 82", "b.yaml: "]);
    assert_eq!(files.write("b.yaml", &(service("a", 82) + &service("a", 83))), ["b.yaml: 10 DuplicateObject"]);
}

#[test]
fn a_renamed_file_is_no_deletion() {
    let mut files = Files::new();
    files.write("a.yaml", &service("a", 80));
    assert_eq!(files.apply(&[("a.yaml", Contents::Vanished)]), [""; 0]);
    assert_eq!(files.write("b.yaml", &service("a", 80)), [""; 0]);
    assert_eq!(files.apply(&[("a.yaml", Contents::Removed)]), [""; 0]);
    assert_eq!(files.write("b.yaml", &service("a", 81)), ["set a 81"]);
}

#[test]
fn what_cannot_be_read_keeps_its_objects() {
    let mut files = Files::new();
    files.write("a.yaml", &service("a", 80));
    assert_eq!(files.apply(&[("a.yaml", Contents::Unreadable("cannot be read".into()))]), ["a.yaml: 1 UnreadableFile"]);
    assert_eq!(files.apply(&[("a.yaml", Contents::Bytes(vec![0xff, 0xfe]))]), ["a.yaml: 1 UnreadableFile"]);
    assert_eq!(files.write("a.yaml", &service("a", 80)), ["a.yaml: "]);
}
