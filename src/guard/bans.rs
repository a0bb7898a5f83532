//! Addresses that are kept out for a while, because they kept doing what is refused.
//!
//! A streak of offences brings a ban, and each ban soon after another is twice as long. What is
//! remembered is bounded: when there is no room, addresses that are neither banned nor in a streak
//! go, and if there are none, the newest offender is not noted.

use super::Networks;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct BanSettings {
    pub rules: Vec<BanRule>,
    /// Never banned.
    pub exempt: Networks,
}

/// `count` offences `within` this time bring a ban.
#[derive(Clone, Debug, PartialEq)]
pub struct BanRule {
    pub offence: Offence,
    pub count: u32,
    pub within: Duration,
    /// Of the first ban; each that follows within `ceiling` of the last one's end is twice as long.
    pub length: Duration,
    /// The longest ban.
    pub ceiling: Duration,
}

/// What is refused, and may bring a ban.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offence {
    RateLimited,
    Malformed,
    Unauthorized,
    AddressRefused,
}

impl Offence {
    pub const ALL: [Offence; 4] = [
        Offence::RateLimited,
        Offence::Malformed,
        Offence::Unauthorized,
        Offence::AddressRefused,
    ];

    pub fn label(self) -> &'static str {
        match self {
            Offence::RateLimited => "rate_limited",
            Offence::Malformed => "malformed",
            Offence::Unauthorized => "unauthorized",
            Offence::AddressRefused => "address_refused",
        }
    }
}

/// A ban as operators see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Ban {
    /// Of IPv6 the first of a network of 64 bits, all of which is banned.
    pub address: IpAddr,
    pub left: Duration,
    /// None: an operator's.
    pub offence: Option<Offence>,
    /// How many bans in a row this is.
    pub times: u32,
}

/// All that is known of offenders. One for the process; outlives reloads.
pub struct Bans {
    shards: [Mutex<HashMap<IpAddr, Record>>; SHARDS],
    most_per_shard: usize,
    /// Bans noted, ended ones included: while it is 0, nobody need be looked up.
    noted: AtomicUsize,
}

const SHARDS: usize = 64;
/// Addresses remembered at most.
const MOST: usize = 100_000;

#[derive(Default)]
struct Record {
    streaks: [Streak; Offence::ALL.len()],
    ban: Option<Noted>,
}

/// Offences within a rule's time from the first of them.
#[derive(Clone, Copy, Default)]
struct Streak {
    until: Option<Instant>,
    count: u32,
}

#[derive(Clone, Copy)]
struct Noted {
    until: Instant,
    /// Bans until then count as in a row.
    forgotten: Instant,
    offence: Option<Offence>,
    times: u32,
}

impl Default for Bans {
    fn default() -> Bans {
        Bans::with_room(MOST)
    }
}

impl Bans {
    fn with_room(most: usize) -> Bans {
        Bans {
            shards: std::array::from_fn(|_| Mutex::default()),
            most_per_shard: most.div_ceil(SHARDS),
            noted: AtomicUsize::new(0),
        }
    }

    /// How long the address is still kept out. Costs nothing while nobody is banned.
    pub fn left(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        if self.noted.load(Relaxed) == 0 {
            return None;
        }
        let address = network(address);
        let shard = self.shard(address);
        let ban = shard.get(&address)?.ban?;
        ban.until
            .checked_duration_since(now)
            .filter(|left| !left.is_zero())
    }

    /// Notes an offence; the ban that it brings, if it does.
    pub fn offended(
        &self,
        settings: &BanSettings,
        offence: Offence,
        address: IpAddr,
        now: Instant,
    ) -> Option<Ban> {
        let rule = settings.rules.iter().find(|rule| rule.offence == offence)?;
        if settings.exempt.contains(address) {
            return None;
        }
        let address = network(address);
        let mut shard = self.shard(address);
        self.make_room(&mut shard, now);
        if shard.len() >= self.most_per_shard && !shard.contains_key(&address) {
            return None;
        }
        let record = shard.entry(address).or_default();
        if !record.streaks[offence as usize].reaches(rule, now) {
            return None;
        }
        record.streaks[offence as usize] = Streak::default();
        let before = record.ban.filter(|ban| now < ban.forgotten);
        let times = before.map_or(1, |ban| ban.times.saturating_add(1));
        let doubled = 2u32.saturating_pow(times - 1);
        let length = rule.length.saturating_mul(doubled).min(rule.ceiling);
        let ban = Noted {
            until: now + length,
            forgotten: now + length + rule.ceiling,
            offence: Some(offence),
            times,
        };
        self.note(record, ban);
        Some(ban.shown(address, now))
    }

