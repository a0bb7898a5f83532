//! Property: whatever is asked, said and written, in whatever order and at whatever times, the
//! cache never serves what a direct reading of RFC 9111 (with 5861, 8246, 9110 and 9213) forbids,
//! and it does serve what that reading plainly allows.

mod flow;
mod model;
mod script;

use super::RouteTtl;
use flow::World;
use proptest::prelude::*;
use proptest::test_runner::Config;
use script::{Step, TENANT, steps};
use std::time::Duration;

proptest! {
    #![proptest_config(Config { cases: 12_000, ..Config::default() })]

    #[test]
    fn nothing_forbidden_is_served_and_nothing_plain_is_fetched(
        steps in steps(), ttl in ttl(), keyed_by_tenant in prop::bool::weighted(0.2),
    ) {
        let key_headers = if keyed_by_tenant { vec![TENANT] } else { vec![] };
        let mut world = World::new(ttl, key_headers);
        for (number, step) in steps.iter().enumerate() {
            world.step = number;
            let before = world.served.len();
            let plain = take(&mut world, step);
            for served in &world.served[before..] {
                let judgement = model::judge(&world, served);
                prop_assert!(judgement.is_ok(), "{}", report(&world, number, judgement, served));
            }
            if let Some(expected) = plain {
                let served = world.served.last().expect("it was asked");
                let judgement = model::judge_plain(expected, served);
                prop_assert!(judgement.is_ok(), "{}", report(&world, number, judgement, served));
            }
        }
    }
}

/// The exchange that must answer this step's request from the store.
fn take(world: &mut World, step: &Step) -> Option<usize> {
    let mut plain = None;
    match step {
        Step::Ask(ask, say, at_once) => {
            plain = model::plainly_stored(world, ask);
            world.ask(ask, say);
            if *at_once {
                world.head_comes(0, say);
                world.body_ends(0);
            }
        }
        Step::Head(which, say) => world.head_comes(*which, say),
        Step::End(which) => world.body_ends(*which),
        Step::Write(write) => {
            world.writes.extend(
                model::written(write)
                    .into_iter()
                    .map(|uri| (uri, world.step)),
            );
            world.write(write);
        }
        Step::Wait(seconds) => world.now += seconds,
    }
    plain
}

/// What an operator may set on a route: nothing, mostly.
fn ttl() -> impl Strategy<Value = RouteTtl> {
    let seconds = |chance, range| {
        prop::option::weighted(chance, range).prop_map(|s: Option<u64>| s.map(Duration::from_secs))
    };
    (
        seconds(0.1, 1u64..10),
        seconds(0.15, 0u64..10),
        seconds(0.15, 0u64..10),
    )
        .prop_map(|(ttl, stale_while_revalidate, stale_if_error)| RouteTtl {
            negative_ttl: None,
            ttl,
            stale_while_revalidate,
            stale_if_error,
        })
}

fn report(
    world: &World,
    step: usize,
    judgement: Result<(), String>,
    served: &flow::Served,
) -> String {
    let why = judgement.err().unwrap_or_default();
    format!(
        "step {step}: {why}\n{served:#?}\nexchanges: {:#?}",
        world.exchanges
    )
}
