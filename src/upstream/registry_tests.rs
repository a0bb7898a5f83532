use super::*;
use crate::upstream::fixtures::*;
use crate::upstream::{Lease, Outcome, State, StickySettings, Tried};
use std::time::{Duration, SystemTime};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

fn pool_of(registry: &Registry, settings: UpstreamSettings) -> Arc<Pool> {
    pool(registry, settings)
}

fn refused(server: &Arc<Server>) {
    Lease::new(server.clone()).tell(Outcome::Refused, Time::now());
}

#[test]
fn a_reload_keeps_servers_and_changes_weights() {
    let registry = registry();
    let old = pool(&registry, upstream(&[1, 1]));
    let held = pick(&old, &Tried::default(), None).expect("all are up");
    let new = pool(&registry, upstream(&[1, 5, 1]));
    assert!(Arc::ptr_eq(&old.servers()[1], &new.servers()[1]));
    let weight = |pool: &Pool| pool.standing(Time::now()).1[1].1.weight;
    assert_eq!((weight(&old), weight(&new)), (1, 5));
    assert_eq!(new.servers()[0].in_flight(), 1);
    drop(held);
}

#[test]
fn a_server_that_left_leaves_the_metrics_after_its_last_request() {
    let metrics = Arc::new(Metrics::new());
    let registry = Registry::new(metrics.clone());
    let shown = |port: &str| {
        String::from_utf8(metrics.render())
            .expect("text")
            .contains(&format!("127.0.0.1:{port}"))
    };
    let old = pool(&registry, upstream(&[1, 1]));
    let second = Some(old.servers()[1].id);
    let held = pick(&old, &Tried::default(), second).expect("all are up");
    let new = pool(&registry, upstream(&[1]));
    registry.commit(std::slice::from_ref(&new));
    drop(old);
    assert!(shown("9001") && shown("9002"));
    drop(held);
    assert!(shown("9001") && !shown("9002"));
}

#[test]
fn a_configuration_that_fails_leaves_no_trace() {
    let metrics = Arc::new(Metrics::new());
    let registry = Registry::new(metrics.clone());
    let cookie = "lakh".into();
    let key_file = Some("/nowhere/key".into());
    let sticky = Some(StickySettings {
        cookie,
        max_age: Duration::from_secs(60),
        key_file,
    });
    let failed = registry.pools(&[UpstreamSettings {
        sticky,
        ..upstream(&[1])
    }]);
    let why = failed.err().expect("there is no such key file");
    assert!(
        why.contains("upstream app: cannot read sticky key_file /nowhere/key"),
        "{why}"
    );
    assert!(
        !String::from_utf8(metrics.render())
            .expect("text")
            .contains("9001")
    );
}

#[test]
fn the_sticky_key_is_kept_over_a_reload() {
    let registry = registry();
    let sticky = StickySettings {
        cookie: "lakh".into(),
        max_age: Duration::from_secs(60),
        key_file: None,
    };
    let settings = UpstreamSettings {
        sticky: Some(sticky),
        ..upstream(&[1])
    };
    let (old, new) = (pool(&registry, settings.clone()), pool(&registry, settings));
    let (now, id) = (SystemTime::now(), old.servers()[0].id);
    let (old, new) = (old.sticky.as_ref(), new.sticky.as_ref());
    let cookie = old.expect("it is set").issue(id, now, false);
    let fields = [cookie.as_bytes()].into_iter();
    let read = new.expect("it is set").read(fields, now);
    assert_eq!(read, Some(id));
}

#[test]
fn spawned_processes_are_servers() {
    let spawn = |instances, first_port| {
        let spawn = SpawnSettings {
            command: vec![],
            instances,
            first_port,
            scale: None,
        };
        UpstreamSettings {
            spawn: Some(spawn),
            ..upstream(&[])
        }
    };
    let registry = registry();
    let pool = pool(&registry, spawn(2, 9501));
    let servers = pool.servers();
    let addresses: Vec<_> = servers.iter().map(|server| server.address.tcp()).collect();
    assert_eq!(addresses, [address(9501), address(9502)].map(Some));
    assert_eq!(listed(&spawn(3, 65535)).len(), 1);
}

/// A server that answers every probe with 200; stopped by aborting the task.
fn healthy(listener: TcpListener) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("it listens");
            let mut request = [0; 1024];
            // A probe that gave up is no failure of ours.
            let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut request).await;
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                .await;
        }
    })
}

