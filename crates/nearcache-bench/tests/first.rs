//! The first hour: what somebody meets who has nothing but a clone, or nothing but the program. Judges no figure.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder of its own, gone when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("nearcache-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder for temporary files");
        Self(path)
    }

    fn path(&self, below: &str) -> PathBuf {
        self.0.join(below)
    }

    /// Writes a file, with the folders above it.
    fn file(&self, below: &str, text: &str) -> PathBuf {
        let path = self.path(below);
        let above = path.parent().expect("it lies in the folder");
        fs::create_dir_all(above).expect("folders");
        fs::write(&path, text).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("permissions");
        path
    }

    /// The program, as if it had been built or installed here.
    fn program(&self, below: &str) -> PathBuf {
        let path = self.file(below, "");
        fs::copy(env!("CARGO_BIN_EXE_nearcache-bench"), &path)
            .expect("the program was built for this test");
        path
    }

    /// A folder for PATH with a shell and nothing else.
    fn shell(&self) -> PathBuf {
        let bin = self.path("bin");
        fs::create_dir_all(&bin).expect("a folder");
        symlink("/bin/sh", bin.join("sh")).expect("a link");
        bin
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs it on a machine without a server.
fn serverless(folder: &Folder, program: &Path, args: &[&str]) -> Output {
    Command::new(program)
        .args(args)
        .current_dir(&folder.0)
        .env("PATH", folder.shell())
        .env("NEARCACHE_SERVERS_DIR", folder.path("none"))
        .env_remove("NEARCACHE_TEST_SERVER")
        .env_remove("CARGO_MANIFEST_DIR")
        .output()
        .expect("the program runs")
}

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr)
}

/// A checkout whose script says that it was run, and then does this.
fn checkout(name: &str, then: &str) -> Folder {
    let folder = Folder::new(name);
    folder.file("crates/nearcache-bench/Cargo.toml", "");
    folder.file(
        "scripts/servers",
        &format!("#!/bin/sh\necho 'servers: downloading' >&2\n: >fetched\n{then}\n"),
    );
    folder
}

const SMALL: [&str; 9] = [
    "demo",
    "--pods",
    "1",
    "--keys",
    "20",
    "--rate",
    "100",
    "--duration",
    "1",
];

#[test]
fn inside_a_checkout_the_first_command_fetches_a_server() {
    let server = nearcache_testkit::try_find().expect("a server: run scripts/servers");
    let folder = checkout("checkout", &format!("echo '{}'", server.display()));
    let program = folder.program("target/release/nearcache");
    let out = serverless(&folder, &program, &SMALL);
    let said = said(&out);
    assert!(matches!(out.status.code(), Some(0 | 1)), "{said}");
    for part in [
        "scripts/servers fetches one into target/servers",
        "servers: downloading",
        "each a process",
        "connections at L2",
    ] {
        assert!(said.contains(part), "no {part} in: {said}");
    }
}

#[test]
fn where_none_can_be_fetched_the_demo_says_what_mends_it_and_a_benchmark_ends() {
    let folder = checkout("offline", "exit 1");
    let program = folder.program("target/debug/nearcache");
    let out = serverless(&folder, &program, &SMALL);
    let text = said(&out);
    assert!(matches!(out.status.code(), Some(0 | 1)), "{text}");
    assert!(
        text.contains("To see a real one: install valkey-server"),
        "{text}"
    );
    assert!(
        !text.contains("connections at L2"),
        "rows without a figure: {text}"
    );
    drop(folder);
    let folder = checkout("offline-bench", "exit 1");
    let program = folder.program("target/debug/nearcache");
    let out = serverless(&folder, &program, &["bench", "rollout", "--redis", "auto"]);
    let text = said(&out);
    assert_eq!(out.status.code(), Some(2), "{text}");
    assert!(text.contains("there is no server: install"), "{text}");
}

#[test]
fn an_installed_program_downloads_nothing() {
    let folder = checkout("installed", "exit 1");
    let home = Folder::new("installed-home");
    let program = home.program("bin/nearcache");
    let out = serverless(&folder, &program, &["bench", "rollout"]);
    let text = said(&out);
    assert!(text.contains("there is no server: install"), "{text}");
    assert!(!folder.path("fetched").exists(), "{text}");
}

#[test]
fn the_script_of_all_tests_says_what_it_needs_and_ends_with_one_sum() {
    let folder = Folder::new("scripts-test");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for script in ["scripts/test", "scripts/servers"] {
        let text = fs::read_to_string(root.join(script)).expect("a script");
        folder.file(script, &text);
    }
    let server = folder.file(
        "redis-server",
        "#!/bin/sh\necho 'Redis server v=7.2.0 sha=0'\n",
    );
    let run = |cargo: &str| {
        folder.file("cargo/cargo", cargo);
        let path = std::env::var("PATH").expect("a PATH");
        let path = format!("{}:{path}", folder.path("cargo").display());
        Command::new(folder.path("scripts/test"))
            .env("PATH", path)
            .env("NEARCACHE_TEST_SERVER", &server)
            .output()
            .expect("the script runs")
    };
    let passed = "test result: ok. 3 passed; 0 failed";
    let out = run(&format!("#!/bin/sh\necho '{passed}'\necho '{passed}'\n"));
    let text = said(&out);
    let runs = text.matches("\n== ").count();
    assert!(out.status.success() && runs > 3, "{text}");
    let (before, _) = text.split_once("\n== ").expect("there are runs");
    for part in ["minutes", "GB", "pip"] {
        assert!(
            before.contains(part),
            "{part} is not said beforehand: {text}"
        );
    }
    let last = text.trim_end().lines().last().unwrap_or_default();
    assert!(
        last.starts_with(&format!("All {} tests passed in 0 min", 6 * runs)),
        "{last}"
    );
    let out = run("#!/bin/sh\nexit 101\n");
    let text = said(&out);
    assert!(!out.status.success(), "{text}");
    assert!(text.contains("FAILED after 0 min"), "{text}");
}
