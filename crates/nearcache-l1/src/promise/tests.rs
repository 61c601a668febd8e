//! A promise completes once, wakes everyone, and keeps no waker of a waiter that went away.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::Promise;

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn task() -> (Arc<Wakes>, Waker) {
    let wakes = Arc::new(Wakes::default());
    (Arc::clone(&wakes), Waker::from(wakes))
}

#[test]
fn completes_once_and_wakes_every_waiter() {
    let promise = Promise::new();
    let tasks: Vec<_> = (0..10).map(|_| task()).collect();
    let mut waiters: Vec<_> = tasks.iter().map(|_| Box::pin(promise.future())).collect();
    for (waiter, (_, waker)) in waiters.iter_mut().zip(&tasks) {
        assert!(
            waiter
                .as_mut()
                .poll(&mut Context::from_waker(waker))
                .is_pending()
        );
    }
    assert!(promise.complete(7));
    assert!(!promise.complete(8));
    for (waiter, (wakes, waker)) in waiters.iter_mut().zip(&tasks) {
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        let polled = waiter.as_mut().poll(&mut Context::from_waker(waker));
        assert_eq!(polled, Poll::Ready(7));
    }
    assert_eq!(promise.get(), Some(7));
}

#[test]
fn a_waiter_holds_one_seat_and_hands_it_back() {
    let promise: Promise<()> = Promise::new();
    let (_, one) = task();
    let (_, two) = task();
    for _ in 0..1000 {
        let mut waiter = pin!(promise.future());
        assert!(
            waiter
                .as_mut()
                .poll(&mut Context::from_waker(&one))
                .is_pending()
        );
        assert!(
            waiter
                .as_mut()
                .poll(&mut Context::from_waker(&two))
                .is_pending()
        );
        assert_eq!(promise.cell.waiting(), 1);
    }
    assert_eq!(promise.cell.waiting(), 0);
    assert!(
        promise.cell.state.lock().seats.len() <= 1,
        "seats are used again"
    );
}

#[test]
fn the_last_waker_given_is_the_one_woken() {
    let promise = Promise::new();
    let ((first, one), (second, two)) = (task(), task());
    let mut waiter = pin!(promise.future());
    assert!(
        waiter
            .as_mut()
            .poll(&mut Context::from_waker(&one))
            .is_pending()
    );
    assert!(
        waiter
            .as_mut()
            .poll(&mut Context::from_waker(&two))
            .is_pending()
    );
    promise.complete(());
    assert_eq!(first.0.load(Ordering::Relaxed), 0);
    assert_eq!(second.0.load(Ordering::Relaxed), 1);
}

#[test]
fn a_task_that_polls_without_a_seat_is_registered_once() {
    let promise = Promise::new();
    let (wakes, waker) = task();
    for _ in 0..5 {
        assert!(
            promise
                .cell
                .poll_unseated(&mut Context::from_waker(&waker))
                .is_pending()
        );
    }
    assert_eq!(promise.cell.waiting(), 1);
    promise.complete(1);
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    let polled = promise.cell.poll_unseated(&mut Context::from_waker(&waker));
    assert_eq!(polled, Poll::Ready(1));
}

#[test]
fn a_waiter_dropped_after_completion_takes_nobodys_seat() {
    let promise = Promise::new();
    let (_, waker) = task();
    let mut waiter = Box::pin(promise.future());
    assert!(
        waiter
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    promise.complete(());
    drop(waiter);
    assert_eq!(promise.cell.waiting(), 0);
}

#[test]
fn a_panicking_waker_leaves_the_promise_usable() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("a waker of someone else");
        }
    }
    let promise = Promise::new();
    let waker = Waker::from(Arc::new(Panics));
    let mut waiter = pin!(promise.future());
    assert!(
        waiter
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    let completing = promise.clone();
    assert!(
        std::thread::spawn(move || completing.complete(3))
            .join()
            .is_err()
    );
    assert_eq!(promise.get(), Some(3));
}
