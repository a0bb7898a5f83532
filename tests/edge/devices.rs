//! Devices that listen to the application through the edge, on whichever of its processes.

use crate::harness::{Client, Edge, Redis, get};
use crate::lending::{granted, running, send};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::time::{Duration, Instant};

const DEVICES: usize = 1000;

const HUBS: &str = "
access_log: {to: none}
limits: {connections_per_address: 5000}
upstreams:
  app:
    balance: round_robin
    spawn: {command: [$lakh_origin, --no-demo, --redis, $redis], instances: 3, first_port: $ports}
    health_check: {path: /health, interval: 500ms, timeout: 5s}
    sticky: {cookie: lakh_affinity}
routes: [{name: all, match: {path: /*}, upstream: app}]
";

/// A device's connection, and the cookie that says which hub it is on.
struct Device {
    client: Client,
    hub: String,
    cookie: String,
}

impl Device {
    fn listen(edge: &Edge, token: &str, name: &str, cookie: Option<&str>) -> Self {
        let mut asked = get(&format!("/api/v1/devices/{name}/socket"))
            .with("connection", "upgrade")
            .with("upgrade", "websocket")
            .with("sec-websocket-version", 13)
            .with("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .with("authorization", format!("Bearer {token}"));
        if let Some(cookie) = cookie {
            asked = asked.with("cookie", cookie);
        }
        let mut client = edge.connect();
        let switched = asked.on(&mut client).expect(101);
        let given = switched.field("set-cookie").or(cookie).expect("a cookie");
        let cookie = given.split(';').next().unwrap_or_default().to_owned();
        let mut device = Self {
            client,
            hub: String::new(),
            cookie,
        };
        let welcome = device.hear();
        device.hub = welcome["hub"].as_str().expect("a name").to_owned();
        device
    }

    /// The next message. What servers send is not masked, and pings have nothing to say. RFC 6455 §5.2.
    fn hear(&mut self) -> Value {
        loop {
            let head = self.client.read_exactly(2).expect("a frame");
            let length = match head[1] {
                126 => {
                    let length = self.client.read_exactly(2).expect("a length");
                    usize::from(u16::from_be_bytes([length[0], length[1]]))
                }
                short => usize::from(short),
            };
            let payload = self.client.read_exactly(length).expect("a payload");
            match head[0] & 0x0f {
                1 => break serde_json::from_slice(&payload).expect("JSON"),
                9 => {}
                other => panic!("a frame of kind {other}"),
            }
        }
    }
}

#[test]
fn a_thousand_devices_on_three_hubs_hear_a_broadcast_and_keep_their_hub() {
    let redis = Redis::start();
    let edge = running(&HUBS.replace("$redis", &redis.url()), 3);
    let staff = granted(&edge, "staff", "ada@example.org");
    let mut devices: Vec<_> = (0..DEVICES)
        .map(|n| Device::listen(&edge, &staff, &format!("device-{n}"), None))
        .collect();
    let hubs: HashSet<_> = devices.iter().map(|device| device.hub.clone()).collect();
    assert_eq!(hubs.len(), 3);

    let said = Instant::now();
    let words = json!({"text": "The street party is on Saturday."});
    let told = send(&edge, "/api/v1/broadcasts", Some(&staff), &words)
        .expect(202)
        .json();
    for device in &mut devices {
        let heard = device.hear();
        assert_eq!(
            (&heard["id"], &heard["body"]["text"]),
            (&told["id"], &words["text"])
        );
    }
    let time = said.elapsed();
    println!("{DEVICES} devices on 3 hubs heard a broadcast within {time:?}");
    // A second on a machine that does nothing else.
    assert!(time < Duration::from_secs(10), "{time:?}");

    for (n, before) in devices.drain(..).take(60).enumerate() {
        let name = format!("device-{n}");
        let again = Device::listen(&edge, &staff, &name, Some(&before.cookie));
        assert_eq!(again.hub, before.hub);
    }
}
