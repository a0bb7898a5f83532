//! What can be set, from the command line or the environment.

use crate::domain::user::Role;
use crate::processing::service_url;
use crate::redis;
use crate::shards;
use crate::storage::Place;
use clap::{Parser, Subcommand, ValueEnum};
use lettre::message::Mailbox;
use std::{net::IpAddr, path::PathBuf, time::Duration};

/// A neighbourhood lending application: people, listings, photos, bookings, payments, issues, tasks.
///
/// Any number of processes may share one data folder; each needs a port of its own. At the first
/// start on an empty folder it makes demonstration data, whose photos come while it listens. SIGTERM
/// and SIGINT finish open requests and end it.
#[derive(Parser)]
#[command(version, mut_args(|argument| argument.global(true)))]
pub struct Settings {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    pub host: IpAddr,

    /// Port to listen on; 0 takes a free one, which the log names
    #[arg(long, env = "PORT", default_value_t = 9001)]
    pub port: u16,

    /// PostgreSQL's URL, as postgres://user:password@host/name; without one, SQLite in the data folder. Across a
    /// network add ?sslmode=verify-full, and &sslrootcert=file where the system does not know its authority
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub database: Option<String>,

    /// A replica of it, to read from; any number, each of which may become the primary
    #[arg(
        long = "replica",
        env = "DATABASE_REPLICAS",
        hide_env_values = true,
        value_name = "URL",
        value_delimiter = ',',
        requires = "database"
    )]
    pub replicas: Vec<String>,

    /// Where what belongs to devices is, their messages and requests: a range of their names and a database, as
    /// a..m=postgres://host/name, m..=sqlite:///file or ..a=main, which is the database that has everything else; any
    /// number, which together have every name once. Without one, all of it is in the main database
    #[arg(
        long = "shard",
        env = "LAKH_ORIGIN_SHARDS",
        hide_env_values = true,
        value_name = "RANGE=URL",
        value_delimiter = ','
    )]
    pub shards: Vec<shards::Place>,

    /// A replica of a shard, to read from: the shard's range, and the replica's URL; any number, each of which may
    /// become the primary
    #[arg(
        long = "shard-replica",
        env = "LAKH_ORIGIN_SHARD_REPLICAS",
        hide_env_values = true,
        value_name = "RANGE=URL",
        value_delimiter = ',',
        requires = "shards"
    )]
    pub shard_replicas: Vec<shards::Place>,

    /// Redis' URL, as redis://host:6379, by which the hubs of several processes wake each other at once
    /// instead of within half a second, and which may have the sessions
    #[arg(
        long,
        env = "REDIS_URL",
        hide_env_values = true,
        value_name = "URL",
        value_parser = redis::checked
    )]
    pub redis: Option<String>,

    /// Who stores large files, as 70=s3://bucket/folder?endpoint=https://host, with the weight that its share
    /// follows from; any number, also of 20=file:///folder and 10=memory:///. What the query doesn't say is said
    /// by AWS's environment variables. What one has lost is copied anew from another one, sixty chunks of 10 MiB a
    /// minute being looked after; leave out one that is gone for good. Without any, they are in the folder `files`
    #[arg(
        long,
        env = "LAKH_ORIGIN_STORAGE",
        hide_env_values = true,
        value_name = "WEIGHT=URL",
        value_delimiter = ','
    )]
    pub storage: Vec<Place>,

    /// Where sessions are. In Redis the database isn't asked for them with each request; where Redis forgets them
    /// people sign in again
    #[arg(
        long,
        env = "LAKH_ORIGIN_SESSIONS",
        default_value = "database",
        requires_if("redis", "redis")
    )]
    pub sessions: Sessions,

    /// An OpenAI-compatible service that answers what devices ask, as https://host/v1; without one,
    /// built-in rules do
    #[arg(
        long,
        env = "LAKH_ORIGIN_PROCESSOR",
        value_name = "URL",
        value_parser = service_url
    )]
    pub processor: Option<String>,

    /// The model to ask there
    #[arg(
        long,
        env = "LAKH_ORIGIN_MODEL",
        default_value = "default",
        value_name = "NAME"
    )]
    pub model: String,

    /// The key to it; rather by the environment, where others don't see it
    #[arg(
        long,
        env = "LAKH_ORIGIN_MODEL_KEY",
        hide_env_values = true,
        value_name = "KEY"
    )]
    pub model_key: Option<String>,

    /// The mail server by which people are written, as smtp://user:password@host:587?tls=required or
    /// smtps://host; without one, letters are put in the folder `mail` beside the photos
    #[arg(
        long,
        env = "LAKH_ORIGIN_MAIL",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub mail: Option<String>,

    /// Who writes them
    #[arg(
        long,
        env = "LAKH_ORIGIN_MAIL_FROM",
        default_value = "Lakh <lakh@localhost>",
        value_name = "E-MAIL"
    )]
    pub mail_from: Mailbox,

    /// Folder for the database, the photos and the signing secret; created when missing. A file that is put in
    /// `requests/<device>` there, whole or under a name with a dot in front until it is, is a request of that device
    #[arg(
        long,
        env = "LAKH_ORIGIN_DATA",
        default_value = "data",
        value_name = "FOLDER"
    )]
    pub data: PathBuf,

    /// How tokens are signed: by a secret that is shared with the edge (hs256), or by a key whose public
    /// half is at /.well-known/jwks.json (eddsa)
    #[arg(long, env = "LAKH_ORIGIN_TOKENS", default_value = "hs256")]
    pub tokens: Signing,

    /// Whether to make demonstration data, once per data folder
    #[arg(long, env = "LAKH_ORIGIN_DEMO", default_value = "on")]
    demo: Demo,

    /// Seconds until a job is taken from a worker that went silent, and done by another one
    #[arg(long, env = "LAKH_ORIGIN_LEASE", default_value_t = 20, value_name = "SECONDS",
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    lease: u64,

    /// Seconds for which a finished job is kept, and an answered request; by default a week. Dead ones are kept until
    /// somebody replays them
    #[arg(long, env = "LAKH_ORIGIN_KEEP_JOBS", default_value_t = 604_800, value_name = "SECONDS",
          value_parser = clap::value_parser!(u64).range(1..=315_360_000))]
    keep_jobs: u64,

    /// Days for which it is kept who changed what
    #[arg(long, env = "LAKH_ORIGIN_KEEP_AUDIT", default_value_t = 365, value_name = "DAYS",
          value_parser = clap::value_parser!(u64).range(1..=36_500))]
    keep_audit: u64,

    /// Only give somebody a role (member, staff or admin), as staff=ada@example.org, and end
    #[arg(long, value_name = "ROLE=E-MAIL", value_parser = grant)]
    pub grant: Option<(Role, String)>,

    /// The same as --demo off
    #[arg(long)]
    no_demo: bool,

    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Instead of serving.
