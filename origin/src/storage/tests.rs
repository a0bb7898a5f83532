//! Folders as providers, which fail while there is a plain file in their place.

use super::*;
use prometheus::Opts;
use std::fs;
use tempfile::TempDir;

/// A storage with these weights, the first of which is `providers/0`.
struct Case {
    home: TempDir,
    storage: Storage,
}

impl Case {
    fn of(weights: &[u32]) -> Self {
        let home = tempfile::tempdir().expect("a temporary folder");
        let place = |(number, weight)| {
            let url = format!(
                "{weight}=file://{}/providers/{number}",
                home.path().display()
            );
            url.parse::<Place>().expect("a good place")
        };
        let places: Vec<_> = weights.iter().enumerate().map(place).collect();
        let labels = ["provider", "operation", "outcome"];
        let counts = IntCounterVec::new(Opts::new("a", "b"), &labels).expect("a metric");
        let storage = Storage::open(&places, home.path(), &counts).expect("folders");
        Self { home, storage }
    }

    fn folder(&self, provider: usize) -> path::PathBuf {
        self.home.path().join(format!("providers/{provider}"))
    }

    fn stop(&self, provider: usize) {
        let folder = self.folder(provider);
        fs::rename(&folder, folder.with_extension("away")).expect("it is there");
        fs::write(&folder, "").expect("its place is free");
    }

    fn start(&self, provider: usize) {
        let folder = self.folder(provider);
        fs::remove_file(&folder).expect("it is stopped");
        fs::rename(folder.with_extension("away"), &folder).expect("it is away");
    }

    /// Which providers have it, and whether it is kept here.
    fn kept(&self, object: Object) -> (Vec<usize>, bool) {
        let path = object.path().to_string();
        let providers = 0..self.storage.providers.len();
        let having = providers.filter(|number| self.folder(*number).join(&path).exists());
        let here = self.home.path().join("files").join(&path).exists();
        (having.collect(), here)
    }
}

fn chunk(number: usize) -> (Bytes, Object<'static>) {
    let bytes = Bytes::from(format!("chunk {number}"));
    let checksum = Checksum::of(&bytes);
    (
        bytes,
        Object {
            file: "f",
            checksum,
        },
    )
}

#[tokio::test]
async fn without_providers_everything_is_kept_here() {
    let case = Case::of(&[]);
    let (bytes, object) = chunk(1);
    case.storage.put(object, &bytes).await.expect("a place");
    case.storage.replicate(object).await.expect("nothing to do");
    assert_eq!(case.kept(object), (vec![], true));
    assert_eq!(case.storage.get(object).await.expect("it is there"), bytes);
    case.storage.remove("f").await.expect("it can be removed");
    assert_eq!(case.kept(object), (vec![], false));
    assert!(case.storage.get(object).await.is_err());
}

#[tokio::test]
async fn each_provider_has_its_share_and_then_there_are_two_copies() {
    let case = Case::of(&[70, 20, 10]);
    let mut firsts = [0; 3];
    for number in 0..200 {
        let (bytes, object) = chunk(number);
        case.storage.put(object, &bytes).await.expect("a place");
        let (having, here) = case.kept(object);
        assert_eq!((having.len(), here), (1, false));
        firsts[having[0]] += 1;
        case.storage.replicate(object).await.expect("a copy");
        let (copies, _) = case.kept(object);
        assert_eq!(copies.len(), 2);
        assert!(copies.contains(&having[0]));
    }
    // By the names of temporary folders, so these are wide: six deviations.
    let [first, second, third] = firsts;
    assert!((100..=178).contains(&first), "{firsts:?}");
    assert!((6..=74).contains(&second) && third <= 46, "{firsts:?}");
}

#[tokio::test]
async fn what_a_provider_does_not_take_is_kept_here_until_it_does() {
    let case = Case::of(&[1]);
    let (bytes, object) = chunk(1);
    case.stop(0);
    case.storage.put(object, &bytes).await.expect("a place");
    assert_eq!(case.kept(object), (vec![], true));
    assert!(case.storage.replicate(object).await.is_err());
    assert_eq!(case.storage.get(object).await.expect("it is here"), bytes);
    case.start(0);
    // It rests for a while, and whoever wants copies comes again until it has rested.
    while case.storage.replicate(object).await.is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(case.kept(object), (vec![0], false));
    assert_eq!(case.storage.get(object).await.expect("it is there"), bytes);
}

