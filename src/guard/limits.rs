//! The limits of a route, which hold together: a request that one of them refuses takes nothing
//! from the others.

use super::asker::Asker;
use super::buckets::Slot;
use super::fleet::{Call, Drawn, Fleet};
use super::rate::Limiter;
use super::settings::{MOST_LIMITS, OnStoreError, RateLimitSettings, StoreSettings};
use super::standing::{Standing, Standings, Stop};
use governor::clock::{Clock, DefaultClock};
use std::sync::Arc;
use std::time::Duration;

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;

pub struct Limits<C: Clock = DefaultClock> {
    limiters: Box<[Arc<Limiter<C>>]>,
    /// Set where any of them is shared.
    fleet: Option<Arc<Fleet>>,
}

pub enum Checked {
    Pass,
    /// All will let such a request in after this time, if no other comes before.
    Refuse {
        retry_after: Duration,
    },
    /// A limit can't be asked, and lets nobody in then.
    Unknown,
    /// The limits of this process let it in; those of the fleet have yet to be asked.
    Ask(Box<Asked>),
}

/// What the fleet is asked for a request.
pub struct Asked {
    round: Round,
    calls: Vec<(usize, Call)>,
    asking: Asking,
}

/// What for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking {
    ToTake,
    /// To know what would be said. Nothing is taken, nor counted, and all limits tell how they stand.
    ToLook,
}

/// What each limit says to a request, by its place.
type Round = [Said; MOST_LIMITS];

#[derive(Clone, Copy, Default)]
enum Said {
    #[default]
    Nothing,
    /// The fleet decides.
    Open(Slot),
    Taken(Held),
    Refused(Held, Duration),
}

#[derive(Clone, Copy)]
struct Held {
    slot: Slot,
    /// The time after which the fleet's bucket is full; None: the bucket is here.
    fleet: Option<Duration>,
}

impl Said {
    fn by_fleet(slot: Slot, drawn: &Drawn) -> Said {
        let fleet = Some(drawn.full_in);
        let held = Held { slot, fleet };
        drawn
            .wait
            .map_or(Said::Taken(held), |wait| Said::Refused(held, wait))
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits::new(Vec::new(), None)
    }
}

