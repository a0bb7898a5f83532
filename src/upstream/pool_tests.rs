use super::*;
use crate::upstream::fixtures::*;
use crate::upstream::{
    BreakerSettings, EjectionSettings, HashKey, Outcome, RetrySettings, State, Tries,
};
use std::collections::HashSet;
use std::time::Duration;

fn port(lease: &Lease) -> u16 {
    lease.server().address.port().expect("a port")
}

fn at(seconds: u64) -> Time {
    Time::from_millis(seconds * 1000)
}

#[test]
fn the_least_loaded_gets_the_next_request() {
    let registry = registry();
    let pool = pool(&registry, upstream(&[1, 1, 1]));
    let held: Vec<_> = (0..3)
        .filter_map(|_| pick(&pool, &Tried::default(), None))
        .collect();
    assert_eq!(
        held.iter().map(port).collect::<Vec<_>>(),
        [9001, 9002, 9003]
    );
    assert!(pool.servers().iter().all(|server| server.in_flight() == 1));
    assert_eq!(pool.group.in_flight(), 3);
    drop(held);
    assert!(pool.servers().iter().all(|server| server.in_flight() == 0));
    assert_eq!(pool.group.in_flight(), 0);
}

#[test]
fn each_server_is_tried_once() {
    let registry = registry();
    let by_hash = Balance::Hash(HashKey::Path);
    for balance in [
        Balance::LeastConnections,
        Balance::RoundRobin,
        Balance::RandomTwo,
        by_hash,
    ] {
        let settings = UpstreamSettings {
            balance,
            ..upstream(&[1; 10])
        };
        let pool = pool(&registry, settings);
        let (mut tried, mut seen) = (Tried::default(), HashSet::new());
        let asked = |tried: &Tried| {
            pool.pick(&Asked {
                tried,
                preferred: None,
                key: Some(7),
                now: Time::now(),
            })
        };
        while let Some(lease) = asked(&tried) {
            tried.add(&lease);
            assert!(seen.insert(port(&lease)), "picked one twice");
        }
        assert_eq!(seen.len(), 10);
        assert!(!pool.has_untried(&tried, Time::now()));
    }
}

#[test]
fn equal_keys_meet_the_same_server() {
    let registry = registry();
    let settings = UpstreamSettings {
        balance: Balance::Hash(HashKey::ClientAddress),
        ..upstream(&[1; 5])
    };
    let pool = pool(&registry, settings);
    let home = |key| {
        let asked = Asked {
            tried: &Tried::default(),
            preferred: None,
            key: Some(key),
            now: Time::now(),
        };
        port(&pool.pick(&asked).expect("all are up"))
    };
    let homes: Vec<_> = (0..50).map(|n| home(n << 58)).collect();
    assert!((0..50).all(|n| home(n << 58) == homes[n as usize]));
    assert!(homes.iter().collect::<HashSet<_>>().len() > 2);
    let away = pool.servers()[usize::from(homes[0] - 9001)].clone();
    take_down(&away);
    assert_ne!(home(0), homes[0], "the next on the ring");
}

#[test]
fn a_preferred_server_is_taken_while_it_is_usable() {
    let registry = registry();
    let pool = pool(&registry, upstream(&[1, 1, 0]));
    let servers = pool.servers();
    let id = |index: usize| Some(servers[index].id);
    let none = Tried::default();
    let served = |preferred| {
        pick(&pool, &none, preferred)
            .expect("some are up")
            .server()
            .id
    };
    assert_eq!([served(id(1)), served(id(1))].map(Some), [id(1), id(1)]);
    assert_ne!(Some(served(id(2))), id(2), "a weight of 0 gets nothing");
    let gone = Some(ServerId::of(&address(1).into()));
    assert!(pick(&pool, &none, gone).is_some(), "one that left");
    take_down(&servers[1]);
    assert_eq!(Some(served(id(1))), id(0));
}

#[test]
fn a_server_that_is_down_gets_nothing_unless_all_are() {
    let registry = registry();
    let pool = pool(&registry, upstream(&[1, 1, 0]));
    let (none, servers) = (Tried::default(), pool.servers());
    take_down(&servers[0]);
    assert_eq!(
        [picked(&pool, &none), picked(&pool, &none)],
        [Some(9002); 2]
    );
    let mut tried = Tried::default();
    tried.add(&pick(&pool, &none, None).expect("one is up"));
    assert_eq!(picked(&pool, &tried), None, "the one that is up was tried");

    take_down(&servers[1]);
    assert_eq!(picked(&pool, &tried), Some(9001));
    servers[0].set_draining(true, Time::now());
    assert_eq!(picked(&pool, &tried), None);
}

#[test]
fn a_backup_serves_when_no_primary_can_and_after_all_were_tried() {
    let registry = registry();
    let mut settings = upstream(&[1, 1]);
    settings.servers[1].backup = true;
    let pool = pool(&registry, settings);
    let mut tried = Tried::default();
    let first = pick(&pool, &tried, None).expect("both are up");
    assert_eq!(port(&first), 9001);
    tried.add(&first);
    assert_eq!(picked(&pool, &tried), Some(9002), "rather than fail");
    take_down(&pool.servers()[0]);
    assert_eq!(picked(&pool, &Tried::default()), Some(9002));
}

/// Tells a server of failures, as requests at that time do.
fn fail(pool: &Pool, place: usize, times: usize, now: Time) {
    let server = &pool.servers()[place];
    for _ in 0..times {
        Lease::new(server.clone()).tell(Outcome::Answered(500), now);
    }
}

