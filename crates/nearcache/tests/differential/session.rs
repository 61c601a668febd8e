//! What the server remembers of a connection, followed by its replies: that of the reference, as long as
//! the subject's is the same.

use redis::Value;

use crate::command::{Command, Shape};
use crate::link::PlainLink;
use crate::reply::Reply;

/// What is known of a connection's session, the same on both servers.
pub struct Session {
    pub reference: PlainLink,
    pub db: i64,
    /// What `EXEC` will do.
    pub queue: Option<Vec<Command>>,
}

impl Session {
    pub fn new(reference: PlainLink) -> Self {
        Self {
            reference,
            db: 0,
            queue: None,
        }
    }

    /// Compares two replies to a command and remembers what they tell of the session.
    pub fn agrees(&mut self, command: &Command, left: &Reply, right: &Reply) -> bool {
        let name = command.name();
        let queued = Reply::from(Value::SimpleString("QUEUED".into()));
        if self.queue.is_some() && name == "EXEC" {
            let commands = self.queue.take().unwrap_or_default();
            let (Some(Value::Array(a)), Some(Value::Array(b))) = (left.value(), right.value())
            else {
                return left.agrees(right, Shape::Exact);
            };
            return a.len() == b.len()
                && a.len() == commands.len()
                && std::iter::zip(&commands, a.iter().zip(b)).all(|(command, (a, b))| {
                    self.agrees(command, &a.clone().into(), &b.clone().into())
                });
        }
        let agree = left.agrees(right, command.shape());
        match &mut self.queue {
            Some(_) if name == "DISCARD" => self.queue = None,
            Some(queue) if *right == queued => queue.push(command.clone()),
            None if name == "MULTI" && right.is_okay() => self.queue = Some(Vec::new()),
            None if name == "SELECT" && right.is_okay() => {
                let db = String::from_utf8_lossy(&command.0[1]).parse();
                self.db = db.expect("the server took it for a number");
            }
            _ => {}
        }
        agree
    }
}
