//! A folder that outlives the edges that use it, and goes with the test.

use super::edge::fresh_folder;
use std::path::{Path, PathBuf};

pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        Folder(fresh_folder())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// All files in it, at any depth.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut folders = vec![self.0.clone()];
        let mut files = Vec::new();
        while let Some(folder) = folders.pop() {
            let entries = std::fs::read_dir(&folder).expect("a folder can be read");
            for path in entries.map(|entry| entry.expect("an entry").path()) {
                match path.is_dir() {
                    true => folders.push(path),
                    false => files.push(path),
                }
            }
        }
        files
    }

    /// Bytes that its files take.
    pub fn size(&self) -> u64 {
        let length = |path: PathBuf| std::fs::metadata(path).map_or(0, |m| m.len());
        self.files().into_iter().map(length).sum()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left in the temporary folder harms nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
