//! The proxy's listener: one thread that accepts, refuses and starts links. Never moves a byte itself.

use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::link::Link;
use super::{Shared, listen, lock};
use crate::wait_until;

/// Connections a proxy carries at once; more are closed at once and counted.
const LINKS_MAX: usize = 256;

/// Accepts connections until the proxy is over; closes and opens the listener as told.
pub(super) fn run(shared: &Arc<Shared>, mut listener: TcpListener, port: u16) {
    for id in 0.. {
        let accepted = listener.accept();
        let (refuse, over) = {
            let control = lock(&shared.control);
            (control.refuse, control.over)
        };
        if over {
            return;
        }
        if refuse {
            drop(accepted);
            stop_listening(listener);
            if !shared.wait_while_refusing() {
                return;
            }
            let mut again = None;
            wait_until(|| {
                again = listen(port);
                again.is_some()
            });
            let Some(again) = again else {
                return;
            };
            listener = again;
            lock(&shared.control).listening = true;
        } else if let Ok((client, _)) = accepted {
            open(shared, id, client);
        }
    }
}

fn open(shared: &Arc<Shared>, id: u64, client: TcpStream) {
    let link = Arc::new(Link::new(client));
    {
        let mut links = lock(&shared.links);
        if links.len() >= LINKS_MAX {
            shared.rejected_total.fetch_add(1, Ordering::Relaxed);
            return;
        }
        links.insert(id, Arc::clone(&link));
    }
    shared.connections_total.fetch_add(1, Ordering::Relaxed);
    let shared = Arc::clone(shared);
    std::thread::spawn(move || {
        if link.run(&shared) {
            lock(&shared.links).remove(&id);
        }
    });
}

/// Closes a listener so that it refuses from now on.
fn stop_listening(listener: TcpListener) {
    // Dropping alone is not enough: a process that another test is spawning holds a copy of every socket until its exec.
    // Where a listener cannot be shut down, the drop has to do.
    let _ = TcpStream::from(OwnedFd::from(listener)).shutdown(Shutdown::Both);
}
