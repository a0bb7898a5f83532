use super::*;
use proptest::prelude::*;

fn at(seconds: u64) -> Time {
    Time::from_millis(seconds * 1000)
}

fn rules() -> Rules {
    Rules {
        health_check: Some(HealthCheckSettings::default()),
        ejection: Some(EjectionSettings::default()),
        circuit_breaker: None,
        slow_start: Duration::ZERO,
    }
}

fn breaker_only() -> Rules {
    Rules {
        circuit_breaker: Some(BreakerSettings::default()),
        ..Rules::default()
    }
}

fn record() -> Record {
    Record::new(false, at(0))
}

fn fail(record: &mut Record, times: u32, rules: &Rules, now: Time) {
    for _ in 0..times {
        record.told(Outcome::Answered(500), rules, || true, now);
    }
}

#[test]
fn five_failures_in_a_row_put_it_out_and_time_brings_it_back() {
    let (mut record, rules) = (record(), rules());
    fail(&mut record, 4, &rules, at(1));
    record.told(Outcome::Answered(404), &rules, || true, at(1));
    record.finished();
    fail(&mut record, 4, &rules, at(1));
    assert_eq!(record.state(), State::Up, "a success breaks the row");
    record.told(Outcome::Answered(200), &rules, || true, at(1));
    record.told(Outcome::Broken, &rules, || true, at(1));
    assert_eq!(record.state(), State::Ejected { until: at(31) });
    assert_eq!(
        record.why(),
        Some("5 failed in a row: the answer broke off")
    );
    assert_eq!(record.standing(&rules, at(1)).until, at(31));
    record.settle(at(30));
    assert!(record.ejected());
    record.settle(at(31));
    assert_eq!((record.state(), record.why()), (State::Up, None));
}

#[test]
fn nobody_is_put_out_beyond_the_share() {
    let (mut record, rules) = (record(), rules());
    for _ in 0..20 {
        record.told(Outcome::TimedOut, &rules, || false, at(1));
    }
    assert_eq!(record.state(), State::Up);
    fail(&mut record, 1, &rules, at(1));
    assert!(record.ejected(), "as soon as there is a place");
}

#[test]
fn an_open_breaker_lets_one_request_decide() {
    let (mut record, rules) = (record(), breaker_only());
    fail(&mut record, 5, &rules, at(0));
    let standing = record.standing(&rules, at(59));
    assert_eq!(
        (standing.state, standing.trial),
        (State::Open { until: at(60) }, false)
    );
    assert!(record.standing(&rules, at(60)).trial);
    assert!(record.try_once(at(60)) && !record.try_once(at(60)));
    assert!(!record.standing(&rules, at(60)).trial);
    record.told(Outcome::Broken, &rules, || true, at(61));
    assert_eq!(record.state(), State::Open { until: at(121) });
    assert!(record.try_once(at(121)));
    record.told(Outcome::Answered(200), &rules, || true, at(121));
    assert_eq!(record.state(), State::Up);
    assert!(!record.in_doubt());
}

#[test]
fn probes_decide_by_their_thresholds() {
    let (mut record, rules) = (record(), rules());
    let probe = |record: &mut Record, result: Result<(), &str>| {
        record.probed(result.map_err(str::to_owned), &rules, at(9))
    };
    record.set_probed(true, at(0));
    let interval = rules.interval();
    assert_eq!(probe(&mut record, Err("status 503")), RECHECK, "in doubt");
    assert_eq!(record.why(), Some("status 503"));
    assert_eq!(probe(&mut record, Ok(())), interval);
    assert_eq!(record.why(), None);
    for _ in 0..3 {
        probe(&mut record, Err("status 503"));
    }
    assert_eq!(
        (record.state(), record.why()),
        (State::Down, Some("status 503"))
    );
    probe(&mut record, Ok(()));
    assert_eq!(record.state(), State::Down);
    assert_eq!(probe(&mut record, Ok(())), interval);
    assert_eq!(record.state(), State::Up);
}

