//! Looks into the store, again and again; orders what is due when its turn has come, and otherwise takes
//! what others have got.

use super::account::{self, Exchange, Told, unkept};
use super::book::{Attempt, Book};
use super::failure::Failure;
use super::held::Held;
use super::issued::Issued;
use super::settings::Wanted;
use super::store::Store;
use super::{order, plan, window};
use crate::observe::{AcmeMetrics, Trouble};
use instant_acme::CertificateIdentifier;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::sleep;

/// From one look into the store to the next.
const LOOK: Duration = Duration::from_secs(1);
/// From when the store has what an authority will look for, until all edges know it.
const SPREAD: Duration = Duration::from_millis(2500);

const BOOK: &str = "book";

/// Sees to all that is wanted. Dropped, it ends.
pub struct Agent {
    work: Arc<Work>,
    task: Mutex<Option<AbortHandle>>,
}

/// How it stands with a certificate.
#[derive(Clone, Debug)]
pub struct Standing {
    pub name: Box<str>,
    pub domains: Vec<Box<str>>,
    /// Unix seconds; None while there is none.
    pub not_after: Option<i64>,
    /// When it is ordered next; in the past: it is being ordered.
    pub next_order: i64,
    /// In a row; an order that is under way counts, until it has not failed.
    pub failures: u32,
    pub why: Option<String>,
}

struct Work {
    wanted: Wanted,
    store: Store,
    held: Arc<Held>,
    exchange: Exchange,
    metrics: AcmeMetrics,
    /// The last that was read, whole with the certificates of its generation.
    known: Mutex<Option<Book>>,
    looked: watch::Sender<bool>,
    trouble: Trouble,
}

impl Agent {
    /// Does nothing until `start`. An error where the store can't be used.
    pub fn new(
        wanted: Wanted,
        held: Arc<Held>,
        exchange: Exchange,
        metrics: AcmeMetrics,
    ) -> Result<Agent, String> {
        let store = Store::new(&wanted, metrics.link.clone())?;
        let work = Work {
            wanted,
            store,
            held,
            exchange,
            metrics,
            known: Mutex::default(),
            looked: watch::Sender::new(false),
            trouble: Trouble::default(),
        };
        Ok(Agent {
            work: Arc::new(work),
            task: Mutex::default(),
        })
    }

    pub fn wanted(&self) -> &Wanted {
        &self.work.wanted
    }

    /// Goes on for as long as this lives. Called once.
    pub fn start(&self) {
        self.work.store.connect();
        let task = tokio::spawn(self.work.clone().run());
        *self.task() = Some(task.abort_handle());
    }

    /// Another one sees to it from here on, though requests may still have this one's configuration.
    pub fn stop(&self) {
        if let Some(task) = self.task().take() {
            task.abort();
        }
    }

    /// Until what the store has is in hand, as far as it could be read.
    pub async fn looked_once(&self) {
        // The sender is the work's, which this has.
        let _ = self
            .work
            .looked
            .subscribe()
            .wait_for(|looked| *looked)
            .await;
    }

    pub fn standings(&self) -> Vec<Standing> {
        let book = self.work.known().clone().unwrap_or_default();
        let wanted = self.work.wanted.certificates.iter();
        wanted
            .map(|domains| self.work.standing(domains, &book))
            .collect()
    }

    /// Sets what is read rather than counted.
    pub fn report(&self) {
        let standings = self.standings();
        let missing = standings.iter().filter(|s| s.not_after.is_none());
        self.work.metrics.missing.set(missing.count() as i64);
        let failing = standings.iter().filter(|s| s.why.is_some());
        self.work.metrics.failing.set(failing.count() as i64);
        for standing in standings {
            self.work.metrics.next(&standing.name, standing.next_order);
        }
    }

    fn task(&self) -> MutexGuard<'_, Option<AbortHandle>> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Work {
    async fn run(self: Arc<Work>) {
        loop {
            match self.turn().await {
                Ok(()) => {
                    if self.trouble.is_over() {
                        tracing::info!("acme: the store can be used again");
                    }
                }
                Err(why) if self.trouble.is_news(&why) => tracing::error!(
                    "acme: {why}; certificates stay as they are, and none is ordered"
                ),
                Err(_) => {}
            }
            self.looked.send_replace(true);
            sleep(LOOK).await;
        }
    }

