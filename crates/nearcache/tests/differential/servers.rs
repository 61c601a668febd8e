//! The two servers of a test. Two processes: a push names no database, so that with two databases of one
//! server what one side writes would evict the other's copies.

use std::sync::Arc;

use nearcache_testkit::Server;

use crate::link::{PlainLink, Style, SubjectLink};
use crate::probe::Probe;

/// Both servers, and how to talk to them.
pub struct Servers {
    pub subject: Server,
    pub reference: Server,
    pub style: Style,
    /// What is put after the address.
    pub query: &'static str,
}

impl Servers {
    pub fn start(style: Style, query: &'static str) -> Self {
        Self {
            subject: Server::start(),
            reference: Server::start(),
            style,
            query,
        }
    }

    /// A new pod, on an empty server: the key with which a lane tests itself is gone at once.
    pub async fn pod(&self) -> Arc<SubjectLink> {
        let url = format!("{}{}", self.subject.url(), self.query);
        let pod = SubjectLink::open(self.style, &url).await;
        Probe::of(&self.subject).clear();
        pod.settle().await;
        Arc::new(pod)
    }

    pub async fn plain(&self, server: &Server) -> PlainLink {
        PlainLink::open(self.style, &format!("{}{}", server.url(), self.query)).await
    }

    pub fn clear(&self) {
        for server in [&self.subject, &self.reference] {
            Probe::of(server).clear();
        }
    }
}
