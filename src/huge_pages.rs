//! Large allocations in huge pages.
//!
//! A batch run keeps groups in tables of hundreds of megabytes, which it looks up in no order and makes anew when it sorts and merges them.
//! In pages of 4 KiB nearly each look-up misses the processor's cache of page addresses, too, and each new table is thousands of faults.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicBool, Ordering},
};

/// Allocations of so many bytes are asked for in huge pages, which have 2 MiB: the allocator puts those of half a page side by side.
const LARGE: usize = 1 << 20;

static WANTED: AtomicBool = AtomicBool::new(false);

/// The system's allocator; in a process that runs `watershed batch` it asks Linux for huge pages for large allocations.
///
/// Nothing else does: the system may stop to put a huge page together, which what answers within milliseconds cannot wait for.
/// A program with functions of its own that calls [`cli::main`](crate::cli::main) may have it, too:
///
/// ```
/// #[global_allocator]
/// static ALLOCATOR: watershed::HugePages = watershed::HugePages;
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct HugePages;

/// Large allocations of this process are in huge pages from now on, if its allocator is [`HugePages`].
pub(crate) fn want() {
    WANTED.store(true, Ordering::Relaxed);
}

// SAFETY: all is left to the system's allocator; what follows changes nothing that a caller sees.
unsafe impl GlobalAlloc for HugePages {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promised.
        advised(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promised.
        advised(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // SAFETY: as the caller promised.
        advised(unsafe { System.realloc(memory, layout, bytes) }, bytes)
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[inline]
fn advised(memory: *mut u8, bytes: usize) -> *mut u8 {
    if bytes >= LARGE && !memory.is_null() && WANTED.load(Ordering::Relaxed) {
        advise(memory, bytes);
    }
    memory
}

#[cfg(target_os = "linux")]
#[cold]
fn advise(memory: *mut u8, bytes: usize) {
    use rustix::mm::{Advice, madvise};

    // From the page on which the allocation begins: so the advice is for all of its mapping, which can then still be made larger in place.
    let before = memory.addr() % rustix::param::page_size();
    // SAFETY: whatever it is said of, this advice changes nothing of what memory holds, and of what is not mapped it is refused.
    let _ = unsafe { madvise(memory.wrapping_sub(before).cast(), bytes + before, Advice::LinuxHugepage) };
}

#[cfg(not(target_os = "linux"))]
fn advise(_memory: *mut u8, _bytes: usize) {}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(at: usize) -> u8 {
        (at / 4096 + at) as u8
    }

    unsafe fn fill(memory: *mut u8, bytes: usize) {
        // SAFETY: the caller has asked for as many bytes.
        (0..bytes).for_each(|at| unsafe { memory.add(at).write(value(at)) });
    }

    unsafe fn is_filled(memory: *const u8, bytes: usize) -> bool {
        // SAFETY: the caller has asked for as many bytes, and filled them.
        (0..bytes).all(|at| unsafe { memory.add(at).read() } == value(at))
    }

    #[test]
    fn memory_holds_what_was_written_whatever_its_pages_are() {
        want();
        for small in [1, LARGE - 1, LARGE, 5 * LARGE + 7] {
            let layout = Layout::from_size_align(small, 16).unwrap();
            // SAFETY: each is given back with the layout that it was last asked for with.
            unsafe {
                let memory = HugePages.alloc(layout);
                fill(memory, small);
                let memory = HugePages.realloc(memory, layout, 9 * LARGE);
                assert!(is_filled(memory, small), "{small} bytes moved");
                fill(memory, 9 * LARGE);
                let whole = Layout::from_size_align(9 * LARGE, 16).unwrap();
                let memory = HugePages.realloc(memory, whole, small);
                assert!(is_filled(memory, small), "{small} bytes left");
                HugePages.dealloc(memory, layout);
                let zeros = HugePages.alloc_zeroed(layout);
                assert!((0..small).all(|at| zeros.add(at).read() == 0));
                HugePages.dealloc(zeros, layout);
            }
        }
    }
}
