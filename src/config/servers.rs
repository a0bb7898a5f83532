//! An upstream's `servers`, or the processes it spawns instead.

use super::ports::Ports;
use super::section::Section;
use super::values::{address, count, switch};
use crate::upstream::{ServerSettings, SpawnSettings};

/// A string, or `{address, weight}`.
pub fn read_servers(s: &mut Section<'_>) -> Vec<ServerSettings> {
    let plain = |text: &str| address(text).map(ServerSettings::of);
    let found = s.items_or_texts("servers", plain, |s| {
        s.unsupported(&["resolve"]);
        let address = s.required("address", "10.0.0.5:8080", address);
        let weight = s.or("weight", 1, count(0..=65535));
        let backup = s.or("backup", false, switch);
        Some(ServerSettings {
            address: address?,
            weight,
            backup,
        })
    });
    let mut servers: Vec<ServerSettings> = Vec::new();
    for (server, span) in found {
        if servers.iter().any(|known| known.address == server.address) {
            let problem = format!("`{}` is in the list already; remove one", server.address);
            s.error_at(span, "servers", &problem);
        }
        servers.push(server);
    }
    if !servers.is_empty() && servers.iter().all(|server| server.backup) {
        s.error(
            "servers",
            "every one is a backup, of nothing; remove `backup` from one at least",
        );
    } else if !servers.is_empty() && servers.iter().all(|server| server.weight == 0) {
        s.error(
            "servers",
            "every weight is 0, so no server would get requests; write 1 or more for one",
        );
    }
    servers
}

pub fn read_spawn(s: &mut Section<'_>, ports: &mut Ports) -> Option<SpawnSettings> {
    let command = s.list("command", word);
    s.at_least_one("command", "[path/to/program, argument]");
    let instances = s.required("instances", "3", count(1..=256));
    let first_port = s.required("first_port", "9001", count(1..=65535));
    let (instances, first_port) = instances.zip(first_port)?;
    claim_ports(s, ports, instances, first_port);
    Some(SpawnSettings {
        command,
        instances,
        first_port,
    })
}

fn word(text: &str) -> Result<String, String> {
    match text.is_empty() || text.contains('\0') {
        true => Err("an empty word can't be part of a command; remove it".to_owned()),
        false => Ok(text.to_owned()),
    }
}

fn claim_ports(s: &Section<'_>, ports: &mut Ports, instances: u16, first_port: u16) {
    match first_port.checked_add(instances - 1) {
        Some(last_port) => ports.claim_range(s, first_port..=last_port),
        None => {
            let highest = u16::MAX - (instances - 1);
            let problem = format!(
                "{instances} processes from port {first_port} on go past port 65535; \
                 write {highest} or less"
            );
            s.error("first_port", problem);
        }
    }
}

/// `servers` or `spawn`, not both, and not a list without servers.
pub fn check_exactly_one(s: &Section<'_>) {
    match (s.has("servers"), s.has("spawn")) {
        (true, true) => s.error_at(
            s.key_span("spawn"),
            "spawn",
            "there are `servers` as well; remove one of the two",
        ),
        (false, false) => {
            s.error_here("has neither `servers` nor `spawn`; write servers: [127.0.0.1:9001]")
        }
        (true, false) if s.is_empty("servers") => s.error(
            "servers",
            "nothing is in it; write at least one, like [127.0.0.1:9001]",
        ),
        _ => {}
    }
}
