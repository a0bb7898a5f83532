//! A device listens: over a WebSocket, for as long as it answers. It says which message it heard last, and is
//! told what came since. RFC 6455.

use super::author::Author;
use super::devices::own;
use super::path::Named;
use super::problem::Problem;
use super::query::Asked;
use crate::app::App;
use crate::domain::clock::Moment;
use crate::domain::device::{DeviceName, MOST_BACKLOG, Message};
use crate::hub::{Place, present_until};
use crate::shards::Shard;
use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message as Frame, WebSocket, close_code};
use axum::extract::ws::{WebSocketUpgrade, rejection::WebSocketUpgradeRejection};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use std::slice;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{self, Instant};
use tokio::{select, sync::watch};
use tungstenite::error::{Error as Unreadable, ProtocolError};

/// Then it is also looked at whether its owner is still signed in.
const PING_EVERY: Duration = Duration::from_secs(10);

/// Who says nothing for that long, not even that it is there, is gone.
const MOST_SILENCE: Duration = Duration::from_secs(60);

const MOST_TIME_TO_SEND: Duration = Duration::from_secs(10);
const MOST_TIME_TO_PART: Duration = Duration::from_secs(1);

/// What was missed, where it is on its way.
const MOST_TIME_TO_READ: Duration = Duration::from_secs(5);
const READ_AGAIN: Duration = Duration::from_millis(10);

/// Devices ask by HTTP; what they send here is only looked at for its coming.
const MOST_FRAME: usize = 4 * 1024;

#[derive(Default, Deserialize)]
pub struct ListenQuery {
    /// The message that was heard last.
    after: Option<i64>,
}

pub async fn listen(
    State(app): State<Arc<App>>,
    author: Author,
    Named(name): Named,
    Asked(ListenQuery { after }): Asked<ListenQuery>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let upgrade = upgrade.map_err(refused)?;
    let device = own(&app, &author, &name).await?;
    let place = app.shards.of(&device)?.hub.join(&device);
    let place = place.ok_or_else(Problem::busy)?;
    let upgrade = upgrade
        .max_message_size(MOST_FRAME)
        .max_frame_size(MOST_FRAME);
    Ok(upgrade.on_upgrade(async move |socket| {
        let talk = Talk {
            stopping: app.stopping.subscribe(),
            last: after.unwrap_or(0),
            app,
            author,
            device,
            place,
            socket,
        };
        // It ends when either side has gone; there is nobody to tell why.
        let _ = talk.run(after.is_some()).await;
    }))
}

fn refused(wrong: WebSocketUpgradeRejection) -> Problem {
    match wrong {
        WebSocketUpgradeRejection::InvalidWebSocketVersionHeader(_) => {
            Problem::other_websocket_version()
        }
        wrong => Problem::new(wrong.status(), "This is for WebSockets."),
    }
}

struct Talk {
    app: Arc<App>,
    author: Author,
    device: DeviceName,
    place: Place,
    socket: WebSocket,
    stopping: watch::Receiver<bool>,
    /// Of what was sent.
    last: i64,
}

/// The other side does not take what is sent, or is gone.
struct Gone;

impl Talk {
    /// `again`: it has listened before, and says how far.
    async fn run(mut self, again: bool) -> Result<(), Gone> {
        let until = present_until(Moment::now());
        note_presence(&self.app, &self.device, until).await;
        let talked = self.talk(again).await;
        let Self {
            app, device, place, ..
        } = self;
        drop(place);
        // It may have come back by another line already.
        if !app.shards.place_of(&device).hub.has(&device) {
            note_presence(&app, &device, Moment(0)).await;
        }
        talked
    }

    async fn talk(&mut self, again: bool) -> Result<(), Gone> {
        self.greet(again).await?;
        let (mut ping, mut heard) = (time::interval(PING_EVERY), Instant::now());
        loop {
            select! {
                message = self.place.messages.recv() => match message {
                    Some(message) if message.id > self.last => self.tell(&message).await?,
                    Some(_) => {}
                    None => return self.close(close_code::AGAIN, "resume after what was heard last").await,
                },
                frame = self.socket.recv() => match frame {
                    Some(Ok(Frame::Close(_))) => return self.part().await,
                    Some(Ok(_)) => heard = Instant::now(),
                    Some(Err(error)) => return self.end(error).await,
                    None => return Ok(()),
                },
                _ = ping.tick() => {
                    if heard.elapsed() > MOST_SILENCE {
                        return Err(Gone);
                    }
                    if self.is_signed_out().await {
                        return self.close(close_code::POLICY, "signed out").await;
                    }
                    self.send(Frame::Ping(Default::default())).await?;
                }
                _ = self.stopping.changed() => return self.close(close_code::AWAY, "stopping").await,
            }
        }
    }

