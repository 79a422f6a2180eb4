//! Rules of the tree that no compiler knows.

use anyhow::{Context, Result};
use istio_api::Kind;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Crates may only depend on crates of lower levels (ARCHITECTURE.md shows the same table).
const LEVELS: &[(u8, &[&str])] = &[
    (0, &["base", "xds-api", "observability"]),
    (1, &["istio-api", "xds-wire", "incremental"]),
    (2, &["validation", "envoy", "ads", "simulation", "ca"]),
    (3, &["config", "inject", "manifests"]),
    (4, &["registry", "jwks", "kube-source", "webhook"]),
    (5, &["gateway-api"]),
    (6, &["model"]),
    (7, &["xds", "analysis"]),
    (8, &["istiod", "istioctl", "agent", "ads-load", "shop"]),
    // Tests may use everything, and nothing that ships may use them.
    (9, &["testkit"]),
];

/// Crates that read the environment: the edge, where settings are parsed once, and what only tests or measures.
const READ_ENVIRONMENT: &[&str] = &["istiod/", "crates/istioctl/", "crates/agent/", "crates/shop/", "crates/ads-load/", "crates/testkit/"];

const LONGEST_FILE: usize = 800;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The files that git has, or would have with the next commit.
fn files(ending: &str) -> Result<Vec<(String, String)>> {
    let output = Command::new("git").args(["ls-files", "--cached", "--others", "--exclude-standard"]).current_dir(root()).output()?;
    let names = String::from_utf8(output.stdout)?;
    let names = names.lines().filter(|name| name.ends_with(ending) && root().join(name).is_file());
    let mut files = Vec::new();
    for name in names {
        // What is not text has no rules.
        if let Ok(text) = fs::read_to_string(root().join(name)) {
            files.push((name.to_owned(), text));
        }
    }
    assert!(!files.is_empty(), "git knows no file that ends with {ending:?}");
    Ok(files)
}

fn none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

#[test]
fn crates_depend_on_lower_levels_only() -> Result<()> {
    let level: BTreeMap<&str, u8> = LEVELS.iter().flat_map(|(level, names)| names.iter().map(|name| (*name, *level))).collect();
    let mut wrong = Vec::new();
    for (name, text) in files("Cargo.toml")?.into_iter().filter(|(name, _)| name != "Cargo.toml") {
        let package = text.lines().find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"')).context("a package without name")?;
        let Some(own) = level.get(package) else {
            wrong.push(format!("{name}: {package} has no level; give it one in this test and in ARCHITECTURE.md"));
            continue;
        };
        let mut section = "";
        for line in text.lines() {
            if line.starts_with('[') {
                section = line;
                continue;
            }
            let dependency = line.split(['.', ' ', '=']).next().unwrap_or_default();
            // A test of a crate may use what is above it.
            let counts = section.contains("dependencies") && !section.contains("dev-dependencies");
            if counts && level.get(dependency).is_some_and(|other| other >= own) {
                wrong.push(format!("{name}: {package} (level {own}) may not depend on {dependency}"));
            }
        }
    }
    none("dependencies that do not point downwards", &wrong);
    Ok(())
}

#[test]
fn files_are_short_enough_to_read() -> Result<()> {
    let long = files(".rs")?.into_iter().filter(|(_, text)| text.lines().count() > LONGEST_FILE);
    none("files of more than 800 lines", &long.map(|(name, text)| format!("{name}: {}", text.lines().count())).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn every_source_file_is_in_a_module() -> Result<()> {
    let all = files(".rs")?;
    let mut lost = Vec::new();
    for (name, _) in &all {
        let path = Path::new(name);
        let (stem, folder) = (path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default(), path.parent().unwrap_or(path));
        let is_root = |folder: &Path| folder.ends_with("src/bin") || folder.ends_with("tests") || folder.ends_with("benches");
        let is_target = matches!(stem, "lib" | "main" | "build") || (stem != "mod" && is_root(folder));
        if is_target || folder.starts_with("fuzz") {
            continue;
        }
        let (module, parent) = match stem {
            "mod" => (folder.file_name().and_then(|name| name.to_str()).unwrap_or_default(), folder.parent().unwrap_or(folder)),
            stem => (stem, folder),
        };
        let declares = |text: &str| text.lines().any(|line| line.trim().trim_end_matches(';').ends_with(&format!("mod {module}")));
        // Its parent is a file in the same folder, or the file called as the folder.
        let beside = parent.with_extension("rs");
        let declared = all.iter().any(|(other, text)| {
            let other_path = Path::new(other);
            (other_path.parent() == Some(parent) || other_path == beside) && declares(text)
        });
        if !declared {
            lost.push(name.clone());
        }
    }
    none("files that no `mod` names, so that nothing compiles them", &lost);
    Ok(())
}

#[test]
fn every_kind_is_validated() -> Result<()> {
    let table = fs::read_to_string(root().join("crates/validation/src/lib.rs"))?;
    let missing = Kind::ALL.iter().filter(|kind| !kind.is_kubernetes()).map(|kind| kind.as_str());
    let missing = missing.filter(|kind| !table.contains(&format!("AnyObject::{kind}(")));
    none("kinds without a line in crates/validation/src/lib.rs", &missing.map(str::to_owned).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn the_environment_is_read_at_the_edge_only() -> Result<()> {
    let reading = files(".rs")?.into_iter().filter(|(name, text)| {
        let allowed =
            READ_ENVIRONMENT.iter().any(|place| name.starts_with(place)) || name.ends_with("build.rs") || name.contains("/tests/");
        !allowed && (text.contains("env::var") || text.contains("env::vars"))
    });
    none("environment variables read outside of the settings", &reading.map(|(name, _)| name).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn no_file_names_a_place_on_one_machine() -> Result<()> {
    // Put together here, so that this file does not name them either.
    let places: Vec<String> = ["work/", "root/", "home/", "Users/"].iter().map(|place| format!("/{place}")).collect();
    let mut found = Vec::new();
    for (name, text) in files("")?.into_iter().filter(|(name, _)| !name.ends_with(".lock")) {
        for (number, line) in text.lines().enumerate() {
            let named = places.iter().any(|place| line.match_indices(place.as_str()).any(|(at, _)| is_start_of_path(line, at)));
            if named {
                found.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    none("paths of one machine", &found);
    Ok(())
}

/// Whether the path that begins at `at` is absolute, rather than the end of another or of a URL.
fn is_start_of_path(line: &str, at: usize) -> bool {
    line.get(..at).and_then(|before| before.chars().last()).is_none_or(|before| matches!(before, ' ' | '"' | '\'' | '`' | '=' | ':' | '('))
}

#[test]
fn every_case_has_a_purpose_and_something_to_check() -> Result<()> {
    let cases = testkit::case::all()?;
    let idle = cases.iter().filter(|case| {
        let prints = !matches!(&case.file.print, testkit::projection::Print::Some(selections) if selections.is_empty());
        case.file.purpose.trim().is_empty() || (case.calls.is_empty() && case.load.is_empty() && !prints && case.file.findings.is_empty())
    });
    none("cases that check nothing", &idle.map(|case| case.name.clone()).collect::<Vec<_>>());
    Ok(())
}
