//! What happens next: bursts of steps that belong together, drawn for handles at random.
//! Knows who may see whose writes at once, and nothing of connections.

mod generic;
mod scripts;
mod sessions;
mod table;
mod words;

use crate::command::Command;
use crate::random::Random;
use crate::step::Step;
use generic::{BROKEN, GENERIC_OTHERS, GENERIC_WRITES, WIDE};
use table::{FAMILIES, Family};
pub use words::Words;

/// Who a handle is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Role {
    /// Which pod it belongs to; `None` is a foreign client.
    pub pod: Option<usize>,
    /// Handles with the same number share `SELECT`, `WATCH` and `MULTI`.
    pub session: usize,
    /// How often it is drawn.
    pub weight: usize,
}

/// A step, and who does it.
#[derive(Debug)]
pub struct Planned {
    pub actor: usize,
    pub step: Step,
    /// Whether the pod hears of what others wrote before. Not so where it must ask the server anyway:
    /// then old copies are traps.
    pub settle: bool,
}

/// Draws bursts of steps.
pub struct Planner {
    pub words: Words,
    roles: Vec<Role>,
    /// Whether commands on whole databases are drawn.
    wide: bool,
    /// Whether sessions are changed from step to step: not where somebody else uses them meanwhile.
    stateful: bool,
}

impl Planner {
    pub fn new(random: Random, prefix: &str, roles: Vec<Role>, stateful: bool) -> Self {
        Self {
            words: Words::new(random, prefix),
            roles,
            wide: prefix.is_empty(),
            stateful,
        }
    }

    /// The next burst.
    pub fn plan(&mut self) -> Vec<Planned> {
        let weights: Vec<usize> = self.roles.iter().map(|role| role.weight).collect();
        let actor = self.random().weighted(&weights);
        let kinds = [760, 80, 35, 30, 15, 12, 12, 20, 5, 6, 14, 14, 14];
        match self.random().weighted(&kinds) {
            0 => self.burst(actor),
            1 => vec![self.pipe(actor, false)],
            2 => vec![self.pipe(actor, true)],
            3 => vec![planned(actor, self.script())],
            4 if self.stateful => vec![self.transaction(actor)],
            5 => self.expiry(actor),
            6 => vec![self.restore(actor)],
            7 => self.broken(actor),
            8 if self.wide => {
                let template = *self.random().pick(WIDE);
                vec![planned(actor, Step::One(self.words.command(template)))]
            }
            9 if self.stateful => vec![planned(actor, Step::Renew)],
            10 if self.stateful => self.multi(actor),
            11 if self.stateful => self.watch(actor),
            12 if self.stateful => self.elsewhere(actor),
            _ => self.burst(actor),
        }
    }

    fn random(&mut self) -> &mut Random {
        &mut self.words.random
    }