    /// One look, and what is to be done. An error where the store can't be used.
    async fn turn(&self) -> Result<(), String> {
        let book = self.read(false).await?;
        if self.due(&book).is_empty() && self.unasked(&book).is_empty() {
            return Ok(());
        }
        // An order takes its time, and what was there is in hand.
        self.looked.send_replace(true);
        let Some(lock) = self.store.lock().await? else {
            return Ok(());
        };
        let done = tokio::select! {
            done = self.order_due() => done,
            () = lock.lost() => Err("another edge has taken over".to_owned()),
        };
        lock.release().await;
        done
    }

    /// Whoever calls holds the lock.
    async fn order_due(&self) -> Result<(), String> {
        // Somebody else may have seen to it since, and not have come to say so.
        let mut book = self.read(true).await?;
        for domains in self.due(&book) {
            self.order(domains, &mut book).await?;
        }
        for issued in self.unasked(&book) {
            self.ask(&issued, &mut book).await?;
        }
        Ok(())
    }

    /// Asks when the certificate is to be renewed, and writes down what is said.
    async fn ask(&self, issued: &Issued, book: &mut Book) -> Result<(), String> {
        let Some(id) = &issued.id else {
            return Ok(());
        };
        let (acme, before) = (&self.wanted.acme, book.windows.get(&issued.name));
        let asked = window::ask(acme, &self.store, &self.exchange, id, before, unix_now());
        let said = asked.await;
        book.windows.insert(issued.name.clone(), said);
        self.write(book).await
    }

    /// The book as it is, with all that it says in hand. `all`: certificates too that it says nothing new of.
    async fn read(&self, all: bool) -> Result<Book, String> {
        let book = match self.store.get(BOOK).await? {
            // One that can't be read is written anew: nothing in it is needed for long.
            Some(record) => serde_json::from_slice(&record).unwrap_or_default(),
            None => Book::default(),
        };
        let known = self.known().as_ref().map(|known| known.generation);
        if all || known != Some(book.generation) {
            for domains in &self.wanted.certificates {
                self.load(&domains[0]).await?;
            }
        }
        self.held.prove(&book.challenges);
        *self.known() = Some(book.clone());
        Ok(book)
    }

    async fn load(&self, name: &str) -> Result<(), String> {
        let Some(record) = self.store.get(&record(name)).await? else {
            return Ok(());
        };
        match Issued::read(name, &record) {
            Ok(issued) => {
                let known = self.held.certificate(name);
                if known.is_none_or(|known| known.pair.cert != issued.pair.cert) {
                    self.held.put(issued);
                }
            }
            // It is as good as none, and ordered anew.
            Err(why) => tracing::error!("acme: the record of {name} is of no use: {why}"),
        }
        Ok(())
    }

    fn due(&self, book: &Book) -> Vec<&Vec<Box<str>>> {
        let now = unix_now();
        let wanted = self.wanted.certificates.iter();
        wanted
            .filter(|domains| self.standing(domains, book).next_order <= now)
            .collect()
    }

    /// Those that the authority is to be asked about.
    fn unasked(&self, book: &Book) -> Vec<Arc<Issued>> {
        let now = unix_now();
        let wanted = self.wanted.certificates.iter();
        wanted
            .filter_map(|domains| self.held.certificate(&domains[0]))
            .filter(|issued| issued.is_to_be_asked_about(book.windows.get(&issued.name), now))
            .collect()
    }

    fn standing(&self, domains: &[Box<str>], book: &Book) -> Standing {
        let name = &domains[0];
        let last = book.attempts.get(name).cloned().unwrap_or_default();
        let issued = self.held.certificate(name);
        let fitting = issued.as_ref().filter(|issued| issued.is_for(domains));
        Standing {
            name: name.clone(),
            domains: domains.to_vec(),
            not_after: issued.as_ref().map(|issued| issued.leaf.not_after),
            next_order: plan::next_order(
                fitting.map(|issued| issued.renewal(book.windows.get(name))),
                &last,
            ),
            failures: last.failures,
            why: last.why,
        }
    }