#[tokio::test]
async fn probes_follow_the_configuration_in_force() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let settings = |health_check| UpstreamSettings {
        servers: vec![ServerSettings::of(address)],
        health_check,
        ..upstream(&[])
    };
    let origin = healthy(listener);
    let registry = registry();
    let checked = pool(&registry, settings(Some(quick_check())));
    let server = checked.servers()[0].clone();
    refused(&server);
    assert!(
        server.state() != State::Down,
        "no probe runs before the commit"
    );
    registry.commit(std::slice::from_ref(&checked));

    refused(&server);
    assert!(server.state() == State::Down, "a probe can bring it back");
    until("probed up again", || server.state() != State::Down).await;
    origin.abort();
    until("probed down", || server.state() == State::Down).await;
    let why = server.shown(Time::now()).why.expect("it says why");
    assert!(why.starts_with("connect: "), "{why}");
    assert!(
        picked(&checked, &Tried::default()).is_some(),
        "all are down, so all are used"
    );

    let unchecked = pool(&registry, settings(None));
    assert!(
        server.state() == State::Down,
        "nothing changes before the commit"
    );
    registry.commit(&[unchecked]);
    assert!(
        server.state() != State::Down,
        "nobody looks, so it counts as up"
    );
}

#[tokio::test]
async fn an_unchanged_probe_goes_on_and_one_that_left_stops() {
    let registry = registry();
    let tasks = || {
        let probes = registry.probes.lock().expect("no test panics with it");
        probes
            .values()
            .map(|probe| probe.task.id())
            .collect::<Vec<_>>()
    };
    registry.commit(&[pool(&registry, checked(&[1]))]);
    let first = tasks();
    assert_eq!(first.len(), 1);
    registry.commit(&[pool(&registry, checked(&[2]))]);
    assert_eq!(tasks(), first, "a weight is nothing to a probe");
    let mut slower = checked(&[1]);
    slower.health_check = Some(HealthCheckSettings::default());
    registry.commit(&[pool(&registry, slower)]);
    assert_ne!(tasks(), first);
    registry.commit(&[]);
    assert!(tasks().is_empty());
}

#[tokio::test]
async fn a_probed_server_that_left_is_forgotten() {
    let metrics = Arc::new(Metrics::new());
    let registry = Registry::new(metrics.clone());
    registry.commit(&[pool(&registry, checked(&[1]))]);
    registry.commit(&[]);
    let page = || String::from_utf8(metrics.render()).expect("text");
    until("the server forgotten", || !page().contains("9001")).await;
}

/// A resolver whose answers the test writes; none is a failure.
type Told = Arc<Mutex<Option<Vec<SocketAddr>>>>;

fn told(answers: &Told) -> Resolver {
    let answers = answers.clone();
    Arc::new(move |_, _| {
        let answer = answers.lock().expect("no test panics with it").clone();
        Box::pin(async move { answer.ok_or_else(|| io::Error::other("no such name")) })
    })
}

fn named(health_check: Option<HealthCheckSettings>) -> UpstreamSettings {
    let name = NameSettings {
        host: "app.internal".into(),
        port: 9001,
        every: Duration::from_millis(10),
        weight: 1,
        backup: false,
        public: false,
    };
    UpstreamSettings {
        names: vec![name],
        health_check,
        ..upstream(&[])
    }
}

#[tokio::test]
async fn every_address_behind_a_name_is_a_server_and_a_failure_changes_nothing() {
    let answers = Told::default();
    let registry = Registry::resolving(Arc::new(Metrics::new()), told(&answers));
    let answer = |addresses: Option<Vec<SocketAddr>>| {
        *answers.lock().expect("no test panics with it") = addresses;
    };
    let pool = pool_of(&registry, named(Some(HealthCheckSettings::default())));
    registry.commit(std::slice::from_ref(&pool));
    registry.looked_up(Duration::from_secs(20)).await;
    assert_eq!(picked(&pool, &Tried::default()), None, "it is not found");

    let ports = |pool: &Pool| {
        pool.servers()
            .iter()
            .filter_map(|s| s.address.port())
            .collect::<Vec<_>>()
    };
    answer(Some(vec![address(9002), address(9001)]));
    until("both found", || ports(&pool) == [9001, 9002]).await;
    let first = pool.servers()[0].clone();
    let failed = pool.group.metrics.lookups_failed.get();
    answer(None);
    until("a failure", || {
        pool.group.metrics.lookups_failed.get() > failed
    })
    .await;
    assert_eq!(ports(&pool), [9001, 9002]);

    answer(Some(vec![address(9001), address(9003)]));
    until("another set", || ports(&pool) == [9001, 9003]).await;
    assert!(Arc::ptr_eq(&first, &pool.servers()[0]), "the same server");
    let probed = || {
        registry
            .probes
            .lock()
            .expect("no test panics with it")
            .len()
    };
    until("probes follow", || probed() == 2).await;

    answer(None);
    let again = pool_of(&registry, named(None));
    assert_eq!(
        ports(&again),
        [9001, 9003],
        "a reload begins with what is known"
    );
}
