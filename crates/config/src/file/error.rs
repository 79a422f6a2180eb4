//! What can fail for good in the file source; a bad file is no failure but a diagnostic.

use std::path::PathBuf;

/// Why a folder cannot be read or watched.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder does not exist, is no folder or may not be listed.
    #[error("cannot read the folder {}: {source}; it must exist and be readable", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The operating system refuses to watch.
    #[error("cannot watch {}: {source}; if the limit of watches is reached, raise fs.inotify.max_user_watches", path.display())]
    Watch {
        /// The folder.
        path: PathBuf,
        /// What the operating system says.
        source: notify::Error,
    },
}
