//! Generates the crate: finds Envoy's .proto files in the locked `envoy-types` crate, compiles those of protos.txt and
//! what they import, and writes Rust types, one encode/decode implementation per message and the descriptor set.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use cargo_metadata::{Metadata, MetadataCommand};
use prost_build::Config;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};
use protox::prost_reflect::prost_types::FileDescriptorSet;

/// The crate that carries the .proto files.
const PROTO_CRATE: &str = "envoy-types";

/// The roots inside that crate's `proto` folder.
const PROTO_ROOTS: [&str; 7] =
    ["data-plane-api", "xds", "googleapis", "protoc-gen-validate", "cel-spec/proto", "opentelemetry-proto", "client_model"];

/// Files that only define options: no message refers to them, so no Rust is generated. They stay in the descriptor set.
const OPTION_FILES: [&str; 7] = [
    "google/protobuf/descriptor.proto",
    "google/api/annotations.proto",
    "validate/",
    "envoy/annotations/",
    "udpa/annotations/",
    "xds/annotations/",
    "envoy/extensions/filters/common/dependency/",
];

fn main() -> Result<(), Box<dyn Error>> {
    let crate_dir = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
    let own_protos = crate_dir.join("../../proto");
    // Not Cargo.lock: it changes with every dependency of the workspace, and the version is pinned in Cargo.toml.
    for path in ["build.rs", "protos.txt", "Cargo.toml", "../../proto"] {
        println!("cargo::rerun-if-changed={path}");
    }

    let envoy_protos = proto_folder(&crate_dir)?;
    let mut resolver = ChainFileResolver::new();
    PROTO_ROOTS.iter().map(|root| envoy_protos.join(root)).chain([own_protos]).for_each(|root| resolver.add(Qualified(root)));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).open_files(root_files(&crate_dir.join("protos.txt"))?)?;

    // Encoded by protox, not from the typed set: only so are the validation rules (options) kept.
    fs::write(out_dir.join("descriptor_set.bin"), compiler.encode_file_descriptor_set())?;
    let mut files = compiler.file_descriptor_set();
    files.file.retain(|file| !OPTION_FILES.iter().any(|prefix| file.name().starts_with(prefix)));
    fs::write(out_dir.join("wire_impls.rs"), wire_impls(&files)?)?;
    Config::new()
        .btree_map(["."])
        .bytes([".google.protobuf.Any.value"])
        .compile_well_known_types()
        .enable_type_names()
        .type_name_domain(["."], "type.googleapis.com")
        .include_file("modules.rs")
        .format(false)
        .compile_fds(files)?;
    Ok(())
}

/// A folder of .proto files in which names relative to `envoy.extensions` are written out.
///
/// Some files say `common.ratelimit.v3` for `envoy.extensions.common.ratelimit.v3`. protoc looks for it among a file's own
/// imports only; protox looks at all files, and finds `envoy.extensions.filters.common` first.
struct Qualified(PathBuf);

impl FileResolver for Qualified {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        let source = fs::read_to_string(self.0.join(name)).map_err(|_| protox::Error::file_not_found(name))?;
        let relative = ["common.dynamic_forward_proxy.v3.", "common.ratelimit.v3."];
        let source = relative.iter().fold(source, |source, name| {
            [" ", "<", "("]
                .iter()
                .fold(source, |source, before| source.replace(&format!("{before}{name}"), &format!("{before}.envoy.extensions.{name}")))
        });
        File::from_source(name, &source)
    }
}

/// The `proto` folder of the locked `envoy-types` crate.
fn proto_folder(crate_dir: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let metadata = metadata(&crate_dir.join("Cargo.toml"))?;
    let package = metadata
        .packages
        .iter()
        .find(|package| package.name.as_str() == PROTO_CRATE)
        .ok_or_else(|| format!("{PROTO_CRATE} is not in the dependency graph; xds-api/Cargo.toml must declare it"))?;
    let manifest = package.manifest_path.as_std_path();
    Ok(manifest.parent().unwrap_or(manifest).join("proto"))
}

/// The dependency graph of all platforms (`envoy-types` belongs to none). Offline when everything is downloaded, else with
/// the registry; without `--locked` last, for a working copy whose lock file is behind its manifests.
fn metadata(manifest: &Path) -> Result<Metadata, cargo_metadata::Error> {
    let with = |options: &[&str]| {
        let options = options.iter().map(|option| (*option).to_owned()).collect::<Vec<_>>();
        MetadataCommand::new().manifest_path(manifest).other_options(options).exec()
    };
    with(&["--locked", "--offline"]).or_else(|_| with(&["--locked"])).or_else(|_| with(&[]))
}

/// The file names in `list`, without blank lines and comments.
fn root_files(list: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let text = fs::read_to_string(list)?;
    Ok(text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect())
}

/// One `wire!` line for each top-level message. Nested messages are only ever parts of these.
fn wire_impls(files: &FileDescriptorSet) -> Result<String, std::fmt::Error> {
    use heck::{ToSnakeCase, ToUpperCamelCase};
    let mut lines = String::new();
    for file in &files.file {
        let module = file.package().split('.').map(|part| match part {
            "type" | "match" => format!("r#{part}"),
            part => part.to_snake_case(),
        });
        let module = module.collect::<Vec<_>>().join("::");
        for message in &file.message_type {
            let (package, name) = (file.package(), message.name());
            writeln!(lines, "wire!(crate::{module}::{}, \"type.googleapis.com/{package}.{name}\");", name.to_upper_camel_case())?;
        }
    }
    Ok(lines)
}
