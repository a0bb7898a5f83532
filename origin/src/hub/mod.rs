//! Devices that listen here, those of one shard. What they are told is in its database, in one order; every hub of
//! the shard reads it there, in that order, and tells those that it has. So a device hears the same on whichever hub
//! it is, and one that comes back hears what it missed.

mod bus;

pub use bus::Bus;

use crate::app::App;
use crate::domain::clock::Moment;
use crate::domain::device::{DeviceName, Message};
use crate::domain::random::hex;
use crate::observe::log;
use crate::store::Store;
use serde_json::json;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::watch;
use tokio::{select, time};

/// Connections of a process, to one shard's devices.
const MOST_LINES: usize = 20_000;

/// What may wait for a device; one that takes longer is let go, and comes back for the rest.
const MOST_WAITING: usize = 64;

const LOOK_EVERY: Duration = Duration::from_millis(500);
const PRESENCE_EVERY: Duration = Duration::from_secs(10);
const PRESENT_SECONDS: i64 = 25;

pub struct Hub {
    /// Tells one process from the next.
    pub name: String,
    lines: Mutex<Lines>,
    bus: Arc<Bus>,
}

#[derive(Default)]
struct Lines {
    rooms: HashMap<DeviceName, Vec<Line>>,
    count: usize,
    /// Identifies the next line.
    next: u64,
    /// The message that was told last, to whoever was here.
    told: i64,
}

struct Line {
    id: u64,
    sender: Sender<Arc<Message>>,
}

/// A device's place here, until it is dropped.
pub struct Place {
    hub: Arc<Hub>,
    device: DeviceName,
    id: u64,
    /// What was said up to this message was told before the device came.
    pub told_before: i64,
    /// Ends when the hub has let the device go.
    pub messages: Receiver<Arc<Message>>,
}

impl Hub {
    /// One for all hubs of a process.
    pub fn new_name() -> String {
        hex::<4>()
    }

    pub fn open(name: &str, bus: Arc<Bus>) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            lines: Mutex::default(),
            bus,
        })
    }

    /// None when there is no room for another one.
    pub fn join(self: &Arc<Self>, device: &DeviceName) -> Option<Place> {
        let mut lines = self.lines();
        if lines.count >= MOST_LINES {
            return None;
        }
        let (sender, messages) = mpsc::channel(MOST_WAITING);
        let id = lines.next;
        lines.next += 1;
        lines.count += 1;
        let told_before = lines.told;
        let room = lines.rooms.entry(device.clone()).or_default();
        room.push(Line { id, sender });
        Some(Place {
            hub: self.clone(),
            device: device.clone(),
            id,
            told_before,
            messages,
        })
    }

    /// What was said up to this message is nothing new.
    pub fn begin_after(&self, message: i64) {
        self.lines().told = message;
    }

    /// Of what was told, what came after this message is lost. Those who listen are let go, and told when they come back
    /// that they are ahead.
    fn go_back_to(&self, message: i64) {
        let mut lines = self.lines();
        lines.told = message;
        lines.rooms.clear();
        lines.count = 0;
    }

    /// Whether the device listens here, by whichever line.
    pub fn has(&self, device: &DeviceName) -> bool {
        self.lines().rooms.contains_key(device)
    }

    pub fn count(&self) -> usize {
        self.lines().count
    }

    fn told(&self) -> i64 {
        self.lines().told
    }

    fn present(&self) -> Vec<DeviceName> {
        self.lines().rooms.keys().cloned().collect()
    }

    fn tell(&self, message: &Arc<Message>) {
        let mut lines = self.lines();
        lines.told = message.id;
        let Lines { rooms, count, .. } = &mut *lines;
        let mut tell = |room: &mut Vec<Line>| {
            let before = room.len();
            room.retain(|line| line.sender.try_send(message.clone()).is_ok());
            *count -= before - room.len();
        };
        match &message.device {
            Some(device) => rooms.get_mut(device).into_iter().for_each(&mut tell),
            None => rooms.values_mut().for_each(&mut tell),
        }
        rooms.retain(|_, room| !room.is_empty());
    }

    fn leave(&self, device: &DeviceName, id: u64) {
        let mut lines = self.lines();
        let Lines { rooms, count, .. } = &mut *lines;
        if let Some(room) = rooms.get_mut(device) {
            let before = room.len();
            room.retain(|line| line.id != id);
            *count -= before - room.len();
            if room.is_empty() {
                rooms.remove(device);
            }
        }
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().expect("no code panics with it")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.hub.leave(&self.device, self.id);
    }
}

