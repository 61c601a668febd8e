//! What files of certificates hold: read, checked, and given to rustls. Never shows any of it.

use std::fs::File;
use std::io::{self, Read as _};
use std::sync::Arc;

use nearcache_proto::Error;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::super::socket::Socket;
use super::{Named, Tls, configuration};

/// Longest file: the authorities of a whole system are a quarter of a megabyte.
const MOST_BYTES: u64 = 4 << 20;

/// What a connection needs.
#[derive(Clone)]
pub(crate) struct Setup {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Setup {
    pub(crate) async fn shake_hands(self, socket: TcpStream) -> io::Result<Socket> {
        let connector = TlsConnector::from(self.config);
        let stream = connector.connect(self.name, socket).await?;
        Ok(Socket::Tls(Box::new(stream)))
    }
}

/// The provider that the program has installed for all of its TLS, or ours: with several compiled in, rustls does not choose.
fn provider() -> Arc<CryptoProvider> {
    let installed = CryptoProvider::get_default().cloned();
    installed.unwrap_or_else(|| Arc::new(rustls::crypto::ring::default_provider()))
}

impl Tls {
    pub(super) fn read(&self, name: &str) -> Result<Setup, Error> {
        let name = ServerName::try_from(name.to_owned()).map_err(|_| {
            configuration(format!(
                "{name} is no name that a certificate can be for: use the server's host name"
            ))
        })?;
        let roots = match &self.roots {
            Some(roots) => roots.authorities()?,
            None => webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect(),
        };
        let provider = provider();
        let versions = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions();
        let config = versions
            .map_err(|why| {
                configuration(format!(
                    "TLS cannot be used with this program's provider ({why})"
                ))
            })?
            .with_root_certificates(roots);
        let config = match &self.identity {
            None => config.with_no_client_auth(),
            Some((cert, key)) => {
                let (chain, private) = identity(cert, key, &provider)?;
                config
                    .with_client_auth_cert(chain, private)
                    .map_err(|why| key.wrong(&format!("cannot be used ({why})")))?
            }
        };
        Ok(Setup {
            config: Arc::new(config),
            name,
        })
    }
}

impl Named {
    fn read(&self) -> Result<Vec<u8>, Error> {
        let mut content = Vec::new();
        let read = File::open(&self.path)
            .and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut content));
        let why = match read {
            Ok(bytes) if bytes as u64 > MOST_BYTES => {
                return Err(self.wrong("is too large: it must be PEM and at most 4 MiB"));
            }
            Ok(_) => return Ok(content),
            Err(why) => why,
        };
        let advice = match why.kind() {
            io::ErrorKind::NotFound => "there is no such file: correct the path, or mount it",
            io::ErrorKind::PermissionDenied => "let this user read it",
            _ => "it must be a file that can be read",
        };
        Err(self.wrong(&format!("cannot be read ({why}): {advice}")))
    }

    fn authorities(&self) -> Result<RootCertStore, Error> {
        let content = self.read()?;
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates(&content)? {
            roots.add(certificate).map_err(|why| {
                self.wrong(&format!("has a certificate that is no authority's ({why})"))
            })?;
        }
        Ok(roots)
    }

    /// At least one.
    fn certificates(&self, content: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
        match CertificateDer::pem_slice_iter(content).collect::<Result<Vec<_>, _>>() {
            Ok(certificates) if !certificates.is_empty() => Ok(certificates),
            _ => Err(self.wrong("holds no certificate in PEM (-----BEGIN CERTIFICATE-----)")),
        }
    }

    #[cold]
    fn wrong(&self, what: &str) -> Error {
        configuration(format!("{} names {}, which {what}", self.by, self.path))
    }
}

/// Certificate and key, which belong together.
fn identity(
    cert: &Named,
    key: &Named,
    provider: &CryptoProvider,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
    let (content, secret) = (cert.read()?, key.read()?);
    let chain = cert.certificates(&content)?;
    let private = PrivateKeyDer::from_pem_slice(&secret).map_err(|_| {
        key.wrong("holds no private key in PEM without a passphrase (-----BEGIN PRIVATE KEY-----)")
    })?;
    match CertifiedKey::from_der(chain.clone(), private.clone_key(), provider) {
        Ok(_) => Ok((chain, private)),
        Err(rustls::Error::InconsistentKeys(_)) => Err(key.wrong(&format!(
            "is not the key of the certificate in {} (tls_cert_file): give both of one pair",
            cert.path
        ))),
        Err(rustls::Error::InvalidCertificate(CertificateError::BadEncoding)) => {
            Err(cert.wrong("holds a certificate that is damaged"))
        }
        Err(_) => {
            Err(key.wrong("holds a key of a kind that is not supported: use ECDSA, Ed25519 or RSA"))
        }
    }
}
