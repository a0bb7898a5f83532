//! `lakh fmt`: files as most would write them, comments included.

use crate::config;
use clap::Args;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Args)]
pub struct Fmt {
    /// The files
    #[arg(default_value = "lakh.yaml")]
    files: Vec<PathBuf>,
    /// Change nothing; name the files that would change, and fail if there are any
    #[arg(long)]
    check: bool,
}

impl Fmt {
    pub fn run(self) -> ExitCode {
        let (mut changed, mut failed) = (0, false);
        for file in &self.files {
            match format(file, self.check) {
                Ok(false) => {}
                Ok(true) => {
                    changed += 1;
                    println!("{}", file.display());
                }
                Err(why) => {
                    failed = true;
                    eprintln!("lakh: {why}");
                }
            }
        }
        match failed || self.check && changed > 0 {
            true => ExitCode::FAILURE,
            false => ExitCode::SUCCESS,
        }
    }
}

/// Whether it was, or would be, another text.
fn format(file: &Path, only_look: bool) -> Result<bool, String> {
    let name = file.display().to_string();
    let text = fs::read_to_string(file).map_err(|e| format!("{name} cannot be read: {e}"))?;
    let formatted = config::format(&text, &name).map_err(|errors| errors.to_string())?;
    if formatted == text {
        return Ok(false);
    }
    if !only_look {
        replace(file, &formatted).map_err(|e| format!("{name} cannot be written: {e}"))?;
    }
    Ok(true)
}

/// Whole or not at all: whoever reads it meanwhile reads one of the two. Links stay links.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    let file = fs::canonicalize(file)?;
    let mut beside = file.clone().into_os_string();
    beside.push(format!(".{}.new", std::process::id()));
    let beside = PathBuf::from(beside);
    let written = fs::File::create_new(&beside).and_then(|mut new| {
        new.set_permissions(fs::metadata(&file)?.permissions())?;
        new.write_all(text.as_bytes())?;
        new.sync_all()?;
        fs::rename(&beside, &file)
    });
    written.inspect_err(|_| drop(fs::remove_file(&beside)))
}
