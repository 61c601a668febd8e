//! TLS by settings and by environment alone: whom a pod trusts, as whom it shows itself, and what it says of files that
//! it cannot use. The certificates are made here.

#[path = "../../nearcache-redis/tests/support/front.rs"]
mod front;

use std::fs;
use std::process::Command;

use front::{Authority, Folder, Front};
use nearcache::blocking::{Connection, NearCache as Blocking};
use nearcache::redis_rs::ProtocolVersion;
use nearcache::{Builder, Error, ErrorKind, NearCache, Ttl};
use nearcache_testkit::{Server, eventually};

const HOST: &str = "127.0.0.1";
const PASSWORD: &str = "s3cret-word";

fn server() -> Server {
    Server::builder().password(PASSWORD).start()
}

fn url(front: &Front) -> String {
    format!("rediss://default:{PASSWORD}@{HOST}:{}", front.port())
}

fn pod(front: &Front) -> Builder {
    NearCache::builder()
        .redis(url(front))
        .connect_timeout("10s")
        .backoff_min("5ms")
        .backoff_max("20ms")
}

/// Why it cannot be made or connected: nothing that another attempt would mend, and nothing that is secret.
#[track_caller]
fn refusal(builder: Builder) -> String {
    let error: Error = builder.connect_blocking().map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
    let text = format!("{error} {error:?}");
    for hidden in [PASSWORD, "PRIVATE KEY-----\n", "BEGIN CERTIFICATE-----\n"] {
        assert!(!text.contains(hidden), "{text}");
    }
    error.to_string()
}

#[track_caller]
fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
}

/// On the lane, and beside it in both protocols.
#[track_caller]
fn works(pod: &Blocking) {
    pod.set("k", "v", Ttl::NONE).unwrap();
    assert_eq!(pod.get("k").unwrap().as_deref(), Some(&b"v"[..]));
    for protocol in [ProtocolVersion::RESP2, ProtocolVersion::RESP3] {
        let mut con = Connection::new(pod).with_protocol(protocol);
        let info: String = redis::cmd("INFO").query(&mut con).unwrap();
        assert!(info.contains("role:master"));
    }
}

#[test]
fn a_private_authority_is_a_setting() {
    let (server, folder) = (server(), Folder::new());
    let authority = Authority::new("ours");
    let front = Front::start(&authority.server(HOST), server.port());
    let ca = folder.file("ca.pem", authority.pem());
    works(&pod(&front).tls_ca_file(&ca).connect_blocking().unwrap());
    assert_eq!(front.refused(), 0);
    // Several in one file, with words between them.
    let mut both = Authority::new("another").pem();
    both.extend(b"\nours:\n");
    both.extend(authority.pem());
    let both = folder.file("both.pem", both);
    works(&pod(&front).tls_ca_file(&both).connect_blocking().unwrap());
}

#[test]
fn c12_an_unknown_authority_names_the_settings_and_the_file() {
    let (server, folder) = (server(), Folder::new());
    let front = Front::start(&Authority::new("ours").server(HOST), server.port());
    let error = refusal(pod(&front));
    says(
        &error,
        &["authority unknown here", "tls_ca_file", "SSL_CERT_FILE"],
    );
    let other = folder.file("other.pem", Authority::new("another").pem());
    let error = refusal(pod(&front).tls_ca_file(&other));
    says(&error, &["authority unknown here", "tls_ca_file", &other]);
}

#[test]
fn a_client_certificate_is_two_settings() {
    let (server, folder) = (server(), Folder::new());
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let front = Front::mutual(&ours.server(HOST), &theirs, server.port());
    let ca = folder.file("ca.pem", ours.pem());
    let builder = || pod(&front).tls_ca_file(&ca);
    let error = refusal(builder());
    says(
        &error,
        &["client certificate", "tls_cert_file", "tls_key_file"],
    );

    let files = |name: &str, of: &Authority| {
        let identity = of.client(name);
        let cert = folder.file(&format!("{name}.pem"), identity.certificate);
        (cert, folder.file(&format!("{name}.key"), identity.key))
    };
    let (cert, key) = files("stranger", &Authority::new("another"));
    let error = refusal(builder().tls_cert_file(&cert).tls_key_file(&key));
    says(&error, &["client certificate", &cert, &key]);
    assert_eq!(front.accepted(), 0);

    let (cert, key) = files("member", &theirs);
    let builder = builder().tls_cert_file(&cert).tls_key_file(&key);
    works(&builder.connect_blocking().unwrap());
}

