//! Joining, signing in and out, and who may do what.

use crate::harness::Origin;
use serde_json::{Value, json};

pub fn login(origin: &Origin, email: &str, password: &str) -> crate::harness::Reply {
    let body = json!({"email": email, "password": password, "device": "kitchen"});
    origin.post("/api/v1/login", None, &body)
}

pub fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

#[test]
fn people_register_and_log_in() {
    let origin = Origin::start();
    origin.register("ada@example.org");

    let good = login(&origin, "ADA@example.org", "correct horse").expect_status(200);
    assert_eq!(good.header("cache-control"), "no-store");
    assert_eq!(text(&good.json()["token"]).split('.').count(), 3);

    let wrong = login(&origin, "ada@example.org", "incorrect horse")
        .expect_status(401)
        .json();
    let unknown = login(&origin, "eve@example.org", "correct horse")
        .expect_status(401)
        .json();
    assert_eq!(wrong["detail"], unknown["detail"]);

    let again = json!({"name": "Eve", "email": "ada@example.org", "password": "correct horse"});
    origin
        .post("/api/v1/register", None, &again)
        .expect_status(409);
}

#[test]
fn a_refresh_token_is_good_once_and_whoever_shows_it_again_ends_the_session() {
    refresh(&Origin::start());
}

pub fn refresh(origin: &Origin) {
    origin.register("ada@example.org");
    let first = login(origin, "ada@example.org", "correct horse").json();
    let renew = |token: &Value| {
        let body = json!({"refresh_token": token});
        origin.post("/api/v1/refresh", None, &body)
    };
    let second = renew(&first["refresh_token"]).expect_status(200).json();
    origin
        .get_as(&text(&second["token"]), "/api/v1/me")
        .expect_status(200);

    renew(&first["refresh_token"]).expect_status(401);
    renew(&second["refresh_token"]).expect_status(401);
    origin
        .get_as(&text(&second["token"]), "/api/v1/me")
        .expect_status(401);
    renew(&json!("nobody's")).expect_status(401);

    // The first of many too, whoever has gone on with the last.
    let long_ago = login(origin, "ada@example.org", "correct horse").json();
    let last = (0..4).fold(long_ago.clone(), |one, _| {
        renew(&one["refresh_token"]).expect_status(200).json()
    });
    renew(&long_ago["refresh_token"]).expect_status(401);
    renew(&last["refresh_token"]).expect_status(401);
    origin
        .get_as(&text(&last["token"]), "/api/v1/me")
        .expect_status(401);
}

#[test]
fn signing_out_ends_one_session_or_all_of_them_on_every_process() {
    sign_out(&Origin::start());
}

pub fn sign_out(origin: &Origin) {
    let other = origin.start_another();
    let one = origin.register("ada@example.org");
    let [two, three] = [(); 2].map(|()| {
        let reply = login(origin, "ada@example.org", "correct horse");
        text(&reply.json()["token"])
    });
    let sessions = origin
        .get_as(&one, "/api/v1/sessions")
        .expect_status(200)
        .json();
    assert_eq!(sessions["items"].as_array().map(Vec::len), Some(3));

    origin
        .post("/api/v1/logout", Some(&one), &json!({}))
        .expect_status(204);
    other.get_as(&one, "/api/v1/me").expect_status(401);
    other.get_as(&two, "/api/v1/me").expect_status(200);
    other.delete_as(&two, "/api/v1/sessions").expect_status(204);
    origin.get_as(&three, "/api/v1/me").expect_status(401);
}

#[test]
fn roles_are_given_by_administrators_and_asked_for_each_time() {
    give_roles(&Origin::start());
}

pub fn give_roles(origin: &Origin) {
    let ada = origin.register_as("admin", "ada@example.org");
    let eve = origin.register("eve@example.org");
    let id = origin.get_as(&eve, "/api/v1/me").json()["id"].clone();
    let path = format!("/api/v1/users/{id}");
    let grant = json!({"role": "staff", "class": "warehouse"});
    let change = |token: &str, body: &Value| origin.patch(&path, token, None, body);

    change(&eve, &grant).expect_status(403);
    change(&ada, &json!({"role": "queen"})).expect_status(422);
    let given = change(&ada, &grant).expect_status(200).json();
    assert_eq!(
        (&given["role"], &given["class"]),
        (&json!("staff"), &json!("warehouse"))
    );

    // Whoever has another role now signs in again, so that no token says what is not so any more.
    origin.get_as(&eve, "/api/v1/me").expect_status(401);
    let eve = text(&login(origin, "eve@example.org", "correct horse").json()["token"]);
    let claims = claims(&eve);
    assert_eq!(
        (&claims["role"], &claims["class"]),
        (&json!("staff"), &json!("warehouse"))
    );

    origin.get_as(&eve, "/api/v1/audit").expect_status(403);
    let audit = origin
        .get_as(&ada, "/api/v1/audit?limit=100")
        .expect_status(200);
    let entries = audit.json()["items"].clone();
    let entries = entries.as_array().expect("a list");
    let grant = entries
        .iter()
        .find(|one| one["action"] == "grant" && one["user_id"] != json!(null));
    assert_eq!(grant.expect("an entry")["subject"], format!("user {id}"));
    assert!(!audit.text().contains("example.org"));
}

fn claims(token: &str) -> Value {
    let part = token.split('.').nth(1).expect("three parts");
    let bits: Vec<u8> = part
        .bytes()
        .map(|letter| match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'-' => 62,
            _ => 63,
        })
        .collect();
    let bytes = bits.chunks(4).flat_map(|four| {
        let number = (0..4).fold(0u32, |sum, at| {
            sum << 6 | u32::from(*four.get(at).unwrap_or(&0))
        });
        number.to_be_bytes()[1..four.len()].to_vec()
    });
    serde_json::from_slice(&bytes.collect::<Vec<u8>>()).expect("claims")
}
