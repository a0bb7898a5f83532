//! `lakh top`: the running edge, looked at once a second.

mod numbers;
mod screen;

use super::running::{self, Failure, Running};
use crate::admin::AdminSettings;
use clap::Args;
use numbers::Sample;
use screen::View;
use serde_json::Value;
use std::io::{IsTerminal, Write, stdout};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_secs(1);
/// Where a terminal doesn't say how large it is.
const USUAL_SIZE: (usize, usize) = (100, 40);

/// Another screen without a cursor, and the one before.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

#[derive(Args)]
pub struct Top {
    /// Print one look and end; as when standard output is no terminal
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    edge: Running,
}

/// What is asked of the edge for one look.
struct Look {
    sample: Sample,
    view: View,
}

impl Top {
    pub fn run(self) -> ExitCode {
        let admin = match self.edge.admin() {
            Ok(admin) => admin,
            Err(why) => return running::conclude(Err(why)),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(e) => return running::conclude(Err(e.to_string())),
        };
        match self.once || !stdout().is_terminal() {
            true => running::conclude(runtime.block_on(once(&admin))),
            false => {
                draw(ENTER);
                let watched = runtime.block_on(watch(&admin));
                draw(LEAVE);
                watched.map_or_else(|why| running::conclude(Err(why)), |()| ExitCode::SUCCESS)
            }
        }
    }
}

/// What happened within one interval.
async fn once(admin: &AdminSettings) -> Result<String, String> {
    let (first, after) = look(admin, 0)?;
    tokio::time::sleep(INTERVAL).await;
    let (second, _) = look(admin, after)?;
    let lines = screen::lines(&first.sample, &second.sample, &second.view);
    Ok(lines.join("\n"))
}

/// Until Ctrl-C. An edge that is away for a while is waited for.
async fn watch(admin: &AdminSettings) -> Result<(), String> {
    let (first, mut after) = look(admin, 0)?;
    let mut before = first.sample;
    loop {
        tokio::select! {
            ended = tokio::signal::ctrl_c() => return ended.map_err(|e| e.to_string()),
            () = tokio::time::sleep(INTERVAL) => {}
        }
        match look(admin, after) {
            Ok((now, next)) => {
                frame(&screen::lines(&before, &now.sample, &now.view));
                (before, after) = (now.sample, next);
            }
            Err(why) => frame(&[why]),
        }
    }
}

/// `after`: requests that were seen already. The number is for the next look.
fn look(admin: &AdminSettings, after: u64) -> Result<(Look, u64), String> {
    let page = |target: &str| {
        let said = running::send_to(admin, "GET", target, "");
        said.map_err(Failure::into_why)
    };
    let json = |target: &str| {
        let said = page(target)?;
        serde_json::from_str::<Value>(&said).map_err(|e| format!("{target}: {e}"))
    };
    let sample = Sample::parse(&page("/metrics")?, Instant::now());
    let requests = json(&format!("/api/v1/requests?after={after}"))?;
    let next = requests["next"].as_u64().unwrap_or(0);
    let view = View {
        status: json("/api/v1/status")?,
        upstreams: json("/api/v1/upstreams")?,
        limits: json("/api/v1/limits")?,
        requests,
    };
    Ok((Look { sample, view }, next))
}

fn frame(lines: &[String]) {
    let (width, height) = size();
    let shown = lines.iter().take(height.saturating_sub(1));
    let text: Vec<String> = shown
        .map(|line| line.chars().take(width).collect::<String>() + "\x1b[K\r\n")
        .collect();
    draw(&format!("\x1b[H{}\x1b[J", text.concat()));
}

/// A terminal that is gone is noticed by the signal that comes with that.
fn draw(text: &str) {
    let mut out = stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Columns and lines of the terminal.
fn size() -> (usize, usize) {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the call fills in the struct that it is given, and nothing else.
    let told = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &mut size) };
    match (told, size.ws_col, size.ws_row) {
        (0, columns, rows) if columns > 0 && rows > 0 => (columns.into(), rows.into()),
        _ => USUAL_SIZE,
    }
}
