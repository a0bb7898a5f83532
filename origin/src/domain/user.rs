//! Who may register, what a login must say, and what people may do.

use super::fields::{Fault, Fields, Invalid};
use super::words::words;
use lettre::Address;
use serde_json::Value;

#[derive(Debug, Clone, serde::Serialize)]
pub struct User {
    pub id: i64,
    pub name: String,
    pub email: String,
    pub role: Role,
    pub class: Class,
}

words! {
    /// What somebody may do; each may do what those before it may.
    pub enum Role { Member = "member", Staff = "staff", Admin = "admin" }
}

words! {
    /// Of which kind somebody's devices are. The edge has a limit of requests for each, so it is
    /// granted, not chosen.
    pub enum Class { Personal = "personal", Office = "office", Warehouse = "warehouse" }
}

/// What an administrator changes of somebody.
#[derive(Debug, PartialEq)]
pub struct Grant {
    pub role: Option<Role>,
    pub class: Option<Class>,
}

/// Not `Debug`: a password must not find its way into a log.
pub struct Registration {
    pub name: String,
    pub email: String,
    pub password: String,
}

pub struct Login {
    pub email: String,
    pub password: String,
    /// What its owner calls the device, to know it again in the list of sessions.
    pub device: String,
}

/// What is shown to get the next token.
pub struct Renewal {
    pub refresh_token: String,
}

impl Registration {
    pub fn read(body: Value) -> Result<Self, Invalid> {
        let mut fields = Fields::of(body)?;
        let registration = Self {
            name: fields.text("name", 1..=80),
            email: address(&mut fields),
            password: password(&mut fields, 8),
        };
        fields.finish(registration)
    }
}

impl Login {
    /// Says nothing about whether the password could ever have been chosen.
    pub fn read(body: Value) -> Result<Self, Invalid> {
        let mut fields = Fields::of(body)?;
        let login = Self {
            email: email(&mut fields),
            password: password(&mut fields, 1),
            device: fields.optional_text("device", 1..=80).unwrap_or_default(),
        };
        fields.finish(login)
    }
}

impl Renewal {
    pub fn read(body: Value) -> Result<Self, Invalid> {
        let mut fields = Fields::of(body)?;
        let refresh_token = fields.text("refresh_token", 1..=128);
        fields.finish(Self { refresh_token })
    }
}

impl Grant {
    pub fn read(body: Value) -> Result<Self, Invalid> {
        let mut fields = Fields::of(body)?;
        let grant = Self {
            role: fields.word("role", Role::ALL),
            class: fields.word("class", Class::ALL),
        };
        let grant = fields.finish(grant)?;
        if grant.role.is_none() && grant.class.is_none() {
            return Err(Invalid(vec![Fault {
                field: "role".into(),
                detail: "or `class` is required".into(),
            }]));
        }
        Ok(grant)
    }
}

/// One that letters can be sent to. Whether it exists, only one of them could tell.
fn address(fields: &mut Fields) -> String {
    let email = email(fields);
    match email.is_empty() || email.parse::<Address>().is_ok() {
        true => email,
        false => fields.fault(
            "email",
            "must be an e-mail address that letters can be sent to",
        ),
    }
}

/// One spelling per address: lower case.
fn email(fields: &mut Fields) -> String {
    let text = fields.text("email", 1..=254).to_lowercase();
    let well_formed = text.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty() && !domain.is_empty() && !domain.contains('@')
    });
    // Empty: already refused, and one fault per field is enough.
    if text.is_empty()
        || well_formed && !text.contains(|c: char| c.is_whitespace() || c.is_control())
    {
        return text;
    }
    fields.fault("email", "must be an e-mail address")
}

/// Not trimmed: blanks may be part of it. The upper bound keeps hashing cheap.
fn password(fields: &mut Fields, least: usize) -> String {
    match fields.take("password") {
        None => fields.fault("password", "is required"),
        Some(Value::String(text)) if (least..=128).contains(&text.chars().count()) => text,
        Some(_) => fields.fault(
            "password",
            format!("must be text of {least} to 128 characters"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn faults(body: Value) -> Vec<(String, String)> {
        let Err(Invalid(faults)) = Registration::read(body) else {
            panic!("the registration should be refused");
        };
        faults
            .into_iter()
            .map(|fault| (fault.field, fault.detail))
            .collect()
    }

    #[test]
    fn an_address_is_kept_in_lower_case() {
        let body = json!({"name": "Ada", "email": " Ada@Example.org ", "password": " 8 chars"});
        let ada = Registration::read(body).expect("a good registration");
        assert_eq!(
            (ada.email.as_str(), ada.password.as_str()),
            ("ada@example.org", " 8 chars")
        );
    }

    #[test]
    fn every_fault_is_named_at_once_and_each_field_once() {
        let found = faults(json!({"name": " ", "password": "short"}));
        let fields: Vec<_> = found.iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(fields, ["name", "email", "password"]);
        assert_eq!(found[1].1, "is required");
    }

    #[test]
    fn roles_are_ordered_and_one_of_three() {
        assert!(Role::Member < Role::Staff && Role::Staff < Role::Admin);
        let grant = Grant::read(json!({"role": "staff"})).expect("a good grant");
        assert_eq!((grant.role, grant.class), (Some(Role::Staff), None));
        for bad in [json!({}), json!({"role": "king"}), json!({"class": 1})] {
            assert!(Grant::read(bad).is_err());
        }
    }

    #[test]
    fn addresses_without_a_shape_are_refused() {
        for email in ["ada", "@x", "ada@", "a@b@c", "a b@c", "a\u{0}@c"] {
            let body = json!({"name": "Ada", "email": email, "password": "long enough"});
            assert_eq!(faults(body).len(), 1, "{email:?}");
        }
    }

    #[test]
    fn who_registers_can_be_written_to_and_who_is_known_signs_in_anyway() {
        let long = format!("{}@example.org", "a".repeat(65));
        for email in [
            "a..b@x.org",
            ".a@x.org",
            "a@-x.org",
            "a@x..org",
            "a,b@x.org",
            &long,
        ] {
            let body = json!({"name": "Ada", "email": email, "password": "long enough"});
            let found = faults(body);
            assert_eq!((found.len(), found[0].0.as_str()), (1, "email"), "{email}");
            let login = json!({"email": email, "password": "x"});
            let login = Login::read(login).expect("a good login");
            assert_eq!(login.email, email);
        }
        for email in [
            "a+b@x.org",
            "o'neil@localhost",
            "ada@bücher.example",
            "jörg@x.org",
        ] {
            let body = json!({"name": "Ada", "email": email, "password": "long enough"});
            assert!(Registration::read(body).is_ok(), "{email}");
        }
    }
}
