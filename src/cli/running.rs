//! Verbs that talk to the running edge, over the admin listener of its own configuration.

use crate::admin::AdminSettings;
use crate::config;
use serde::Serialize;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

/// `POST`s an order.
pub fn order(path: &Path, target: &str, order: &impl Serialize) -> ExitCode {
    let body = serde_json::to_string(order).map_err(|e| e.to_string());
    let sent = body.and_then(|body| send(path, "POST", target, &body).map_err(Failure::into_why));
    conclude(sent.map(|_| "ok".to_owned()))
}

/// `GET`s a page and prints it.
pub fn page(path: &Path, target: &str) -> ExitCode {
    let page = send(path, "GET", target, "").map_err(Failure::into_why);
    conclude(page.map(|page| page.trim_end().to_owned()))
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

/// To the admin listener of this file; gives the answer's body.
pub fn send(path: &Path, method: &str, target: &str, body: &str) -> Result<String, Failure> {
    let loaded = config::load(path, &config::environment);
    let loaded = loaded.map_err(|errors| Failure::Refused(errors.to_string()))?;
    send_to(&loaded.config.admin, method, target, body)
}

/// `POST`s an order that takes longer than others.
pub fn order_long(path: &Path, target: &str, patience: Duration) -> Result<String, String> {
    let loaded = config::load(path, &config::environment);
    let admin = loaded.map_err(|errors| errors.to_string())?.config.admin;
    let sent = send_within(patience, &admin, "POST", target, "{}");
    sent.map_err(Failure::into_why)
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
        let why = format!("the edge's admin listener, {address}, does not answer: {e}");
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
