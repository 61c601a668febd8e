//! Scripts, with keys that they declare and keys that they do not.

use super::Planner;
use crate::command::Command;
use crate::step::Step;

/// A script; how many of the keys that it gets are declared is drawn, so most can hide what they write.
/// It finds its keys in `k[1]` and `k[2]`, a value in `v`.
const SCRIPTS: [&str; 14] = [
    "return redis.call('GET', k[1])",
    "return redis.call('SET', k[1], v)",
    "redis.call('SET', k[1], v) return redis.call('GET', k[1])",
    "redis.call('SET', k[1], v) redis.call('DEL', k[2]) return redis.status_reply('DONE')",
    "return redis.call('INCR', k[1])",
    "return redis.pcall('INCR', k[1])",
    "return {redis.call('HSET', k[1], 'a', v), redis.call('HGET', k[1], 'a')}",
    "return redis.call('RPUSH', k[1], v, 'x')",
    "return redis.call('ZADD', k[1], 1, 'a', 2, 'b')",
    "if redis.call('EXISTS', k[1]) == 1 then return redis.call('RENAME', k[1], k[2]) end return false",
    "redis.call('SELECT', 1) redis.call('SET', k[1], v) return 1",
    "redis.call('SET', k[1], v) return redis.error_reply('MY mistake')",
    "return {1, 'two', {3, false}, redis.call('EXISTS', k[1])}",
    "redis.call('SET', k[1], v) error('after a write')",
];

/// Put before each: keys come as declared ones first, the rest as arguments.
const PRELUDE: &str = "local k = {unpack(KEYS)} for i = 1, #ARGV - 1 do k[#k + 1] = ARGV[i] end \
     local v = ARGV[#ARGV] ";

impl Planner {
    /// A script as `redis::Script`, as a raw `EVAL` or as a function.
    pub(super) fn script(&mut self) -> Step {
        let home = self.family().home;
        let words = [
            self.words.focus_on(home),
            self.words.any_key(),
            self.words.value(),
        ];
        let body = *self.random().pick(&SCRIPTS);
        let declared = *self.random().pick(&[0, 1, 2, 2]);
        let (keys, args) = words.split_at(declared);
        let (keys, args) = (keys.to_vec(), args.to_vec());
        match self.random().below(10) {
            0..5 => Step::Script {
                code: whole(body),
                keys,
                args,
            },
            5..8 => Step::One(evaluation("EVAL", body, keys, args)),
            8 => Step::One(evaluation("EVAL_RO", body, keys, args)),
            _ => self.function(&keys, &args),
        }
    }

    fn function(&mut self, keys: &[Vec<u8>], args: &[Vec<u8>]) -> Step {
        let library = "#!lua name=differential\n\
             redis.register_function('put', function(KEYS, ARGV) \
             return redis.call('SET', KEYS[1] or ARGV[1], ARGV[#ARGV]) end)";
        let load = Command::of(&["FUNCTION", "LOAD", "REPLACE", library]);
        let mut call = Command::of(&["FCALL", "put", &keys.len().to_string()]);
        call.0.extend([keys, args].concat());
        Step::Pipe {
            atomic: false,
            commands: vec![load, call],
        }
    }
}

fn evaluation(name: &str, body: &str, keys: Vec<Vec<u8>>, args: Vec<Vec<u8>>) -> Command {
    let mut command = Command::of(&[name, &whole(body), &keys.len().to_string()]);
    command.0.extend(keys);
    command.0.extend(args);
    command
}

fn whole(body: &str) -> String {
    format!("{PRELUDE}{body}")
}