#[test]
fn no_more_than_the_share_is_ejected() {
    let registry = registry();
    let settings = UpstreamSettings {
        ejection: Some(EjectionSettings::default()),
        ..upstream(&[1; 5])
    };
    let pool = committed(&registry, settings);
    let ejected = || {
        let servers = pool.servers();
        let out = |s: &&Arc<Server>| matches!(s.state(), State::Ejected { .. });
        servers.iter().filter(out).count()
    };
    (0..5).for_each(|place| fail(&pool, place, 9, at(100)));
    assert_eq!(ejected(), 2, "half of five");
    pool.refresh(at(131));
    assert_eq!(ejected(), 0, "time is up");
    (0..5).for_each(|place| fail(&pool, place, 9, at(132)));
    assert_eq!(ejected(), 2, "places were given back");
}

#[test]
fn an_open_breaker_lets_one_request_through_and_its_outcome_decides() {
    let registry = registry();
    let settings = UpstreamSettings {
        circuit_breaker: Some(BreakerSettings::default()),
        ..upstream(&[1])
    };
    let pool = committed(&registry, settings);
    let none = Tried::default();
    fail(&pool, 0, 5, at(100));
    assert!(
        pick_at(&pool, &none, None, at(159)).is_none(),
        "costs nothing"
    );

    let trial = pick_at(&pool, &none, None, at(160)).expect("one may try");
    assert!(pick_at(&pool, &none, None, at(160)).is_none(), "one only");
    drop(trial);
    let mut trial = pick_at(&pool, &none, None, at(161)).expect("it told nothing");
    trial.tell(Outcome::TimedOut, at(162));
    assert!(pick_at(&pool, &none, None, at(221)).is_none());
    let mut trial = pick_at(&pool, &none, None, at(222)).expect("again");
    trial.tell(Outcome::Answered(200), at(222));
    assert_eq!(pool.servers()[0].state(), State::Up);
    assert!(pick_at(&pool, &none, None, at(222)).is_some());
}

#[test]
fn a_server_that_is_back_gets_more_and_more() {
    let registry = registry();
    let settings = UpstreamSettings {
        balance: Balance::RoundRobin,
        ejection: Some(EjectionSettings::default()),
        slow_start: Duration::from_secs(100),
        ..upstream(&[1, 1])
    };
    let pool = committed(&registry, settings);
    fail(&pool, 1, 5, at(100));
    let share = |seconds| {
        let none = Tried::default();
        let pick =
            |_: &i32| pick_at(&pool, &none, None, at(seconds)).map(|l| port(&l)) == Some(9002);
        (0..1000).filter(pick).count()
    };
    assert_eq!(share(129), 0);
    let shares = [130, 180, 229, 231].map(share);
    // 10, 50, 99 and 100 of what the other has.
    for (share, wanted) in shares.iter().zip([91, 333, 497, 500]) {
        assert!(share.abs_diff(wanted) <= 15, "{shares:?}");
    }
}

#[test]
fn retries_keep_to_their_budget() {
    let registry = registry();
    let settings = UpstreamSettings {
        retry: RetrySettings {
            budget: 0.1,
            ..RetrySettings::default()
        },
        ..upstream(&[1, 1])
    };
    let pool = pool(&registry, settings);
    let none = Tried::default();
    let _in_flight: Vec<_> = (0..100).map(|_| pick(&pool, &none, None)).collect();
    let mut all: Vec<_> = (0..100).map(|_| Tries::default()).collect();
    let again = |tries: &mut Tries| tries.again(&pool, Outcome::Answered(503), true, Time::now());
    assert_eq!(all.iter_mut().map(again).filter(|again| *again).count(), 10);
    assert_eq!(pool.group.metrics.retries_denied.get(), 90);
    all.truncate(50);
    assert!(
        again(&mut Tries::default()) == (all.len() < 10),
        "places are held to the end"
    );
    all.clear();
    assert!(again(&mut Tries::default()));
}

#[test]
fn only_what_is_safe_is_tried_again() {
    let registry = registry();
    let pool = pool(&registry, upstream(&[1, 1]));
    let again =
        |outcome, repeatable| Tries::default().again(&pool, outcome, repeatable, Time::now());
    assert!(again(Outcome::Refused, false), "nothing was sent");
    assert!(again(Outcome::NoConnection, false));
    for outcome in [Outcome::TimedOut, Outcome::Broken, Outcome::Answered(503)] {
        assert!(
            again(outcome, true) && !again(outcome, false),
            "{outcome:?}"
        );
    }
    assert!(!again(Outcome::Answered(500), true), "not named");
}

#[tokio::test]
async fn a_request_whose_server_died_waits_for_its_place_in_the_budget() {
    let registry = registry();
    let pool = pool(&registry, upstream(&[1, 1]));
    let again = |tries: &mut Tries| tries.again(&pool, Outcome::Broken, true, Time::now());
    let mut all: Vec<_> = (0..4).map(|_| Tries::default()).collect();
    assert!(all.iter_mut().all(again), "each may, but not at once");
    let mut last = all.pop().expect("there are four");
    assert!(!last.takes_place(&pool));
    let freed = async {
        tokio::task::yield_now().await;
        all.truncate(2);
    };
    let (ready, ()) = tokio::join!(last.ready(&pool), freed);
    assert!(ready);
    assert_eq!(pool.group.retrying(), 3);
}
