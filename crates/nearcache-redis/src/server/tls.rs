//! Certificates from files: which authority is trusted, and as whom a connection shows itself.
//!
//! Read when the L2 is made, so that a mistake is told then, and again for each connection, so that a certificate that is
//! replaced on disk is used from the next one on. Never shows what is in a file.

#[cfg(feature = "tls")]
mod certificates;

use std::env::VarError;
use std::fs;
use std::sync::Mutex;
use std::time::SystemTime;

use nearcache_proto::{Error, ErrorKind};

use super::target::Target;
#[cfg(feature = "tls")]
pub(super) use certificates::Setup;
#[cfg(not(feature = "tls"))]
pub(super) use without::Setup;

/// The variable that names the trusted authorities where no setting does, as for OpenSSL.
const VARIABLE: &str = "SSL_CERT_FILE";

/// Files with certificates and a key, all PEM, and the name of the server; empty ones are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authorities that servers' certificates are of, instead of the public ones: setting `tls_ca_file`.
    pub ca: String,
    /// The certificate that is shown to the server, with those that lead to its authority: setting `tls_cert_file`.
    pub cert: String,
    /// Its key: setting `tls_key_file`.
    pub key: String,
    /// No file: the name that the server's certificate must be for, where it is not that of the address (a service, say,
    /// that is reached by another name): setting `tls_server_name`.
    pub server_name: String,
}

impl TlsFiles {
    /// The first setting that is given, if any.
    fn given(&self) -> Option<&'static str> {
        let named = [
            (&self.ca, "tls_ca_file"),
            (&self.cert, "tls_cert_file"),
            (&self.key, "tls_key_file"),
            (&self.server_name, "tls_server_name"),
        ];
        let named = named.into_iter().find(|(file, _)| !file.is_empty());
        named.map(|(_, setting)| setting)
    }
}

/// What the connections to one address use.
pub(super) struct Tls {
    /// `None`: the public authorities, as compiled in.
    roots: Option<Named>,
    /// Certificate and key.
    identity: Option<(Named, Named)>,
    /// The name that the server's certificate must be for, where it is not that of the address.
    server_name: String,
    /// What the files held last: a system's authorities take milliseconds to read, and this is the IO thread.
    //
    // Concurrency: tried, never waited for, since a forked child may inherit it locked.
    last: Mutex<Option<Held>>,
}

/// What files held that were last written then.
struct Held {
    written: Vec<(SystemTime, u64)>,
    setup: Setup,
}

/// A file, and who named it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    by: &'static str,
    path: String,
}

impl Tls {
    /// What `files` and the environment say of a server; `None` where there is no TLS.
    pub(super) fn new(target: &Target, files: &TlsFiles) -> Result<Option<Self>, Error> {
        let wanted = target.is_tls() && files.ca.is_empty();
        let variable = match std::env::var(VARIABLE) {
            Err(VarError::NotUnicode(_)) if wanted => {
                let what = format!("{VARIABLE} is no UTF-8 text: name the file by tls_ca_file");
                return Err(configuration(what));
            }
            variable => variable.unwrap_or_default(),
        };
        Self::of(target.is_tls(), files, variable)
    }

    pub(super) fn of(
        is_tls: bool,
        files: &TlsFiles,
        variable: String,
    ) -> Result<Option<Self>, Error> {
        match (is_tls, files.given()) {
            (true, _) => {}
            (_, Some(setting)) => {
                return Err(configuration(format!(
                    "{setting} is set, but this address has no TLS: write rediss:// instead of redis://, or leave the setting out"
                )));
            }
            (_, None) => return Ok(None),
        }
        let named = |by, path: &str| {
            let path = path.to_owned();
            (!path.is_empty()).then_some(Named { by, path })
        };
        let identity = match (
            named("tls_cert_file", &files.cert),
            named("tls_key_file", &files.key),
        ) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            _ => {
                return Err(configuration(
                    "tls_cert_file and tls_key_file are set together or not at all".to_owned(),
                ));
            }
        };
        let roots = named("tls_ca_file", &files.ca).or_else(|| named(VARIABLE, &variable));
        Ok(Some(Self {
            roots,
            identity,
            server_name: files.server_name.clone(),
            last: Mutex::default(),
        }))
    }

    /// What a connection to `host` needs, with what the files hold now.
    pub(super) fn setup(&self, host: &str) -> Result<Setup, Error> {
        let name = match self.server_name.as_str() {
            "" => host,
            name => name,
        };
        let written: Option<Vec<_>> = self.files().map(Named::written).collect();
        let mut last = self.last.try_lock().ok();
        if let (Some(written), Some(last)) = (&written, &last)
            && let Some(held) = last.as_ref().filter(|held| held.written == *written)
        {
            return Ok(held.setup.clone());
        }
        let setup = self.read(name)?;
        if let (Some(written), Some(last)) = (written, &mut last) {
            let setup = setup.clone();
            **last = Some(Held { written, setup });
        }
        Ok(setup)
    }

    fn files(&self) -> impl Iterator<Item = &Named> {
        let pair = self.identity.iter().flat_map(|(cert, key)| [cert, key]);
        self.roots.iter().chain(pair)
    }

    /// What to do about a server whose certificate is of an unknown authority.
    pub(super) fn advice_on_roots(&self) -> String {
        let give = "give the root certificate of that authority";
        match &self.roots {
            None => format!("{give}, PEM, by the setting tls_ca_file (or {VARIABLE})"),
            Some(Named { by: VARIABLE, path }) => format!(
                "{give}, PEM, by the setting tls_ca_file; trusted are those in {path}, which {VARIABLE} names"
            ),
            Some(Named { by, path }) => format!("{give} in the file that {by} names, {path}"),
        }
    }

    /// What to do about a server that wants to know who connects.
    pub(super) fn advice_on_identity(&self) -> String {
        match &self.identity {
            None => "give one with its key, PEM, by the settings tls_cert_file and tls_key_file"
                .to_owned(),
            Some((cert, key)) => format!(
                "it refused the one that tls_cert_file ({}) and tls_key_file ({}) name: replace it",
                cert.path, key.path
            ),
        }
    }
}

impl Named {
    /// When, and with how many bytes.
    fn written(&self) -> Option<(SystemTime, u64)> {
        let file = fs::metadata(&self.path).ok()?;
        Some((file.modified().ok()?, file.len()))
    }
}

#[cold]
fn configuration(what: String) -> Error {
    Error::new(ErrorKind::Configuration, what)
}

#[cfg(not(feature = "tls"))]
mod without {
    use tokio::net::TcpStream;

    use super::super::socket::Socket;
    use super::*;

    /// There is none: a URL that needs it is refused.
    #[derive(Clone)]
    pub(crate) struct Setup(());

    impl Setup {
        pub(crate) async fn shake_hands(self, _: TcpStream) -> std::io::Result<Socket> {
            Err(std::io::ErrorKind::Unsupported.into())
        }
    }

    impl Tls {
        pub(super) fn read(&self, _: &str) -> Result<Setup, Error> {
            Err(super::super::without_tls())
        }
    }
}
