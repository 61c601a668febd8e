//! The ends and the limits of a pipe.

use std::sync::Arc;

use nearcache_l1::StoreConfig;
use nearcache_proto::{Cache, LaneConfig, Pod, PodConfig, Reason};

use super::*;

#[test]
fn errors_say_whether_to_try_again() {
    let retry = Error::retry(Reason::Timeout, "L2 is slow");
    for (error, code) in [
        (retry.clone(), "TRYAGAIN"),
        (Error::retry(Reason::Overloaded, "no room"), "TRYAGAIN"),
        (retry.for_write(WriteOutcome::NotSent), "TRYAGAIN"),
        (retry.for_write(WriteOutcome::Unknown), "UNKNOWN"),
        (Error::new(ErrorKind::Usage, "AUTH is refused"), "ERR"),
        (Error::new(ErrorKind::Configuration, "no rights"), "ERR"),
    ] {
        match said(&error, false) {
            Ok(Reply::Error { code: said, .. }) => assert_eq!(said, code),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_is_lost_ends_the_connection() {
    let closed = Error::new(ErrorKind::Closed, "the cache was shut down");
    assert!(said(&closed, false).is_err());
    let away = said(&Error::new(ErrorKind::Retry, "away"), false).unwrap_err();
    assert_eq!(away.kind(), io::ErrorKind::ConnectionRefused);
    let slow = Error::retry(Reason::Timeout, "a transaction");
    let ended = said(&slow, true).unwrap_err();
    assert_eq!(ended.kind(), io::ErrorKind::ConnectionReset);
    let lost = Error::retry(Reason::Interrupted, "gone");
    let end = said(&lost, false).unwrap_err();
    assert_eq!(end.kind(), io::ErrorKind::ConnectionReset);
    let source = end
        .get_ref()
        .and_then(|source| source.downcast_ref::<Error>());
    assert!(source.is_some());
}

#[test]
fn c12_what_is_no_command_ends_the_connection() {
    let mut pipe = ended_by(b"GET k\r\n");
    let mut cx = Context::from_waker(Waker::noop());
    let mut room = [0; 64];
    let mut buf = ReadBuf::new(&mut room);
    let read = Pin::new(&mut pipe).poll_read(&mut cx, &mut buf);
    assert!(matches!(read, Poll::Ready(Err(_))));
    let read = Pin::new(&mut pipe).poll_read(&mut cx, &mut buf);
    assert!(matches!(read, Poll::Ready(Ok(()))) && buf.filled().is_empty());
    let written = Pin::new(&mut pipe).poll_write(&mut cx, b"*1\r\n$4\r\nPING\r\n");
    assert!(matches!(written, Poll::Ready(Err(_))));
}

#[test]
fn c12_whoever_does_not_read_is_not_written_to() {
    let mut pipe = Pipe::new(seat(), Protocol::Resp2);
    let mut cx = Context::from_waker(Waker::noop());
    let packed = redis::cmd("HELLO").arg("2").get_packed_command();
    let many = packed.repeat(20_000);
    let written = Pin::new(&mut pipe).poll_write(&mut cx, &many);
    assert!(matches!(written, Poll::Ready(Ok(count)) if count == many.len()));
    assert!(Pin::new(&mut pipe).poll_flush(&mut cx).is_ready());
    // The one that passes the limit is the last.
    assert!(pipe.output.len() >= MOST_WAITING && pipe.output.len() < MOST_WAITING + 1024);
    let written = Pin::new(&mut pipe).poll_write(&mut cx, &many.repeat(4));
    assert!(written.is_ready());
    let written = Pin::new(&mut pipe).poll_write(&mut cx, &many);
    assert!(written.is_pending(), "{} bytes wait", pipe.steps.bytes());
    // Read, it goes on.
    let mut room = vec![0; MOST_WAITING * 2];
    let mut buf = ReadBuf::new(&mut room);
    let read = Pin::new(&mut pipe).poll_read(&mut cx, &mut buf);
    assert!(read.is_ready() && buf.filled().len() >= MOST_WAITING);
    let before = pipe.steps.bytes();
    assert!(Pin::new(&mut pipe).poll_flush(&mut cx).is_ready());
    assert!(pipe.steps.bytes() < before);
}

fn ended_by(bytes: &[u8]) -> Pipe {
    let mut pipe = Pipe::new(seat(), Protocol::Resp2);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut pipe).poll_write(&mut cx, bytes).is_ready());
    pipe
}

/// A session that nothing is sent by.
fn seat() -> Seat {
    let store = StoreConfig::new(1 << 20);
    let pod = Arc::new(Pod::new(store, PodConfig::default()).unwrap());
    let io = IoThread::new(
        pod.clone(),
        Arc::new(nearcache_io::MemoryL2::new()),
        LaneConfig::default(),
        1,
    );
    Owned::new(Session::new(Cache::new(pod, io), 0))
}
