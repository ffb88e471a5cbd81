//! TLS to a server (`rediss://`), by rustls; only in builds with the feature `tls`.
//!
//! One of the web's authorities must have signed the server's certificate. Where `FROSTY_STORE_CA_FILE` is set, only
//! its authorities count. Frosty offers no certificate of its own.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, ClientConnection, Error, RootCertStore};

use crate::config::Server;
use crate::read;
use crate::store::StoreError;
use crate::store::server::wire::Plain;
use crate::text;

/// The local side of a TLS connection.
pub(crate) struct Tls(ClientConnection);

impl Tls {
    /// Makes the TLS handshake within the socket's deadline.
    ///
    /// # Errors
    /// When the server does not support TLS, is too slow, or has a certificate that no known authority signed.
    pub(crate) fn shake(server: &Server, plain: &mut Plain, budget: Duration) -> Result<Self, StoreError> {
        let mut connection = client(server)?;
        while connection.is_handshaking() {
            // A handshake that the other side closes is not done, and gives no error of its own.
            let done = connection.complete_io(plain).and_then(|(read, _)| match read {
                0 if connection.is_handshaking() => Err(ErrorKind::UnexpectedEof.into()),
                _ => Ok(()),
            });
            done.map_err(|e| failed(server, budget, &e))?;
        }
        Ok(Self(connection))
    }

    pub(crate) fn send(&mut self, plain: &mut Plain, bytes: &[u8]) -> io::Result<()> {
        let mut stream = rustls::Stream::new(&mut self.0, plain);
        stream.write_all(bytes)?;
        stream.flush()
    }

    pub(crate) fn read(&mut self, plain: &mut Plain, into: &mut [u8]) -> io::Result<usize> {
        rustls::Stream::new(&mut self.0, plain).read(into)
    }
}

fn client(server: &Server) -> Result<ClientConnection, StoreError> {
    let broken = |cause: String| StoreError::Tls { at: server.shown.clone(), found: cause, cure: check(server) };
    let name = ServerName::try_from(server.host.clone());
    let name = name.map_err(|_| broken("the host's name is not valid in a certificate".to_owned()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|e| broken(e.to_string()))?;
    let mut config = config.with_root_certificates(roots(server)?).with_no_client_auth();
    // One process has one connection: there is nothing to resume.
    config.resumption = rustls::client::Resumption::disabled();
    ClientConnection::new(Arc::new(config), name).map_err(|e| broken(e.to_string()))
}

/// Returns the authorities that may sign the server's certificate.
fn roots(server: &Server) -> Result<RootCertStore, StoreError> {
    let Some(path) = &server.ca_file else {
        return Ok(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() });
    };
    let bad = |cause: String| StoreError::Tls {
        at: server.shown.clone(),
        found: format!("{cause} in {} (FROSTY_STORE_CA_FILE)", text::path(path)),
        cure: format!("see what the file holds: openssl x509 -noout -subject -in {}", text::path(path)),
    };
    let pem = read::file(path, read::SMALL).map_err(|e| bad(e.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|e| bad(text::line(&e.to_string())))?;
        roots.add(certificate).map_err(|e| bad(text::line(&e.to_string())))?;
    }
    if roots.is_empty() { Err(bad("no certificate".to_owned())) } else { Ok(roots) }
}

fn check(server: &Server) -> String {
    format!("look at the server's certificate: openssl s_client -connect {}:{} </dev/null", server.host, server.port)
}

/// Returns the error of a handshake that failed.
fn failed(server: &Server, budget: Duration, e: &io::Error) -> StoreError {
    let plain =
        format!("connect without TLS: export FROSTY_STORE={}", server.shown.replacen("rediss://", "redis://", 1));
    let (found, cure) = match e.get_ref().and_then(|e| e.downcast_ref::<Error>()) {
        None if matches!(e.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) => {
            (format!("no handshake in time (budget {} ms)", budget.as_millis()), plain)
        }
        None => (format!("the connection ended in the handshake ({e})"), plain),
        Some(Error::InvalidMessage(_) | Error::InappropriateMessage { .. }) => {
            ("the server sent something else than TLS".to_owned(), plain)
        }
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => (
            "its certificate has an unknown issuer".to_owned(),
            "save the certificate of its issuer, and then: export FROSTY_STORE_CA_FILE=~/.config/frosty-ca.pem"
                .to_owned(),
        ),
        Some(Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. })) => {
            ("its certificate has expired".to_owned(), check(server))
        }
        Some(Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => ("its certificate is for another name".to_owned(), check(server)),
        Some(e) => (text::line(&e.to_string()), check(server)),
    };
    StoreError::Tls { at: server.shown.clone(), found, cure }
}
