//! Stops a caller where it reads its clock, the last step of the hit path, and lets the rest of the world go on:
//! what a thread that loses the processor there, or a process that is stopped there, sees.
//!
//! The world is found through the thread, because a pod's clock cannot hold it. Never stops a caller that may hold
//! a lock of the store.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::world::World;

/// When a caller is stopped, and where in the reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Before it reads the clock.
    Before,
    /// After it read it.
    After,
}

thread_local! {
    static WORLD: RefCell<Option<Rc<RefCell<World>>>> = const { RefCell::new(None) };
    static NEXT: Cell<Option<Stop>> = const { Cell::new(None) };
}

/// For as long as it is kept, the world that goes on while a caller of this thread is stopped.
pub struct Entered;

pub fn enter(world: &Rc<RefCell<World>>) -> Entered {
    WORLD.set(Some(world.clone()));
    Entered
}

impl Drop for Entered {
    fn drop(&mut self) {
        NEXT.set(None);
        WORLD.set(None);
    }
}

/// Stops the caller at its next reading of the clock.
pub fn arm(stop: Option<Stop>) {
    NEXT.set(stop);
}

/// A reading of the clock by a caller of `pod`: `read` makes it.
pub fn at_clock<T>(pod: usize, read: impl Fn() -> T) -> T {
    match NEXT.take() {
        None => read(),
        Some(Stop::Before) => {
            meanwhile(pod);
            read()
        }
        Some(Stop::After) => {
            let now = read();
            meanwhile(pod);
            now
        }
    }
}

fn meanwhile(pod: usize) {
    // The scheduler's own look at L1 is no caller: it has the world.
    if let Some(world) = WORLD.with_borrow(Clone::clone)
        && let Ok(mut world) = world.try_borrow_mut()
    {
        world.meanwhile(pod);
    }
}
