//! The heap of the hook binary. A Stop event takes its memory from a fixed block, which costs no system call.
//!
//! musl's own allocator requests pages from the kernel, and returns them, some thirty times in a Stop event. A
//! piece that does not fit in the block is allocated by the system.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The size of the block for one call. A Stop event takes less than half of it.
const SIZE: usize = 256 * 1024;

/// An allocator that hands out a fixed block from its start, and uses the system's allocator after that. Only
/// the newest piece of the block can be returned to it.
pub struct Arena {
    /// The number of bytes of the block that are handed out.
    used: AtomicUsize,
    block: UnsafeCell<MaybeUninit<[u8; SIZE]>>,
}

// SAFETY: a piece of the block belongs to one caller, since `used` is only moved by a compare-and-exchange.
#[allow(unsafe_code, reason = "an allocator is shared by all threads")]
unsafe impl Sync for Arena {}

impl Arena {
    /// Returns an arena without any piece handed out.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "a static is made by a constant function")]
    pub const fn new() -> Self {
        Self { used: AtomicUsize::new(0), block: UnsafeCell::new(MaybeUninit::uninit()) }
    }

    fn start(&self) -> *mut u8 {
        self.block.get().cast()
    }

    /// Returns the position of a piece in the block, or `None` for the system's memory.
    fn offset(&self, piece: *mut u8) -> Option<usize> {
        piece.addr().checked_sub(self.start().addr()).filter(|offset| *offset < SIZE)
    }

    /// Moves the end of the used part, unless another thread did so meanwhile.
    fn moves(&self, from: usize, to: usize) -> bool {
        self.used.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    fn take(&self, layout: Layout) -> Option<usize> {
        let start = self.start().addr();
        loop {
            let used = self.used.load(Ordering::Acquire);
            let offset = start.checked_add(used)?.checked_next_multiple_of(layout.align())? - start;
            let end = offset.checked_add(layout.size()).filter(|end| *end <= SIZE)?;
            if self.moves(used, end) {
                return Some(offset);
            }
        }
    }
}

// SAFETY: a piece is in the block or is the system's, has the requested size and alignment, and has one owner
// until it is returned.
#[allow(unsafe_code, reason = "an allocator hands out memory")]
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match self.take(layout) {
            // SAFETY: `take` returns an offset inside of the block.
            Some(offset) => unsafe { self.start().add(offset) },
            // SAFETY: the caller's guarantees are the system's conditions.
            None => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        match self.offset(piece) {
            Some(offset) => {
                self.moves(offset + layout.size(), offset);
            }
            // SAFETY: a piece outside of the block was allocated by the system.
            None => unsafe { System.dealloc(piece, layout) },
        }
    }

    unsafe fn realloc(&self, piece: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Some(offset) = self.offset(piece) else {
            // SAFETY: a piece outside of the block was allocated by the system.
            return unsafe { System.realloc(piece, layout, size) };
        };
        let end = offset.saturating_add(size);
        if (end <= SIZE && self.moves(offset + layout.size(), end)) || size <= layout.size() {
            return piece;
        }
        // SAFETY: the caller guarantees that the size is valid for this alignment; both pieces are at least
        // that long and do not overlap.
        unsafe {
            let new = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !new.is_null() {
                piece.copy_to_nonoverlapping(new, layout.size());
            }
            new
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    #[test]
    #[allow(unsafe_code, reason = "an allocator is called so")]
    fn pieces_are_apart_aligned_and_keep_what_they_hold() {
        static ARENA: Arena = Arena::new();
        let (mut held, mut random): (Vec<(*mut u8, Layout, u8)>, u64) = (Vec::new(), 7);
        let mut next = |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below
        };
        for round in 0..20_000 {
            let (size, align) = (1 + next(3_000) as usize, 1 << next(7));
            match next(3) {
                0 if !held.is_empty() => {
                    let (piece, of, byte) = held.swap_remove(next(held.len() as u64) as usize);
                    // SAFETY: the piece was allocated with this layout and is returned once.
                    unsafe {
                        assert!((0..of.size()).all(|i| *piece.add(i) == byte), "round {round}");
                        ARENA.dealloc(piece, of);
                    }
                }
                1 if !held.is_empty() => {
                    let (piece, of, byte) = held.pop().unwrap();
                    // SAFETY: as above, and the size is not 0.
                    unsafe {
                        let new = ARENA.realloc(piece, of, size);
                        assert!((0..of.size().min(size)).all(|i| *new.add(i) == byte), "round {round}");
                        new.write_bytes(byte, size);
                        held.push((new, layout(size, of.align()), byte));
                    }
                }
                _ if held.len() < 60 => {
                    let (of, byte) = (layout(size, align), next(256) as u8);
                    // SAFETY: the size is not 0, and the piece is that long.
                    unsafe {
                        let piece = ARENA.alloc(of);
                        assert_eq!(piece.addr() % align, 0);
                        piece.write_bytes(byte, size);
                        held.push((piece, of, byte));
                    }
                }
                _ => {}
            }
        }
        for (piece, of, byte) in held {
            // SAFETY: as above.
            unsafe {
                assert!((0..of.size()).all(|i| *piece.add(i) == byte));
                ARENA.dealloc(piece, of);
            }
        }
    }

    #[test]
    #[allow(unsafe_code, reason = "an allocator is called so")]
    fn a_full_block_is_followed_by_the_systems_memory() {
        static ARENA: Arena = Arena::new();
        let half = layout(SIZE / 2 + 1, 1);
        // SAFETY: each piece is returned once, with its layout.
        unsafe {
            let (first, second) = (ARENA.alloc(half), ARENA.alloc(half));
            assert!(ARENA.offset(first).is_some() && ARENA.offset(second).is_none());
            let first = ARENA.realloc(first, half, SIZE);
            assert_eq!(ARENA.offset(first), Some(0), "the newest piece grows where it is");
            let grown = ARENA.realloc(first, layout(SIZE, 1), SIZE + 1);
            assert_eq!(ARENA.offset(grown), None);
            ARENA.dealloc(grown, layout(SIZE + 1, 1));
            ARENA.dealloc(second, half);
            ARENA.dealloc(first, layout(SIZE, 1));
            assert_eq!(ARENA.used.load(Ordering::Relaxed), 0);
        }
    }
}
