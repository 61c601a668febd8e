//! The example that keeps answering while its server is stopped, killed and started again, run as a process.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

use nearcache_testkit::Server;

/// A line a second.
const LINES: usize = 60;

/// The example, ended with the test.
struct Example {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    shown: Vec<String>,
}

/// One line of its table.
#[derive(Debug)]
struct Second {
    lane: String,
    fresh: u64,
    stale: u64,
}

impl Example {
    fn start(server: &Server) -> Self {
        // Built by `cargo test`, beside this program's folder.
        let here = std::env::current_exe().expect("this program has a path");
        let built = here
            .ancestors()
            .nth(2)
            .expect("it lies in target")
            .join("examples/outage");
        assert!(built.exists(), "cargo build -p nearcache --example outage");
        let mut child = Command::new(built)
            .args([server.url(), LINES.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the example runs");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        Self {
            child,
            lines,
            shown: Vec::new(),
        }
    }

    /// Reads on until a second was as it should be; fails when a call did.
    fn until(&mut self, what: &str, wanted: impl Fn(&Second) -> bool) {
        for _ in 0..LINES {
            let line = self.lines.next().and_then(Result::ok);
            let Some(line) = line else { break };
            assert!(!line.starts_with("failed:"), "{line}\n{:#?}", self.shown);
            let words: Vec<&str> = line.split_whitespace().collect();
            self.shown.push(line.clone());
            let [_, lane, fresh, stale, _, _, "0", ..] = words[..] else {
                assert!(line.contains("slowest"), "a call failed: {:#?}", self.shown);
                continue;
            };
            let number = |text: &str| text.parse().expect("a number");
            let second = Second {
                lane: lane.to_owned(),
                fresh: number(fresh),
                stale: number(stale),
            };
            if wanted(&second) {
                return;
            }
        }
        panic!("gave up waiting until {what}: {:#?}", self.shown);
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn c10_a_service_with_loaders_answers_through_every_outage() {
    let mut server = Server::start();
    let mut example = Example::start(&server);
    let warm = |second: &Second| second.lane == "up" && second.fresh > 0 && second.stale == 0;
    example.until("all is well", warm);
    server.pause();
    example.until("copies are served stale", |second| second.stale > 0);
    server.resume();
    example.until("all is well again", warm);
    server.kill();
    example.until("the lane is down", |second| {
        second.lane == "DOWN" && second.stale > 0
    });
    server.restart();
    // Empty, as it comes back.
    example.until("all is well once more", |second| {
        second.lane == "up" && second.fresh > 0
    });
}
