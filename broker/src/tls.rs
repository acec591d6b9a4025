//! What the broker shows, and asks for, when a client wants TLS: certificate and key, whose
//! certificates it takes, and from which version on.
//!
//! Knows: the files and what NSQ's flags mean. Does not know: connections, whose TLS is in
//! [`crate::connection::layers`].
//!
//! Read once, before any core serves. Sessions are not resumed: their store would be shared by all
//! cores, and NSQ's connections are few and long.

use crate::config::{TlsMinVersion, TlsRequired};
use rustls::client::Resumption;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoClientAuth, NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, Error, InconsistentKeys, RootCertStore,
    ServerConfig, SignatureScheme, SupportedProtocolVersion,
};
use std::sync::Arc;

/// What the flags say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// The file of the certificate and those between it and a root; may be empty.
    pub cert: String,
    /// The file of its key; may be empty.
    pub key: String,
    /// `require`, `require-verify`; anything else asks for no certificate.
    pub client_auth_policy: String,
    /// The file of the roots of clients' certificates; may be empty.
    pub root_ca_file: String,
    /// Who has to use TLS.
    pub required: TlsRequired,
    /// From which version on.
    pub min_version: TlsMinVersion,
}

impl TlsSettings {
    /// Who has to use TLS when all is said: any policy about clients' certificates needs TLS (NSQ
    /// behaviour).
    pub fn required(&self) -> TlsRequired {
        match self.required {
            TlsRequired::No if !self.client_auth_policy.is_empty() => TlsRequired::Everywhere,
            required => required,
        }
    }

    /// Reads the files; `None` without certificate and key.
    ///
    /// # Errors
    /// A sentence in NSQ's words that names the file.
    pub fn load(&self) -> Result<Option<Arc<ServerConfig>>, String> {
        let named = |reason| format!("failed to build TLS config - {reason}");
        if self.cert.is_empty() && self.key.is_empty() {
            return match self.required() {
                TlsRequired::No => Ok(None),
                _ => Err("cannot require TLS client connections without TLS key and cert".into()),
            };
        }
        self.server_config().map(|config| Some(Arc::new(config))).map_err(named)
    }

    fn server_config(&self) -> Result<ServerConfig, String> {
        let provider = Arc::new(ring::default_provider());
        let certified = self.certified_key(&provider)?;
        let roots = match self.root_ca_file.as_str() {
            "" => None,
            file => Some(roots_in(file)?),
        };
        let clients = self.client_verifier(roots, &provider)?;
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.versions())
            .map_err(|error| error.to_string())?;
        let certificates = Arc::new(SingleCertAndKey::from(certified));
        let mut config =
            builder.with_client_cert_verifier(clients).with_cert_resolver(certificates);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }

    /// Whom the broker believes when it asks others: those that the roots in `--tls-root-ca-file`
    /// have signed, or whom the machine trusts (NSQ behaviour).
    ///
    /// # Errors
    /// A sentence that names the file.
    pub fn load_client(&self) -> Result<Arc<ClientConfig>, String> {
        let named = |reason| format!("failed to build client TLS config - {reason}");
        let roots = match self.root_ca_file.as_str() {
            // A machine without any is no reason not to start: perhaps nobody is asked over TLS.
            "" => roots_of_the_machine().unwrap_or_else(|_| RootCertStore::empty()),
            file => roots_in(file).map_err(named)?,
        };
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&self.versions())
            .map_err(|error| named(error.to_string()))?;
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        // A store of sessions would be shared by all cores.
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }

    fn versions(&self) -> Vec<&'static SupportedProtocolVersion> {
        match self.min_version {
            TlsMinVersion::Tls13 => vec![&TLS13],
            _ => vec![&TLS13, &TLS12],
        }
    }

    fn certified_key(&self, provider: &CryptoProvider) -> Result<CertifiedKey, String> {
        let chain = certificates_in(&self.cert)?;
        if chain.is_empty() {
            return Err(format!(
                "{}: tls: failed to find any PEM data in certificate input",
                self.cert
            ));
        }
        let file = &self.key;
        let key = PrivateKeyDer::from_pem_slice(&read(file)?).map_err(|error| match error {
            pem::Error::NoItemsFound => {
                format!("{file}: tls: failed to find any PEM data in key input")
            }
            error => format!("{file}: {error}"),
        })?;
        let key = provider
            .key_provider
            .load_private_key(key)
            .map_err(|error| format!("{file}: {error}"))?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                Err(format!("{file}: tls: private key does not match public key"))
            }
            // A certificate that cannot be looked into here may still be good enough for clients.
            _ => Ok(certified),
        }
    }

    fn client_verifier(
        &self,
        roots: Option<RootCertStore>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, String> {
        match self.client_auth_policy.as_str() {
            "require" => Ok(Arc::new(AnyCertificate {
                hints: roots.map_or_else(Vec::new, |roots| roots.subjects()),
                algorithms: provider.signature_verification_algorithms,
            })),
            "require-verify" => {
                let has_own_roots = roots.is_some();
                let roots = Arc::new(roots.map_or_else(roots_of_the_machine, Ok)?);
                let mut verifier =
                    WebPkiClientVerifier::builder_with_provider(roots, provider.clone());
                if !has_own_roots {
                    // A hundred names of authorities would tell a client nothing.
                    verifier = verifier.clear_root_hint_subjects();
                }
                verifier.build().map_err(|error| error.to_string())
            }
            _ => Ok(Arc::new(NoClientAuth)),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "before any core serves")]
fn read(file: &str) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|error| {
        let reason = match error.kind() {
            std::io::ErrorKind::NotFound => "no such file or directory".to_string(),
            std::io::ErrorKind::PermissionDenied => "permission denied".to_string(),
            _ => error.to_string(),
        };
        format!("open {file}: {reason}")
    })
}

fn certificates_in(file: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_slice_iter(&read(file)?)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("{file}: {error}"))
}

fn roots_in(file: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let (taken, _) = roots.add_parsable_certificates(certificates_in(file)?);
    match taken {
        0 => Err(format!("{file}: failed to append certificate to pool")),
        _ => Ok(roots),
    }
}

fn roots_of_the_machine() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    match roots.add_parsable_certificates(found.certs) {
        (0, _) => Err("this machine trusts no certificate authority, and --tls-root-ca-file \
                       names none"
            .to_string()),
        _ => Ok(roots),
    }
}

/// Takes any certificate whose key the client has, whoever signed it and however old it is: what
/// NSQ means by `require`.
#[derive(Debug)]
struct AnyCertificate {
    hints: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for AnyCertificate {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
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
