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
use redis::{Client, ConnectionAddr, ConnectionInfo};

use crate::convert;

/// The variable that names the trusted authorities where no setting does, as for OpenSSL.
const VARIABLE: &str = "SSL_CERT_FILE";

/// Files with certificates and a key, all PEM; empty names are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authorities that servers' certificates are of, instead of the public ones: setting `tls_ca_file`.
    pub ca: String,
    /// The certificate that is shown to the server, with those that lead to its authority: setting `tls_cert_file`.
    pub cert: String,
    /// Its key: setting `tls_key_file`.
    pub key: String,
}

impl TlsFiles {
    /// The first setting that is given, if any.
    fn given(&self) -> Option<&'static str> {
        let named = [
            (&self.ca, "tls_ca_file"),
            (&self.cert, "tls_cert_file"),
            (&self.key, "tls_key_file"),
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
    /// The program gave certificates of its own: files are not looked at.
    by_program: bool,
    /// What the files held last: a system's authorities take milliseconds to read, and this is the IO thread.
    //
    // Concurrency: tried, never waited for, since a forked child may inherit it locked.
    last: Mutex<Option<Held>>,
}

/// What files held that were last written then.
struct Held {
    written: Vec<(SystemTime, u64)>,
    addr: ConnectionAddr,
}

/// A file, and who named it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    by: &'static str,
    path: String,
}

impl Tls {
    /// What `files` and the environment say of `addr`; `None` where there is no TLS.
    pub(super) fn new(addr: &ConnectionAddr, files: &TlsFiles) -> Result<Option<Self>, Error> {
        let wanted = matches!(addr, ConnectionAddr::TcpTls { .. }) && files.ca.is_empty();
        let variable = match std::env::var(VARIABLE) {
            Err(VarError::NotUnicode(_)) if wanted => {
                let what = format!("{VARIABLE} is no UTF-8 text: name the file by tls_ca_file");
                return Err(configuration(what));
            }
            variable => variable.unwrap_or_default(),
        };
        Self::of(addr, files, variable)
    }

    pub(super) fn of(
        addr: &ConnectionAddr,
        files: &TlsFiles,
        variable: String,
    ) -> Result<Option<Self>, Error> {
        let by_program = match (addr, files.given()) {
            (ConnectionAddr::TcpTls { tls_params, .. }, _) => tls_params.is_some(),
            (_, Some(setting)) => {
                return Err(configuration(format!(
                    "{setting} is set, but this address has no TLS: write rediss:// instead of redis://, or leave the setting out"
                )));
            }
            (_, None) => return Ok(None),
        };
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
            by_program,
            last: Mutex::default(),
        }))
    }

    /// The client of an address, with what the files hold now.
    pub(super) fn client(&self, info: &ConnectionInfo) -> Result<Client, Error> {
        let open =
            |info: ConnectionInfo| Client::open(info).map_err(|error| convert::url_error(&error));
        if self.by_program || self.files().next().is_none() {
            return open(info.clone());
        }
        let written: Option<Vec<_>> = self.files().map(Named::written).collect();
        let mut last = self.last.try_lock().ok();
        if let (Some(written), Some(last)) = (&written, &last)
            && let Some(held) = last.as_ref().filter(|held| held.written == *written)
        {
            return open(info.clone().set_addr(held.addr.clone()));
        }
        let client = self.read(info)?;
        if let (Some(written), Some(last)) = (written, &mut last) {
            let addr = client.get_connection_info().addr().clone();
            **last = Some(Held { written, addr });
        }
        Ok(client)
    }

    fn files(&self) -> impl Iterator<Item = &Named> {
        let pair = self.identity.iter().flat_map(|(cert, key)| [cert, key]);
        self.roots.iter().chain(pair)
    }

    #[cfg(not(feature = "tls"))]
    fn read(&self, _: &ConnectionInfo) -> Result<Client, Error> {
        Err(super::without_tls())
    }

    /// What to do about a server whose certificate is of an unknown authority.
    pub(super) fn advice_on_roots(&self) -> String {
        let give = "give the root certificate of that authority";
        match &self.roots {
            _ if self.by_program => format!("{give} where the program builds its client"),
            None => format!("{give}, PEM, by the setting tls_ca_file (or {VARIABLE})"),
            Some(Named { by: VARIABLE, path }) => format!(
                "{give}, PEM, by the setting tls_ca_file; trusted are those in {path}, which {VARIABLE} names"
            ),
            Some(Named { by, path }) => format!("{give} in the file that {by} names, {path}"),
        }
    }

    /// What to do about a server that wants to know who connects.
    pub(super) fn advice_on_identity(&self) -> String {
        match (&self.identity, self.by_program) {
            (_, true) => "give one with its key where the program builds its client".to_owned(),
            (None, false) => {
                "give one with its key, PEM, by the settings tls_cert_file and tls_key_file"
                    .to_owned()
            }
            (Some((cert, key)), false) => format!(
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
