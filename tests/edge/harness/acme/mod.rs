//! A small authority that speaks ACME (RFC 8555), with all that an honest one insists on: nonces that are
//! good once, signatures by a known account, names that are looked at, and a certificate for what was asked.

mod authority;
mod jose;
mod look;
mod order;
mod said;

pub use authority::SignedBy;
pub use look::Method;
pub use said::Fault;

use super::{Answer, Authority, Gate, Origin, Secured, Seen};
use jose::{Asked, Jws};
use order::{Order, status};
use said::{Problem, Said};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, UNIX_EPOCH};

/// Ends with the test.
pub struct Acme {
    pub authority: Arc<SignedBy>,
    /// Who has signed for the server that speaks ACME.
    pub web: Authority,
    state: Arc<State>,
    secured: Secured,
    _origin: Origin,
}

struct State {
    base: OnceLock<String>,
    authority: Arc<SignedBy>,
    /// The HMAC key of the only one who may make an account.
    external: Option<Vec<u8>>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    nonces: HashSet<String>,
    made: u64,
    accounts: Vec<jose::Key>,
    orders: Vec<Order>,
    /// To be said to the next requests for this resource, instead of what it would say.
    faults: BTreeMap<&'static str, VecDeque<Fault>>,
    /// New orders wait for it.
    gate: Option<Gate>,
    /// Where all names lead.
    leads_to: Option<Vec<SocketAddr>>,
    /// When certificates are to be renewed, in days from now.
    suggested: Option<(i64, i64)>,
    /// Of which that was asked.
    asked_of: Vec<String>,
}

impl Acme {
    pub fn start() -> Acme {
        Acme::with(None)
    }

    /// Makes accounts only for who holds this key, by the id `known`.
    pub fn for_known(key: &[u8]) -> Acme {
        Acme::with(Some(key.to_vec()))
    }

    fn with(external: Option<Vec<u8>>) -> Acme {
        let (authority, web) = (Arc::new(SignedBy::new()), Authority::new());
        let state = Arc::new(State {
            base: OnceLock::new(),
            authority: authority.clone(),
            external,
            inner: Mutex::default(),
        });
        let serving = state.clone();
        let origin = Origin::start(move |seen| serving.answer(seen));
        let secured = Secured::start(origin.address, &web.sign("127.0.0.1"));
        let base = format!("https://{}", secured.address);
        state.base.set(base).expect("it is set once");
        Acme {
            authority,
            web,
            state,
            secured,
            _origin: origin,
        }
    }

    pub fn directory(&self) -> String {
        format!("https://{}/directory", self.secured.address)
    }

    /// What its records are kept in, below the folder of the configuration.
    pub fn place(&self) -> String {
        format!("127.0.0.1_{}_directory", self.secured.address.port())
    }

    /// All names are looked at there: at each of these.
    pub fn names_lead_to(&self, addresses: &[SocketAddr]) {
        self.state.inner().leads_to = Some(addresses.to_vec());
    }

    /// New orders are not taken until then.
    pub fn hold(&self) -> Gate {
        let gate = Gate::default();
        self.state.inner().gate = Some(gate.clone());
        gate
    }

    /// Of the next request for `resource`.
    pub fn fail(&self, resource: &'static str, fault: Fault) {
        let mut inner = self.state.inner();
        inner.faults.entry(resource).or_default().push_back(fault);
    }

    /// All certificates are to be renewed in this time, in days from now: RFC 9773.
    pub fn suggests(&self, from: i64, until: i64) {
        self.state.inner().suggested = Some((from, until));
    }

    /// Of which certificates it was asked when.
    pub fn asked_of(&self) -> Vec<String> {
        self.state.inner().asked_of.clone()
    }

    /// Which certificate each order was to replace.
    pub fn replaced(&self) -> Vec<Option<String>> {
        let inner = self.state.inner();
        let replaced = |order: &Order| Some(order.replaces.as_str()?.to_owned());
        inner.orders.iter().map(replaced).collect()
    }

    /// How many were taken.
    pub fn orders(&self) -> usize {
        self.state.inner().orders.len()
    }

    pub fn accounts(&self) -> usize {
        self.state.inner().accounts.len()
    }
}

