//! Bursts that change what the server remembers of a connection: `MULTI`, `WATCH`, `SELECT`.
//! While one handle is in the midst of it, only handles of other sessions do something.

use super::{Planned, Planner, planned};
use crate::command::Command;
use crate::step::Step;

impl Planner {
    /// `MULTI` ... `EXEC` as commands of their own, with others in between.
    pub(super) fn multi(&mut self, actor: usize) -> Vec<Planned> {
        let mut steps = vec![unsettled(actor, Step::one(&["MULTI"]))];
        let count = self.random().within(0, 6) as usize;
        for command in self.mixed(count) {
            if self.random().percent(25)
                && let Some(other) = self.stranger(actor)
            {
                let command = self.mixed(1).remove(0);
                steps.push(planned(other, Step::One(command)));
            }
            steps.push(unsettled(actor, Step::One(command)));
        }
        if self.random().percent(8) {
            steps.push(unsettled(actor, Step::one(&["MULTI"])));
        }
        if self.random().percent(8) {
            steps.push(unsettled(actor, Step::one(&["SELECT", "0"])));
        }
        let end = if self.random().percent(80) {
            "EXEC"
        } else {
            "DISCARD"
        };
        steps.push(unsettled(actor, Step::one(&[end])));
        steps
    }

    /// `WATCH`, a read, perhaps a write of somebody else, and a transaction that then must not happen.
    pub(super) fn watch(&mut self, actor: usize) -> Vec<Planned> {
        let family = self.family();
        let key = self.words.focus_on(family.home);
        let read = Step::One(self.read(family));
        let mut steps = vec![planned(actor, read.clone())];
        // Just before, and nobody is told: what is read under WATCH must be no older than the WATCH.
        if self.random().percent(40)
            && let Some(other) = self.stranger(actor)
        {
            steps.push(planned(other, Step::One(self.write(family))));
        }
        let mut watch = Command::of(&[b"WATCH", &key[..]]);
        if self.random().percent(30) {
            watch.0.push(self.words.any_key());
        }
        steps.push(unsettled(actor, Step::One(watch)));
        steps.push(unsettled(actor, read));
        if self.random().percent(60) {
            let writer = self.stranger(actor).unwrap_or(actor);
            let writer = if self.random().percent(80) {
                writer
            } else {
                actor
            };
            steps.push(planned(writer, Step::One(self.write(family))));
        }
        if self.random().percent(15) {
            steps.push(planned(actor, Step::one(&["UNWATCH"])));
        }
        if self.random().percent(50) {
            steps.push(self.pipe(actor, true));
        } else {
            steps.extend(self.multi(actor));
        }
        steps.extend(self.burst(actor));
        steps
    }

    /// `redis::transaction`, with what it reads and what it writes.
    pub(super) fn transaction(&mut self, actor: usize) -> Planned {
        let family = self.family();
        let key = self.words.focus_on(family.home);
        let template = match family.home {
            'h' => "HMGET @h @f @f",
            'l' => "LRANGE @l 0 -1",
            'e' => "SCARD @e",
            'z' | 'g' => "ZCARD @z",
            _ => "GET @F",
        };
        let read = self.words.command(template);
        let count = self.random().within(1, 3);
        let writes = (0..count).map(|_| self.write(family)).collect();
        let conflict = if self.random().percent(40) {
            Some(self.write(family))
        } else {
            None
        };
        let step = Step::Transaction {
            key,
            read,
            writes,
            conflict,
        };
        planned(actor, step)
    }

    /// Some time in another database.
    pub(super) fn elsewhere(&mut self, actor: usize) -> Vec<Planned> {
        let db = self.random().within(1, 3).to_string();
        let mut steps = vec![planned(actor, Step::one(&["SELECT", &db]))];
        let bursts = self.random().within(1, 3);
        for _ in 0..bursts {
            steps.extend(self.burst(actor));
        }
        // Sometimes it stays there, until the next time.
        if self.random().percent(85) {
            steps.push(planned(actor, Step::one(&["SELECT", "0"])));
        }
        steps
    }

    /// A handle of another session.
    fn stranger(&mut self, actor: usize) -> Option<usize> {
        let session = self.roles[actor].session;
        let others: Vec<usize> = (0..self.roles.len())
            .filter(|index| self.roles[*index].session != session)
            .collect();
        (!others.is_empty()).then(|| *self.random().pick(&others))
    }
}

fn unsettled(actor: usize, step: Step) -> Planned {
    Planned {
        settle: false,
        ..planned(actor, step)
    }
}
