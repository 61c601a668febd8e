//! The loop: feeds the lanes with requests, answers, ends and time, and carries out its actions.
//!
//! Reads the clock anew for everything it feeds: an answer must not look older than it is.

use std::future::{Future, poll_fn};
use std::task::{Context, Poll};

use nearcache_l1::Timestamp;
use nearcache_proto::{Action, Line, Request};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::{unconstrained, yield_now};
use tokio::time::{Instant, sleep_until};

use super::Seat;
use super::lanes::Lanes;
use super::links::{Links, News};
use super::sides::{Closed, side_closed};
use crate::clock::now;

/// Requests or answers taken at once before what they lead to is sent: large enough that what came
/// together leaves together, small enough that neither keeps the other waiting.
const BURST: usize = 64;

/// Turns after which the reactor has one, however much there is to do: only it knows what sockets have to say.
const TURNS: u32 = 4;

/// Runs until every sender of `queue` is gone.
pub(super) async fn run(seat: &Seat, lanes: &mut Lanes, queue: &mut UnboundedReceiver<Request>) {
    let mut links = Links::new(seat.pod.clone(), seat.l2.clone());
    let mut timer = std::pin::pin!(sleep_until(Instant::now()));
    let mut timer_for = None;
    let mut turns = 0_u32;
    loop {
        act(lanes, &mut links);
        let due = lanes.poll_timeout();
        if due != timer_for {
            timer_for = due;
            if let Some(due) = due {
                timer.as_mut().reset(wake_time(due));
            }
        }
        // What a runtime lends to tasks that share it is not to end a turn here: nothing else runs on this thread.
        let turn = unconstrained(poll_fn(|cx| {
            // Requests first: what they lead to leaves with the poll of the connections.
            let requests = take_requests(lanes, queue, cx);
            if requests == Some(0) {
                return Poll::Ready(false);
            }
            if requests.is_some() {
                act(lanes, &mut links);
            }
            let mut moved = requests.is_some();
            for _ in 0..BURST {
                let Poll::Ready(news) = links.poll(cx) else {
                    break;
                };
                moved = true;
                if !tell(lanes, news) {
                    break;
                }
            }
            if timer_for.is_some() && timer.as_mut().poll(cx).is_ready() {
                timer_for = None;
                lanes.handle_timeout(now());
                moved = true;
            }
            if moved {
                Poll::Ready(true)
            } else {
                Poll::Pending
            }
        }));
        if !turn.await {
            break;
        }
        turns = turns.wrapping_add(1);
        if turns.is_multiple_of(TURNS) {
            yield_now().await;
        }
    }
    lanes.shutdown(now());
    act(lanes, &mut links);
}

/// Hands requests to the lanes: how many there were, of those that are taken at once; 0 when no more can come. `None`: there
/// are none now.
fn take_requests(
    lanes: &mut Lanes,
    queue: &mut UnboundedReceiver<Request>,
    cx: &mut Context<'_>,
) -> Option<usize> {
    let mut taken = 0;
    while taken < BURST {
        match queue.poll_recv(cx) {
            Poll::Ready(Some(request)) => lanes.submit(request, now()),
            Poll::Ready(None) if taken == 0 => return Some(0),
            Poll::Ready(None) | Poll::Pending => break,
        }
        taken += 1;
    }
    (taken > 0).then_some(taken)
}

/// Tells the lane it is about; false when that may want something done about its connection first.
fn tell(lanes: &mut Lanes, news: News) -> bool {
    let primary = match &news {
        News::Connected(connection)
        | News::ConnectFailed(connection, _)
        | News::Disconnected(connection) => connection.primary,
        News::Answered(primary, ..)
        | News::SideAnswered(primary, _)
        | News::SideUnsent(primary, ..) => *primary,
    };
    let Some(lane) = lanes.of(primary) else {
        return true;
    };
    match news {
        News::Connected(connection) => lane.handle_connected(connection, now()),
        News::ConnectFailed(connection, error) => {
            lane.handle_connect_failed(connection, error, now());
        }
        News::Disconnected(connection) => lane.handle_disconnected(connection, now()),
        News::Answered(_, batch, result) => {
            let alive = result.is_ok();
            lane.handle_reply(batch, result, now());
            return alive;
        }
        News::SideAnswered(_, answers) => {
            for (batch, result) in answers {
                lane.handle_reply(batch, result, now());
            }
            return true;
        }
        News::SideUnsent(_, batches, error) => {
            for batch in batches {
                lane.handle_unsent(batch, &error, now());
            }
            return true;
        }
    }
    false
}

/// Carries out what the lanes want until they want nothing more.
fn act(lanes: &mut Lanes, links: &mut Links) {
    while let Some(action) = lanes.poll_action(now()) {
        match action {
            Action::Connect { connection } => {
                if let Err(error) = links.connect(connection) {
                    tell(lanes, News::ConnectFailed(connection, error));
                }
            }
            Action::Disconnect { connection } => links.disconnect(connection),
            Action::Send {
                batch,
                line: Line::Lane(primary),
                ops,
            } => {
                if let Err(error) = links.send(primary, batch, ops) {
                    tell(lanes, News::Answered(primary, batch, Err(error)));
                }
            }
            Action::Send {
                batch,
                line: Line::Side(side),
                ops,
            } => {
                if let Err(error) = links.send_side(side, batch, ops) {
                    tell(lanes, News::SideUnsent(side.primary, vec![batch], error));
                }
            }
            Action::CloseSide { primary, side } => {
                let Closed { unsent, unanswered } = links.close_side(primary, side);
                tell(lanes, News::SideUnsent(primary, unsent, side_closed()));
                tell(lanes, News::SideAnswered(primary, unanswered));
            }
            Action::Report { primary, report } => {
                let primary = primary.0;
                match report.is_problem() {
                    true => tracing::warn!(primary, "{report}"),
                    false => tracing::info!(primary, "{report}"),
                }
            }
        }
    }
}

fn wake_time(due: Timestamp) -> Instant {
    Instant::now() + due.saturating_since(now())
}
