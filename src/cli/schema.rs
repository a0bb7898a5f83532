//! `lakh schema`: what editors complete and check a configuration by.

use crate::config;
use std::process::ExitCode;

pub fn schema() -> ExitCode {
    println!("{:#}", config::schema());
    ExitCode::SUCCESS
}
