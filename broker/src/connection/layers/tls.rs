//! One client's TLS: records in and out, and what NSQ would say where it fails.
//!
//! Knows: `rustls`. Does not know: certificates and policies, which are in [`crate::tls`].

use super::Broken;
use super::certificate::common_name;
use crate::connection::output::Output;
use rustls::{
    AlertDescription, CertificateError, Error, PeerIncompatible, ProtocolVersion, ServerConfig,
    ServerConnection,
};
use std::io::{self, BufRead as _, Write as _};
use std::sync::Arc;

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Tls {
    session: ServerConnection,
    /// The first bytes of the peer, until there are enough to tell whether they are TLS.
    first: Option<Vec<u8>>,
}

/// What was agreed, in the words of `/stats`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFacts {
    /// `TLS1.2` or `TLS1.3`.
    pub version: &'static str,
    /// By its registered name.
    pub cipher_suite: String,
}

/// What was decrypted.
pub(super) enum Inside<'a> {
    /// Nothing that was not consumed.
    Nothing,
    /// These.
    Bytes(&'a [u8]),
    /// The peer has said that nothing more comes.
    End,
}

impl Tls {
    pub(super) fn begin(config: &Arc<ServerConfig>) -> Result<Self, Broken> {
        let mut session = ServerConnection::new(config.clone()).map_err(|e| broken(&e))?;
        // What is sealed at once is bounded already.
        session.set_buffer_limit(None);
        Ok(Self { session, first: Some(Vec::new()) })
    }

    pub(super) fn is_shaking_hands(&self) -> bool {
        self.session.is_handshaking()
    }

    pub(super) fn facts(&self) -> TlsFacts {
        let version = match self.session.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLS1.3",
            _ => "TLS1.2",
        };
        let suite = self.session.negotiated_cipher_suite();
        let name = suite.and_then(|suite| suite.suite().as_str()).unwrap_or_default();
        TlsFacts { version, cipher_suite: name.replacen("TLS13_", "TLS_", 1) }
    }

    pub(super) fn common_name(&self) -> Option<String> {
        common_name(self.session.peer_certificates()?.first()?)
    }

    /// Takes some of `input`, at least one byte, and decrypts what is whole; what is to be sent for
    /// it goes on the wire.
    pub(super) fn take_in(&mut self, input: &[u8], wire: &mut Output) -> Result<usize, Broken> {
        if let Some(first) = &mut self.first {
            let wanted = FIRST_BYTES - first.len();
            let more = &input[..input.len().min(wanted)];
            first.extend_from_slice(more);
            if !looks_like_tls(first) {
                return Err(Broken(NOT_TLS.to_string()));
            }
            if more.len() == wanted {
                let first = self.first.take().unwrap_or_default();
                self.decrypt(&first, wire)?;
            }
            return Ok(more.len());
        }
        self.decrypt(input, wire)
    }

    fn decrypt(&mut self, mut input: &[u8], wire: &mut Output) -> Result<usize, Broken> {
        let taken =
            self.session.read_tls(&mut input).map_err(|error| Broken(format!("tls: {error}")))?;
        let result = self.session.process_new_packets();
        self.put_on(wire);
        match result {
            // After the peer's goodbye nothing is taken any more.
            Ok(_) => Ok(taken.max(1)),
            Err(error) => Err(broken(&error)),
        }
    }

    /// What was decrypted and not consumed.
    pub(super) fn opened(&mut self) -> Result<Inside<'_>, Broken> {
        match self.session.reader().into_first_chunk() {
            Ok([]) => Ok(Inside::End),
            Ok(bytes) => Ok(Inside::Bytes(bytes)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Inside::Nothing),
            Err(error) => Err(Broken(format!("tls: {error}"))),
        }
    }

    pub(super) fn consume(&mut self, bytes: usize) {
        self.session.reader().consume(bytes);
    }

    pub(super) fn seal(&mut self, bytes: &[u8], wire: &mut Output) {
        self.session.writer().write_all(bytes).expect("its buffer has no limit");
        self.put_on(wire);
    }

    pub(super) fn say_goodbye(&mut self, wire: &mut Output) {
        self.session.send_close_notify();
        self.put_on(wire);
    }

    fn put_on(&mut self, wire: &mut Output) {
        if self.session.wants_write() {
            wire.gather(|bytes| {
                while self.session.wants_write() {
                    self.session.write_tls(bytes).expect("memory takes all that is written");
                }
            });
        }
    }
}

/// So many tell whether a record is one of TLS.
const FIRST_BYTES: usize = 5;
const NOT_TLS: &str = "tls: first record does not look like a TLS handshake";

/// Whether these can be the first bytes of a handshake or an alert, as Go judges it.
fn looks_like_tls(first: &[u8]) -> bool {
    const ALERT: u8 = 21;
    const HANDSHAKE: u8 = 22;
    first.first().is_none_or(|&kind| kind == ALERT || kind == HANDSHAKE)
        && first.get(1).is_none_or(|&major| major < 0x10)
}

/// The failure in the words of Go's TLS where it has the same, else in those of ours.
fn broken(error: &Error) -> Broken {
    let words = match error {
        Error::NoCertificatesPresented => "tls: client didn't provide a certificate",
        Error::PeerIncompatible(
            PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled,
        ) => "tls: client offered only unsupported versions",
        Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon) => {
            "tls: no cipher suite supported by both client and server"
        }
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "tls: failed to verify certificate: x509: certificate signed by unknown authority"
        }
        Error::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        ) => "tls: failed to verify certificate: x509: certificate has expired or is not yet valid",
        Error::AlertReceived(alert) => return Broken(remote(*alert)),
        other => return Broken(format!("tls: {other}")),
    };
    Broken(words.to_string())
}

/// What the peer said when it ended the handshake.
fn remote(alert: AlertDescription) -> String {
    let words = match alert {
        AlertDescription::BadCertificate => "bad certificate",
        AlertDescription::UnknownCA => "unknown certificate authority",
        AlertDescription::CertificateExpired => "expired certificate",
        AlertDescription::CertificateUnknown => "unknown certificate",
        AlertDescription::HandshakeFailure => "handshake failure",
        AlertDescription::ProtocolVersion => "protocol version not supported",
        AlertDescription::UserCanceled => "user canceled",
        other => return format!("remote error: tls: alert {other:?}"),
    };
    format!("remote error: tls: {words}")
}
