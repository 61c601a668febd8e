//! The loop: feeds the lanes with requests, answers, ends and time, and carries out its actions.
//!
//! Reads the clock anew for everything it feeds: an answer must not look older than it is.

use std::future::poll_fn;
use std::task::Poll;

use nearcache_l1::Timestamp;
use nearcache_proto::{Action, Line, Request};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep_until};

use super::Seat;
use super::lanes::Lanes;
use super::links::{Links, News};
use super::sides::side_closed;
use crate::clock::now;

/// Requests or answers taken at once before what they lead to is sent: large enough that what came
/// together leaves together, small enough that neither keeps the other waiting.
const BURST: usize = 64;

/// Runs until every sender of `queue` is gone.
pub(super) async fn run(seat: &Seat, lanes: &mut Lanes, queue: &mut UnboundedReceiver<Request>) {
    let mut links = Links::new(seat.pod.clone(), seat.l2.clone());
    let mut timer = std::pin::pin!(sleep_until(Instant::now()));
    let mut timer_for = None;
    loop {
        act(lanes, &mut links);
        let due = lanes.poll_timeout();
        if due != timer_for {
            timer_for = due;
            if let Some(due) = due {
                timer.as_mut().reset(wake_time(due));
            }
        }
        tokio::select! {
            request = queue.recv() => {
                let Some(request) = request else { break };
                lanes.submit(request, now());
                for _ in 1..BURST {
                    let Ok(request) = queue.try_recv() else { break };
                    lanes.submit(request, now());
                }
            }
            news = poll_fn(|cx| links.poll(cx)) => {
                let mut more = tell(lanes, news);
                for _ in 1..BURST {
                    if !more { break }
                    let Poll::Ready(news) = poll_fn(|cx| Poll::Ready(links.poll(cx))).await else {
                        break;
                    };
                    more = tell(lanes, news);
                }
            }
            () = timer.as_mut(), if timer_for.is_some() => {
                timer_for = None;
                lanes.handle_timeout(now());
            }
        }
    }
    lanes.shutdown(now());
    act(lanes, &mut links);
}

/// Tells the lane it is about; false when that may want something done about its connection first.
fn tell(lanes: &mut Lanes, news: News) -> bool {
    let primary = match &news {
        News::Connected(connection)
        | News::ConnectFailed(connection, _)
        | News::Disconnected(connection) => connection.primary,
        News::Answered(primary, _)
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
        News::Answered(_, answers) => {
            let alive = answers.iter().all(|(_, result)| result.is_ok());
            for (batch, result) in answers {
                lane.handle_reply(batch, result, now());
            }
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
        let sends = matches!(&action, Action::Send { line, .. } if matches!(line, Line::Lane(_)));
        if !sends {
            links.flush();
        }
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
                    tell(lanes, News::Answered(primary, vec![(batch, Err(error))]));
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
                let unsent = links.close_side(primary, side);
                tell(lanes, News::SideUnsent(primary, unsent, side_closed()));
            }
            Action::Report { report, .. } if report.is_problem() => tracing::warn!("{report}"),
            Action::Report { report, .. } => tracing::info!("{report}"),
        }
    }
    links.flush();
}

fn wake_time(due: Timestamp) -> Instant {
    Instant::now() + due.saturating_since(now())
}
