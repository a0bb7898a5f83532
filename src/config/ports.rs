//! No two things may listen on one port, or one Unix socket: listeners, the admin listener, spawned
//! processes.

use super::diagnostic::{Report, Span};
use super::section::Section;
use crate::endpoint::Endpoint;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;

#[derive(Default)]
pub struct Ports {
    claims: Vec<Claim>,
}

struct Claim {
    owner: String,
    what: What,
    span: Span,
}

#[derive(PartialEq)]
enum What {
    Ports(IpAddr, RangeInclusive<u16>),
    File(Arc<str>),
}

impl Ports {
    /// What section `s` has under `key`.
    pub fn claim_endpoint(&mut self, s: &Section<'_>, key: &str, endpoint: &Endpoint) {
        let what = match endpoint {
            Endpoint::Tcp(address) => What::Ports(address.ip(), address.port()..=address.port()),
            Endpoint::Unix(path) => What::File(path.clone()),
        };
        self.claims.push(Claim {
            owner: s.path().to_owned(),
            what,
            span: s.value_span(key),
        });
    }

    pub fn claim_address(&mut self, s: &Section<'_>, key: &str, address: SocketAddr) {
        self.claim_endpoint(s, key, &address.into());
    }

    /// The ports of spawned processes, counted from the `first_port` of section `s`.
    pub fn claim_range(&mut self, s: &Section<'_>, ports: RangeInclusive<u16>) {
        self.claims.push(Claim {
            owner: s.path().to_owned(),
            what: What::Ports(Ipv4Addr::LOCALHOST.into(), ports),
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
        match (&self.what, &other.what) {
            (What::Ports(ip, ports), What::Ports(other_ip, others)) => {
                let same_family = ip.is_ipv4() == other_ip.is_ipv4();
                let any_ip = ip.is_unspecified() || other_ip.is_unspecified();
                (ip == other_ip || same_family && any_ip)
                    && ports.start() <= others.end()
                    && others.start() <= ports.end()
            }
            (this, that) => this == that,
        }
    }

    fn collision(&self, other: &Claim, report: &Report) -> String {
        let place = match other.span == Span::FILE {
            true => "by default".to_owned(),
            false => format!("on {}", report.place_from(self.span, other.span)),
        };
        let theirs = match self.what.text() == other.what.text() {
            true => "it".to_owned(),
            false => other.what.text(),
        };
        format!(
            "{} takes {}, but {} {place} has {theirs}; write another {}",
            self.owner,
            self.what.text(),
            other.owner,
            self.what.noun()
        )
    }
}

impl What {
    fn text(&self) -> String {
        match self {
            What::Ports(_, ports) if ports.start() == ports.end() => {
                format!("port {}", ports.start())
            }
            What::Ports(_, ports) => format!("ports {} to {}", ports.start(), ports.end()),
            What::File(path) => format!("unix:{path}"),
        }
    }

    fn noun(&self) -> &'static str {
        match self {
            What::Ports(..) => "port",
            What::File(_) => "path",
        }
    }
}