    fn family(&mut self) -> &'static Family {
        let weights = FAMILIES.each_ref().map(|family| family.weight);
        let family = &FAMILIES[self.random().weighted(&weights)];
        self.words.focus_on(family.home);
        family
    }

    fn read(&mut self, family: &Family) -> Command {
        let template = *self.random().pick(family.served);
        self.words.command(template)
    }

    fn write(&mut self, family: &Family) -> Command {
        let generic = self.random().percent(15);
        let from = if generic {
            GENERIC_WRITES
        } else {
            family.writes
        };
        let template = *self.random().pick(from);
        self.words.command(template)
    }

    fn other(&mut self, family: &Family) -> Command {
        let generic = self.random().percent(40);
        let from = if generic {
            GENERIC_OTHERS
        } else {
            family.others
        };
        let template = *self.random().pick(from);
        self.words.command(template)
    }

    /// A read again, or another one of the same key.
    fn next_read(&mut self, family: &Family, last: &Command) -> Command {
        if self.random().percent(75) {
            last.clone()
        } else {
            self.read(family)
        }
    }

    /// A write perhaps, and reads of what it wrote, mostly the same ones again.
    fn burst(&mut self, actor: usize) -> Vec<Planned> {
        let family = self.family();
        let mut steps = Vec::new();
        let foreign = self.roles[actor].pod.is_none();
        if foreign || self.random().percent(60) {
            let writer = match self.random().below(10) {
                0..7 => actor,
                7..9 => self.sibling(actor),
                _ => self.words.random.below(self.roles.len()),
            };
            let writer = if foreign { actor } else { writer };
            steps.push(planned(writer, Step::One(self.write(family))));
        }
        if self.random().percent(12) {
            steps.push(planned(actor, Step::One(self.other(family))));
        }
        let reads = if foreign {
            0
        } else {
            self.random().within(3, 6)
        };
        let mut read = self.read(family);
        for _ in 0..reads {
            let reader = if self.random().percent(75) {
                actor
            } else {
                self.sibling(actor)
            };
            steps.push(planned(reader, Step::One(read.clone())));
            read = self.next_read(family, &read);
        }
        steps
    }

    /// Commands of every sort around one key.
    fn mixed(&mut self, count: usize) -> Vec<Command> {
        let family = self.family();
        let mut read = self.read(family);
        let mut commands = Vec::new();
        for _ in 0..count {
            commands.push(match self.random().below(100) {
                0..68 => read.clone(),
                68..90 => self.write(family),
                90..98 => self.other(family),
                _ => self.altered(),
            });
            read = self.next_read(family, &read);
        }
        commands
    }

    fn pipe(&mut self, actor: usize, atomic: bool) -> Planned {
        let count = self.random().within(1, 8) as usize;
        let mut commands = self.mixed(count);
        if !atomic && self.stateful && self.random().percent(15) {
            let (first, last) = if self.random().percent(50) {
                (Command::of(&["MULTI"]), Command::of(&["EXEC"]))
            } else {
                let db = self.random().within(1, 3).to_string();
                (Command::of(&["SELECT", &db]), Command::of(&["SELECT", "0"]))
            };
            let from = self.random().below(commands.len() + 1);
            commands.insert(from, first);
            let to = from + 1 + self.random().below(commands.len() - from);
            commands.insert(to, last);
        }
        Planned {
            settle: !atomic,
            ..planned(actor, Step::Pipe { atomic, commands })
        }
    }

    /// A key is read, given an instant to live, and read again when that is over.
    fn expiry(&mut self, actor: usize) -> Vec<Planned> {
        let family = self.family();
        let key = self.words.focus_on(family.home);
        let value = self.words.value();
        let command = match self.random().below(6) {
            0 => Command::of(&[b"PSETEX", &key[..], b"1", &value]),
            1 => Command::of(&[b"SET", &key[..], &value, b"PX", b"1"]),
            _ => Command::of(&[b"PEXPIRE", &key[..], b"1"]),
        };
        let read = Step::One(self.read(family));
        let mut steps = vec![planned(actor, read.clone()), planned(actor, read.clone())];
        steps.push(planned(actor, Step::Expire { command, key }));
        for reader in [actor, self.sibling(actor)] {
            steps.push(planned(reader, read.clone()));
            steps.push(planned(reader, Step::One(self.read(family))));
        }
        steps
    }

    fn restore(&mut self, actor: usize) -> Planned {
        let step = Step::Restore {
            from: self.words.any_key(),
            to: self.words.any_key(),
            replace: self.random().percent(80),
        };
        planned(actor, step)
    }

    fn broken(&mut self, actor: usize) -> Vec<Planned> {
        let command = self.wrong();
        let times = self.random().within(1, 2);
        (0..times)
            .map(|_| planned(actor, Step::One(command.clone())))
            .collect()
    }

    /// A command that is wrong.
    fn wrong(&mut self) -> Command {
        if self.random().percent(50) {
            let template = *self.random().pick(BROKEN);
            return self.words.command(template);
        }
        self.altered()
    }

    /// A command with an argument too many, too few, or another.
    fn altered(&mut self) -> Command {
        let family = self.family();
        let mut command = if self.random().percent(60) {
            self.read(family)
        } else {
            self.write(family)
        };
        if command.is_timed() {
            return command;
        }
        let args = &mut command.0;
        let at = self.words.random.below(args.len());
        const ODD: [&[u8]; 8] = [
            b"",
            b"abc",
            b"1.5",
            b"nan",
            b"99999999999999999999",
            b"-1",
            b"(",
            b"\0\xff",
        ];
        let odd = self.words.random.pick(&ODD).to_vec();
        match self.words.random.below(3) {
            0 if args.len() > 1 => drop(args.pop()),
            1 if at > 0 => args[at] = odd,
            _ => args.push(odd),
        }
        command.readable()
    }

    /// A handle of the same pod, perhaps the same.
    fn sibling(&mut self, actor: usize) -> usize {
        let pod = self.roles[actor].pod;
        let of_pod: Vec<usize> = (0..self.roles.len())
            .filter(|index| self.roles[*index].pod == pod)
            .collect();
        *self.random().pick(&of_pod)
    }
}

fn planned(actor: usize, step: Step) -> Planned {
    Planned {
        actor,
        step,
        settle: true,
    }
}
