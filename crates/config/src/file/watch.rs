//! Joins a folder with the operating system's reports.

use super::{Error, follow::Folder, settle::Report};
use crate::{Change, Event};
use base::ClusterId;
use notify::{
    EventKind, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode, CreateKind, ModifyKind, RenameMode},
};
use std::path::{Path, PathBuf};
use tokio::{
    sync::mpsc,
    time::{Duration, Instant, sleep, sleep_until},
};

/// How often a folder that is gone is looked for.
const RETRY: Duration = Duration::from_millis(250);

/// Reads every `.yaml`, `.yml` and `.json` below `folder`: the objects, what is wrong with them, and [`Change::Synced`].
///
/// Fails only if the folder itself cannot be listed.
pub fn load(folder: &Path, cluster: &ClusterId) -> Result<Vec<Event>, Error> {
    let mut events = Folder::new(folder.to_path_buf(), cluster.clone()).load()?;
    log(&events);
    events.push(Event { cluster: cluster.clone(), change: Change::Synced });
    Ok(events)
}

/// Sends what [`load`] returns as the first batch and then a batch for every settled change, until `out` is closed.
///
/// Fails if the folder cannot be listed or watched. A closed or renamed file is read at once; what is merely written to
/// or removed, after 50 ms of quiet. If the folder itself goes, so do its objects, until it exists again.
pub async fn watch(folder: &Path, cluster: &ClusterId, out: mpsc::Sender<Vec<Event>>) -> Result<(), Error> {
    // Reports name absolute paths.
    let folder = &std::path::absolute(folder).map_err(|source| Error::Folder { path: folder.to_path_buf(), source })?;
    let (reports, mut inbox) = mpsc::unbounded_channel();
    // Before the first reading, so that no change falls between the two.
    let mut watcher = Some(observe(folder, RecursiveMode::Recursive, reports.clone())?);
    let state = Folder::new(folder.clone(), cluster.clone());
    let Some((mut state, first)) = blocking(state, |state| state.load()).await else { return Ok(()) };
    let mut first = first?;
    log(&first);
    first.push(Event { cluster: cluster.clone(), change: Change::Synced });
    if out.send(first).await.is_err() {
        return Ok(());
    }
    loop {
        let next = state.next();
        tokio::select! {
            () = out.closed() => return Ok(()),
            Some(report) = inbox.recv() => {
                let mut lost = note(&mut state, report, folder);
                while let Ok(report) = inbox.try_recv() {
                    lost |= note(&mut state, report, folder);
                }
                if lost {
                    tracing::warn!(folder = %folder.display(), "the folder is gone; it is read again as soon as it exists");
                    watcher = None;
                }
            }
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            () = sleep(RETRY), if watcher.is_none() => {
                watcher = observe(folder, RecursiveMode::Recursive, reports.clone()).ok();
                if watcher.is_some() {
                    state.report(folder.to_path_buf(), Report::Complete, Instant::now());
                }
            }
        }
        if state.next().is_none() {
            continue;
        }
        let Some((back, events)) = blocking(state, |state| state.turn(Instant::now())).await else { return Ok(()) };
        state = back;
        log(&events);
        if !events.is_empty() && out.send(events).await.is_err() {
            return Ok(());
        }
    }
}

/// Runs `work` where it may block; `None` if the process is ending.
async fn blocking<S: Send + 'static, T: Send + 'static>(mut state: S, work: impl FnOnce(&mut S) -> T + Send + 'static) -> Option<(S, T)> {
    tokio::task::spawn_blocking(move || {
        let result = work(&mut state);
        (state, result)
    })
    .await
    .ok()
}

/// Sends the reports of everything at or below `folder`.
pub(super) fn observe(
    folder: &Path,
    mode: RecursiveMode,
    reports: mpsc::UnboundedSender<notify::Result<notify::Event>>,
) -> Result<impl Watcher + use<>, Error> {
    let fail = |source| Error::Watch { path: folder.to_path_buf(), source };
    let send = move |report| {
        // The receiver is dropped when the watch ends.
        let _ = reports.send(report);
    };
    let mut watcher = notify::recommended_watcher(send).map_err(fail)?;
    watcher.watch(folder, mode).map_err(fail)?;
    Ok(watcher)
}

/// What a report of the operating system says of the paths that it names.
pub(super) fn interpret(report: &notify::Event) -> Option<Report> {
    match report.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(Report::Complete),
        EventKind::Modify(ModifyKind::Name(RenameMode::To | RenameMode::Any)) => Some(Report::Complete),
        EventKind::Modify(ModifyKind::Name(RenameMode::From)) | EventKind::Remove(_) => Some(Report::Gone),
        // From and To are reported, too.
        EventKind::Modify(ModifyKind::Name(_)) | EventKind::Access(_) => None,
        // A link is complete; into a new folder files may be written before it is watched, so it waits.
        EventKind::Create(kind) if kind != CreateKind::Folder && report.paths.iter().any(|path| path.is_symlink()) => {
            Some(Report::Complete)
        }
        EventKind::Modify(ModifyKind::Metadata(_)) => Some(Report::Touched),
        EventKind::Create(_) | EventKind::Modify(_) => Some(Report::Written),
        EventKind::Any | EventKind::Other => None,
    }
}

/// Notes a report; true if the folder itself is gone, and the watch of it with it.
fn note(state: &mut Folder, report: notify::Result<notify::Event>, folder: &Path) -> bool {
    let now = Instant::now();
    match report {
        Ok(report) if report.need_rescan() => state.report(folder.to_path_buf(), Report::Complete, now),
        Ok(report) => {
            let meaning = interpret(&report);
            let lost = meaning == Some(Report::Gone) && report.paths.iter().any(|path| path == folder);
            if let Some(meaning) = meaning {
                report.paths.into_iter().for_each(|path: PathBuf| state.report(path, meaning, now));
            }
            return lost;
        }
        Err(error) => tracing::warn!(folder = %folder.display(), %error, "changes below the folder may be missed"),
    }
    false
}

/// Writes the findings to the log.
pub(super) fn log(events: &[Event]) {
    for event in events {
        if let Change::Findings { source, diagnostics } = &event.change {
            for diagnostic in diagnostics {
                tracing::warn!(cluster = %event.cluster, "{diagnostic}");
            }
            if diagnostics.is_empty() {
                tracing::info!(cluster = %event.cluster, "{source}: nothing is wrong any more");
            }
        }
    }
}
