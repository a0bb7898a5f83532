//! A real browser: Chromium without a window, told what to do by the DevTools protocol.

use super::{Folder, PATIENCE, eventually};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

/// One page of a browser of its own.
pub struct Browser {
    process: Child,
    commands: ChildStdin,
    messages: Receiver<Value>,
    next: u64,
    session: Option<String>,
    /// What it told without being asked.
    events: Vec<Value>,
    _profile: Folder,
}

const FLAGS: [&str; 12] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--ignore-certificate-errors",
    "--window-size=1400,1000",
    "--remote-debugging-pipe",
];

impl Browser {
    pub fn start() -> Browser {
        let profile = Folder::new();
        // The protocol is spoken on the descriptors 3 and 4.
        let mut process = Command::new("sh")
            .args([
                "-c",
                r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1"#,
                "chromium",
            ])
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh");
        let commands = process.stdin.take().expect("piped");
        let told = BufReader::new(process.stdout.take().expect("piped"));
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            for message in told.split(0).map_while(Result::ok) {
                let message = serde_json::from_slice(&message).expect("JSON");
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser = Browser {
            process,
            commands,
            messages,
            next: 0,
            session: None,
            events: Vec::new(),
            _profile: profile,
        };
        browser.attach();
        browser
    }

    fn attach(&mut self) {
        let target = self.call("Target.createTarget", json!({"url": "about:blank"}));
        let attached = self.call(
            "Target.attachToTarget",
            json!({"targetId": target["targetId"], "flatten": true}),
        );
        self.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            self.call(&format!("{domain}.enable"), json!({}));
        }
    }

    /// Has it do something, and gives the result.
    #[track_caller]
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let mut message = json!({"id": self.next, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let sent = self.commands.write_all(format!("{message}\0").as_bytes());
        sent.expect("Chromium runs; it is of the Debian package `chromium`");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let told = self.messages.recv_timeout(left);
            let told = told.unwrap_or_else(|e| panic!("{method}: no answer of Chromium: {e}"));
            if told["id"] != self.next {
                self.events.push(told);
                continue;
            }
            assert!(told.get("error").is_none(), "{method}: {}", told["error"]);
            return told["result"].clone();
        }
    }

    pub fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({"url": url}));
        let is_there = format!("location.href === {url:?} && document.readyState === 'complete'");
        eventually("the page is loaded", || self.eval(&is_there) == true);
    }

    /// The value of an expression in the page.
    #[track_caller]
    pub fn eval(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let said = self.call("Runtime.evaluate", params);
        let failed = said.get("exceptionDetails");
        assert!(failed.is_none(), "{expression}: {said:#}");
        said["result"]["value"].clone()
    }

    /// What is shown of an element; empty while there is none.
    #[track_caller]
    pub fn text(&mut self, selector: &str) -> String {
        let found = format!("document.querySelector({selector:?})?.innerText ?? ''");
        self.eval(&found).as_str().unwrap_or_default().to_owned()
    }

    /// Presses a key where the focus is: `Enter`, `Tab`.
    pub fn press(&mut self, key: &str, code: u32, text: &str) {
        for kind in ["keyDown", "keyUp"] {
            let params = json!({"type": kind, "key": key, "code": key,
                "windowsVirtualKeyCode": code, "text": if kind == "keyDown" { text } else { "" }});
            self.call("Input.dispatchKeyEvent", params);
        }
    }

    /// Writes where the focus is.
    pub fn write(&mut self, text: &str) {
        self.call("Input.insertText", json!({"text": text}));
    }

    /// Chooses a file in a form.
    pub fn choose(&mut self, selector: &str, file: &Path) {
        let input = format!("document.querySelector({selector:?})");
        let found = self.call("Runtime.evaluate", json!({"expression": input}));
        let object = &found["result"]["objectId"];
        self.call(
            "DOM.setFileInputFiles",
            json!({"files": [file], "objectId": object}),
        );
    }

    /// As PNG.
    pub fn screenshot(&mut self, file: &Path) {
        use base64::Engine;
        let shot = self.call("Page.captureScreenshot", json!({"format": "png"}));
        let data = shot["data"].as_str().expect("base64");
        let engine = base64::engine::general_purpose::STANDARD;
        let png = engine.decode(data).expect("base64");
        std::fs::write(file, png).expect("a file");
    }

    /// Errors of scripts, policies and loads so far.
    pub fn errors(&mut self) -> Vec<String> {
        self.eval("0");
        let is_error = |told: &&Value| match told["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Runtime.consoleAPICalled") => told["params"]["type"] == "error",
            Some("Log.entryAdded") => told["params"]["entry"]["level"] == "error",
            _ => false,
        };
        let errors = self.events.iter().filter(is_error);
        errors.map(|told| format!("{:#}", told["params"])).collect()
    }

    /// What came, by URL: the status and the media type.
    pub fn got(&mut self) -> Vec<(String, Value, Value)> {
        self.eval("0");
        let of = |told: &Value| {
            let answer = &told["params"]["response"];
            let url = answer["url"].as_str()?.to_owned();
            let got = (url, answer["status"].clone(), answer["mimeType"].clone());
            (told["method"] == "Network.responseReceived").then_some(got)
        };
        self.events.iter().filter_map(of).collect()
    }

    /// What it has asked the network for.
    pub fn asked(&mut self) -> Vec<String> {
        self.eval("0");
        let of = |told: &Value| {
            let url = told["params"]["request"]["url"].as_str()?;
            (told["method"] == "Network.requestWillBeSent").then(|| url.to_owned())
        };
        self.events.iter().filter_map(of).collect()
    }

    /// The connections that answers to URLs with this in them came on.
    pub fn connections(&mut self, part: &str) -> BTreeSet<String> {
        self.eval("0");
        let of = |told: &Value| {
            let answer = &told["params"]["response"];
            let fits = answer["url"].as_str().is_some_and(|url| url.contains(part));
            (told["method"] == "Network.responseReceived" && fits)
                .then(|| answer["connectionId"].to_string())
        };
        self.events.iter().filter_map(of).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its other processes end with it.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