#[test]
fn a_refused_connection_counts_only_where_a_probe_can_bring_it_back() {
    let (mut record, rules) = (record(), rules());
    record.told(Outcome::Refused, &rules, || true, at(1));
    assert_eq!(record.state(), State::Up);
    record.set_probed(true, at(1));
    record.told(Outcome::Refused, &rules, || true, at(1));
    assert_eq!(
        (record.state(), record.why()),
        (State::Down, Some("refused a connection"))
    );
    record.set_probed(false, at(2));
    assert_eq!(record.state(), State::Up, "nobody looks any more");
    record.probed(Err("late".into()), &rules, at(2));
    assert_eq!(record.why(), None, "and nobody listens");
}

#[test]
fn a_drained_server_is_well_but_gets_nothing() {
    let mut record = record();
    record.set_drained(true, at(1));
    assert_eq!(record.state(), State::Draining);
    assert!(record.healthy() && !record.state().bears_panic());
    record.set_drained(false, at(2));
    assert_eq!((record.state(), record.why()), (State::Up, None));
}

#[test]
fn what_came_back_gets_more_step_by_step() {
    let rules = Rules {
        slow_start: Duration::from_secs(100),
        ..rules()
    };
    let mut record = record();
    assert_eq!(record.standing(&rules, at(0)).level, 100, "never away");
    fail(&mut record, 5, &rules, at(0));
    record.settle(at(30));
    let level = |seconds| record.standing(&rules, at(seconds)).level;
    assert_eq!(
        [30, 35, 55, 80, 129, 130].map(level),
        [10, 10, 25, 50, 99, 100]
    );
    assert_eq!(record.standing(&rules, at(80)).until, at(85));
    assert_eq!(record.standing(&rules, at(130)).until, Time::NEVER);
    assert_eq!(Record::new(true, at(9)).standing(&rules, at(9)).level, 10);
}

#[test]
fn rules_that_left_put_nobody_out() {
    let mut record = record();
    fail(&mut record, 5, &rules(), at(0));
    record.judged_by(&breaker_only(), at(1));
    assert_eq!(record.state(), State::Up);
    fail(&mut record, 5, &breaker_only(), at(1));
    record.judged_by(&rules(), at(2));
    assert_eq!(record.state(), State::Up);
}

#[derive(Clone, Debug)]
enum Event {
    Told(u16),
    Probed(bool),
    Drained(bool),
    Try,
    Abandon,
}

fn events() -> impl Strategy<Value = Vec<(u64, Event)>> {
    let event = prop_oneof![
        prop_oneof![Just(200), Just(500)].prop_map(Event::Told),
        any::<bool>().prop_map(Event::Probed),
        any::<bool>().prop_map(Event::Drained),
        Just(Event::Try),
        Just(Event::Abandon),
    ];
    proptest::collection::vec((0..20_000u64, event), 0..200)
}

proptest! {
    /// Whatever happens: time and good news bring every server back.
    #[test]
    fn no_state_is_a_trap(events in events()) {
        let rules = Rules { circuit_breaker: Some(BreakerSettings::default()), ..rules() };
        let (mut record, mut now) = (record(), Time::default());
        record.set_probed(true, now);
        for (wait, event) in events {
            now = now + Duration::from_millis(wait);
            record.settle(now);
            match event {
                Event::Told(status) => record.told(Outcome::Answered(status), &rules, || true, now),
                Event::Probed(well) => {
                    record.probed(if well { Ok(()) } else { Err("ill".into()) }, &rules, now);
                }
                Event::Drained(drained) => record.set_drained(drained, now),
                Event::Try => drop(record.try_once(now)),
                Event::Abandon => record.abandon_trial(now),
            }
            let standing = record.standing(&rules, now);
            prop_assert!(standing.until > now, "{standing:?} at {now:?}");
        }
        record.set_drained(false, now);
        for _ in 0..5 {
            now = now + Duration::from_secs(301);
            record.settle(now);
            record.probed(Ok(()), &rules, now);
            record.abandon_trial(now);
            if record.try_once(now) {
                record.told(Outcome::Answered(200), &rules, || true, now);
            }
        }
        prop_assert_eq!(record.state(), State::Up);
    }
}
