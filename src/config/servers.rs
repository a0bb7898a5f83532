//! An upstream's `servers`, or the processes it spawns instead.

use super::ports::Ports;
use super::scaling;
use super::section::Section;
use super::units::wait;
use super::values::{count, endpoint, switch};
use crate::endpoint::Endpoint;
use crate::upstream::{NameSettings, ServerSettings, SpawnSettings};

/// Each a string, or a section with more to say; those with `resolve` are names.
pub fn read_servers(s: &mut Section<'_>) -> (Vec<ServerSettings>, Vec<NameSettings>) {
    let plain = |text: &str| listed(text).map(ServerSettings::of).map(Listed::Server);
    let found = s.items_or_texts("servers", plain, read_server);
    let (mut servers, mut names) = (Vec::<ServerSettings>::new(), Vec::<NameSettings>::new());
    for (found, span) in found {
        let (text, known) = match &found {
            Listed::Server(server) => (
                server.address.to_string(),
                servers.iter().any(|known| known.address == server.address),
            ),
            Listed::Name(name) => (
                format!("{}:{}", name.host, name.port),
                names
                    .iter()
                    .any(|n| n.host == name.host && n.port == name.port),
            ),
        };
        if known {
            let problem = format!("`{text}` is in the list already; remove one");
            s.error_at(span, "servers", &problem);
        }
        match found {
            Listed::Server(server) => servers.push(server),
            Listed::Name(name) => names.push(name),
        }
    }
    check_some_are_used(s, &servers, &names);
    (servers, names)
}

enum Listed {
    Server(ServerSettings),
    Name(NameSettings),
}

fn read_server(s: &mut Section<'_>) -> Option<Listed> {
    let every = s.optional("resolve", wait);
    let name = s.has("resolve");
    let example = if name {
        "app.internal:8080"
    } else {
        "10.0.0.5:8080"
    };
    let parse = |text: &str| match name {
        true => name_and_port(text).map(|(host, port)| (host, port, None)),
        false => listed(text).map(|address| (String::new(), 0, Some(address))),
    };
    let place = s.required("address", example, parse);
    let weight = s.or("weight", 1, count(0..=65535));
    let backup = s.or("backup", false, switch);
    let (host, port, address) = place?;
    Some(match address {
        Some(address) => Listed::Server(ServerSettings {
            address,
            weight,
            backup,
        }),
        None => Listed::Name(NameSettings {
            host,
            port,
            every: every?,
            weight,
            backup,
            public: false,
        }),
    })
}

/// An address; a name needs to be told how often it is looked up.
fn listed(text: &str) -> Result<Endpoint, String> {
    match name_and_port(text) {
        Ok(_) => Err(format!(
            "`{text}` is a name; write {{address: \"{text}\", resolve: 10s}} to use every address behind it"
        )),
        Err(_) => endpoint(text),
    }
}

/// `app.internal:8080`: a host name of RFC 1123 §2.1, not an address.
fn name_and_port(text: &str) -> Result<(String, u16), String> {
    if text.parse::<Endpoint>().is_ok() {
        return Err(format!("`{text}` is no name to look up; remove `resolve`"));
    }
    let is_label = |label: &str| {
        let inner = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        (1..=63).contains(&label.len()) && label.chars().all(inner) && !label.starts_with('-')
    };
    let found = text.rsplit_once(':').and_then(|(host, port)| {
        let port = port.parse().ok().filter(|port| *port > 0)?;
        let is_name = host.len() <= 253
            && host.split('.').all(is_label)
            && host.contains(|c: char| c.is_ascii_alphabetic());
        is_name.then(|| (host.to_ascii_lowercase(), port))
    });
    found.ok_or_else(|| format!("`{text}` is not a name and port; write it like app.internal:8080"))
}

fn check_some_are_used(s: &Section<'_>, servers: &[ServerSettings], names: &[NameSettings]) {
    let listed = servers.iter().map(|s| (s.weight, s.backup));
    let all: Vec<_> = listed
        .chain(names.iter().map(|n| (n.weight, n.backup)))
        .collect();
    if all.is_empty() {
        return;
    }
    if all.iter().all(|(_, backup)| *backup) {
        s.error(
            "servers",
            "every one is a backup, of nothing; remove `backup` from one at least",
        );
    } else if all.iter().all(|(weight, _)| *weight == 0) {
        s.error(
            "servers",
            "every weight is 0, so no server would get requests; write 1 or more for one",
        );
    }
}

pub fn read_spawn(s: &mut Section<'_>, ports: &mut Ports) -> Option<SpawnSettings> {
    let command = s.list("command", word);
    s.at_least_one("command", "[path/to/program, argument]");
    let scale = s.section("scale", scaling::read);
    let instances = match s.has("scale") {
        true => scale.as_ref().map(|scale| scale.min),
        false => s.required("instances", "3", count(1..=256)),
    };
    if s.has("scale") && s.optional("instances", count(1..=256)).is_some() {
        s.error_at(
            s.key_span("instances"),
            "instances",
            "`scale` says how many; remove one of the two",
        );
    }
    let first_port = s.required("first_port", "9001", count(1..=65535));
    let (instances, first_port) = instances.zip(first_port)?;
    let most = scale.as_ref().map_or(instances, |scale| scale.max);
    claim_ports(s, ports, most, first_port);
    Some(SpawnSettings {
        command,
        instances,
        first_port,
        scale,
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