#[test]
fn c12_files_that_cannot_be_used_are_told_of_before_anything_is_sent() {
    let (server, folder) = (server(), Folder::new());
    let authority = Authority::new("ours");
    let front = Front::start(&authority.server(HOST), server.port());
    let (one, other) = (authority.client("one"), authority.client("other"));
    let cert = folder.file("one.pem", &one.certificate);
    let (key, wrong) = (
        folder.file("one.key", &one.key),
        folder.file("other.key", &other.key),
    );
    let missing = folder.0.join("missing.pem").to_str().unwrap().to_owned();
    let directory = folder.0.to_str().unwrap().to_owned();
    let empty = folder.file("empty.pem", "");
    let garbage = folder.file("garbage.pem", [0, 255, 13, 10, 200]);
    let cut = folder.file("cut.pem", &one.certificate[..100]);
    let large = folder.file("large.pem", vec![b'x'; (4 << 20) + 1]);
    let ca = |file: &str| pod(&front).tls_ca_file(file);
    let pair = |cert: &str, key: &str| pod(&front).tls_cert_file(cert).tls_key_file(key);
    let no_certificate = "holds no certificate in PEM";
    for (builder, words) in [
        (ca(&missing), ["tls_ca_file", &missing, "no such file"]),
        (
            ca(&directory),
            ["tls_ca_file", &directory, "cannot be read"],
        ),
        (ca(&empty), ["tls_ca_file", &empty, no_certificate]),
        (ca(&garbage), ["tls_ca_file", &garbage, no_certificate]),
        (ca(&cut), ["tls_ca_file", &cut, no_certificate]),
        (ca(&key), ["tls_ca_file", &key, no_certificate]),
        (ca(&large), ["tls_ca_file", &large, "too large"]),
        (
            pair(&missing, &key),
            ["tls_cert_file", &missing, "no such file"],
        ),
        (pair(&key, &key), ["tls_cert_file", &key, no_certificate]),
        (
            pair(&cert, &missing),
            ["tls_key_file", &missing, "no such file"],
        ),
        (
            pair(&cert, &cert),
            ["tls_key_file", &cert, "no private key"],
        ),
        (
            pair(&cert, &wrong),
            ["tls_key_file", &wrong, "not the key of the certificate"],
        ),
        (
            pod(&front).tls_cert_file(&cert),
            ["tls_cert_file", &cert, "`tls_key_file`"],
        ),
        (
            pod(&front).tls_key_file(&key),
            ["tls_key_file", &key, "`tls_cert_file`"],
        ),
    ] {
        // Built, not connected.
        let error = builder.build().map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        says(&error.to_string(), &words);
    }
    assert_eq!((front.accepted(), front.refused()), (0, 0));
}

#[test]
fn c12_an_address_without_tls_has_no_use_for_them() {
    for url in ["redis://h", "valkey://h", "unix:///run/r.sock"] {
        let error = NearCache::builder()
            .redis(url)
            .tls_ca_file("ca.pem")
            .build();
        let error = error.map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        says(&error.to_string(), &["tls_ca_file", "write rediss://"]);
    }
}

#[test]
fn a_file_that_is_replaced_is_used_from_the_next_connection_on() {
    let (server, folder) = (server(), Folder::new());
    let authority = Authority::new("ours");
    let front = Front::start(&authority.server(HOST), server.port());
    let ca = folder.file("ca.pem", Authority::new("retired").pem());
    let pod = pod(&front)
        .tls_ca_file(&ca)
        .build()
        .unwrap()
        .into_blocking();
    says(&pod.get("k").unwrap_err().to_string(), &[&ca]);
    fs::remove_file(&ca).unwrap();
    eventually("it says that the file is gone", || {
        pod.get("k")
            .is_err_and(|error| error.to_string().contains("no such file"))
    });
    folder.file("ca.pem", authority.pem());
    eventually("it connects", || pod.get("k").is_ok());
    works(&pod);
}

/// What a program does that knows nothing of TLS, in a process whose environment does: the test below starts it.
#[test]
fn a_program() {
    let Ok(way) = std::env::var("TLS_TEST_WAY") else {
        return;
    };
    let url = std::env::var("NEARCACHE_URL").unwrap();
    match way.as_str() {
        "drop-in" => {
            let mut con = Connection::open(url).unwrap();
            let () = redis::cmd("SET").arg("k").arg("v").query(&mut con).unwrap();
        }
        _ => works(&NearCache::builder().env().connect_blocking().unwrap()),
    }
}

#[test]
fn a_private_authority_by_environment_alone() {
    let (server, folder) = (server(), Folder::new());
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let front = Front::mutual(&ours.server(HOST), &theirs, server.port());
    let member = theirs.client("a pod");
    let ca = folder.file("ca.pem", ours.pem());
    let other = folder.file("other.pem", theirs.pem());
    let cert = folder.file("pod.pem", member.certificate);
    let key = folder.file("pod.key", member.key);
    let run = |way: &str, variables: &[(&str, &str)]| {
        let own = std::env::current_exe().unwrap();
        let output = Command::new(own)
            .args(["--exact", "a_program", "--nocapture"])
            .env("NEARCACHE_URL", url(&front))
            .env("TLS_TEST_WAY", way)
            .env("NEARCACHE_TLS_CERT_FILE", &cert)
            .env("NEARCACHE_TLS_KEY_FILE", &key)
            .env_remove("SSL_CERT_FILE")
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    };
    for way in ["cache", "drop-in"] {
        for variables in [
            &[("NEARCACHE_TLS_CA_FILE", &*ca)][..],
            &[("SSL_CERT_FILE", &*ca)],
            // A setting of ours is meant for us.
            &[
                ("NEARCACHE_TLS_CA_FILE", &*ca),
                ("SSL_CERT_FILE", "/no/such.pem"),
            ],
        ] {
            let (works, said) = run(way, variables);
            assert!(works, "{way} {variables:?}: {said}");
        }
        let fails = |variables: &[(&str, &str)], words: &[&str]| {
            let (works, said) = run(way, variables);
            assert!(!works, "{said}");
            says(&said, words);
        };
        fails(&[], &["tls_ca_file", "SSL_CERT_FILE"]);
        fails(&[("SSL_CERT_FILE", &other)], &["SSL_CERT_FILE", &other]);
        let plain = "redis://127.0.0.1:1";
        fails(
            &[("NEARCACHE_URL", plain)],
            &["tls_cert_file", "write rediss://"],
        );
        let none = "/no/such.pem";
        fails(
            &[("SSL_CERT_FILE", none)],
            &["SSL_CERT_FILE", none, "no such file"],
        );
    }
}
