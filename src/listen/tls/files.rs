//! Which files have changed, as far as can be told without reading them.

use std::fs::metadata;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// What tells one state of a file from another: where it is, its length, when it was written. None:
/// it can't be looked at.
type Stamp = Option<(u64, u64, i64, i64)>;

/// Files that are looked at again and again.
#[derive(Debug)]
pub struct Watched {
    files: Vec<PathBuf>,
    /// When they were last read.
    read: Vec<Stamp>,
    /// When they were last looked at.
    seen: Vec<Stamp>,
}

impl Watched {
    /// To be called before they are read.
    pub fn new(files: Vec<PathBuf>) -> Watched {
        let stamps = stamps(&files);
        Watched {
            files,
            read: stamps.clone(),
            seen: stamps,
        }
    }

    /// Whether they are to be read again: they are not as they were then, and haven't changed since
    /// the last look. A certificate and its key are seldom written at once.
    pub fn have_changed(&mut self) -> bool {
        let now = stamps(&self.files);
        let settled = now == self.seen;
        self.seen.clone_from(&now);
        let changed = settled && now != self.read;
        if changed {
            self.read = now;
        }
        changed
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |file: &PathBuf| {
        let data = metadata(file).ok()?;
        Some((data.ino(), data.len(), data.mtime(), data.mtime_nsec()))
    };
    files.iter().map(stamp).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn files_are_read_again_once_they_have_settled() {
        let dir = std::env::temp_dir().join(format!("lakh-watched-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("a folder");
        let (one, two) = (dir.join("one"), dir.join("two"));
        fs::write(&one, "a").expect("written");
        let mut watched = Watched::new(vec![one.clone(), two.clone()]);
        assert!(!watched.have_changed());
        fs::write(&one, "ab").expect("written");
        assert!(!watched.have_changed(), "it may not be all yet");
        fs::write(&two, "new").expect("written");
        assert!(!watched.have_changed(), "nor now");
        assert!(watched.have_changed());
        assert!(!watched.have_changed(), "once is enough");
        fs::remove_file(&two).expect("removed");
        assert!(!watched.have_changed());
        assert!(watched.have_changed());
        fs::remove_dir_all(&dir).expect("removed");
    }
}