impl<C: Clock + Clone> Limits<C> {
    /// `MOST_LIMITS` at most.
    pub fn new(limiters: Vec<Arc<Limiter<C>>>, fleet: Option<Arc<Fleet>>) -> Limits<C> {
        Limits {
            limiters: limiters.into(),
            fleet,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.limiters.is_empty()
    }

    /// Takes what the request costs from all of them, or from none. `standings` is set unless the
    /// fleet is to be asked.
    pub fn check(&self, asker: &Asker<'_>, asking: Asking, standings: &mut Standings) -> Checked {
        let (mut round, mut calls) = (Round::default(), Vec::new());
        for (said, limiter) in round.iter_mut().zip(&self.limiters) {
            if let Some(slot) = limiter.slot(asker) {
                *said = match limiter.settings.is_shared() {
                    true => Said::Open(slot),
                    false => ask(limiter, slot, asking),
                };
            }
        }
        if self.wait(&round).is_none() || asking == Asking::ToLook {
            calls = self.calls(&round, asker, asking);
        }
        match calls.is_empty() {
            true => self.conclude(&round, true, asking, standings),
            false => {
                let asked = Asked {
                    round,
                    calls,
                    asking,
                };
                Checked::Ask(Box::new(asked))
            }
        }
    }

    /// Asks the fleet; takes back what was taken here if it refuses. Never `Ask`.
    pub async fn settle(&self, asked: Asked, standings: &mut Standings) -> Checked {
        let Asked {
            mut round,
            calls,
            asking,
        } = asked;
        let drawn = match &self.fleet {
            Some(fleet) => fleet.draw(calls.iter().map(|(_, call)| call)).await.ok(),
            None => None,
        };
        let mut known = true;
        for (n, (place, _)) in calls.iter().enumerate() {
            let limiter = &self.limiters[*place];
            if let Said::Open(slot) = round[*place] {
                round[*place] = match drawn.as_ref().and_then(|drawn| drawn.get(n)) {
                    Some(drawn) if asking == Asking::ToLook => {
                        let wait = limiter.would_take(&slot, drawn.full_in).err();
                        Said::by_fleet(slot, &Drawn { wait, ..*drawn })
                    }
                    Some(drawn) => Said::by_fleet(slot, drawn),
                    None => without_fleet(limiter, slot, asking, &mut known),
                };
            }
        }
        let checked = self.conclude(&round, known, asking, standings);
        if asking == Asking::ToLook {
            return checked;
        }
        if let (Some(fleet), false) = (&self.fleet, matches!(checked, Checked::Pass)) {
            let was_taken =
                |place: usize| matches!(round[place], Said::Taken(held) if held.fleet.is_some());
            let back = calls.into_iter().filter(|(place, _)| was_taken(*place));
            fleet.give_back(back.map(|(_, call)| call).collect());
        }
        checked
    }

    /// `RateLimit-Policy`.
    pub fn write_policies(&self, standings: &Standings, out: &mut Vec<u8>) {
        for (n, standing) in standings.iter().enumerate() {
            out.extend_from_slice(if n > 0 { b", " } else { b"" });
            let limiter = &self.limiters[usize::from(standing.limit)];
            out.extend_from_slice(limiter.policy(standing.tier as usize).as_bytes());
        }
    }

    /// `RateLimit`.
    pub fn write_standings(&self, standings: &Standings, out: &mut Vec<u8>) {
        for (n, standing) in standings.iter().enumerate() {
            out.extend_from_slice(if n > 0 { b", " } else { b"" });
            standing.write(self.name(standing.limit.into()), out);
        }
    }

    /// The limit's name.
    pub fn name(&self, limit: usize) -> &str {
        &self.limiters[limit].settings.name
    }

    /// A limit's settings, by its place.
    pub fn settings(&self, limit: usize) -> &RateLimitSettings {
        &self.limiters[limit].settings
    }

    fn calls(&self, round: &Round, asker: &Asker<'_>, asking: Asking) -> Vec<(usize, Call)> {
        let places = round.iter().zip(&self.limiters).enumerate();
        let call = |(place, (said, limiter)): (usize, (&Said, &Arc<Limiter<C>>))| match said {
            Said::Open(slot) => Some(match asking {
                Asking::ToTake => (place, Call::new(limiter, slot, asker)),
                Asking::ToLook => (place, Call::looking(limiter, slot, asker)),
            }),
            _ => None,
        };
        places.filter_map(call).collect()
    }

    /// The longest that any of them makes the request wait; None: none refuses it.
    fn wait(&self, round: &Round) -> Option<Duration> {
        let both = round.iter().zip(&self.limiters);
        let waits = both.filter_map(|(said, limiter)| match said {
            Said::Refused(_, wait) if !limiter.settings.dry_run => Some(*wait),
            _ => None,
        });
        waits.max()
    }

    /// When all have spoken. `known`: none of those that must be asked could not be.
    fn conclude(
        &self,
        round: &Round,
        known: bool,
        asking: Asking,
        standings: &mut Standings,
    ) -> Checked {
        if asking == Asking::ToLook {
            self.look(round, standings);
            return self.verdict(round, known);
        }
        let wait = self.wait(round);
        let is_in = known && wait.is_none();
        for (limit, (said, limiter)) in round.iter().zip(&self.limiters).enumerate() {
            let dry = limiter.settings.dry_run;
            let standing = match said {
                Said::Nothing | Said::Open(_) => continue,
                Said::Taken(held) if is_in => {
                    limiter.metrics.allowed.inc();
                    standing(limiter, held, Duration::ZERO, None)
                }
                Said::Taken(held) => {
                    if held.fleet.is_none() {
                        limiter.give_back(&held.slot);
                    }
                    standing(limiter, held, limiter.price(&held.slot), None)
                }
                Said::Refused(held, wait) => {
                    let metrics = &limiter.metrics;
                    if dry {
                        &metrics.dry_run
                    } else {
                        &metrics.refused
                    }
                    .inc();
                    standings.stop(Stop { limit, dry });
                    standing(limiter, held, Duration::ZERO, Some(*wait))
                }
            };
            if limiter.settings.fields && !dry {
                let limit = limit as u8;
                standings.push(Standing { limit, ..standing });
            }
        }
        self.verdict(round, known)
    }

    fn verdict(&self, round: &Round, known: bool) -> Checked {
        match self.wait(round) {
            Some(retry_after) => Checked::Refuse { retry_after },
            None if known => Checked::Pass,
            None => Checked::Unknown,
        }
    }

    /// How all of them stand that have spoken.
    fn look(&self, round: &Round, standings: &mut Standings) {
        for (limit, (said, limiter)) in round.iter().zip(&self.limiters).enumerate() {
            let (held, wait) = match said {
                Said::Nothing | Said::Open(_) => continue,
                Said::Taken(held) => (held, None),
                Said::Refused(held, wait) => (held, Some(*wait)),
            };
            if wait.is_some() {
                let dry = limiter.settings.dry_run;
                standings.stop(Stop { limit, dry });
            }
            let standing = standing(limiter, held, Duration::ZERO, wait);
            let limit = limit as u8;
            standings.push(Standing { limit, ..standing });
        }
    }
}

fn ask<C: Clock + Clone>(limiter: &Limiter<C>, slot: Slot, asking: Asking) -> Said {
    let held = Held { slot, fleet: None };
    let said = match asking {
        Asking::ToTake => limiter.take(&slot),
        Asking::ToLook => limiter.look(&slot),
    };
    match said {
        Ok(()) => Said::Taken(held),
        Err(wait) => Said::Refused(held, wait),
    }
}

fn without_fleet<C: Clock + Clone>(
    limiter: &Limiter<C>,
    slot: Slot,
    asking: Asking,
    known: &mut bool,
) -> Said {
    if asking == Asking::ToTake {
        limiter.metrics.store_errors.inc();
    }
    match limiter.settings.store {
        StoreSettings::Redis(OnStoreError::Refuse) => {
            *known &= limiter.settings.dry_run;
            Said::Nothing
        }
        StoreSettings::Redis(OnStoreError::Allow) => Said::Nothing,
        _ => ask(limiter, slot, asking),
    }
}

/// `back`: of what the fleet has taken, that it will be given back.
fn standing<C: Clock + Clone>(
    limiter: &Limiter<C>,
    held: &Held,
    back: Duration,
    wait: Option<Duration>,
) -> Standing {
    let slot = &held.slot;
    let full_in = match held.fleet {
        Some(full_in) => full_in.saturating_sub(back),
        None => limiter.full_in(slot),
    };
    Standing {
        tier: slot.tier as u32,
        ..Standing::of(limiter.quota(slot.tier), full_in, wait)
    }
}
