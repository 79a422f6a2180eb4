//! Paths as Envoy makes them before any filter sees them.

use xds_api::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, http_connection_manager::PathWithEscapedSlashesAction,
};

/// The path with its query, normalized as the connection manager says (`path_normalizer`).
pub fn normalized(manager: &HttpConnectionManager, path: &str) -> String {
    let (path, query) = path.split_at(path.find(['?', '#']).unwrap_or(path.len()));
    let mut path = path.to_owned();
    if manager.path_with_escaped_slashes_action == i32::from(PathWithEscapedSlashesAction::UnescapeAndForward) {
        for (escaped, character) in [("%2F", "/"), ("%2f", "/"), ("%5C", "\\"), ("%5c", "\\")] {
            path = path.replace(escaped, character);
        }
    }
    if manager.normalize_path.is_some_and(|value| value.value) {
        path = without_dots(&path.replace('\\', "/"));
    }
    if manager.merge_slashes {
        while path.contains("//") {
            path = path.replace("//", "/");
        }
    }
    path + query
}

/// `.` and `..` are resolved (RFC 3986, 5.2.4).
fn without_dots(path: &str) -> String {
    let mut out: Vec<&str> = Vec::new();
    let mut elements = path.split('/').skip(1).peekable();
    while let Some(element) = elements.next() {
        let last = elements.peek().is_none();
        match element {
            "." => {}
            ".." => drop(out.pop()),
            _ => {
                out.push(element);
                continue;
            }
        }
        if last {
            out.push("");
        }
    }
    format!("/{}", out.join("/"))
}