    /// An operator's ban.
    pub fn ban(&self, address: IpAddr, length: Duration, now: Instant) -> Ban {
        let address = network(address);
        let mut shard = self.shard(address);
        let ban = Noted {
            until: now + length,
            forgotten: now + length,
            offence: None,
            times: 1,
        };
        self.note(shard.entry(address).or_default(), ban);
        ban.shown(address, now)
    }

    /// False: it was not banned.
    pub fn lift(&self, address: IpAddr, now: Instant) -> bool {
        let address = network(address);
        let mut shard = self.shard(address);
        let Some(ban) = shard.get_mut(&address).and_then(|record| record.ban.take()) else {
            return false;
        };
        self.noted.fetch_sub(1, Relaxed);
        ban.until > now
    }

    /// Those in force, the longest first.
    pub fn list(&self, now: Instant) -> Vec<Ban> {
        let mut bans = Vec::new();
        for shard in &self.shards {
            let shard = lock(shard);
            bans.extend(shard.iter().filter_map(|(address, record)| {
                let ban = record.ban.filter(|ban| ban.until > now)?;
                Some(ban.shown(*address, now))
            }));
        }
        bans.sort_by(|a, b| b.left.cmp(&a.left).then(a.address.cmp(&b.address)));
        bans
    }

    fn note(&self, record: &mut Record, ban: Noted) {
        if record.ban.replace(ban).is_none() {
            self.noted.fetch_add(1, Relaxed);
        }
    }

    /// Forgets, in a full shard, whoever has done nothing lately.
    fn make_room(&self, shard: &mut HashMap<IpAddr, Record>, now: Instant) {
        if shard.len() < self.most_per_shard {
            return;
        }
        shard.retain(|_, record| {
            if record.ban.is_some_and(|ban| ban.forgotten <= now) {
                record.ban = None;
                self.noted.fetch_sub(1, Relaxed);
            }
            record.ban.is_some() || record.streaks.iter().any(|streak| streak.is_on(now))
        });
    }

    fn shard(&self, address: IpAddr) -> MutexGuard<'_, HashMap<IpAddr, Record>> {
        let mixed = match address {
            IpAddr::V4(v4) => v4
                .octets()
                .into_iter()
                .fold(0, |sum: u8, b| sum.wrapping_mul(31) ^ b),
            IpAddr::V6(v6) => v6
                .octets()
                .into_iter()
                .fold(0, |sum: u8, b| sum.wrapping_mul(31) ^ b),
        };
        lock(&self.shards[usize::from(mixed) % SHARDS])
    }
}

impl Streak {
    /// Adds an offence; whether the rule's count is reached.
    fn reaches(&mut self, rule: &BanRule, now: Instant) -> bool {
        if !self.is_on(now) {
            self.until = Some(now + rule.within);
            self.count = 0;
        }
        self.count += 1;
        self.count >= rule.count
    }

    fn is_on(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}

impl Noted {
    fn shown(&self, address: IpAddr, now: Instant) -> Ban {
        Ban {
            address,
            left: self.until.saturating_duration_since(now),
            offence: self.offence,
            times: self.times,
        }
    }
}

/// Whom an address stands for: one customer of IPv6 usually has a whole /64.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let network = u128::from(v6) & !u128::from(u64::MAX);
            Ipv6Addr::from(network).into()
        }
        v4 => v4,
    }
}

