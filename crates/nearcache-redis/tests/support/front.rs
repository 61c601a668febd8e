//! TLS in front of a plain port, with certificates made here: an authority, what it issues, and a
//! forwarder on a free loopback port. Never checks what goes through.
#![allow(dead_code, unreachable_pub)]

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// A certificate authority that nobody knows unless told.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key, both PEM.
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    /// Whoever looks for it by name finds no other.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn pem(&self) -> Vec<u8> {
        self.0.pem().into_bytes()
    }

    /// For a server that is reached as `name`, a host name or an address.
    pub fn server(&self, name: &str) -> Identity {
        self.issue(name, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// For a client called `name`.
    pub fn client(&self, name: &str) -> Identity {
        self.issue(name, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn issue(&self, name: &str, purpose: ExtendedKeyUsagePurpose) -> Identity {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.extended_key_usages.push(purpose);
        let key = KeyPair::generate().unwrap();
        Identity {
            certificate: params.signed_by(&key, &self.0).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }
}

/// A folder of this test's own.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("nearcache-tls-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// A file in it, by its path.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Ends TLS and forwards to a plain port, on a thread of its own, until it is dropped.
pub struct Front {
    port: u16,
    counts: Arc<Counts>,
    folder: Folder,
    /// Changed: every open connection is cut. Closed: the end.
    cut: Option<watch::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Counts {
    accepted: AtomicUsize,
    refused: AtomicUsize,
    open: AtomicUsize,
}

impl Front {
    /// Shows `identity` to everyone.
    pub fn start(identity: &Identity, to: u16) -> Self {
        Self::with(identity, None, to)
    }

    /// The same, but only for clients with a certificate of `clients`.
    pub fn mutual(identity: &Identity, clients: &Authority, to: u16) -> Self {
        Self::with(identity, Some(clients), to)
    }

    fn with(identity: &Identity, clients: Option<&Authority>, to: u16) -> Self {
        let acceptor = TlsAcceptor::from(Arc::new(config(identity, clients)));
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let counts = Arc::new(Counts::default());
        let (cut, ends) = watch::channel(());
        let shared = counts.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(serve(listener, acceptor, to, shared, ends));
        });
        Self {
            port,
            counts,
            folder: Folder::new(),
            cut: Some(cut),
            thread: Some(thread),
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where clients keep their files, for as long as this is there.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Handshakes that succeeded.
    pub fn accepted(&self) -> usize {
        self.counts.accepted.load(Ordering::SeqCst)
    }

    /// Handshakes that failed.
    pub fn refused(&self) -> usize {
        self.counts.refused.load(Ordering::SeqCst)
    }

    /// Connections that are open.
    pub fn open(&self) -> usize {
        self.counts.open.load(Ordering::SeqCst)
    }

    /// Cuts every open connection without the goodbye of TLS, as a peer that dies does.
    pub fn cut(&self) {
        if let Some(cut) = &self.cut {
            cut.send_replace(());
        }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.cut = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn config(identity: &Identity, clients: Option<&Authority>) -> ServerConfig {
    // Named, not installed: who connects must have chosen a provider by itself.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let mut roots = RootCertStore::empty();
            roots.add(clients.0.der().clone()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        }
    };
    let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    builder.with_single_cert(vec![certificate], key).unwrap()
}

async fn serve(
    listener: std::net::TcpListener,
    acceptor: TlsAcceptor,
    to: u16,
    counts: Arc<Counts>,
    mut ends: watch::Receiver<()>,
) {
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted.unwrap().0,
            changed = ends.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        let (acceptor, counts, mut ends) = (acceptor.clone(), counts.clone(), ends.clone());
        ends.mark_unchanged();
        tokio::spawn(async move {
            counts.open.fetch_add(1, Ordering::SeqCst);
            tokio::select! {
                () = forward(stream, &acceptor, to, &counts) => {}
                _ = ends.changed() => {}
            }
            counts.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

async fn forward(stream: TcpStream, acceptor: &TlsAcceptor, to: u16, counts: &Counts) {
    // What comes in goes out at once, or each small batch would wait for an acknowledgement.
    stream.set_nodelay(true).unwrap();
    let Ok(mut outer) = acceptor.accept(stream).await else {
        counts.refused.fetch_add(1, Ordering::SeqCst);
        return;
    };
    counts.accepted.fetch_add(1, Ordering::SeqCst);
    let Ok(mut inner) = TcpStream::connect((Ipv4Addr::LOCALHOST, to)).await else {
        return;
    };
    inner.set_nodelay(true).unwrap();
    // However it ends, both ends are closed with it.
    let _ = copy_bidirectional(&mut outer, &mut inner).await;
}
