//! How many reads are repetitions of one that nothing touched meanwhile: what a schedule offers a cache
//! that keeps replies as they are. Printed beside the hits, to tell a poor schedule from a poor cache.

use std::collections::{HashMap, HashSet};

use crate::command::Command;
use crate::step::Step;

/// Replies that a cache could hold, by pod and key. Ignores databases: it is a guess.
#[derive(Default)]
pub struct Forecast {
    known: HashMap<Vec<u8>, HashSet<(usize, Command)>>,
}

impl Forecast {
    /// Whether it was read before, and nothing has touched it since.
    pub fn read(&mut self, pod: usize, command: &Command) -> bool {
        let of_key = self.known.entry(command.0[1].clone()).or_default();
        let mut command = command.clone();
        command.0[0].make_ascii_uppercase();
        !of_key.insert((pod, command))
    }

    pub fn written(&mut self, step: &Step) {
        for word in step.words() {
            if word.to_ascii_uppercase().starts_with(b"FLUSH") {
                self.known.clear();
            }
            self.known.remove(word);
        }
    }
}
