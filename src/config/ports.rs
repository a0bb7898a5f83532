//! No two things may listen on one port: listeners, the admin listener, spawned processes.

use super::diagnostic::{Report, Span};
use super::section::Section;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;

#[derive(Default)]
pub struct Ports {
    claims: Vec<Claim>,
}

struct Claim {
    owner: String,
    ip: IpAddr,
    ports: RangeInclusive<u16>,
    span: Span,
}

impl Ports {
    /// What section `s` has under `key`.
    pub fn claim_address(&mut self, s: &Section<'_>, key: &str, address: SocketAddr) {
        self.claims.push(Claim {
            owner: s.path().to_owned(),
            ip: address.ip(),
            ports: address.port()..=address.port(),
            span: s.value_span(key),
        });
    }

    /// The ports of spawned processes, counted from the `first_port` of section `s`.
    pub fn claim_range(&mut self, s: &Section<'_>, ports: RangeInclusive<u16>) {
        self.claims.push(Claim {
            owner: s.path().to_owned(),
            ip: Ipv4Addr::LOCALHOST.into(),
            ports,
            span: s.value_span("first_port"),
        });
    }

    /// Reports each claim on what an earlier line has.
    pub fn check(mut self, report: &Report) {
        self.claims.sort_by_key(|claim| claim.span);
        for (index, claim) in self.claims.iter().enumerate() {
            let earlier = self.claims[..index].iter();
            if let Some(other) = earlier.into_iter().find(|other| claim.collides(other)) {
                report.error(claim.span, claim.collision(other, report));
            }
        }
    }
}

impl Claim {
    fn collides(&self, other: &Claim) -> bool {
        let same_family = self.ip.is_ipv4() == other.ip.is_ipv4();
        let any_ip = self.ip.is_unspecified() || other.ip.is_unspecified();
        (self.ip == other.ip || same_family && any_ip)
            && self.ports.start() <= other.ports.end()
            && other.ports.start() <= self.ports.end()
    }

    fn collision(&self, other: &Claim, report: &Report) -> String {
        let place = match other.span == Span::FILE {
            true => "by default".to_owned(),
            false => format!("on {}", report.place_from(self.span, other.span)),
        };
        let theirs = match self.ports == other.ports {
            true => "it".to_owned(),
            false => other.ports_text(),
        };
        format!(
            "{} takes {}, but {} {place} has {theirs}; write another port",
            self.owner,
            self.ports_text(),
            other.owner
        )
    }

    fn ports_text(&self) -> String {
        let (first, last) = (self.ports.start(), self.ports.end());
        match first == last {
            true => format!("port {first}"),
            false => format!("ports {first} to {last}"),
        }
    }
}
