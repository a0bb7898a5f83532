//! Which node of a database is written to, and which are read: from what each said when it was last asked.
//! Pure; `nodes` asks.
//!
//! A replica is read only while it is known to have all that was committed a lease ago, and whoever has
//! written is answered when every replica has it, or after a lease. So nobody reads what is older than their
//! own write, whichever process they ask, and nothing older than a purge gets into a shared cache. Only
//! durations are compared, never two machines' clocks.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Longer than it takes to find out that a node says nothing.
pub const LEASE: Duration = Duration::from_secs(1);

/// Processes ask at different moments, so one may find a replica good for a lease longer than another does.
const OTHERS_LEASE: Duration = LEASE.saturating_mul(2);

/// Of which database cluster, and which of its timelines: with every promotion comes a higher one, so an old primary
/// that returns is no rival.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct History {
    pub cluster: i64,
    pub timeline: i64,
}

/// What a node says of itself. A position is in bytes of the write-ahead log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Report {
    Primary { history: History, position: i64 },
    Replica { position: i64 },
}

pub struct Standing {
    nodes: Vec<Known>,
    leader: usize,
    /// What was written to last.
    history: Option<History>,
    /// Since when the leader leads, as far as is known here.
    since: Option<Instant>,
    /// Where the leader was at which moment, oldest first.
    marks: VecDeque<(Instant, i64)>,
}

#[derive(Clone, Default)]
struct Known {
    /// None while it doesn't answer.
    report: Option<Report>,
    /// It has all that was committed before.
    fresh: Option<Instant>,
}

impl Standing {
    /// The first is taken for the primary until they have been asked.
    pub fn of(nodes: usize) -> Self {
        Self {
            nodes: vec![Known::default(); nodes],
            leader: 0,
            history: None,
            since: None,
            marks: VecDeque::new(),
        }
    }

    /// `asked` is when the question was sent: all that was committed before is within the position.
    pub fn hear(&mut self, node: usize, asked: Instant, report: Option<Report>) {
        self.nodes[node].report = report;
        self.elect();
        match report {
            Some(Report::Primary { position, .. }) if node == self.leader => {
                self.marks.push_back((asked, position));
                self.since.get_or_insert(asked);
                let is_old = |mark: &(Instant, i64)| is_over(mark.0, OTHERS_LEASE, asked);
                while self.marks.front().is_some_and(is_old) {
                    self.marks.pop_front();
                }
            }
            Some(Report::Replica { position }) => {
                let reached = self.marks.iter().rfind(|mark| mark.1 <= position);
                let fresh = &mut self.nodes[node].fresh;
                *fresh = reached.map(|mark| mark.0).or(*fresh);
            }
            _ => {}
        }
    }

    /// None while no node takes writes.
    pub fn primary(&self) -> Option<usize> {
        self.history_of(self.leader).map(|_| self.leader)
    }

    /// The last node that took writes, whether or not it answers.
    pub fn leader(&self) -> usize {
        self.leader
    }

    pub fn answers(&self, node: usize) -> bool {
        self.nodes[node].report.is_some()
    }

    /// Changes when another primary goes on, which may lack what was committed last.
    pub fn history(&self) -> Option<History> {
        self.history
    }

    /// The replicas that have all they should; those that answer, when nobody can write anyway.
    pub fn readable(&self, now: Instant) -> Vec<usize> {
        let writable = self.primary().is_some();
        let is_readable = |known: &Known| match known.report {
            Some(Report::Replica { .. }) if writable => {
                known.fresh.is_some_and(|fresh| !is_over(fresh, LEASE, now))
            }
            Some(Report::Replica { .. }) => true,
            _ => false,
        };
        let nodes = 0..self.nodes.len();
        nodes
            .filter(|node| is_readable(&self.nodes[*node]))
            .collect()
    }

    /// Whether all replicas that somebody may read have what was written up to there.
    pub fn all_have(&self, position: i64, now: Instant) -> bool {
        let has = |known: &Known| match known.report {
            Some(Report::Replica { position: has }) if has < position => {
                let fresh = known.fresh.or(self.since);
                fresh.is_some_and(|fresh| is_over(fresh, OTHERS_LEASE, now))
            }
            _ => true,
        };
        self.nodes.iter().all(has)
    }

