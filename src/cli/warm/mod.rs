//! `lakh warm`: asks the running edge for a list of URLs, so that they are stored before people
//! ask. Goes through the edge as its clients do: at a bounded rate, and so many at once.

mod list;
mod pace;
mod tally;
mod visit;

pub use list::Source;

use crate::guard::Rate;
use pace::Pace;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use tally::Tally;
use visit::{Outcome, Target, visit};

pub struct Order {
    /// The edge.
    pub to: SocketAddr,
    pub source: Source,
    pub rate: Rate,
    /// Requests at once.
    pub concurrency: usize,
}

pub fn warm(order: &Order) -> ExitCode {
    let targets = match list::read(&order.source, order.to) {
        Ok(targets) => targets,
        Err(why) => {
            eprintln!("lakh: {why}");
            return ExitCode::FAILURE;
        }
    };
    let mut tally = Tally::of(targets.len());
    visit_all(order, &targets, |target, outcome| {
        tally.add(target, outcome)
    });
    println!("{}", tally.summary());
    match tally.has_failures() {
        false => ExitCode::SUCCESS,
        true => ExitCode::FAILURE,
    }
}

/// Tells each outcome as it comes.
fn visit_all(order: &Order, targets: &[Target], mut tell: impl FnMut(&Target, Outcome)) {
    let (next, pace) = (AtomicUsize::new(0), Pace::new(order.rate));
    let (outcomes, told) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..order.concurrency.min(targets.len()) {
            let (next, pace, outcomes) = (&next, &pace, outcomes.clone());
            scope.spawn(move || {
                while let Some(target) = targets.get(next.fetch_add(1, Ordering::Relaxed)) {
                    pace.wait();
                    // The receiver outlives all senders.
                    let _ = outcomes.send((target, visit(order.to, target)));
                }
            });
        }
        drop(outcomes);
        told.iter()
            .for_each(|(target, outcome)| tell(target, outcome));
    });
}
