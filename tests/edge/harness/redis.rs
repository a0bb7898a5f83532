//! A real Redis, for one test alone. It writes nothing to disk, and dies with the test.

use super::{eventually, ports};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub struct Redis {
    pub address: SocketAddr,
    child: Child,
}

/// An answer: nothing, text or a number, or several of them.
#[derive(Debug, PartialEq)]
pub enum Said {
    Nothing,
    Text(Vec<u8>),
    Many(Vec<Said>),
}

impl Redis {
    pub fn start() -> Redis {
        Redis::start_on(ports::free_address())
    }

    pub fn start_on(address: SocketAddr) -> Redis {
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &address.port().to_string()])
            .args(["--save", "", "--appendonly", "no", "--dir", "/tmp"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("can't start redis-server: {e}"));
        let redis = Redis { address, child };
        eventually("redis answers", || redis.try_say(&[b"PING"]).is_ok());
        redis
    }

    /// For `$redis` in an edge's configuration.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    #[track_caller]
    pub fn say(&self, words: &[&[u8]]) -> Said {
        self.try_say(words).expect("redis answers")
    }

    fn try_say(&self, words: &[&[u8]]) -> io::Result<Said> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut wire = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            wire.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            wire.extend_from_slice(word);
            wire.extend_from_slice(b"\r\n");
        }
        stream.write_all(&wire)?;
        read(&mut BufReader::new(stream))
    }

    /// Keys of records, without the streams.
    pub fn records(&self) -> Vec<Vec<u8>> {
        let Said::Many(keys) = self.say(&[b"KEYS", b"lakh:v1:*"]) else {
            panic!("a list of keys")
        };
        let keys = keys.into_iter().map(|key| match key {
            Said::Text(key) => key,
            other => panic!("a key, not {other:?}"),
        });
        keys.collect()
    }

    #[track_caller]
    pub fn await_records(&self, n: usize) {
        eventually(&format!("{n} records in redis"), || {
            self.records().len() == n
        });
    }

    pub fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        match self.say(&[b"GET", key]) {
            Said::Text(value) => Some(value),
            _ => None,
        }
    }

    /// Stops running without closing a connection: as one that hangs.
    pub fn hang(&self) {
        self.signal(libc::SIGSTOP);
    }

    pub fn go_on(&self) {
        self.signal(libc::SIGCONT);
    }

    fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        // SAFETY: the process is our child and not yet waited for, so the id is still its own.
        let sent = unsafe { libc::kill(pid, signal) };
        assert_eq!(sent, 0, "redis runs");
    }

    pub fn kill(&mut self) {
        // It may have ended already; either way it is waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

fn read(stream: &mut impl BufRead) -> io::Result<Said> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let line = line.trim_end();
    let Some((kind, rest)) = line.split_at_checked(1) else {
        return Err(io::ErrorKind::UnexpectedEof.into());
    };
    let length = rest.parse::<i64>().unwrap_or(0);
    Ok(match kind {
        "$" | "*" if length < 0 => Said::Nothing,
        "$" => {
            let mut text = vec![0; length as usize + 2];
            stream.read_exact(&mut text)?;
            text.truncate(length as usize);
            Said::Text(text)
        }
        "*" => Said::Many(
            (0..length)
                .map(|_| read(stream))
                .collect::<io::Result<_>>()?,
        ),
        "-" => return Err(io::Error::other(rest.to_owned())),
        _ => Said::Text(rest.into()),
    })
}
