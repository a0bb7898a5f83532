//! The highest timeline of each database cluster that a process on this data folder has written to, in a file of the
//! cluster's number. An old primary that comes back while the new one is silent is told by it, also after a restart:
//! what would be written there would be lost.

use super::standing::History;
use std::io::{Error, ErrorKind, Result, Write};
use std::path::{Path, PathBuf};
use std::{fs, sync::Arc};
use tempfile::NamedTempFile;
use tokio::task;

#[derive(Clone)]
pub struct Timelines(Arc<PathBuf>);

impl Timelines {
    pub fn below(data: &Path) -> Self {
        Self(Arc::new(data.join("timelines")))
    }

    /// An error where a primary has that history and another one was promoted since.
    pub async fn admit(&self, history: History) -> Result<()> {
        let timelines = self.clone();
        let admitting = task::spawn_blocking(move || timelines.compare(history));
        admitting.await.map_err(Error::other)?
    }

    fn compare(&self, history: History) -> Result<()> {
        let file = self.0.join(history.cluster.to_string());
        let known = match fs::read_to_string(&file) {
            Ok(text) => text.trim().parse().map_err(Error::other)?,
            Err(error) if error.kind() == ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        if history.timeline < known {
            return Err(Error::other(format!(
                "it is an old primary, on timeline {}, and timeline {known} was written to since; make it a replica, \
                 or remove {} to give that up",
                history.timeline,
                file.display()
            )));
        }
        if history.timeline > known {
            fs::create_dir_all(&*self.0)?;
            let mut written = NamedTempFile::new_in(&*self.0)?;
            writeln!(written, "{}", history.timeline)?;
            written.as_file().sync_all()?;
            written.persist(&file)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_behind_is_refused_after_a_restart_too_and_another_cluster_is_another_matter() {
        let data = tempfile::tempdir().expect("a folder");
        let admits = |cluster, timeline| {
            let history = History { cluster, timeline };
            Timelines::below(data.path()).compare(history).is_ok()
        };
        assert!(admits(7, 1) && admits(7, 1) && admits(7, 16));
        assert!(!admits(7, 1) && !admits(7, 15));
        assert!(admits(8, 1) && admits(7, 16) && admits(7, 17));
        fs::remove_file(data.path().join("timelines/7")).expect("it is there");
        assert!(admits(7, 1));
    }
}
