//! The loop: feeds the lane with requests, answers, ends and time, and carries out its actions.
//!
//! Reads the clock anew for everything it feeds: an answer must not look older than it is.

use std::future::poll_fn;
use std::task::Poll;

use nearcache_l1::Timestamp;
use nearcache_proto::{Action, Lane, Line, Request};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep_until};

use super::Seat;
use super::links::{Links, News};
use super::sides::side_closed;
use crate::clock::now;

/// Requests or answers taken at once before what they lead to is sent: large enough that what came
/// together leaves together, small enough that neither keeps the other waiting.
const BURST: usize = 64;

/// Runs until every sender of `queue` is gone.
pub(super) async fn run(seat: &Seat, lane: &mut Lane, queue: &mut UnboundedReceiver<Request>) {
    let mut links = Links::new(seat.pod.clone(), seat.l2.clone());
    let mut timer = std::pin::pin!(sleep_until(Instant::now()));
    let mut timer_for = None;
    loop {
        act(lane, &mut links);
        let due = lane.poll_timeout();
        if due != timer_for {
            timer_for = due;
            if let Some(due) = due {
                timer.as_mut().reset(wake_time(due));
            }
        }
        tokio::select! {
            request = queue.recv() => {
                let Some(request) = request else { break };
                lane.submit(request, now());
                for _ in 1..BURST {
                    let Ok(request) = queue.try_recv() else { break };
                    lane.submit(request, now());
                }
            }
            news = poll_fn(|cx| links.poll(cx)) => {
                let mut more = tell(lane, news);
                for _ in 1..BURST {
                    if !more { break }
                    let Poll::Ready(news) = poll_fn(|cx| Poll::Ready(links.poll(cx))).await else {
                        break;
                    };
                    more = tell(lane, news);
                }
            }
            () = timer.as_mut(), if timer_for.is_some() => {
                timer_for = None;
                lane.handle_timeout(now());
            }
        }
    }
    lane.shutdown(now());
    act(lane, &mut links);
}

/// Tells the lane; false when it may want something done about its connection first.
fn tell(lane: &mut Lane, news: News) -> bool {
    match news {
        News::Connected(connection) => lane.handle_connected(connection, now()),
        News::ConnectFailed(connection, error) => {
            lane.handle_connect_failed(connection, error, now());
        }
        News::Disconnected(connection) => lane.handle_disconnected(connection, now()),
        News::Answered(answers) => {
            let alive = answers.iter().all(|(_, result)| result.is_ok());
            for (batch, result) in answers {
                lane.handle_reply(batch, result, now());
            }
            return alive;
        }
        News::SideAnswered(answers) => {
            for (batch, result) in answers {
                lane.handle_reply(batch, result, now());
            }
            return true;
        }
        News::SideUnsent(batches, error) => {
            for batch in batches {
                lane.handle_unsent(batch, &error, now());
            }
            return true;
        }
    }
    false
}

/// Carries out what the lane wants until it wants nothing more.
fn act(lane: &mut Lane, links: &mut Links) {
    while let Some(action) = lane.poll_action(now()) {
        let sends = matches!(&action, Action::Send { line, .. } if *line == Line::Lane);
        if !sends {
            links.flush();
        }
        match action {
            Action::Connect { connection } => links.connect(connection),
            Action::Disconnect { connection } => links.disconnect(connection),
            Action::Send {
                batch,
                line: Line::Lane,
                ops,
            } => {
                if let Err(error) = links.send(batch, ops) {
                    lane.handle_reply(batch, Err(error), now());
                }
            }
            Action::Send {
                batch,
                line: Line::Side(side),
                ops,
            } => {
                if let Err(error) = links.send_side(side, batch, ops) {
                    lane.handle_unsent(batch, &error, now());
                }
            }
            Action::CloseSide(side) => {
                for batch in links.close_side(side) {
                    lane.handle_unsent(batch, &side_closed(), now());
                }
            }
            Action::Report(report) if report.is_problem() => tracing::warn!("{report}"),
            Action::Report(report) => tracing::info!("{report}"),
        }
    }
    links.flush();
}

fn wake_time(due: Timestamp) -> Instant {
    Instant::now() + due.saturating_since(now())
}