#[tokio::test]
async fn half_a_chunk_at_a_provider_is_no_copy() {
    let case = Case::of(&[1]);
    let (bytes, object) = chunk(1);
    case.storage
        .local
        .put(&object.path(), &bytes)
        .await
        .expect("a place");
    // As when it breaks off, and says so, in the middle of a chunk.
    let left = case.folder(0).join(object.path().to_string());
    fs::create_dir_all(left.parent().expect("its file's folder")).expect("it is ours");
    fs::write(&left, &bytes[..4]).expect("it is ours");
    case.storage.replicate(object).await.expect("a copy");
    assert_eq!(case.kept(object), (vec![0], false));
    assert_eq!(case.storage.get(object).await.expect("it is there"), bytes);
}

#[tokio::test]
async fn another_provider_stands_in_and_a_damaged_copy_is_passed_by() {
    let case = Case::of(&[1, 1, 1]);
    let (bytes, object) = chunk(1);
    case.storage.put(object, &bytes).await.expect("a place");
    case.storage.replicate(object).await.expect("a copy");
    let (copies, _) = case.kept(object);

    let damaged = case.folder(copies[0]).join(object.path().to_string());
    fs::write(&damaged, "something else").expect("it is there");
    assert_eq!(case.storage.get(object).await.expect("the other"), bytes);
    fs::write(&damaged, &bytes).expect("it is there");
    case.stop(copies[1]);
    assert_eq!(case.storage.get(object).await.expect("the first"), bytes);
    case.storage.replicate(object).await.expect("the third");
    let (with_third, here) = case.kept(object);
    assert_eq!((with_third.len(), here), (2, false));
    case.start(copies[1]);
    case.storage.remove("f").await.expect("all are there");
    assert_eq!(case.kept(object), (vec![], false));
}

#[tokio::test]
async fn a_copy_that_is_lost_or_cut_short_is_missed_and_made_anew() {
    let case = Case::of(&[1, 1, 1]);
    let (bytes, object) = chunk(1);
    let has_copies = async || {
        let known = case.storage.has_copies(object, bytes.len() as u64).await;
        known.map_err(|error| error.to_string())
    };
    case.storage.put(object, &bytes).await.expect("a place");
    assert_eq!(has_copies().await, Ok(false));
    case.storage.replicate(object).await.expect("a copy");
    assert_eq!(has_copies().await, Ok(true));
    let (copies, _) = case.kept(object);
    let at = |provider: usize| case.folder(provider).join(object.path().to_string());
    for provider in &copies {
        fs::remove_file(at(*provider)).expect("it is there");
        assert_eq!(has_copies().await, Ok(false));
        case.storage.replicate(object).await.expect("a copy");
        assert_eq!(has_copies().await, Ok(true));
        fs::write(at(*provider), &bytes[..4]).expect("it is there");
        assert_eq!(has_copies().await, Ok(false));
        case.storage.replicate(object).await.expect("a copy");
        assert_eq!(fs::read(at(*provider)).expect("it is there"), bytes);
    }
    assert_eq!(case.kept(object), (copies.clone(), false));
    // Who is away has lost nothing.
    case.stop(copies[0]);
    let unknown = has_copies().await.expect_err("it can't be told");
    assert!(unknown.contains("can't be stored or read"), "{unknown}");
}

#[test]
fn a_place_that_is_written_wrongly_is_refused() {
    let refused = |text: &str| text.parse::<Place>().err().expect("it is wrong");
    assert!(refused("file:///x").contains("write a weight"));
    assert!(refused("0=file:///x").contains("from 1 on"));
    assert!(refused("5=ftp://host").contains("s3://"));
    assert!(refused("5=x").contains("relative URL"));
    let place = |text: &str| text.parse::<Place>().expect("it can be read");
    assert_eq!(place("5=s3://b/f?secret_access_key=x").name(), "s3://b/f");
    let opened = |text: &str| place(text).open().err().map(|error| error.to_string());
    let unknown = opened("5=s3://b/f?nothing=x").expect("there is no such key");
    assert!(unknown.starts_with("s3://b/f: "), "{unknown}");
    assert!(unknown.contains("nothing"), "{unknown}");
    assert_eq!(opened("5=memory:///"), None);
}
