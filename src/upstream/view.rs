//! A pool as it stands: which of its servers may be picked, and how much each may get.
//!
//! Made anew when a server's standing changes or its time comes, never per request: picking only
//! reads. What tier is in use is decided here, from standings and the clock alone.

use super::Time;
use super::balance::{Ring, Share, Shares, Turns};
use super::health::{Standing, State};
use super::server::{Server, ServerId};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// The servers of a pool by place. Changes only when names or processes behind it do.
pub(super) struct Roster {
    pub servers: Box<[Arc<Server>]>,
    pub members: Box<[Member]>,
    pub by_id: HashMap<ServerId, usize>,
    /// Where the pool balances by hash.
    pub ring: Option<Ring>,
    pub turns: Arc<Turns>,
}

/// What a configuration says of a server, or its operator by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    pub weight: u32,
    pub backup: bool,
}

/// Which of its servers a pool uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tier {
    #[default]
    Primary,
    Backup,
    /// Too few are well for that to be likely: all are used rather than none.
    Panic,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TierRules {
    /// With a smaller share of the primaries usable than this, all are used.
    pub panic_below: f64,
    /// How long a primary must be back before backups are left again.
    pub failback: Duration,
}

#[derive(Debug, PartialEq)]
pub struct Tiers {
    pub tier: Tier,
    pub first: Vec<Share>,
    /// For requests that have tried all of the first.
    pub reserve: Vec<Share>,
    /// Places that need a claim: their breakers let one request through.
    pub trials: Vec<usize>,
    /// When it may be different without anybody telling.
    pub until: Time,
}

pub(super) struct View {
    pub roster: Arc<Roster>,
    pub tier: Tier,
    pub first: Shares,
    pub reserve: Shares,
    pub trials: Vec<usize>,
    /// The group's count of changes when it was made.
    pub changes: u64,
    pub until: Time,
}

impl View {
    pub fn new(
        roster: Arc<Roster>,
        rules: &TierRules,
        before: Tier,
        changes: u64,
        now: Time,
    ) -> View {
        let servers = roster.servers.iter();
        let standings: Vec<_> = servers.map(|server| server.standing(now)).collect();
        let tiers = tiers(&roster.members, &standings, rules, before, now);
        let shares = |shares: Vec<Share>| Shares::new(shares.into_iter(), roster.turns.clone());
        View {
            tier: tiers.tier,
            first: shares(tiers.first),
            reserve: shares(tiers.reserve),
            trials: tiers.trials,
            changes,
            until: tiers.until,
            roster,
        }
    }
}

impl View {
    /// The same, for looking at what would be picked.
    pub fn apart(&self) -> View {
        View {
            roster: self.roster.clone(),
            tier: self.tier,
            first: self.first.apart(),
            reserve: self.reserve.apart(),
            trials: self.trials.clone(),
            changes: self.changes,
            until: self.until,
        }
    }
}

/// `standings` by place, as `members`; `before` is the tier in use until now.
pub fn tiers(
    members: &[Member],
    standings: &[Standing],
    rules: &TierRules,
    before: Tier,
    now: Time,
) -> Tiers {
    let all = || members.iter().zip(standings).enumerate();
    let usable = |backup: bool| {
        let able = all().filter(move |(_, (member, _))| member.backup == backup);
        able.filter_map(|(place, (member, standing))| {
            let may = standing.state == State::Up || standing.trial;
            share(place, member.weight * standing.level).filter(|_| may)
        })
        .collect::<Vec<_>>()
    };
    let (primaries, backups) = (usable(false), usable(true));
    let mut until = standings
        .iter()
        .map(|s| s.until)
        .fold(Time::NEVER, Time::min);
    let returned = returned(members, standings, before, rules.failback, now);
    let of_all = all().filter(|(_, (member, _))| !member.backup && member.weight > 0);
    let too_few = (primaries.len() as f64) < of_all.count() as f64 * rules.panic_below;
    let (tier, first, reserve) = if primaries.is_empty() && !backups.is_empty() {
        (Tier::Backup, backups, primaries)
    } else if let Some(later) = returned.filter(|_| !backups.is_empty()) {
        until = until.min(later);
        (Tier::Backup, backups, primaries)
    } else if primaries.is_empty() || too_few && backups.is_empty() {
        let all = everybody(members, standings);
        let tier = if all.is_empty() { before } else { Tier::Panic };
        (tier, all, Vec::new())
    } else {
        (Tier::Primary, primaries, backups)
    };
    let trials = all().filter(|(_, (_, standing))| standing.trial);
    Tiers {
        tier,
        first,
        reserve,
        trials: trials.map(|(place, _)| place).collect(),
        until,
    }
}

/// While backups serve: until when the primaries that are back must prove themselves. A server
/// that comes and goes would else take the whole traffic with it each time.
fn returned(
    members: &[Member],
    standings: &[Standing],
    before: Tier,
    failback: Duration,
    now: Time,
) -> Option<Time> {
    let up = members
        .iter()
        .zip(standings)
        .filter(|(member, standing)| !member.backup && standing.state == State::Up);
    let first = up
        .map(|(_, standing)| standing.back.unwrap_or_default())
        .min();
    let proven = first? + failback;
    (before == Tier::Backup && now < proven).then_some(proven)
}

