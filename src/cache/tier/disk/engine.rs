//! The engine that keeps records in files: `foyer`, which never takes more room than it was given,
//! finds what it wrote after whatever stopped the machine, and gives up what is oldest.

use super::oldest::Oldest;
use crate::breaker::Down;
use bytes::Bytes;
use foyer::{
    BlockEngineConfig, DeviceBuilder, FsDeviceBuilder, HybridCache, HybridCacheBuilder,
    HybridCachePolicy, Load, PsyncIoEngineConfig, RecoverMode, Spawner,
};
use std::io;
use std::path::{Path, PathBuf};
use tokio::runtime::Handle;

/// What blocks are made of.
const PAGE: u64 = 4 << 10;
/// A block is written and given up as a whole, and holds an object as a whole: a sixteenth of the
/// room, or this. Twice as much memory holds what is being written.
const MAX_BLOCK: u64 = 16 << 20;
/// Of a block, what no body can have: the engine's index, the key and the fields.
const BLOCK_OVERHEAD: u64 = 64 << 10;

/// How room is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    block: u64,
    blocks: u64,
}

impl Shape {
    /// For so many bytes; never more.
    pub fn of(bytes: u64) -> Shape {
        let block = (bytes / 16).min(MAX_BLOCK) / PAGE * PAGE;
        let blocks = bytes / block;
        Shape { block, blocks }
    }

    /// Bytes of the largest record.
    pub fn max_record(self) -> u64 {
        self.block - BLOCK_OVERHEAD
    }

    fn bytes(self) -> u64 {
        self.block * self.blocks
    }
}

pub struct Engine {
    cache: HybridCache<u128, Bytes>,
}

impl Engine {
    /// Opens what is in `folder`, or makes it. Its tasks run on `runtime`.
    pub async fn open(folder: &Path, shape: Shape, runtime: Handle) -> Result<Engine, String> {
        let files = make_room(folder, shape).map_err(|e| e.to_string())?;
        let oldest = Oldest::of(&files).map_err(|e| e.to_string())?;
        let device = FsDeviceBuilder::new(&files)
            .with_capacity(shape.bytes() as usize)
            .build()
            .map_err(|e| e.to_string())?;
        let config = BlockEngineConfig::new(device)
            .with_block_size(shape.block as usize)
            .with_buffer_pool_size(shape.block as usize)
            .with_submit_queue_size_threshold(2 * shape.block as usize)
            .with_eviction_pickers(vec![Box::new(oldest)]);
        let cache = HybridCacheBuilder::new()
            .with_name("disk")
            .with_policy(HybridCachePolicy::WriteOnInsertion)
            .with_flush_on_close(false)
            // Memory is the zone's own.
            .memory(1)
            .with_shards(1)
            .storage()
            .with_io_engine_config(PsyncIoEngineConfig::new())
            .with_engine_config(config)
            .with_recover_mode(RecoverMode::Quiet)
            .with_spawner(Spawner::from(runtime))
            .build()
            .await
            .map_err(|e| e.to_string())?;
        Ok(Engine { cache })
    }

    pub async fn get(&self, address: u128) -> Result<Option<Bytes>, Down> {
        match self.cache.storage().load(&address).await {
            Ok(Load::Entry { value, .. }) => Ok(Some(value)),
            Ok(Load::Piece { piece, .. }) => Ok(Some(piece.value().clone())),
            Ok(Load::Miss) => Ok(None),
            Ok(Load::Throttled) => Err(Down),
            Err(e) => {
                tracing::debug!(error = %e, "disk");
                Err(Down)
            }
        }
    }

    /// False: it surely holds nothing there. From memory.
    pub fn may_hold(&self, address: u128) -> bool {
        self.cache.storage().may_contains(&address)
    }

    /// Writes it soon; it can be had from here on.
    pub fn put(&self, address: u128, record: Bytes) {
        let entry = self.cache.storage_writer(address).force().insert(record);
        drop(entry);
    }

    /// Waits until all is written.
    pub async fn settle(&self) {
        self.cache.storage().wait().await;
    }
}

/// The folder of files of this shape. Those of another are of no use to the engine, and their room
/// is needed.
fn make_room(folder: &Path, shape: Shape) -> io::Result<PathBuf> {
    let files = folder.join(format!("objects-{}x{}", shape.blocks, shape.block));
    for other in std::fs::read_dir(folder)? {
        let path = other?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if path != files && name.is_some_and(|name| name.starts_with("objects-")) {
            std::fs::remove_dir_all(path)?;
        }
    }
    std::fs::create_dir_all(&files)?;
    Ok(files)
}

/// Removes all that is stored in `folder`.
pub fn forget(folder: &Path) -> io::Result<()> {
    for file in std::fs::read_dir(folder)? {
        let path = file?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if name.is_some_and(|name| name.starts_with("objects-")) {
            std::fs::remove_dir_all(path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_more_than_was_given_is_taken(bytes in (32u64 << 20)..(1 << 40)) {
            let shape = Shape::of(bytes);
            prop_assert!(shape.bytes() <= bytes);
            prop_assert!(bytes - shape.bytes() < shape.block);
            prop_assert!(shape.block.is_multiple_of(PAGE) && shape.blocks >= 16);
        }
    }
}
