//! Providers by URL, each with its weight.

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, RetryConfig};
use std::str::FromStr;
use std::sync::Arc;
use std::{error::Error, fs, path};
use url::Url;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A provider as it is written: `70=s3://bucket/folder?endpoint=https://host`.
#[derive(Clone)]
pub struct Place {
    /// Its share of all that is stored is this by the sum of all weights.
    pub weight: u32,
    url: Url,
}

impl Place {
    /// Without the query, which may have keys.
    pub fn name(&self) -> String {
        let mut url = self.url.clone();
        url.set_query(None);
        url.into()
    }

    pub fn open(&self) -> Result<Arc<dyn ObjectStore>> {
        let because = |reason: Box<dyn Error>| format!("{}: {reason}", self.name());
        let store = match self.url.scheme() {
            "file" => self.folder(),
            "memory" => Ok(Arc::new(InMemory::new()) as _),
            _ => self.bucket(),
        };
        Ok(store.map_err(because)?)
    }

    fn folder(&self) -> Result<Arc<dyn ObjectStore>> {
        let path = self.url.to_file_path();
        folder(&path.map_err(|()| "a folder is written file:///its/path")?)
    }

    /// What the query doesn't say is said by AWS's environment variables. Who asks tries again, not the client.
    fn bucket(&self) -> Result<Arc<dyn ObjectStore>> {
        let bucket = self.url.host_str().ok_or("a bucket is missing")?;
        let once = RetryConfig {
            max_retries: 0,
            ..RetryConfig::default()
        };
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(bucket)
            .with_retry(once);
        for (key, value) in self.url.query_pairs() {
            builder = builder.with_config(key.parse::<AmazonS3ConfigKey>()?, value);
        }
        // The only one that is compiled in; whoever came first has set the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = Path::parse(self.url.path())?;
        Ok(Arc::new(PrefixStore::new(builder.build()?, folder)))
    }
}

/// Files there are on the disk when they are said to be kept.
pub fn folder(path: &path::Path) -> Result<Arc<dyn ObjectStore>> {
    fs::create_dir_all(path)?;
    let store = LocalFileSystem::new_with_prefix(path)?;
    Ok(Arc::new(
        store.with_fsync(true).with_automatic_cleanup(true),
    ))
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let written =
            "write a weight and a URL: 70=s3://bucket, 20=file:///folder or 10=memory:///";
        let (weight, url) = text.split_once('=').ok_or(written)?;
        let weight = weight.parse().ok().filter(|weight| *weight > 0);
        let url: Url = url.parse().map_err(|error| format!("{error}; {written}"))?;
        if !["file", "memory", "s3"].contains(&url.scheme()) {
            return Err(written.into());
        }
        Ok(Self {
            weight: weight.ok_or("a weight is a whole number from 1 on")?,
            url,
        })
    }
}
