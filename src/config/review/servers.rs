//! What only several servers make sense of.

use super::super::Config;
use super::super::diagnostic::Report;
use super::super::names::Names;
use crate::upstream::UpstreamSettings;

/// `names` are in the order of the upstreams.
pub fn warn_of_what_needs_others(config: &Config, names: &Names<'_>, report: &Report) {
    for (upstream, (name, span)) in config.upstreams.iter().zip(names.iter()) {
        let Some(servers) = servers(upstream) else {
            continue;
        };
        if let Some(ejection) = &upstream.ejection
            && !ejection.ejects_of(servers)
        {
            let message = format!(
                "upstreams.{name}.ejection does nothing: of {servers} it may put out none; write more servers, a larger max_ejected, or circuit_breaker"
            );
            report.warn(span, message);
        }
        if servers == 1 && upstream.sticky.is_some() {
            let message = format!("upstreams.{name}.sticky does nothing: there is one server");
            report.warn(span, message);
        }
    }
}

/// None where that can change.
fn servers(upstream: &UpstreamSettings) -> Option<usize> {
    let is_fixed = upstream.names.is_empty() && upstream.spawn.is_none();
    is_fixed.then_some(upstream.servers.len())
}
