//! The way letters leave: through a mail server, or into a folder, where they can be looked at.

use crate::domain::letter::Addressed;
use crate::jobs::Failure;
use lettre::message::{Mailbox, header::ContentType};
use lettre::transport::smtp::Error as SmtpError;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};
use tempfile::NamedTempFile;
use tokio::{task, time};

/// For reaching the server, and for all that is said with it.
const CONNECT_PATIENCE: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Mail {
    from: Mailbox,
    way: Way,
    patience: Duration,
}

enum Way {
    Server(Box<AsyncSmtpTransport<Tokio1Executor>>),
    Folder(PathBuf),
}

impl Mail {
    /// Through the server of that URL, or else to `mail` in the data folder.
    pub fn open(server: Option<&str>, from: &Mailbox, data: &Path) -> Result<Self, Box<dyn Error>> {
        let way = match server {
            Some(url) => {
                let server = AsyncSmtpTransport::<Tokio1Executor>::from_url(url)
                    .map_err(|error| format!("the mail server's URL can't be used: {error}"))?;
                // It bounds no more than the way there.
                Way::Server(Box::new(server.timeout(Some(CONNECT_PATIENCE)).build()))
            }
            None => {
                let folder = data.join("mail");
                fs::create_dir_all(&folder)?;
                Way::Folder(folder)
            }
        };
        let from = from.clone();
        Ok(Self {
            from,
            way,
            patience: PATIENCE,
        })
    }

    /// Sending it twice, as happens when a worker is killed, sends the same mail under the same identifier.
    pub async fn send(&self, letter: &Addressed) -> Result<(), Failure> {
        let message = message(&self.from, letter)?;
        match &self.way {
            Way::Server(server) => {
                let silent = |_| Failure::Passing("the mail server does not answer".into());
                let sent = time::timeout(self.patience, server.send(message)).await;
                sent.map_err(silent)?.map_err(refused)?;
                Ok(())
            }
            Way::Folder(folder) => {
                let (folder, path) = (folder.clone(), folder.join(format!("{}.eml", letter.id)));
                let kept = task::spawn_blocking(move || keep(&folder, &path, &message.formatted()));
                kept.await
                    .map_err(|error| Failure::Passing(error.to_string()))??;
                Ok(())
            }
        }
    }
}

fn message(from: &Mailbox, letter: &Addressed) -> Result<Message, Failure> {
    let for_good = |error: &dyn Error| Failure::ForGood(error.to_string());
    let address: Address = letter.email.parse().map_err(|error| for_good(&error))?;
    let made: String = letter
        .created_at
        .chars()
        .filter(char::is_ascii_digit)
        .collect();
    let id = format!("<letter-{}-{made}@{}>", letter.id, from.email.domain());
    Message::builder()
        .message_id(Some(id))
        .from(from.clone())
        .to(Mailbox::new(Some(letter.name.clone()), address))
        .subject(letter.letter.title.clone())
        .header(ContentType::TEXT_PLAIN)
        .body(letter.letter.text.clone())
        .map_err(|error| for_good(&error))
}

/// A server that can't be reached, or says that it can't now, may take it later. RFC 5321 §4.2.1.
fn refused(error: SmtpError) -> Failure {
    match error.is_permanent() {
        true => Failure::ForGood(error.to_string()),
        false => Failure::Passing(error.to_string()),
    }
}

fn keep(folder: &Path, path: &Path, message: &[u8]) -> io::Result<()> {
    let mut file = NamedTempFile::new_in(folder)?;
    file.write_all(message)?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::letter::Letter;
    use tokio::net::TcpListener;

    fn letter(text: &str) -> Addressed {
        Addressed {
            id: 7,
            name: "Ada".into(),
            email: "ada@example.org".into(),
            letter: Letter {
                title: "Booked".into(),
                text: text.into(),
            },
            created_at: "2026-05-31T10:00:00Z".into(),
        }
    }

    #[tokio::test]
    async fn a_server_that_says_nothing_is_left_and_asked_again_later() {
        let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("smtp://{}", silent.local_addr().expect("it is bound"));
        let from = "Lakh <lakh@example.org>".parse().expect("a mailbox");
        let mail = Mail::open(Some(&url), &from, Path::new("")).expect("a good URL");
        let mail = Mail {
            patience: Duration::from_millis(200),
            ..mail
        };
        // The kernel takes the connection, and nobody reads from it.
        let letter = letter("x");
        let sending = time::timeout(Duration::from_secs(60), mail.send(&letter));
        let sent = sending.await.expect("it is given up");
        assert!(matches!(sent, Err(Failure::Passing(_))));
    }

    #[test]
    fn a_title_stays_a_title_and_text_stays_text() {
        let letter = Addressed {
            id: 7,
            name: "Ada \"A\" <eve@example.org>, Löv".into(),
            email: "ada@example.org".into(),
            letter: Letter {
                title: "Gebucht: Zelt für drei".into(),
                text: "Grün.\n.\nBcc: eve@example.org\n".into(),
            },
            created_at: "2026-05-31T10:00:00Z".into(),
        };
        let from = "Lakh <lakh@example.org>".parse().expect("a mailbox");
        let Ok(message) = message(&from, &letter) else {
            panic!("it is a good letter")
        };
        let to: Vec<_> = message
            .envelope()
            .to()
            .iter()
            .map(Address::to_string)
            .collect();
        assert_eq!(to, ["ada@example.org"]);
        let text = String::from_utf8(message.formatted()).expect("a mail is ASCII");
        assert!(text.contains("Message-ID: <letter-7-20260531100000@example.org>\r\n"));
        let head = text.split("\r\n\r\n").next().expect("a head");
        assert!(head.is_ascii() && !head.contains("Bcc"), "{head}");
    }
}
