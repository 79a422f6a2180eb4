//! The file source: a folder of YAML and JSON, read once ([`load`]) or followed ([`watch`]).
//!
//! [`FileSet`] is the pure core (contents of files in, events out) and holds all rules; `document` decodes what changed;
//! `scan` says which files count, `settle` when a changed path is read, `follow` joins the three with the file system,
//! and `watch` with the operating system's reports. `mesh` reads the two files of mesh-wide settings.

mod document;
mod error;
mod follow;
mod mesh;
mod scan;
mod set;
mod settle;
mod watch;

pub use error::Error;
pub use mesh::{load_mesh_config, load_mesh_networks, read_mesh_config, read_mesh_networks, watch_mesh};
pub use scan::files_below;
pub use set::{Contents, FileSet, check};
pub use watch::{load, watch};
