//! An upstream as one configuration knows it, and picking one of its servers.

use super::Time;
use super::balance::{Ring, Shares, Turns};
use super::group::Group;
use super::health::Rules;
use super::random::random_below;
use super::server::{Lease, Server, ServerId};
use super::settings::{
    Balance, ConcurrencySettings, HashKey, NameSettings, RetrySettings, ServerSettings,
    SpawnSettings, Timeouts, UpstreamSettings,
};
use super::sticky::Sticky;
use super::transport::Transport;
use super::view::{Member, Roster, Tier, TierRules, View};
use arc_swap::ArcSwap;
use std::sync::{Arc, Mutex};

/// Its servers may be shared with the pools of other configurations; their weights are not.
pub struct Pool {
    pub name: Arc<str>,
    pub transport: Transport,
    pub timeouts: Timeouts,
    pub retry: RetrySettings,
    pub sticky: Option<Sticky>,
    pub group: Arc<Group>,
    pub(super) rules: Rules,
    pub(super) concurrency: Option<ConcurrencySettings>,
    pub(super) names: Box<[NameSettings]>,
    pub spawn: Option<SpawnSettings>,
    /// Those that stay: neither behind names nor scaled.
    listed: Box<[ServerSettings]>,
    balance: Balance,
    tier_rules: TierRules,
    view: ArcSwap<View>,
    /// Held by whoever makes the next view.
    making: Mutex<()>,
}

/// What picking goes by.
pub struct Asked<'a> {
    pub tried: &'a Tried,
    /// The server that the client has had.
    pub preferred: Option<ServerId>,
    /// For a pool that balances by hash: of what the request is told apart by.
    pub key: Option<u64>,
    pub now: Time,
}

/// The servers that one request has tried.
#[derive(Clone, Debug, Default)]
pub struct Tried {
    ids: [u64; Tried::MOST],
    count: usize,
}

impl Pool {
    pub(super) fn new(
        settings: &UpstreamSettings,
        listed: Vec<ServerSettings>,
        found: Vec<ServerSettings>,
        sticky: Option<Sticky>,
        group: Arc<Group>,
        now: Time,
    ) -> Pool {
        let tier_rules = TierRules {
            panic_below: settings.panic_below,
            failback: settings.failback,
        };
        let servers = members(&listed, found);
        let roster = Arc::new(roster(&servers, &settings.balance, &group));
        let changes = group.changes();
        let view = View::new(roster, &tier_rules, Tier::Primary, changes, now);
        Pool {
            name: group.name.clone(),
            transport: settings.transport.clone(),
            timeouts: settings.timeouts.clone(),
            retry: settings.retry.clone(),
            sticky,
            group,
            rules: Rules::of(settings),
            concurrency: settings.concurrency.clone(),
            names: settings.names.clone().into(),
            spawn: settings.spawn.clone(),
            listed: listed.into(),
            balance: settings.balance.clone(),
            tier_rules,
            view: ArcSwap::from_pointee(view),
            making: Mutex::new(()),
        }
    }

    /// A server that was not tried: the preferred one if it may have requests, else by the pool's
    /// way of balancing; a backup when all others were tried. None when nothing is left to try.
    pub fn pick(&self, asked: &Asked<'_>) -> Option<Lease> {
        self.refresh(asked.now);
        let view = self.view.load();
        let mut refused: Option<Tried> = None;
        for _ in 0..=Tried::MOST {
            let tried = refused.as_ref().unwrap_or(asked.tried);
            let place = self.choose(&view, asked, tried)?;
            let server = view.roster.servers[place].clone();
            if !view.trials.contains(&place) {
                return Some(Lease::new(server));
            }
            let id = server.id;
            if let Some(lease) = Lease::trial(server, asked.now) {
                return Some(lease);
            }
            // Another request has the trial by now.
            refused
                .get_or_insert_with(|| asked.tried.clone())
                .add_id(id);
        }
        None
    }

    /// The server that `pick` would give now; nobody's turn is taken for it.
    pub fn would_pick(&self, asked: &Asked<'_>) -> Option<Arc<Server>> {
        self.refresh(asked.now);
        let view = self.view.load().apart();
        let place = self.choose(&view, asked, asked.tried)?;
        Some(view.roster.servers[place].clone())
    }

