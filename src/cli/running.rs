//! Verbs that talk to the running edge, over the admin listener of its own configuration.

use super::File;
use crate::admin::AdminSettings;
use crate::config;
use clap::Args;
use serde::Serialize;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

/// Where the running edge is told something.
#[derive(Args, Clone)]
pub struct Running {
    /// Where its admin listener is, instead of where the file says
    #[arg(long, value_name = "IP:PORT")]
    admin: Option<SocketAddr>,
    #[command(flatten)]
    file: File,
}

impl Running {
    /// `POST`s an order.
    pub fn order(&self, target: &str, order: &impl Serialize) -> ExitCode {
        let body = serde_json::to_string(order).map_err(|e| e.to_string());
        let sent = body.and_then(|body| {
            let sent = self.send("POST", target, &body);
            sent.map_err(Failure::into_why)
        });
        conclude(sent.map(|_| "ok".to_owned()))
    }

    /// `GET`s a page and prints it.
    pub fn page(&self, target: &str) -> ExitCode {
        let page = self.send("GET", target, "").map_err(Failure::into_why);
        conclude(page.map(|page| page.trim_end().to_owned()))
    }

    /// Gives the answer's body.
    pub fn send(&self, method: &str, target: &str, body: &str) -> Result<String, Failure> {
        let admin = self.admin().map_err(Failure::Refused)?;
        send_to(&admin, method, target, body)
    }

    /// `POST`s an order that takes longer than others.
    pub fn order_long(&self, target: &str, patience: Duration) -> Result<String, String> {
        let sent = send_within(patience, &self.admin()?, "POST", target, "{}");
        sent.map_err(Failure::into_why)
    }

    pub fn file(&self) -> &Path {
        &self.file.config
    }

    /// Nothing else of the file matters: it may have been damaged since the edge read it, and the edge
    /// may have variables that this shell has not.
    pub fn admin(&self) -> Result<AdminSettings, String> {
        if let Some(address) = self.admin
            && !self.file().exists()
        {
            let token_file = None;
            return Ok(AdminSettings {
                address,
                token_file,
            });
        }
        let found = config::find_admin(self.file(), &config::environment);
        Ok(AdminSettings {
            address: self
                .admin
                .map_or_else(|| found.address.map_err(or_say), Ok)?,
            token_file: found.token_file?,
        })
    }

    /// Where no file is, what `lakh proxy` has without one.
    pub fn address_or_default(&self) -> Result<SocketAddr, String> {
        match self.admin {
            Some(address) => Ok(address),
            None if !self.file().exists() => Ok(AdminSettings::default().address),
            None => config::find_admin(self.file(), &config::environment)
                .address
                .map_err(or_say),
        }
    }
}

fn or_say(why: String) -> String {
    format!("{why}\nmend that, or say where the edge's admin listener is: --admin IP:PORT")
}

pub fn conclude(said: Result<String, String>) -> ExitCode {
    match said {
        Ok(said) => super::print(&format!("{said}\n")),
        Err(why) => {
            eprintln!("lakh: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Why there is no answer.
pub enum Failure {
    /// Nobody listens there.
    Absent(String),
    Refused(String),
}

impl Failure {
    pub fn into_why(self) -> String {
        match self {
            Failure::Absent(why) | Failure::Refused(why) => why,
        }
    }
}

pub fn send_to(
    admin: &AdminSettings,
    method: &str,
    target: &str,
    body: &str,
) -> Result<String, Failure> {
    send_within(PATIENCE, admin, method, target, body)
}

fn send_within(
    patience: Duration,
    admin: &AdminSettings,
    method: &str,
    target: &str,
    body: &str,
) -> Result<String, Failure> {
    let request = request(admin, method, target, body).map_err(Failure::Refused)?;
    let address = reachable(admin.address);
    let answer = exchange(address, &request, patience).map_err(|e| {
        let why = format!(
            "the edge's admin listener, {address}, does not answer: {e}; an edge that listens elsewhere \
             is found with --admin IP:PORT, and reloads by SIGHUP too"
        );
        Failure::Absent(why)
    })?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    match head.split(' ').nth(1) {
        Some("200") => Ok(body.to_owned()),
        _ => Err(Failure::Refused(format!(
            "the edge refused: {}",
            detail(body)
        ))),
    }
}

/// Of a problem, or all that was said.
fn detail(body: &str) -> String {
    let problem = serde_json::from_str::<serde_json::Value>(body).ok();
    let detail = problem.and_then(|problem| Some(problem.get("detail")?.as_str()?.to_owned()));
    detail.unwrap_or_else(|| body.trim().to_owned())
}

fn request(
    admin: &AdminSettings,
    method: &str,
    target: &str,
    body: &str,
) -> Result<String, String> {
    let authorization = match &admin.token_file {
        None => String::new(),
        Some(file) => {
            let token = fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
            format!("authorization: Bearer {}\r\n", token.trim())
        }
    };
    Ok(format!(
        "{method} {target} HTTP/1.1\r\nhost: lakh\r\nconnection: close\r\n{authorization}\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ))
}

/// Where a listener on all addresses is found from here.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => ([127, 0, 0, 1], v4.port()).into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
            (std::net::Ipv6Addr::LOCALHOST, v6.port()).into()
        }
        address => address,
    }
}

fn exchange(address: SocketAddr, request: &str, patience: Duration) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
