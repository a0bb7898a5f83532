//! Moves that break off after each of their steps, and what is served until they are begun again.

use super::*;
use crate::domain::device::Message;
use crate::domain::job::Lane;
use clap::Parser;
use std::collections::BTreeMap;
use tempfile::TempDir;

const DEVICES: [&str; 3] = ["alpha", "kiosk", "scanner"];
const NOW: Moment = Moment(1_780_272_000_000);

/// Databases in a folder, and the settings that say who has what.
struct Town {
    folder: TempDir,
}

/// What is known of devices, wherever it is: messages' numbers, and requests with their answers.
#[derive(Clone, Debug, Default, PartialEq)]
struct Known {
    messages: BTreeSet<i64>,
    answers: BTreeMap<i64, Option<String>>,
}

impl Town {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    fn url(&self, name: &str) -> String {
        format!("sqlite://{}/{name}.sqlite", self.folder.path().display())
    }

    fn all_in_main(&self) -> Settings {
        let folder = self.folder.path();
        Settings::parse_from(["lakh-origin".as_ref(), "--data".as_ref(), folder])
    }

    /// The last two devices each on a shard of their own.
    fn in_three(&self) -> Settings {
        let places = [
            "..h=main".to_owned(),
            format!("h..p={}", self.url("middle")),
            format!("p..={}", self.url("far")),
        ];
        let mut settings = self.all_in_main();
        settings.shards = places.map(|place| place.parse().expect("a place")).into();
        settings
    }

    async fn main(&self) -> Arc<Store> {
        let opened = Store::open(&self.all_in_main()).await;
        Arc::new(opened.expect("a database"))
    }

    /// Breaks off after so many steps; None: after all of them, of which none failed.
    async fn reshard(&self, settings: &Settings, former: &[&str], steps: usize) -> Option<usize> {
        let former: Vec<_> = former.iter().map(|name| self.url(name)).collect();
        let main = self.main().await;
        let mut left = steps;
        let killed = reshard(settings, &main, &former, |_| {
            left = left.checked_sub(1).ok_or("killed")?;
            Ok(())
        });
        let killed = killed.await;
        main.close().await;
        match killed {
            Ok(_) => None,
            Err(error) => {
                assert_eq!(error.to_string(), "killed");
                Some(steps)
            }
        }
    }

    async fn open(&self, settings: &Settings) -> Result<(Arc<Store>, Shards), Box<dyn Error>> {
        let main = self.main().await;
        let shards = Shards::open(settings, &main).await?;
        Ok((main, shards))
    }

    /// What is served with these settings, on the device's own shard and nowhere else.
    async fn served(&self, settings: &Settings) -> Known {
        let (_main, shards) = self.open(settings).await.expect("it is in order");
        let mut known = Known::default();
        for device in DEVICES {
            let device = device.parse().expect("a name");
            known
                .add(&shards.of(&device).expect("it is there").store, &device)
                .await;
        }
        known
    }

    /// Each device is told something, asks something, and what it asked before is answered.
    async fn serve(&self, settings: &Settings) {
        let (_main, shards) = self.open(settings).await.expect("it is in order");
        for device in DEVICES {
            let device: DeviceName = device.parse().expect("a name");
            let store = &shards.of(&device).expect("it is there").store;
            answer_all(store).await;
            let said = store.say(Some(&device), "Hello.", By::itself(NOW)).await;
            said.expect("it is written");
            let asked = store
                .ask(&device, "Who lends a ladder?", None, By::itself(NOW))
                .await;
            asked.expect("it is written");
        }
    }
}

/// By a worker that answers one request as often as it is asked: the answer says in which attempt.
async fn answer_all(store: &Store) {
    let (now, lease) = (NOW.plus_seconds(1), NOW.plus_seconds(60));
    while let Some(claim) = store
        .claim(Lane::Requests, lease, now)
        .await
        .expect("it is read")
    {
        let id = claim.subject.parse().expect("a number");
        let request = store.request(id).await.expect("it is read");
        let request = request.expect("a job has its request");
        assert_eq!(request.answer, None, "{id} is answered twice");
        let answered = store.respond(&claim, id, "Ada.", now).await;
        assert!(answered.expect("it is written"));
    }
}

impl Known {
    async fn add(&mut self, store: &Store, device: &DeviceName) {
        let messages: Vec<Message> = store.messages_after(0).await.expect("they are read");
        let messages = messages
            .iter()
            .filter(|one| one.device.as_ref() == Some(device));
        for message in messages {
            assert!(self.messages.insert(message.id), "{} is twice", message.id);
        }
        let newest = Stamp {
            at: Moment::now(),
            id: i64::MAX,
        };
        let requests = store.requests_of(std::slice::from_ref(device), newest, 1000);
        for request in requests.await.expect("they are read") {
            let twice = self.answers.insert(request.id, request.answer);
            assert_eq!(twice, None, "{} is twice", request.id);
        }
    }

