//! A TLS front of the Docker socket, like that of an engine with `--tlsverify`: with its own certificate authority,
//! and for clients that show a certificate of that authority.

use std::{fs, path::Path, sync::Arc};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use tempfile::TempDir;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, UnixStream},
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
        server::WebPkiClientVerifier,
    },
};

/// The front. Dropping it closes its port.
pub(crate) struct TlsFront {
    address: String,
    authority: Authority,
    listener: JoinHandle<()>,
}

impl TlsFront {
    /// Listens on a free port of 127.0.0.1, and passes everything on to the socket at `socket`.
    pub(crate) async fn new(socket: &str) -> Self {
        let authority = Authority::new();
        let (chain, key) = authority.issue("engine", ExtendedKeyUsagePurpose::ServerAuth);
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(authority.certificate.as_bytes()).expect("a certificate"))
            .expect("a root");
        let clients = WebPkiClientVerifier::builder(roots.into()).build().expect("a rule for clients");
        let chain = vec![CertificateDer::from_pem_slice(chain.as_bytes()).expect("a certificate")];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
        let config = ServerConfig::builder().with_client_cert_verifier(clients).with_single_cert(chain, key);
        let acceptor = TlsAcceptor::from(Arc::new(config.expect("a server's configuration")));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address").to_string();
        let socket = socket.to_owned();
        let listener = tokio::spawn(async move {
            // The set aborts its tasks when the listener's task ends.
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (acceptor, socket) = (acceptor.clone(), socket.clone());
                connections.spawn(async move {
                    let Ok(mut client) = acceptor.accept(client).await else { return };
                    let mut engine = UnixStream::connect(socket).await.expect("the Docker socket");
                    let _ = copy_bidirectional(&mut client, &mut engine).await;
                });
            }
        });
        Self { address, authority, listener }
    }

    /// Its host and port.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// A directory with the authority's certificate, and a client's certificate and key.
    pub(crate) fn client(&self) -> TempDir {
        let directory = self.only_the_authority();
        let (certificate, key) = self.authority.issue("client", ExtendedKeyUsagePurpose::ClientAuth);
        write(directory.path(), "cert.pem", &certificate);
        write(directory.path(), "key.pem", &key);
        directory
    }

    /// A directory with only the authority's certificate.
    pub(crate) fn only_the_authority(&self) -> TempDir {
        let directory = tempfile::tempdir().expect("a temporary directory");
        write(directory.path(), "ca.pem", &self.authority.certificate);
        directory
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

fn write(directory: &Path, name: &str, text: &str) {
    fs::write(directory.join(name), text).expect("a file");
}

/// A certificate authority for one test.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate, in PEM.
    pub(crate) certificate: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "an authority of the tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = params.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// Makes a certificate for 127.0.0.1, and its key.
    pub(crate) fn issue(&self, name: &str, usage: ExtendedKeyUsagePurpose) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("an address");
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![usage];
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }
}