/// Reads what is said, in order, and tells it on; until the process stops.
pub async fn follow(store: Arc<Store>, hub: Arc<Hub>, mut stopping: watch::Receiver<bool>) {
    let mut woken = hub.bus.woken.subscribe();
    let mut history = None;
    while !*stopping.borrow() {
        let now = store.history();
        if now != history && is_told(look_back(&store, &hub).await) {
            history = now;
        }
        match store.messages_after(hub.told()).await {
            Ok(said) if !said.is_empty() => {
                for message in said.into_iter().map(Arc::new) {
                    hub.tell(&message);
                }
                continue;
            }
            failed => drop(is_told(failed)),
        }
        select! {
            // The other end is the hub's own.
            _ = woken.changed() => {}
            () = time::sleep(LOOK_EVERY) => {}
            _ = stopping.changed() => {}
        }
    }
}

/// Where another primary goes on that lacks what was told last, it gives its numbers again.
async fn look_back(store: &Store, hub: &Hub) -> sqlx::Result<()> {
    let given = store.last_message_given().await?;
    let told = hub.told();
    if given < told {
        log::error("messages_lost", json!({ "told": told, "left": given }));
        hub.go_back_to(given);
    }
    Ok(())
}

/// Whether that was done. It is tried again soon.
fn is_told<T>(done: sqlx::Result<T>) -> bool {
    if let Err(error) = &done {
        log::error("hub", json!({ "reason": error.to_string() }));
    }
    done.is_ok()
}

/// Says again and again who is here.
pub async fn note_presence(app: Arc<App>) {
    let mut stopping = app.stopping.subscribe();
    while !*stopping.borrow() {
        select! {
            () = time::sleep(PRESENCE_EVERY) => {}
            _ = stopping.changed() => {}
        }
        let until = Moment::now().plus_seconds(PRESENT_SECONDS);
        // It is said again soon; if not, they are not here as far as anybody knows.
        for shard in app.shards.all() {
            let _ = app.store.set_present(&shard.hub.present(), until).await;
        }
    }
}

/// Until then a device counts as present without being mentioned again.
pub fn present_until(now: Moment) -> Moment {
    now.plus_seconds(PRESENT_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::device::Kind;

    fn name(text: &str) -> DeviceName {
        text.parse().expect("a good name")
    }

    fn message(id: i64, device: Option<&str>) -> Arc<Message> {
        Arc::new(Message {
            id,
            device: device.map(name),
            kind: Kind::Message,
            body: json!({}),
            at: String::new(),
        })
    }

    fn heard(place: &mut Place) -> Vec<i64> {
        std::iter::from_fn(|| place.messages.try_recv().ok())
            .map(|message| message.id)
            .collect()
    }

    #[tokio::test]
    async fn a_room_hears_what_is_for_it_or_for_all_and_who_is_slow_is_let_go() {
        let bus = Bus::join(None).expect("no Redis to fail");
        let hub = Hub::open("here", Arc::new(bus));
        let mut places = ["a", "a", "b"].map(|device| hub.join(&name(device)).expect("room"));
        hub.tell(&message(1, Some("a")));
        hub.tell(&message(2, None));
        assert_eq!(
            places.each_mut().map(heard),
            [vec![1, 2], vec![1, 2], vec![2]]
        );

        // Who comes now asks for those elsewhere.
        let late = hub.join(&name("b")).expect("room");
        assert_eq!((places[0].told_before, late.told_before), (0, 2));
        drop(late);

        let [first, _, mut slow] = places;
        drop(first);
        assert_eq!(hub.count(), 2);
        (3..100).for_each(|id| hub.tell(&message(id, Some("b"))));
        assert_eq!(hub.count(), 1);
        assert_eq!(heard(&mut slow).len(), MOST_WAITING);
        assert!(slow.messages.is_closed());
        drop(slow);
        assert_eq!(hub.present(), [name("a")]);
    }

    #[tokio::test]
    async fn where_numbers_are_given_again_all_are_let_go_and_hear_them_when_they_come_back() {
        let bus = Bus::join(None).expect("no Redis to fail");
        let hub = Hub::open("here", Arc::new(bus));
        let mut before = hub.join(&name("a")).expect("room");
        hub.tell(&message(90, Some("a")));
        hub.go_back_to(30);
        assert_eq!(heard(&mut before), [90]);
        assert!(before.messages.is_closed());
        let mut after = hub.join(&name("a")).expect("room");
        drop(before);
        assert_eq!((hub.count(), after.told_before), (1, 30));
        hub.tell(&message(31, Some("a")));
        assert_eq!((heard(&mut after), hub.told()), (vec![31], 31));
    }
}
