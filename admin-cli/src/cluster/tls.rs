//! Whom HTTPS trusts, and who we say we are.
//!
//! Knows: files of certificates and keys in PEM. Does not know: whether HTTPS is spoken at all.

use std::fs;
use std::path::{Path, PathBuf};

use reqwest::{Certificate, ClientBuilder, Identity};

/// Certificates for HTTPS. Without any, a server has to be trusted by the machine, and clients show
/// no certificate.
#[derive(Default)]
pub(crate) struct Tls {
    identity: Option<Identity>,
    /// Trusted instead of what the machine trusts; empty for that.
    roots: Vec<Certificate>,
    /// Any server is trusted.
    is_insecure: bool,
}

/// Where the certificates lie.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsFiles {
    /// A certificate to show, and its key: both or none.
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    /// Certificates to trust instead of the machine's.
    pub(crate) root: Option<PathBuf>,
    /// Whether any server is trusted.
    pub(crate) is_insecure: bool,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// A sentence with the file's name, when one cannot be read or holds something else.
    pub(crate) fn load(files: &TlsFiles) -> Result<Self, String> {
        let identity = match (&files.certificate, &files.key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => {
                let mut text = read(certificate)?;
                text.push(b'\n');
                text.extend(read(key)?);
                let identity = Identity::from_pem(&text).map_err(|_| {
                    let (certificate, key) = (certificate.display(), key.display());
                    format!("{certificate} and {key} are no certificate and its key in PEM")
                })?;
                Some(identity)
            }
            _ => return Err("a certificate needs its key, and a key its certificate".to_owned()),
        };
        let roots = match &files.root {
            None => Vec::new(),
            Some(path) => {
                let roots = Certificate::from_pem_bundle(&read(path)?).unwrap_or_default();
                if roots.is_empty() {
                    return Err(format!("{} holds no certificate in PEM", path.display()));
                }
                roots
            }
        };
        Ok(Self { identity, roots, is_insecure: files.is_insecure })
    }

    /// A client that works so.
    pub(super) fn prepare(&self, mut builder: ClientBuilder) -> ClientBuilder {
        if let Some(identity) = &self.identity {
            builder = builder.identity(identity.clone());
        }
        if !self.roots.is_empty() {
            builder = builder.tls_certs_only(self.roots.clone());
        }
        builder.tls_danger_accept_invalid_certs(self.is_insecure)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    #[expect(clippy::disallowed_methods, reason = "an ordinary process may wait for its disk")]
    fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}