    fn has_all_of(&self, before: &Self) -> bool {
        let is_as_far = |(id, answer): (&i64, &Option<String>)| match self.answers.get(id) {
            Some(now) => answer.is_none() || now == answer,
            None => false,
        };
        self.messages.is_superset(&before.messages) && before.answers.iter().all(is_as_far)
    }
}

/// Each line of what was noted in these databases, by its number.
async fn noted(stores: &[&Arc<Store>]) -> BTreeMap<i64, serde_json::Value> {
    let newest = Stamp {
        at: Moment::now(),
        id: i64::MAX,
    };
    let mut lines = BTreeMap::new();
    for store in stores {
        for entry in store.audit(newest, 10_000).await.expect("it is read") {
            let line = serde_json::to_value(&entry).expect("it is plain");
            assert_eq!(lines.insert(entry.id, line), None, "{} is twice", entry.id);
        }
    }
    lines
}

/// With something of each device in the main database.
async fn town() -> (Town, Known) {
    let town = Town::new();
    let together = town.all_in_main();
    for _ in 0..2 {
        town.serve(&together).await;
    }
    let known = town.served(&together).await;
    assert_eq!(known.answers.len(), 6);
    (town, known)
}

/// Two devices move to a new shard each: they number, copy and remove, and the last step is the end.
const STEPS: usize = 6;

#[tokio::test]
async fn what_breaks_off_after_any_step_is_refused_and_then_completed() {
    for steps in 0..STEPS {
        let (town, before) = town().await;
        let apart = town.in_three();
        assert_eq!(town.reshard(&apart, &[], steps).await, Some(steps));
        if steps < STEPS - 1 {
            assert!(town.open(&apart).await.is_err(), "after {steps}");
        }
        assert_eq!(town.reshard(&apart, &[], usize::MAX).await, None);
        assert_eq!(town.served(&apart).await, before, "after {steps}");
        let (main, moved) = (town.main().await, "h..".parse().expect("a range"));
        let left = main.device_within(&moved).await;
        assert_eq!(left.expect("it is read"), None);
        town.serve(&apart).await;
        assert!(town.served(&apart).await.has_all_of(&before));
    }
}

#[tokio::test]
async fn what_breaks_off_and_is_served_where_it_was_before_loses_nothing_in_either_direction() {
    for steps in 0..STEPS {
        for goes_on in [true, false] {
            let (town, _) = town().await;
            let (together, apart) = (town.all_in_main(), town.in_three());
            assert_eq!(town.reshard(&apart, &[], steps).await, Some(steps));
            town.serve(&together).await;
            let before = town.served(&together).await;
            let settings = match goes_on {
                true => apart,
                false => together,
            };
            let former: &[&str] = if goes_on { &[] } else { &["middle", "far"] };
            assert_eq!(town.reshard(&settings, former, usize::MAX).await, None);
            let after = town.served(&settings).await;
            assert!(
                after.has_all_of(&before),
                "after {steps}: {before:?}, {after:?}"
            );
            assert_eq!(after.answers.len(), 9);
            town.serve(&settings).await;
        }
    }
}

/// The shards that were left are in nobody's settings, so nobody can see that something is still there.
#[tokio::test]
async fn what_breaks_off_on_its_way_from_former_shards_may_be_served_and_is_completed() {
    for steps in 0..=STEPS {
        let (town, before) = town().await;
        let (together, apart) = (town.all_in_main(), town.in_three());
        assert_eq!(town.reshard(&apart, &[], usize::MAX).await, None);
        let former = ["middle", "far"];
        let broken_off = town.reshard(&together, &former, steps).await;
        town.serve(&together).await;
        let between = town.served(&together).await;
        assert_eq!(town.reshard(&together, &former, usize::MAX).await, None);
        let after = town.served(&together).await;
        assert!(
            after.has_all_of(&before) && after.has_all_of(&between),
            "{broken_off:?}"
        );
        assert_eq!(after.answers.len(), 9);
        town.serve(&together).await;
    }
}

/// Nobody would list what is left there.
#[tokio::test]
async fn what_was_noted_on_former_shards_is_on_the_main_database_wherever_it_breaks_off() {
    // Each former shard's lines are one step more.
    for steps in 0..=STEPS + 2 {
        let (town, _) = town().await;
        let (together, apart) = (town.all_in_main(), town.in_three());
        assert_eq!(town.reshard(&apart, &[], usize::MAX).await, None);
        town.serve(&apart).await;
        let before = {
            let (main, shards) = town.open(&apart).await.expect("it is in order");
            let others = shards.all().iter().map(|shard| &shard.store);
            let others = others.filter(|store| !Arc::ptr_eq(store, &main));
            noted(&others.chain([&main]).collect::<Vec<_>>()).await
        };
        let former = ["middle", "far"];
        town.reshard(&together, &former, steps).await;
        town.serve(&together).await;
        assert_eq!(town.reshard(&together, &former, usize::MAX).await, None);
        let after = noted(&[&town.main().await]).await;
        for (id, line) in before {
            assert_eq!(after.get(&id), Some(&line), "after {steps}");
        }
    }
}