#[derive(Subcommand)]
pub enum Command {
    /// Write all that is in the database and its shards to a file, while they are in use or not. The photos and the
    /// secrets are files in the data folder
    Backup { file: PathBuf },

    /// Read such a file into empty databases, of the same kinds or others; shards are to have the ranges that
    /// they had then
    Restore { file: PathBuf },

    /// Move what belongs to devices to the shards that the settings name now, and what was noted on former ones to the
    /// main database, while no process serves
    Reshard {
        /// URLs of databases that were shards, and are none any more
        former: Vec<String>,
    },
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub enum Sessions {
    Database,
    Redis,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Signing {
    Hs256,
    Eddsa,
}

#[derive(Clone, PartialEq, ValueEnum)]
enum Demo {
    On,
    Off,
}

impl Settings {
    pub fn lease(&self) -> Duration {
        Duration::from_secs(self.lease)
    }

    pub fn keep_jobs(&self) -> Duration {
        Duration::from_secs(self.keep_jobs)
    }

    pub fn keep_audit(&self) -> Duration {
        Duration::from_secs(self.keep_audit * 86_400)
    }

    pub fn wants_demo(&self) -> bool {
        self.demo == Demo::On && !self.no_demo
    }
}

fn grant(text: &str) -> Result<(Role, String), String> {
    let read = text.split_once('=').and_then(|(role, email)| {
        let role = role.parse().ok()?;
        Some((role, email.to_lowercase()))
    });
    read.ok_or_else(|| "write staff=ada@example.org, or admin=… or member=…".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn read(arguments: &[&str]) -> Result<Settings, String> {
        let arguments = [&["lakh-origin"], arguments].concat();
        Settings::try_parse_from(arguments).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_set_counts_before_and_after_a_command() {
        Settings::command().debug_assert();
        for arguments in [
            ["--data", "here", "backup", "file"],
            ["backup", "--data", "here", "file"],
            ["backup", "file", "--data", "here"],
        ] {
            let settings = read(&arguments).expect("it is read");
            assert_eq!(settings.data, PathBuf::from("here"));
            assert!(
                matches!(settings.command, Some(Command::Backup { file }) if file.ends_with("file"))
            );
        }
        let places = [
            "--shard",
            "..m=main",
            "reshard",
            "--shard",
            "m..=main",
            "sqlite:///x",
        ];
        let database = "postgres://host/name";
        let replica = ["reshard", "--database", database, "--replica", database];
        assert_eq!(read(&replica).expect("it is read").replicas, [database]);
        assert!(read(&places).is_ok());
    }

    #[test]
    fn addresses_of_another_kind_are_refused() {
        for (name, good, wrong) in [
            (
                "--redis",
                "redis://:secret@host:6379/1",
                ["http://x", "rediss://host", "nonsense"],
            ),
            (
                "--processor",
                "https://host/v1",
                ["nonsense", "ftp://host/v1", "http://"],
            ),
        ] {
            assert!(read(&[name, good]).is_ok(), "{good}");
            for wrong in wrong {
                let said = read(&[name, wrong]).err().expect("it is refused");
                assert!(said.contains("write it as"), "{said}");
            }
        }
    }
}