fn lock<T>(shard: &Mutex<T>) -> MutexGuard<'_, T> {
    shard
        .lock()
        .expect("no code panics while it holds this lock")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn second(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn rules() -> BanSettings {
        BanSettings {
            rules: vec![BanRule {
                offence: Offence::RateLimited,
                count: 3,
                within: second(10),
                length: second(60),
                ceiling: second(200),
            }],
            exempt: Networks::new(&["10.9.0.0/16".parse().expect("a network")]),
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn offend(bans: &Bans, who: &str, times: u32, now: Instant) -> Option<Ban> {
        let offend = |_| bans.offended(&rules(), Offence::RateLimited, ip(who), now);
        (0..times).map(offend).last().flatten()
    }

    #[test]
    fn a_streak_brings_a_ban_and_each_is_twice_as_long() {
        let (bans, mut now) = (Bans::default(), Instant::now());
        assert_eq!(offend(&bans, "1.2.3.4", 2, now), None);
        assert_eq!(bans.left(ip("1.2.3.4"), now), None);
        for (times, length) in [(1, 60), (2, 120), (3, 200), (4, 200)] {
            let ban = offend(&bans, "1.2.3.4", if times == 1 { 1 } else { 3 }, now);
            let ban = ban.expect("a ban");
            assert_eq!((ban.times, ban.left), (times, second(length)));
            assert_eq!(bans.left(ip("::ffff:1.2.3.4"), now), Some(second(length)));
            now += second(length);
            assert_eq!(bans.left(ip("1.2.3.4"), now), None);
        }
        let later = now + second(500);
        let ban = offend(&bans, "1.2.3.4", 3, later).expect("a ban");
        assert_eq!(ban.times, 1, "long ago is forgotten");
    }

    #[test]
    fn offences_far_apart_are_no_streak_and_other_kinds_bring_no_ban() {
        let (bans, now) = (Bans::default(), Instant::now());
        for n in 0..10 {
            assert_eq!(offend(&bans, "1.2.3.4", 1, now + second(n * 6)), None);
        }
        for _ in 0..10 {
            let other = bans.offended(&rules(), Offence::Malformed, ip("1.2.3.4"), now);
            assert_eq!(other, None);
        }
        assert_eq!(offend(&bans, "10.9.1.1", 10, now), None, "exempt");
    }

    #[test]
    fn a_network_of_ipv6_is_one_place() {
        let (bans, now) = (Bans::default(), Instant::now());
        offend(&bans, "2001:db8::1", 2, now);
        offend(&bans, "2001:db8::2", 1, now).expect("a ban");
        assert!(bans.left(ip("2001:db8::ffff:3"), now).is_some());
        assert!(bans.left(ip("2001:db8:0:1::1"), now).is_none());
    }

    #[test]
    fn operators_ban_and_lift() {
        let (bans, now) = (Bans::default(), Instant::now());
        bans.ban(ip("1.1.1.1"), second(5), now);
        offend(&bans, "2.2.2.2", 3, now);
        let listed: Vec<_> = bans
            .list(now)
            .into_iter()
            .map(|b| (b.address, b.offence))
            .collect();
        let limited = Some(Offence::RateLimited);
        assert_eq!(listed, [(ip("2.2.2.2"), limited), (ip("1.1.1.1"), None)]);
        assert!(bans.lift(ip("2.2.2.2"), now));
        assert!(!bans.lift(ip("2.2.2.2"), now));
        assert_eq!(bans.left(ip("2.2.2.2"), now), None);
        assert_eq!(bans.list(now + second(5)), []);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_a_flood_frees_nobody() {
        let (bans, now) = (Bans::with_room(64), Instant::now());
        offend(&bans, "9.9.9.9", 3, now).expect("a ban");
        for n in 0..10_000u32 {
            bans.offended(&rules(), Offence::RateLimited, IpAddr::V4(n.into()), now);
        }
        let remembered: usize = bans.shards.iter().map(|shard| lock(shard).len()).sum();
        assert!(remembered <= 64, "{remembered}");
        assert!(bans.left(ip("9.9.9.9"), now).is_some());
        let later = now + second(300);
        offend(&bans, "8.8.8.8", 3, later).expect("there is room again");
    }

    proptest! {
        #[test]
        fn the_count_of_bans_never_drifts(
            acts in proptest::collection::vec((0..3u8, 0..8u32, 0..40u64), 0..200),
        ) {
            let (bans, mut now) = (Bans::with_room(64), Instant::now());
            let mut noted = HashSet::new();
            for (act, who, later) in acts {
                now += second(later);
                let who = IpAddr::V4((who * 7 + 1).into());
                match act {
                    0 => { bans.ban(who, second(30), now); }
                    1 => { bans.lift(who, now); }
                    _ => { bans.offended(&rules(), Offence::RateLimited, who, now); }
                }
                noted.clear();
                for shard in &bans.shards {
                    noted.extend(lock(shard).iter().filter(|(_, r)| r.ban.is_some()).map(|(a, _)| *a));
                }
                prop_assert_eq!(noted.len(), bans.noted.load(Relaxed));
            }
        }
    }
}
