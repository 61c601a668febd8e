//! One step of a schedule: what a program does with its connection in one go.

use std::fmt;

use crate::command::Command;

/// What one handle does.
#[derive(Clone, Debug)]
pub enum Step {
    One(Command),
    /// `redis::pipe()`, with or without `atomic()`; errors are replies.
    Pipe {
        atomic: bool,
        commands: Vec<Command>,
    },
    /// `redis::Script`: `EVALSHA`, and `SCRIPT LOAD` when the server does not know it.
    Script {
        code: String,
        keys: Vec<Vec<u8>>,
        args: Vec<Vec<u8>>,
    },
    /// `redis::transaction` or its async twin: reads, then writes; somebody else may get in between once.
    Transaction {
        key: Vec<u8>,
        read: Command,
        writes: Vec<Command>,
        conflict: Option<Command>,
    },
    /// `DUMP`, and `RESTORE` of what it gave under another name.
    Restore {
        from: Vec<u8>,
        to: Vec<u8>,
        replace: bool,
    },
    /// A command that gives `key` an instant to live; ends when the key is gone on both servers.
    Expire {
        command: Command,
        key: Vec<u8>,
    },
    /// The handle is dropped, with whatever state it had, and the pod gives another.
    Renew,
}

impl Step {
    pub fn one<A: AsRef<[u8]>>(args: &[A]) -> Self {
        Self::One(Command::of(args))
    }

    /// The commands, where each has a reply of its own.
    pub fn commands(&self) -> &[Command] {
        match self {
            Self::One(command) | Self::Expire { command, .. } => std::slice::from_ref(command),
            Self::Pipe { commands, .. } => commands,
            _ => &[],
        }
    }

    /// Whether nothing is changed by it that another pod could see.
    pub fn only_reads(&self) -> bool {
        let commands = self.commands();
        !commands.is_empty() && commands.iter().all(Command::is_served)
    }

    /// Every key and value that it names, for a guess of what it changes.
    pub fn words(&self) -> Vec<&Vec<u8>> {
        match self {
            Self::Script { keys, args, .. } => keys.iter().chain(args).collect(),
            Self::Transaction {
                writes, conflict, ..
            } => writes.iter().chain(conflict).flat_map(|c| &c.0).collect(),
            Self::Restore { to, .. } => vec![to],
            _ => self.commands().iter().flat_map(|c| &c.0).collect(),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(command) => write!(f, "{command}"),
            Self::Pipe { atomic, commands } => {
                write!(f, "{}{commands:?}", if *atomic { "atomic " } else { "" })
            }
            Self::Script { code, keys, args } => {
                let words = Command([keys.clone(), args.clone()].concat());
                write!(f, "script {code:?} {} {words}", keys.len())
            }
            Self::Transaction {
                key,
                read,
                writes,
                conflict,
            } => {
                let key = crate::command::escaped(key);
                write!(f, "transaction on {key}: {read}, then {writes:?}")?;
                match conflict {
                    Some(conflict) => write!(f, " with {conflict} in between"),
                    None => Ok(()),
                }
            }
            Self::Restore { from, to, replace } => {
                let words = Command(vec![from.clone(), to.clone()]);
                write!(f, "dump, restore {words} replace={replace}")
            }
            Self::Expire { command, .. } => write!(f, "{command}, wait until gone"),
            Self::Renew => f.write_str("new handle"),
        }
    }
}