/// All that may be what they are not said to be; the primaries if there are any.
fn everybody(members: &[Member], standings: &[Standing]) -> Vec<Share> {
    let of = |backup: bool| {
        let them = members.iter().zip(standings).enumerate();
        let them = them.filter(move |(_, (m, s))| m.backup == backup && s.state.bears_panic());
        them.filter_map(|(place, (member, _))| share(place, member.weight * 100))
            .collect::<Vec<_>>()
    };
    let primaries = of(false);
    match primaries.is_empty() {
        true => of(true),
        false => primaries,
    }
}

fn share(place: usize, weight: u32) -> Option<Share> {
    let place = place as u32;
    (weight > 0).then_some(Share { place, weight })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: TierRules = TierRules {
        panic_below: 0.1,
        failback: Duration::from_secs(10),
    };

    fn at(seconds: u64) -> Time {
        Time::from_millis(seconds * 1000)
    }

    fn standing(state: State) -> Standing {
        Standing {
            state,
            level: 100,
            trial: false,
            back: None,
            until: Time::NEVER,
        }
    }

    fn members(primaries: usize, backups: usize) -> Vec<Member> {
        let member = |backup| Member { weight: 1, backup };
        let primaries = std::iter::repeat_n(member(false), primaries);
        primaries
            .chain(std::iter::repeat_n(member(true), backups))
            .collect()
    }

    fn look(members: &[Member], states: &[State], before: Tier) -> (Tier, Vec<u32>) {
        let standings: Vec<_> = states.iter().map(|s| standing(*s)).collect();
        let tiers = tiers(members, &standings, &RULES, before, at(100));
        (tiers.tier, tiers.first.iter().map(|s| s.place).collect())
    }

    use State::{Down, Draining, Up};

    #[test]
    fn backups_wait_until_no_primary_is_left() {
        let members = members(2, 1);
        let look = |states: [State; 3]| look(&members, &states, Tier::Primary);
        assert_eq!(look([Up, Up, Up]), (Tier::Primary, vec![0, 1]));
        assert_eq!(look([Down, Up, Up]), (Tier::Primary, vec![1]));
        assert_eq!(look([Down, Draining, Up]), (Tier::Backup, vec![2]));
        assert_eq!(look([Down, Draining, Down]), (Tier::Panic, vec![0]));
        assert_eq!(look([Draining, Draining, Down]), (Tier::Panic, vec![2]));
        assert_eq!(
            look([Draining; 3]),
            (Tier::Primary, vec![]),
            "nobody to panic with"
        );
    }

    #[test]
    fn with_too_few_left_all_are_used() {
        let members = members(20, 0);
        let mut states = [Down; 20];
        states[..2].fill(Up);
        assert_eq!(look(&members, &states, Tier::Primary).0, Tier::Primary);
        states[1] = Down;
        let (tier, first) = look(&members, &states, Tier::Primary);
        assert_eq!((tier, first.len()), (Tier::Panic, 20));
    }

    #[test]
    fn an_open_breaker_stays_out_of_a_panic() {
        let open = State::Open { until: at(160) };
        assert_eq!(look(&members(2, 0), &[open, Down], Tier::Primary).1, [1]);
        assert_eq!(
            look(&members(2, 0), &[open, open], Tier::Primary).1.len(),
            0
        );
    }

    #[test]
    fn a_primary_that_is_back_must_prove_itself() {
        let members = members(1, 1);
        let back = |back| Standing {
            back: Some(back),
            ..standing(Up)
        };
        let look =
            |primary, before| tiers(&members, &[primary, standing(Up)], &RULES, before, at(100));
        let held = look(back(at(95)), Tier::Backup);
        assert_eq!((held.tier, held.until), (Tier::Backup, at(105)));
        assert_eq!(held.reserve.len(), 1);
        assert_eq!(look(back(at(90)), Tier::Backup).tier, Tier::Primary);
        assert_eq!(look(back(at(95)), Tier::Primary).tier, Tier::Primary);
    }

    #[test]
    fn a_slow_start_is_less_weight_and_looked_at_again() {
        let starting = Standing {
            level: 25,
            until: at(101),
            ..standing(Up)
        };
        let tiers = tiers(
            &members(2, 0),
            &[standing(Up), starting],
            &RULES,
            Tier::Primary,
            at(100),
        );
        assert_eq!(
            tiers.first.iter().map(|s| s.weight).collect::<Vec<_>>(),
            [100, 25]
        );
        assert_eq!(tiers.until, at(101));
    }

    #[test]
    fn a_trial_is_offered() {
        let trial = Standing {
            trial: true,
            ..standing(State::Open { until: at(99) })
        };
        let tiers = tiers(
            &members(2, 0),
            &[standing(Up), trial],
            &RULES,
            Tier::Primary,
            at(100),
        );
        assert_eq!((tiers.first.len(), &*tiers.trials), (2, &[1][..]));
    }
}