    /// How a server is picked, as a configuration says it.
    pub fn balance(&self) -> &'static str {
        self.balance.name()
    }

    /// Whether another try has somewhere to go.
    pub fn has_untried(&self, tried: &Tried, now: Time) -> bool {
        self.refresh(now);
        let view = self.view.load();
        let untried = |shares: &Shares| {
            let mut places = shares.places();
            places.any(|place| !tried.contains(view.roster.servers[place].id))
        };
        untried(&view.first) || untried(&view.reserve)
    }

    /// All servers, in the order written.
    pub fn servers(&self) -> Vec<Arc<Server>> {
        self.view.load().roster.servers.to_vec()
    }

    /// Other servers are behind its names, or other processes run.
    pub(super) fn find(&self, found: Vec<ServerSettings>, now: Time) {
        let servers = members(&self.listed, found);
        let roster = roster(&servers, &self.balance, &self.group);
        let _making = self
            .making
            .lock()
            .expect("nothing panics while it makes a view");
        let (before, changes) = (self.view.load().tier, self.group.changes());
        self.show(View::new(
            Arc::new(roster),
            &self.tier_rules,
            before,
            changes,
            now,
        ));
    }

    /// What a request is told apart by, where the pool balances by hash.
    pub fn hash_key(&self) -> Option<&HashKey> {
        match &self.balance {
            Balance::Hash(key) => Some(key),
            _ => None,
        }
    }

    /// For the admin API: which servers are in use, and each one's effective weight in percent of
    /// a weight of 1, by place.
    pub fn standing(&self, now: Time) -> (Tier, Vec<(Arc<Server>, Member, u32)>) {
        self.refresh(now);
        let view = self.view.load();
        let roster = &view.roster;
        let each = roster.servers.iter().zip(&roster.members).enumerate();
        let each = each.map(|(place, (server, member))| {
            let weight = view.first.weight(place);
            (server.clone(), *member, weight)
        });
        (view.tier, each.collect())
    }

    /// Makes the next view when the one in use is out of date. Whoever finds another at it goes
    /// on with the old one: a request must not wait.
    pub fn refresh(&self, now: Time) {
        let (changes, until, before) = {
            let view = self.view.load();
            (view.changes, view.until, view.tier)
        };
        let latest = self.group.changes();
        if changes == latest && now < until {
            return;
        }
        if let Ok(_making) = self.making.try_lock() {
            let roster = self.view.load().roster.clone();
            self.show(View::new(roster, &self.tier_rules, before, latest, now));
        }
    }

    fn show(&self, view: View) {
        let before = self.view.load().tier;
        if view.tier != before {
            let (upstream, now) = (&self.name, view.tier);
            tracing::warn!(%upstream, ?before, ?now, "servers in use changed");
        }
        self.group.metrics.tier.set(view.tier as i64);
        for (place, server) in view.roster.servers.iter().enumerate() {
            server
                .metrics
                .weight
                .set(f64::from(view.first.weight(place)) / 100.0);
        }
        self.view.store(Arc::new(view));
    }

    fn choose(&self, view: &View, asked: &Asked<'_>, tried: &Tried) -> Option<usize> {
        let servers = &view.roster.servers;
        let usable = |place: usize| !tried.contains(servers[place].id);
        let preferred = asked.preferred.and_then(|id| view.roster.by_id.get(&id));
        preferred
            .copied()
            .filter(|place| view.first.weight(*place) > 0 && usable(*place))
            .or_else(|| self.choose_of(&view.first, view, asked, usable))
            .or_else(|| self.choose_of(&view.reserve, view, asked, usable))
    }

    fn choose_of(
        &self,
        shares: &Shares,
        view: &View,
        asked: &Asked<'_>,
        usable: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        if shares.is_empty() {
            return None;
        }
        let servers = &view.roster.servers;
        let in_flight = |place: usize| usable(place).then(|| servers[place].in_flight());
        let by_hash = || {
            let load = self.group.in_flight();
            let ring = view.roster.ring.as_ref()?;
            ring.find(asked.key?, load, shares, in_flight)
        };
        match self.balance {
            Balance::LeastConnections => shares.least_loaded(in_flight, random_below),
            Balance::RoundRobin => shares.next_in_turn(&usable),
            Balance::RandomTwo => shares.two_choices(in_flight, random_below),
            Balance::Hash(_) => by_hash().or_else(|| shares.least_loaded(in_flight, random_below)),
        }
    }
}

/// An address that is listed and found, or found twice, is one server.
fn members(listed: &[ServerSettings], found: Vec<ServerSettings>) -> Vec<ServerSettings> {
    let mut members = listed.to_vec();
    for server in found {
        if members.iter().all(|known| known.address != server.address) {
            members.push(server);
        }
    }
    members
}

fn roster(servers: &[ServerSettings], balance: &Balance, group: &Arc<Group>) -> Roster {
    let enlisted: Box<[_]> = servers.iter().map(|s| group.enlist(&s.address)).collect();
    let both = || enlisted.iter().zip(servers);
    let members: Box<[_]> = both().map(|(s, said)| Member::new(s, said)).collect();
    let ids = enlisted.iter().map(|server| server.id);
    let points = ids.clone().zip(&members).map(|(id, m)| (id.0, m.weight));
    let points: Vec<_> = points.collect();
    Roster {
        by_id: ids.enumerate().map(|(place, id)| (id, place)).collect(),
        members,
        ring: matches!(balance, Balance::Hash(_)).then(|| Ring::new(&points)),
        turns: Turns::new(servers.len()),
        servers: enlisted,
    }
}

impl Member {
    fn new(server: &Server, said: &ServerSettings) -> Member {
        Member {
            weight: server.weight_by_hand().unwrap_or(said.weight),
            backup: said.backup,
        }
    }
}

impl Tried {
    /// As many as a request may have attempts.
    const MOST: usize = 10;

    pub fn add(&mut self, lease: &Lease) {
        self.add_id(lease.server().id);
    }

    pub fn contains(&self, id: ServerId) -> bool {
        self.ids[..self.count].contains(&id.0)
    }

    pub(super) fn forget_last(&mut self) {
        self.count = self.count.saturating_sub(1);
    }

    fn add_id(&mut self, id: ServerId) {
        // Beyond that a server may be tried twice, which is better than not at all.
        if self.count < Tried::MOST {
            self.ids[self.count] = id.0;
            self.count += 1;
        }
    }
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
