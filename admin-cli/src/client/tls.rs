//! What a client asks of a broker's certificate, and which one it shows itself.
//!
//! Knows: the files, go-nsq's words about them, and what `rustls` needs. Does not know: connections.

use std::cell::OnceCell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::dial::words;

/// What the `tls_` options say.
#[derive(Clone, Default)]
pub(crate) struct Tls {
    /// Whom to believe; those whom the machine trusts where it is not said.
    roots: Option<RootCertStore>,
    trusts_anybody: bool,
    certificate_file: String,
    key_file: String,
    /// What those two files hold.
    identity: Option<Rc<Identity>>,
    /// Made when the first connection needs it.
    config: OnceCell<Arc<ClientConfig>>,
}

/// What a client shows.
struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("trusts_anybody", &self.trusts_anybody)
            .field("certificate_file", &self.certificate_file)
            .finish_non_exhaustive()
    }
}

impl Tls {
    /// Believes those whom the authorities in this file have signed, and nobody else.
    pub(super) fn trust(&mut self, file: &str) -> Result<(), String> {
        const NONE: &str = "ERROR: failed to append certificates from Certificate Authority file";
        let bytes = read(file).map_err(|reason| {
            format!("ERROR: failed to read custom Certificate Authority file {reason}")
        })?;
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(&bytes).flatten().collect();
        let mut roots = RootCertStore::empty();
        let (taken, _) = roots.add_parsable_certificates(certificates);
        if taken == 0 {
            return Err(NONE.to_owned());
        }
        self.roots = Some(roots);
        Ok(())
    }

    /// Believes any certificate whose key the broker has.
    pub(super) fn trust_anybody(&mut self, trusts: bool) {
        self.trusts_anybody = trusts;
    }

    /// Shows the certificate in this file, once its key is known.
    pub(super) fn show_certificate(&mut self, file: &str) -> Result<(), String> {
        file.clone_into(&mut self.certificate_file);
        self.load_identity()
    }

    /// Shows a certificate with the key in this file, once that is known.
    pub(super) fn show_with_key(&mut self, file: &str) -> Result<(), String> {
        file.clone_into(&mut self.key_file);
        self.load_identity()
    }

    /// The oldest version that is taken. Those before 1.2 mean 1.2: there is nothing older here.
    #[expect(clippy::unused_self, reason = "all versions that can be demanded are the same one")]
    pub(super) fn demand_version(&self, name: &str) -> Result<(), String> {
        match name {
            "ssl3.0" | "tls1.0" | "tls1.1" | "tls1.2" => Ok(()),
            _ => Err(format!("ERROR: {name} is not a tls version")),
        }
    }

    fn load_identity(&mut self) -> Result<(), String> {
        if self.certificate_file.is_empty() || self.key_file.is_empty() || self.identity.is_some() {
            return Ok(());
        }
        let chain: Vec<_> =
            CertificateDer::pem_slice_iter(&read(&self.certificate_file)?).flatten().collect();
        if chain.is_empty() {
            return Err("tls: failed to find any PEM data in certificate input".to_owned());
        }
        let key = PrivateKeyDer::from_pem_slice(&read(&self.key_file)?)
            .map_err(|_| "tls: failed to find any PEM data in key input".to_owned())?;
        self.identity = Some(Rc::new(Identity { chain, key }));
        Ok(())
    }

    /// What a handshake needs.
    ///
    /// # Errors
    /// When the certificate and its key cannot be used.
    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>, String> {
        if let Some(config) = self.config.get() {
            return Ok(config.clone());
        }
        let config = Arc::new(self.make_config().map_err(|error| format!("tls: {error}"))?);
        Ok(self.config.get_or_init(|| config).clone())
    }

    fn make_config(&self) -> Result<ClientConfig, Error> {
        let provider = Arc::new(ring::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let builder =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let builder = if self.trusts_anybody {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody { algorithms }))
        } else {
            builder.with_root_certificates(self.roots.clone().unwrap_or_else(roots_of_the_machine))
        };
        match &self.identity {
            None => Ok(builder.with_no_client_auth()),
            Some(identity) => {
                builder.with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())
            }
        }
    }
}

/// A machine without any is one on which every certificate is refused, and the refusal says so.
fn roots_of_the_machine() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

#[expect(clippy::disallowed_methods, reason = "an ordinary process, which reads its flags")]
fn read(file: &str) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|error| format!("open {file}: {}", words(&error)))
}

/// Takes any certificate, and looks only whether the broker has its key.
#[derive(Debug)]
struct Anybody {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
