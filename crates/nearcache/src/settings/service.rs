//! What a service is called: as it was set, else as OpenTelemetry is told, else as its program.
//!
//! The one place that looks at the process for it.

use std::env;
use std::ffi::OsString;
use std::path::Path;

use nearcache_proto::{Error, check_service};

use super::configuration;
use super::field::quoted;

/// Where services are told their names for OpenTelemetry.
const OTEL: &str = "OTEL_SERVICE_NAME";

/// Names of programs that say nothing about the service, without the digits of a version behind them.
const GENERIC: [&str; 26] = [
    "api",
    "app",
    "application",
    "backend",
    "bin",
    "bootstrap",
    "bun",
    "daemon",
    "deno",
    "dotnet",
    "entrypoint",
    "java",
    "main",
    "node",
    "php",
    "program",
    "python",
    "ruby",
    "run",
    "server",
    "service",
    "sh",
    "start",
    "test",
    "web",
    "worker",
];

/// The name, and what an operator should know of it.
#[derive(Debug, PartialEq)]
pub(crate) struct Service {
    pub(crate) name: String,
    /// It is the name of many programs.
    pub(crate) doubt: Option<String>,
}

impl Service {
    /// That of this process. `set`: the setting, empty when it is not set.
    ///
    /// # Errors
    /// A name that cannot be one.
    pub(crate) fn of_process(set: &str) -> Result<Self, Error> {
        Self::choose(set, env::var_os(OTEL), program())
    }

    fn choose(set: &str, otel: Option<OsString>, program: Option<String>) -> Result<Self, Error> {
        if !set.is_empty() {
            return Self::new(set, "setting `service`");
        }
        if let Some(name) = otel.filter(|name| !name.is_empty()) {
            let name = name.to_str().ok_or_else(|| {
                configuration(format!("environment variable {OTEL} is not UTF-8 text"))
            })?;
            return Self::new(name, &format!("environment variable {OTEL}"));
        }
        let name = program.unwrap_or_else(|| "app".to_owned());
        let mut service = Self::new(&name, "the name of the program")?;
        service.doubt = is_generic(&service.name).then(|| {
            format!(
                "the service is called {}, as its program is: another service on this server may be called so, too, and each \
                 would fetch the other's keys ahead of demand. Give it a name of its own by the setting `service` \
                 (NEARCACHE_SERVICE), or {OTEL}",
                quoted(&service.name)
            )
        });
        Ok(service)
    }

    fn new(name: &str, source: &str) -> Result<Self, Error> {
        let name = name.trim();
        check_service(name).map_err(|why| {
            let way_out = match source {
                "setting `service`" => "",
                _ => "; or set `service` (NEARCACHE_SERVICE)",
            };
            configuration(format!("{source} is {}: {why}{way_out}", quoted(name)))
        })?;
        Ok(Self {
            name: name.to_owned(),
            doubt: None,
        })
    }
}

/// The name of this program: as it was called, since a link to the current release has the same name in each.
fn program() -> Option<String> {
    let called = env::args_os().next().map(Into::into);
    let path = called.or_else(|| env::current_exe().ok())?;
    stem(&path)
}

fn stem(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_string_lossy();
    let stem = name.strip_suffix(env::consts::EXE_SUFFIX);
    Some(stem.unwrap_or(&name).to_owned())
}

fn is_generic(name: &str) -> bool {
    let name = name.to_lowercase();
    let versioned = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    GENERIC.contains(&versioned) || is_test_binary(&name)
}

/// Cargo puts a hash behind the names of these, anew for each build.
fn is_test_binary(name: &str) -> bool {
    let hash = name.rsplit_once('-').map(|(_, hash)| hash);
    hash.is_some_and(|hash| hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(set: &str, otel: &str, program: &str) -> Result<Service, Error> {
        let otel = Some(OsString::from(otel));
        Service::choose(set, otel, stem(Path::new(program)))
    }

    #[track_caller]
    fn name(set: &str, otel: &str, program: &str) -> String {
        let service = choose(set, otel, program).unwrap();
        assert_eq!(service.doubt, None);
        service.name
    }

    #[test]
    fn the_setting_goes_before_opentelemetry_and_that_before_the_program() {
        assert_eq!(name("shop", "other", "/usr/bin/third"), "shop");
        assert_eq!(name("", "shop", "/usr/bin/third"), "shop");
        assert_eq!(name("", "", "/srv/shop-api"), "shop-api");
        assert_eq!(name("", " shop\n", "x"), "shop");
        let none = Service::choose("", None, None).unwrap();
        assert!(none.doubt.is_some() && none.name == "app", "{none:?}");
    }

    #[test]
    fn a_name_that_many_programs_have_is_doubted_unless_it_was_chosen() {
        for program in [
            "/app/server",
            "main",
            "Python3.12",
            "node",
            "java",
            "./app2",
            "target/debug/deps/warm-0123456789abcdef",
        ] {
            let doubt = choose("", "", program).unwrap().doubt.expect(program);
            assert!(doubt.contains("NEARCACHE_SERVICE"), "{doubt}");
        }
        for program in [
            "shop-server",
            "mainframe",
            "app-of-shop",
            "shop-0123456789abcdeg",
        ] {
            name("", "", program);
        }
        assert_eq!(name("app", "", "app"), "app");
        assert_eq!(name("", "server", "app"), "server");
    }

    #[test]
    fn c12_a_name_that_cannot_be_one_is_refused_with_its_source() {
        for (set, otel, program, words) in [
            (
                "{shop}",
                "",
                "x",
                ["setting `service` is \"{shop}\"", "without braces"],
            ),
            (" ", "", "x", ["setting `service` is \"\"", "1 to 64 bytes"]),
            (
                "",
                "a{b",
                "x",
                [
                    "environment variable OTEL_SERVICE_NAME is \"a{b\"",
                    "set `service`",
                ],
            ),
            ("", "a\tb", "x", ["OTEL_SERVICE_NAME", "control characters"]),
            (
                "",
                "",
                "/bin/a}b",
                ["the name of the program is \"a}b\"", "set `service`"],
            ),
        ] {
            let error = choose(set, otel, program).unwrap_err().to_string();
            for word in words {
                assert!(error.contains(word), "{word}: {error}");
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn c12_a_name_that_is_no_text_is_refused() {
        use std::os::unix::ffi::OsStringExt;
        let otel = OsString::from_vec(vec![0xff]);
        let error = Service::choose("", Some(otel), None).unwrap_err();
        assert!(error.to_string().contains("OTEL_SERVICE_NAME is not UTF-8"));
    }
}
