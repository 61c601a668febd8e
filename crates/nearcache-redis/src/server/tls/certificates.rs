//! What files of certificates hold: read, checked, and given to redis-rs. Never shows any of it.

use std::fs::File;
use std::io::{self, Read as _};

use nearcache_proto::Error;
use redis::{Client, ClientTlsConfig, ConnectionInfo, TlsCertificates};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, RootCertStore};

use super::{Named, Tls, configuration};
use crate::convert;

/// Longest file: the authorities of a whole system are a quarter of a megabyte.
const MOST_BYTES: u64 = 4 << 20;

impl Tls {
    pub(super) fn read(&self, info: &ConnectionInfo) -> Result<Client, Error> {
        let certificates = TlsCertificates {
            root_cert: self.roots.as_ref().map(Named::authorities).transpose()?,
            client_tls: match &self.identity {
                Some((cert, key)) => Some(identity(cert, key)?),
                None => None,
            },
        };
        Client::build_with_tls(info.clone(), certificates)
            .map_err(|error| convert::url_error(&error))
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

    fn authorities(&self) -> Result<Vec<u8>, Error> {
        let content = self.read()?;
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates(&content)? {
            roots.add(certificate).map_err(|why| {
                self.wrong(&format!("has a certificate that is no authority's ({why})"))
            })?;
        }
        Ok(content)
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
fn identity(cert: &Named, key: &Named) -> Result<ClientTlsConfig, Error> {
    let (client_cert, client_key) = (cert.read()?, key.read()?);
    let chain = cert.certificates(&client_cert)?;
    let private = PrivateKeyDer::from_pem_slice(&client_key).map_err(|_| {
        key.wrong("holds no private key in PEM without a passphrase (-----BEGIN PRIVATE KEY-----)")
    })?;
    let provider = rustls::crypto::ring::default_provider();
    match CertifiedKey::from_der(chain, private, &provider) {
        Ok(_) => Ok(ClientTlsConfig {
            client_cert,
            client_key,
        }),
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