    /// Orders one, and writes down what came of it. An error where that can't be written.
    async fn order(&self, domains: &[Box<str>], book: &mut Book) -> Result<(), String> {
        let (name, told) = (&domains[0], Told::default());
        let before = book.attempts.get(name).cloned().unwrap_or_default();
        let failures = before.failures.saturating_add(1);
        // Written before: an edge that dies of it, again and again, asks no more often than another.
        let attempt = failed(failures, None, before.why);
        book.attempts.insert(name.clone(), attempt);
        self.write(book).await?;
        let issued = self.issue(domains, book, &told).await;
        let attempt = match &issued {
            Ok(_) => Attempt {
                failures: 0,
                rest_until: unix_now() + plan::REST,
                why: None,
            },
            Err(failure) => failed(failures, told.take(), Some(failure.why.clone())),
        };
        let rest = attempt.rest_until - unix_now();
        book.attempts.insert(name.clone(), attempt);
        book.challenges.clear();
        book.generation += u64::from(issued.is_ok());
        let written = self.write(book).await;
        self.held.prove(&[]);
        self.tell(domains, issued, rest);
        written
    }

    /// Whoever sees it told finds it written down.
    fn tell(&self, domains: &[Box<str>], issued: Result<Issued, Failure>, rest: i64) {
        let name = &domains[0];
        match issued {
            Ok(issued) => {
                self.held.put(issued);
                tracing::info!(names = ?domains, "acme: a certificate was issued");
                self.metrics.ordered(name, "issued");
            }
            Err(Failure { why, remedy }) => {
                let wait = Duration::from_secs(rest.max(0).unsigned_abs());
                let next = humantime::format_duration(wait);
                tracing::error!(
                    names = ?domains,
                    "acme: no certificate: {why}; what to do: {remedy}; it is tried again in {next}"
                );
                self.metrics.ordered(name, "failed");
            }
        }
    }

    /// The order itself. What it brings is kept before it is shown.
    async fn issue(
        &self,
        domains: &[Box<str>],
        book: &mut Book,
        told: &Told,
    ) -> Result<Issued, Failure> {
        let (acme, name) = (&self.wanted.acme, &domains[0]);
        let account = account::open(acme, &self.store, &self.exchange, told).await?;
        let mut order = order::place(&account, domains, self.replaced(name, book)).await?;
        book.challenges = order::proofs(&mut order, acme.challenge).await?;
        if !book.challenges.is_empty() {
            self.write(book).await.map_err(unkept)?;
            self.held.prove(&book.challenges);
            sleep(SPREAD).await;
        }
        let text = order::finish(&mut order, acme.challenge, domains).await?;
        let useless = |why| Failure::new(why, "see what the authority says of it");
        let issued = Issued::read(name, text.as_bytes()).map_err(useless)?;
        if !issued.is_for(domains) {
            let names = &issued.leaf.names;
            return Err(useless(format!("the certificate is for {names:?} alone")));
        }
        if issued.leaf.not_after <= unix_now() {
            let why = "the certificate's time is over already";
            return Err(Failure::new(why, "look at this machine's clock"));
        }
        let kept = self.store.put(&record(name), text.into_bytes()).await;
        kept.map_err(unkept)?;
        Ok(issued)
    }

    /// What the order for `name` replaces, where the authority has said when that is to be.
    fn replaced(&self, name: &str, book: &Book) -> Option<CertificateIdentifier<'static>> {
        let id = self.held.certificate(name)?.id.clone()?;
        let window = book.windows.get(name)?;
        window.span(&id).map(|_| id)
    }

    async fn write(&self, book: &Book) -> Result<(), String> {
        let record = serde_json::to_vec(book).map_err(|e| e.to_string())?;
        self.store.put(BOOK, record).await?;
        *self.known() = Some(book.clone());
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, Option<Book>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// So many in a row. `told`: how long the authority wants to be left alone.
fn failed(failures: u32, told: Option<Duration>, why: Option<String>) -> Attempt {
    let pause = plan::pause(failures, told, fastrand::f64());
    Attempt {
        failures,
        rest_until: unix_now() + pause.as_secs() as i64,
        why,
    }
}

/// What a certificate with its key is kept as.
fn record(name: &str) -> String {
    format!("{name}.pem")
}

fn unix_now() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs() as i64)
}
