//! TLS below a stream, by rustls: never blocks, gives and takes plain bytes.

use std::io::{self, Read, Write};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{ring, verify_tls12_signature, verify_tls13_signature, CryptoProvider};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// Plain bytes given to one call of the kernel: one system call's worth of records.
const MOST_AT_ONCE: usize = 64 * 1024;

/// Whose certificates are believed.
#[derive(Clone, Debug)]
pub enum Trust {
    /// The system's certificate authorities.
    System,
    /// Those in this PEM file, be they authorities or the server's own certificate.
    File(String),
    /// Anybody: what is measured is a server, not who it is.
    Anybody,
}

/// What every connection of a replay needs to speak TLS.
pub struct Security {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Security {
    /// # Errors
    /// One line: the file, the name, or the system's store.
    pub fn new(trust: &Trust, host: &str, alpn: Option<&[u8]>) -> Result<Self, String> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let builder = builder.map_err(|e| e.to_string())?;
        let mut config = match trust {
            Trust::Anybody => {
                let anybody = Arc::new(Anybody(provider));
                builder.dangerous().with_custom_certificate_verifier(anybody).with_no_client_auth()
            }
            Trust::System => {
                let mut roots = RootCertStore::empty();
                let found = rustls_native_certs::load_native_certs();
                roots.add_parsable_certificates(found.certs);
                if roots.is_empty() {
                    return Err("no certificate authorities are installed here; give a file of them, or trust anybody".into());
                }
                builder.with_root_certificates(roots).with_no_client_auth()
            }
            Trust::File(path) => {
                let known = certificates(path)?;
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(known.iter().cloned());
                let chains = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
                let chains = chains.map_err(|e| format!("{path}: {e}"))?;
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Known { known, chains })).with_no_client_auth()
            }
        };
        config.alpn_protocols = alpn.map(<[u8]>::to_vec).into_iter().collect();
        let name = ServerName::try_from(host.to_string()).map_err(|e| format!("{host}: {e}"))?;
        Ok(Security { config: Arc::new(config), name })
    }

    pub(super) fn session(&self) -> Tls {
        match ClientConnection::new(self.config.clone(), self.name.clone()) {
            Ok(mut session) => {
                session.set_buffer_limit(None);
                Tls { session: Some(session), complaint: None }
            }
            Err(e) => Tls { session: None, complaint: Some(e.to_string()) },
        }
    }
}

pub(super) struct Tls {
    session: Option<ClientConnection>,
    complaint: Option<String>,
}

fn broken<T>() -> io::Result<T> {
    Err(io::ErrorKind::InvalidData.into())
}

impl Tls {
    pub(super) fn is_handshaking(&self) -> bool {
        self.session.as_ref().is_none_or(|s| s.is_handshaking())
    }

    pub(super) fn wants_write(&self) -> bool {
        self.session.as_ref().is_some_and(|s| s.wants_write())
    }

    /// What went wrong, in words.
    pub(super) fn complaint(&mut self) -> Option<String> {
        self.complaint.take()
    }

    /// Decrypted bytes; WouldBlock when there are no more now.
    pub(super) fn read(&mut self, socket: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(session) = self.session.as_mut() else {
            return broken();
        };
        loop {
            match session.reader().read(buffer) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                // A server may end without saying goodbye; the session above knows whether it was in mid-answer.
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                done => return done,
            }
            if session.read_tls(socket)? == 0 {
                return Ok(0);
            }
            if let Err(e) = session.process_new_packets() {
                self.complaint = Some(format!("TLS: {e}"));
                return broken();
            }
        }
    }

    /// Encrypts and writes; how many plain bytes were taken. None are while earlier ones wait for the kernel.
    pub(super) fn write(&mut self, socket: &mut impl Write, plain: &[u8]) -> io::Result<usize> {
        let Some(session) = self.session.as_mut() else {
            return broken();
        };
        let mut taken = 0;
        loop {
            while session.wants_write() {
                match session.write_tls(socket) {
                    Ok(_) => {}
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(taken),
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(e) => return Err(e),
                }
            }
            if taken == plain.len() || session.is_handshaking() {
                return Ok(taken);
            }
            let piece = &plain[taken..plain.len().min(taken + MOST_AT_ONCE)];
            taken += session.writer().write(piece)?;
        }
    }
}

fn certificates(path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let file = std::fs::File::open(path).map_err(|e| format!("{path}: {e}"))?;
    let read: Result<Vec<_>, _> = rustls_pemfile::certs(&mut io::BufReader::new(file)).collect();
    let found = read.map_err(|e| format!("{path}: {e}"))?;
    if found.is_empty() {
        return Err(format!("{path}: no certificate in it; expected PEM"));
    }
    Ok(found)
}

/// Believes what the certificates of a file sign, and these themselves: a server of one's own often signs its own, and marks it as
/// an authority, which the rules for chains refuse.
#[derive(Debug)]
struct Known {
    known: Vec<CertificateDer<'static>>,
    chains: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.known.iter().any(|known| known == end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        self.chains.verify_server_cert(end_entity, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chains.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chains.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

/// Believes any certificate, and still checks that the peer holds its key.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
