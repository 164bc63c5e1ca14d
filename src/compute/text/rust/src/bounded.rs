//! Work whose time, memory and stack are bounded, for templates that come
//! from outside. A template can double a string with every instruction or nest
//! a list a million deep; neither may take the process along.
//!
//! The work runs on a thread of its own with a large stack. Every allocation
//! of that thread is charged to a budget by the library's allocator, which
//! stops the thread for good when the budget or the time is spent: an
//! allocator may neither fail (Rust aborts) nor unwind. Such a thread and its
//! bytes, at most the budget, are lost until the process ends, so `Losses` stops
//! whoever causes it again and again.

use std::alloc::{GlobalAlloc, Layout, System};
use std::any::Any;
use std::cell::Cell;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crate::status::{Code, Failure, Result};

const MEMORY_LIMIT_BYTES: isize = 256 << 20;
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// Address space; only what is touched takes memory. Values nested as deep as
/// the template's instruction limit allows are dropped recursively.
const STACK_BYTES: usize = 512 << 20;

/// Stopped threads of one caller after which it is refused.
const MAX_LOSSES: usize = 3;

/// How often one caller's work had to be stopped.
#[derive(Default)]
pub struct Losses(AtomicUsize);

struct Budget {
    /// Bytes held by the work; below zero when it frees what it was given.
    used: AtomicIsize,
    /// Set by the waiting side when the time is spent.
    expired: AtomicBool,
    /// Set by the work when it stopped for good.
    halted: AtomicBool,
    done: AtomicBool,
    waiting: Thread,
}

thread_local! {
    static BUDGET: Cell<*const Budget> = const { Cell::new(ptr::null()) };
}

struct ChargingAllocator;

#[global_allocator]
static ALLOCATOR: ChargingAllocator = ChargingAllocator;

/// Charges `bytes` to the thread's budget, if it has one. Does not allocate.
fn charge(bytes: isize) {
    let budget = BUDGET.get();
    if budget.is_null() {
        return;
    }
    // SAFETY: `run` sets the pointer and clears it before the budget goes.
    let budget = unsafe { &*budget };
    let used = budget.used.fetch_add(bytes, Ordering::Relaxed) + bytes;
    if bytes > 0
        && (used > MEMORY_LIMIT_BYTES || budget.expired.load(Ordering::Relaxed))
    {
        budget.halted.store(true, Ordering::Release);
        budget.waiting.unpark();
        loop {
            thread::sleep(Duration::MAX);
        }
    }
}

// SAFETY: forwards to the system's allocator and never unwinds.
unsafe impl GlobalAlloc for ChargingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        charge(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        charge(layout.size() as isize);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        charge(-(layout.size() as isize));
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(
        &self,
        pointer: *mut u8,
        layout: Layout,
        size: usize,
    ) -> *mut u8 {
        charge(size as isize - layout.size() as isize);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// The text of a panic.
pub fn panic_message(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_string()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "no message".to_string()
    }
}

/// Runs `work` within the limits.
pub fn run<T: Send + 'static>(
    losses: &Losses,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let exceeded = |what: String| {
        Err(Failure::new(
            Code::ResourceExhausted,
            format!("the chat template {what}"),
        ))
    };
    if losses.0.load(Ordering::Relaxed) >= MAX_LOSSES {
        return exceeded("was stopped too often; load the model again".into());
    }
    let budget = Arc::new(Budget {
        used: AtomicIsize::new(0),
        expired: AtomicBool::new(false),
        halted: AtomicBool::new(false),
        done: AtomicBool::new(false),
        waiting: thread::current(),
    });
    let worker_budget = Arc::clone(&budget);
    let worker = thread::Builder::new()
        .name("chat-template".into())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            BUDGET.set(Arc::as_ptr(&worker_budget));
            let result = catch_unwind(AssertUnwindSafe(work));
            BUDGET.set(ptr::null());
            worker_budget.done.store(true, Ordering::Release);
            worker_budget.waiting.unpark();
            result
        })
        .map_err(|error| {
            Failure::new(
                Code::ResourceExhausted,
                format!("cannot start a thread: {error}"),
            )
        })?;

    let deadline = Instant::now() + TIME_LIMIT;
    while !budget.done.load(Ordering::Acquire) {
        if budget.halted.load(Ordering::Acquire) {
            losses.0.fetch_add(1, Ordering::Relaxed);
            return exceeded(format!(
                "needs more than {} MiB",
                MEMORY_LIMIT_BYTES >> 20
            ));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            losses.0.fetch_add(1, Ordering::Relaxed);
            budget.expired.store(true, Ordering::Relaxed);
            return exceeded(format!(
                "takes longer than {} s",
                TIME_LIMIT.as_secs()
            ));
        }
        thread::park_timeout(left);
    }
    let panicked = |payload: Box<dyn Any + Send>| {
        let what = panic_message(payload.as_ref());
        Failure::new(
            Code::Internal,
            format!("chat template engine panicked: {what}"),
        )
    };
    worker.join().map_err(panicked)?.map_err(panicked)?
}