    fn elect(&mut self) {
        let timeline = |node: &usize| Some(self.history_of(*node)?.timeline);
        let best = (0..self.nodes.len())
            .filter(|node| timeline(node).is_some())
            .max_by_key(|node| (timeline(node), *node == self.leader));
        let Some(best) = best else {
            return;
        };
        let history = self.history_of(best);
        if best != self.leader || self.history.is_some() && self.history != history {
            // Positions of another timeline mean something else.
            self.marks.clear();
            self.since = None;
            for known in &mut self.nodes {
                known.fresh = None;
            }
        }
        self.leader = best;
        self.history = history;
    }

    fn history_of(&self, node: usize) -> Option<History> {
        match self.nodes[node].report {
            Some(Report::Primary { history, .. }) => Some(history),
            _ => None,
        }
    }
}

fn is_over(start: Instant, lasts: Duration, now: Instant) -> bool {
    now.saturating_duration_since(start) >= lasts
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const NONE: [usize; 0] = [];

    fn primary(timeline: i64, position: i64) -> Option<Report> {
        let history = History {
            cluster: 7,
            timeline,
        };
        Some(Report::Primary { history, position })
    }

    fn replica(position: i64) -> Option<Report> {
        Some(Report::Replica { position })
    }

    #[test]
    fn a_replica_is_read_while_it_has_what_was_committed_a_lease_ago() {
        let (start, mut standing) = (Instant::now(), Standing::of(2));
        standing.hear(0, start, primary(1, 100));
        standing.hear(1, start + MS, replica(99));
        assert_eq!(standing.readable(start + 2 * MS), NONE);
        assert!(!standing.all_have(100, start));
        standing.hear(1, start + 3 * MS, replica(100));
        assert_eq!(standing.readable(start + 4 * MS), [1]);
        assert!(standing.all_have(100, start));

        // It stays where it is while the primary goes on.
        let later = start + LEASE - MS;
        standing.hear(0, later, primary(1, 200));
        standing.hear(1, later, replica(100));
        assert_eq!(standing.readable(later), [1]);
        assert_eq!(standing.readable(start + LEASE), NONE);
        // Another process may have found it good a little later, but no more after another lease.
        assert!(!standing.all_have(200, start + LEASE));
        assert!(standing.all_have(200, start + 2 * LEASE));
    }

    #[test]
    fn without_a_primary_what_there_is_is_read() {
        let (start, mut standing) = (Instant::now(), Standing::of(2));
        standing.hear(0, start, primary(1, 100));
        standing.hear(1, start, replica(50));
        assert_eq!(
            (standing.primary(), standing.readable(start)),
            (Some(0), vec![])
        );
        standing.hear(0, start, None);
        assert_eq!(
            (standing.primary(), standing.readable(start)),
            (None, vec![1])
        );
        standing.hear(0, start, primary(1, 100));
        assert_eq!(
            (standing.primary(), standing.readable(start)),
            (Some(0), vec![])
        );
    }

    #[test]
    fn a_promoted_replica_leads_and_the_old_primary_does_not_return() {
        let (start, mut standing) = (Instant::now(), Standing::of(2));
        standing.hear(0, start, primary(1, 100));
        standing.hear(1, start, replica(100));
        standing.hear(0, start, None);
        standing.hear(1, start, primary(2, 120));
        assert_eq!(standing.primary(), Some(1));
        standing.hear(0, start, primary(1, 130));
        assert_eq!(
            (standing.primary(), standing.readable(start)),
            (Some(1), vec![])
        );
        // It comes back as what it is to be now.
        standing.hear(0, start, replica(90));
        assert_eq!(standing.readable(start), NONE);
        standing.hear(0, start, replica(120));
        assert_eq!(standing.readable(start), [0]);
    }

    #[test]
    fn what_was_known_of_replicas_is_nothing_on_another_timeline_of_the_same_node() {
        let (start, mut standing) = (Instant::now(), Standing::of(2));
        standing.hear(0, start, primary(1, 100));
        standing.hear(1, start, replica(100));
        assert_eq!(standing.readable(start), [1]);
        let before = standing.history();
        // Its address leads to another one now.
        standing.hear(0, start, primary(2, 90));
        assert_eq!((standing.primary(), standing.leader()), (Some(0), 0));
        assert_ne!(standing.history(), before);
        assert_eq!(standing.readable(start), NONE);
    }
}