impl State {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no thread panics with it")
    }

    fn base(&self) -> &str {
        self.base.get().expect("it is set before anybody knows it")
    }

    fn answer(self: &Arc<State>, seen: &Seen) -> Answer {
        let (resource, rest) = match seen.target[1..].split_once('/') {
            Some((resource, rest)) => (resource, rest),
            None => (&seen.target[1..], ""),
        };
        let said = self.fault(resource).map_or_else(
            || match (&*seen.method, resource) {
                ("GET", "directory") => Ok(Said::of(200, self.directory())),
                ("HEAD", "nonce") => Ok(Said::of(200, Value::Null)),
                ("GET", "renewal") => self.renewal(rest),
                ("POST", _) => self.post(seen, resource, rest),
                _ => Err(Problem(404, "malformed", "no such resource".into())),
            },
            Ok,
        );
        let said = said.unwrap_or_else(Said::problem);
        let answer = self.written(&said);
        match self.inner().gate.clone().filter(|_| resource == "orders") {
            Some(gate) => answer.after(&gate),
            None => answer,
        }
    }

    fn fault(&self, resource: &str) -> Option<Said> {
        let fault = self.inner().faults.get_mut(resource)?.pop_front()?;
        Some(match fault {
            Fault::Problem(status, kind, wait) => {
                let mut said = Said::problem(Problem(status, kind, "as the test wants it".into()));
                let wait = wait.map(|wait| ("retry-after".to_owned(), wait.to_string()));
                said.fields.extend(wait);
                said
            }
            Fault::BadGateway => Said {
                status: 502,
                kind: "text/html",
                fields: Vec::new(),
                body: "<h1>Bad Gateway</h1>".into(),
            },
        })
    }

    fn written(&self, said: &Said) -> Answer {
        let mut fields = said.fields.clone();
        fields.push(("replay-nonce".into(), self.nonce()));
        fields.push(("content-type".into(), said.kind.into()));
        let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (&**n, &**v)).collect();
        Answer::of(said.status, &fields, &said.body)
    }

    fn nonce(&self) -> String {
        let mut inner = self.inner();
        inner.made += 1;
        let nonce = format!("nonce-{}", inner.made);
        inner.nonces.insert(nonce.clone());
        nonce
    }

    fn directory(&self) -> Value {
        let at = |resource: &str| format!("{}/{resource}", self.base());
        let mut directory =
            json!({"newNonce": at("nonce"), "newAccount": at("account"), "newOrder": at("orders")});
        if self.inner().suggested.is_some() {
            directory["renewalInfo"] = json!(at("renewal"));
        }
        directory
    }

    /// RFC 9773 §4.2.
    fn renewal(&self, of: &str) -> Result<Said, Problem> {
        let mut inner = self.inner();
        let none = || Problem(404, "malformed", "no such resource".into());
        let (from, until) = inner.suggested.ok_or_else(none)?;
        inner.asked_of.push(of.to_owned());
        let at = |days: i64| {
            let now = super::staples::now().saturating_add_signed(days * 86_400);
            humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(now)).to_string()
        };
        let window = json!({"start": at(from), "end": at(until)});
        let mut said = Said::of(200, json!({"suggestedWindow": window}));
        said.fields.push(("retry-after".into(), "21600".into()));
        Ok(said)
    }

    /// What is signed: RFC 8555 §6.
    fn post(self: &Arc<State>, seen: &Seen, resource: &str, rest: &str) -> Result<Said, Problem> {
        if seen.field("content-type") != Some("application/jose+json") {
            return Err(Problem(415, "malformed", "no application/jose+json".into()));
        }
        let jws = Jws::read(&seen.body)?;
        if !self.inner().nonces.remove(jws.nonce()) {
            return Err(Problem(
                400,
                "badNonce",
                "it is not good, or was used".into(),
            ));
        }
        if jws.url() != format!("{}{}", self.base(), seen.target) {
            return Err(Problem(400, "unauthorized", "it is for another URL".into()));
        }
        if resource == "account" && rest.is_empty() {
            return self.account(&jws);
        }
        let account = jws.account(self.base())?;
        let key = self.inner().accounts.get(account).cloned();
        let key = key.ok_or(Problem(400, "accountDoesNotExist", "who?".into()))?;
        let asked = Asked {
            account,
            payload: jws.payload(&key)?,
        };
        let parts: Vec<&str> = rest.split('/').collect();
        let number = |n: usize| parts.get(n).and_then(|part| part.parse::<usize>().ok());
        match (resource, number(0), number(1)) {
            ("orders", ..) => self.order(&asked),
            ("order", Some(n), _) => self.own(&asked, n).map(|()| self.shown(n)),
            ("authorization", Some(n), Some(i)) => {
                self.own(&asked, n).map(|()| self.authorization(n, i))
            }
            ("challenge", Some(n), Some(i)) => self.challenge(&asked, n, i, parts[2], &key),
            ("finalize", Some(n), _) => self.finalize(&asked, n),
            ("certificate", Some(n), _) => self.certificate(&asked, n),
            _ => Err(Problem(404, "malformed", "no such resource".into())),
        }
    }

    fn account(&self, jws: &Jws) -> Result<Said, Problem> {
        let key = jws.key()?;
        let payload = jws.payload(&key)?;
        if payload["termsOfServiceAgreed"] != true
            || payload["contact"][0] != "mailto:ops@shop.example"
        {
            return Err(Problem(
                400,
                "userActionRequired",
                "agree, and say who you are".into(),
            ));
        }
        if let Some(hmac) = &self.external {
            jose::check_binding(&payload["externalAccountBinding"], hmac, &key, jws.url())?;
        }
        let mut inner = self.inner();
        let known = inner.accounts.iter().position(|known| *known == key);
        let number = known.unwrap_or_else(|| {
            inner.accounts.push(key);
            inner.accounts.len() - 1
        });
        drop(inner);
        let status = if known.is_some() { 200 } else { 201 };
        let said = Said::of(status, json!({"status": "valid"}));
        Ok(said.at(format!("{}/account/{number}", self.base())))
    }

    fn order(&self, asked: &Asked) -> Result<Said, Problem> {
        let identifiers = asked.payload["identifiers"].as_array().cloned();
        let names = identifiers
            .unwrap_or_default()
            .into_iter()
            .map(|identifier| {
                assert_eq!(identifier["type"], "dns");
                identifier["value"].as_str().expect("a name").to_owned()
            });
        let names: Vec<String> = names.collect();
        let mut inner = self.inner();
        let number = inner.orders.len();
        let token = |i: usize| format!("token-{number}-{i}-{:032x}", fastrand::u128(..));
        inner.orders.push(Order {
            account: asked.account,
            tokens: (0..names.len()).map(token).collect(),
            looked: vec![None; names.len()],
            certificate: None,
            replaces: asked.payload["replaces"].clone(),
            names,
        });
        drop(inner);
        let said = self.shown(number);
        let at = format!("{}/order/{number}", self.base());
        Ok(Said {
            status: 201,
            ..said.at(at)
        })
    }

    /// An order is its account's alone.
    fn own(&self, asked: &Asked, number: usize) -> Result<(), Problem> {
        let inner = self.inner();
        let order = inner.orders.get(number);
        match order.is_some_and(|order| order.account == asked.account) {
            true => Ok(()),
            false => Err(Problem(403, "unauthorized", "not yours".into())),
        }
    }

    fn shown(&self, number: usize) -> Said {
        let inner = self.inner();
        let order = &inner.orders[number];
        let at = |what: &str| format!("{}/{what}/{number}", self.base());
        let authorization = |i| format!("{}/{i}", at("authorization"));
        let identifier = |name: &String| json!({"type": "dns", "value": name});
        let mut shown = json!({
            "status": order.status(),
            "identifiers": order.names.iter().map(identifier).collect::<Vec<_>>(),
            "authorizations": (0..order.names.len()).map(authorization).collect::<Vec<_>>(),
            "finalize": at("finalize"),
        });
        if !order.replaces.is_null() {
            shown["replaces"] = order.replaces.clone();
        }
        if order.certificate.is_some() {
            shown["certificate"] = json!(at("certificate"));
        }
        Said::of(200, shown)
    }

    fn authorization(&self, number: usize, i: usize) -> Said {
        let inner = self.inner();
        let order = &inner.orders[number];
        let challenge = |method: Method| {
            let (kind, token) = (method.name(), &order.tokens[i]);
            let url = format!("{}/challenge/{number}/{i}/{kind}", self.base());
            let mut shown = json!({"type": kind, "url": url, "token": token, "status": status(&order.looked[i])});
            if let Some(Err(why)) = &order.looked[i] {
                let kind = "urn:ietf:params:acme:error:connection";
                shown["error"] = json!({"type": kind, "detail": why});
            }
            shown
        };
        Said::of(
            200,
            json!({
                "status": status(&order.looked[i]),
                "identifier": {"type": "dns", "value": order.names[i]},
                "challenges": [challenge(Method::Http), challenge(Method::Tls)],
            }),
        )
    }

    /// Looks on a thread of its own, and says meanwhile that it does.
    fn challenge(
        self: &Arc<State>,
        asked: &Asked,
        number: usize,
        i: usize,
        kind: &str,
        key: &jose::Key,
    ) -> Result<Said, Problem> {
        self.own(asked, number)?;
        let (name, token) = {
            let inner = self.inner();
            let order = &inner.orders[number];
            (order.names[i].clone(), order.tokens[i].clone())
        };
        let method = Method::of(kind);
        let (state, said) = (self.clone(), format!("{token}.{}", key.thumbprint()));
        std::thread::spawn({
            let token = token.clone();
            move || {
                let leads_to = || state.inner().leads_to.clone();
                let found = look::look(method, leads_to, &name, &token, &said);
                state.inner().orders[number].looked[i] = Some(found);
            }
        });
        let url = format!("{}/challenge/{number}/{i}/{kind}", self.base());
        let shown = json!({"type": kind, "url": url, "token": token, "status": "processing"});
        Ok(Said::of(200, shown))
    }

    fn finalize(&self, asked: &Asked, number: usize) -> Result<Said, Problem> {
        self.own(asked, number)?;
        let csr = jose::bytes(&asked.payload["csr"])?;
        let mut inner = self.inner();
        let order = &mut inner.orders[number];
        if order.status() != "ready" {
            return Err(Problem(403, "orderNotReady", order.status().into()));
        }
        let signed = self.authority.sign_request(&csr, &order.names);
        order.certificate = Some(signed.map_err(|why| Problem(400, "badCSR", why))?);
        drop(inner);
        Ok(self.shown(number))
    }

    fn certificate(&self, asked: &Asked, number: usize) -> Result<Said, Problem> {
        self.own(asked, number)?;
        let chain = self.inner().orders[number].certificate.clone();
        let chain = chain.ok_or(Problem(404, "malformed", "not yet".into()))?;
        Ok(Said {
            status: 200,
            kind: "application/pem-certificate-chain",
            fields: Vec::new(),
            body: chain,
        })
    }
}
