//! mimalloc, asked the cheap way.
//!
//! The `mimalloc` crate states the alignment of every allocation, and mimalloc then looks whether
//! a block happens to have it. Nearly all allocations need no more than any block has.

use libmimalloc_sys as mi;
use std::alloc::{GlobalAlloc, Layout};

pub struct Allocator;

/// Blocks of this size and more begin at a multiple of it, smaller ones at a multiple of the next
/// lower power of two: mimalloc's `MI_MAX_ALIGN_SIZE`.
const NATURAL: usize = 16;

fn is_natural(size: usize, align: usize) -> bool {
    align <= NATURAL && align <= size
}

// SAFETY: mimalloc returns null or a block that is free, large enough and, by `is_natural` or by
// request, aligned; it never unwinds. Any block of it may be given to `mi_free` and to both kinds
// of reallocation, which keep the smaller of both sizes' bytes.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        // SAFETY: both take any size, and an alignment that is a power of two.
        let block = unsafe {
            match is_natural(size, align) {
                true => mi::mi_malloc(size),
                false => mi::mi_malloc_aligned(size, align),
            }
        };
        block.cast()
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        // SAFETY: as for `alloc`.
        let block = unsafe {
            match is_natural(size, align) {
                true => mi::mi_zalloc(size),
                false => mi::mi_zalloc_aligned(size, align),
            }
        };
        block.cast()
    }

    unsafe fn dealloc(&self, block: *mut u8, _layout: Layout) {
        // SAFETY: the caller's promise: a block of ours that is not free.
        unsafe { mi::mi_free(block.cast()) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let align = layout.align();
        // SAFETY: the caller's promise: a block of ours that is not free.
        let block = unsafe {
            match is_natural(size, align) {
                true => mi::mi_realloc(block.cast(), size),
                false => mi::mi_realloc_aligned(block.cast(), size, align),
            }
        };
        block.cast()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Miri can't call C, so every kind of block is used for real: all its bytes, at its edges.
    #[test]
    fn blocks_are_aligned_apart_and_keep_their_bytes() {
        let sizes = (1..300).chain([511, 512, 1000, 1024, 4096, 70_000, 1 << 20]);
        for (size, power) in sizes.flat_map(|size| (0..8).map(move |power| (size, power))) {
            let layout = Layout::from_size_align(size, 1 << power).expect("a power of two");
            let grown = Layout::from_size_align(size * 2, 1 << power).expect("a power of two");
            // SAFETY: layouts are not empty; each block is freed once, with its last layout, and
            // only its own bytes are touched.
            unsafe {
                let (one, two) = (Allocator.alloc(layout), Allocator.alloc_zeroed(layout));
                assert!(!one.is_null() && !two.is_null());
                assert!(one.addr() % layout.align() == 0 && two.addr() % layout.align() == 0);
                one.write_bytes(1, size);
                assert!((0..size).all(|at| two.add(at).read() == 0), "{layout:?}");
                two.write_bytes(2, size);
                let one = Allocator.realloc(one, layout, grown.size());
                assert!(!one.is_null() && one.addr() % layout.align() == 0);
                assert!((0..size).all(|at| one.add(at).read() == 1), "{layout:?}");
                one.write_bytes(3, grown.size());
                assert!((0..size).all(|at| two.add(at).read() == 2), "{layout:?}");
                Allocator.dealloc(one, grown);
                Allocator.dealloc(two, layout);
            }
        }
    }
}