    /// Which hub this is, what was missed, and whether that is not all of it.
    async fn greet(&mut self, again: bool) -> Result<(), Gone> {
        let forgotten = again && self.forget_the_future().await?;
        let (mut missed, all) = match again && !forgotten {
            true => match self.all_missed().await? {
                Some(missed) => (missed, true),
                None => (self.missed_up_to(0).await?.unwrap_or_default(), false),
            },
            false => (Vec::new(), !forgotten),
        };
        let most = MOST_BACKLOG as usize;
        let gap = missed.len() > most || !all;
        missed.drain(..missed.len().saturating_sub(most));
        let welcome = json!({ "kind": "welcome", "hub": self.shard().hub.name, "gap": gap });
        self.send_json(&welcome).await?;
        for message in missed {
            self.tell(&message).await?;
        }
        Ok(())
    }

    /// Where nothing has been said yet of what it has heard, the database is an older one, restored: what was said
    /// since is lost, and numbers are given again.
    async fn forget_the_future(&mut self) -> Result<bool, Gone> {
        let store = &self.app.shards.place_of(&self.device).store;
        let said = store.last_message_given().await.map_err(|_| Gone)?;
        let is_ahead = self.last > said;
        self.last = self.last.min(said);
        Ok(is_ahead)
    }

    /// All that was said up to what this hub told last before the device came: what came after that it is told.
    /// A replica may not have it all yet, and another one has. None where nobody has it: a primary was lost with it.
    async fn all_missed(&mut self) -> Result<Option<Vec<Message>>, Gone> {
        let all = async {
            loop {
                match self.missed_up_to(self.place.told_before).await? {
                    None => time::sleep(READ_AGAIN).await,
                    missed => return Ok(missed),
                }
            }
        };
        time::timeout(MOST_TIME_TO_READ, all)
            .await
            .unwrap_or(Ok(None))
    }

    async fn missed_up_to(&mut self, known: i64) -> Result<Option<Vec<Message>>, Gone> {
        let missed = self.shard().store.backlog(&self.device, self.last, known);
        missed.await.map_err(|_| Gone)
    }

    fn shard(&self) -> &Shard {
        self.app.shards.place_of(&self.device)
    }

    /// Without an answer from the database they stay.
    async fn is_signed_out(&mut self) -> bool {
        let (app, Author { user, session, .. }) = (self.app.clone(), &self.author);
        matches!(app.store.session_user(session, user.id).await, Ok(None))
    }

    async fn tell(&mut self, message: &Message) -> Result<(), Gone> {
        self.last = message.id;
        let told = serde_json::to_value(message).expect("a message has only text keys");
        self.send_json(&told).await
    }

    async fn send_json(&mut self, value: &Value) -> Result<(), Gone> {
        self.send(Frame::Text(value.to_string().into())).await
    }

    async fn send(&mut self, frame: Frame) -> Result<(), Gone> {
        let sent = time::timeout(MOST_TIME_TO_SEND, self.socket.send(frame)).await;
        sent.map_err(|_| Gone)?.map_err(|_| Gone)
    }

    /// Its Close frame is answered by one, which goes when there is nothing more to read. RFC 6455 §5.5.1.
    async fn part(&mut self) -> Result<(), Gone> {
        let answered = time::timeout(MOST_TIME_TO_SEND, self.socket.recv()).await;
        answered.map(drop).map_err(|_| Gone)
    }

    /// What it sent can't be read, so it is told why that was the end.
    async fn end(&mut self, error: axum::Error) -> Result<(), Gone> {
        match code_of(error) {
            Some(code) => self.close(code, "").await,
            None => Err(Gone),
        }
    }

    /// Waits a moment for the answer: closing what still sends would reset it, and the code might be lost.
    async fn close(&mut self, code: u16, reason: &'static str) -> Result<(), Gone> {
        let reason = reason.into();
        self.send(Frame::Close(Some(CloseFrame { code, reason })))
            .await?;
        let rest = async { while let Some(Ok(_)) = self.socket.recv().await {} };
        time::timeout(MOST_TIME_TO_PART, rest)
            .await
            .map_err(|_| Gone)
    }
}

/// None where there is nobody to tell. RFC 6455 §7.4.1.
fn code_of(error: axum::Error) -> Option<u16> {
    let error = error.into_inner().downcast::<Unreadable>().ok()?;
    match *error {
        Unreadable::Capacity(_) => Some(close_code::SIZE),
        Unreadable::Utf8(_) => Some(close_code::INVALID),
        Unreadable::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        Unreadable::Protocol(_) => Some(close_code::PROTOCOL),
        _ => None,
    }
}

/// At once, and then by the hub as long as it lasts. Without an answer from the database nobody knows.
async fn note_presence(app: &App, device: &DeviceName, until: Moment) {
    let _ = app.store.set_present(slice::from_ref(device), until).await;
}
