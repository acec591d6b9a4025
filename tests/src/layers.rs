//! TLS, snappy and deflate from the client's side, and certificates that live as long as a test.
//!
//! Knows bytes: what was read becomes plain, what is to be sent becomes what goes over the wire.
//! Nothing of it is the broker's code; the real clients are tried besides.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, Issuer, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, ServerConfig, SignatureScheme,
    SupportedProtocolVersion,
};

use tempfile::TempDir;

/// What lies between a client and its socket.
#[derive(Debug, Default)]
pub struct Layers {
    tls: Option<Box<ClientConnection>>,
    inside: Inside,
}

#[derive(Default)]
enum Inside {
    #[default]
    Plain,
    Snappy {
        /// Chunks whose end has not come.
        unfinished: Vec<u8>,
    },
    Deflate {
        opening: Box<Decompress>,
        sealing: Box<Compress>,
    },
}

impl fmt::Debug for Inside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain",
            Self::Snappy { .. } => "snappy",
            Self::Deflate { .. } => "deflate",
        })
    }
}

impl Layers {
    /// TLS, whose handshake is still to come.
    pub fn begin_tls(&mut self, tls: ClientConnection) {
        self.tls = Some(Box::new(tls));
    }

    /// TLS, if it is there.
    pub fn tls(&mut self) -> Option<&mut ClientConnection> {
        self.tls.as_deref_mut()
    }

    /// Snappy, inside TLS if that is there.
    pub fn begin_snappy(&mut self) {
        self.inside = Inside::Snappy { unfinished: Vec::new() };
    }

    /// Deflate, inside TLS if that is there.
    pub fn begin_deflate(&mut self) {
        self.inside = Inside::Deflate {
            opening: Box::new(Decompress::new(false)),
            sealing: Box::new(Compress::new(Compression::default(), false)),
        };
    }

    /// What `came` off the wire holds.
    ///
    /// # Errors
    /// When TLS fails.
    ///
    /// # Panics
    /// When the broker compresses wrongly.
    pub fn open(&mut self, came: &[u8]) -> io::Result<Vec<u8>> {
        let Some(tls) = &mut self.tls else { return Ok(self.inside.open(came)) };
        let mut rest = came;
        let mut plain = Vec::new();
        while !rest.is_empty() {
            if tls.read_tls(&mut rest)? == 0 {
                break;
            }
            let state = tls.process_new_packets().map_err(io::Error::other)?;
            let mut opened = vec![0; state.plaintext_bytes_to_read()];
            tls.reader().read_exact(&mut opened)?;
            plain.extend(self.inside.open(&opened));
        }
        Ok(plain)
    }

    /// What was read and is out of TLS already holds.
    ///
    /// # Panics
    /// When the broker compresses wrongly.
    pub fn open_inside(&mut self, came: &[u8]) -> Vec<u8> {
        self.inside.open(came)
    }

    /// What goes over the wire for `plain`, all of it.
    ///
    /// # Panics
    /// When the libraries of the test fail.
    pub fn seal(&mut self, plain: &[u8]) -> Vec<u8> {
        let inside = self.inside.seal(plain);
        let Some(tls) = &mut self.tls else { return inside };
        let mut wire = Vec::new();
        for part in inside.chunks(16 << 10) {
            tls.writer().write_all(part).expect("TLS takes a record");
            while tls.wants_write() {
                tls.write_tls(&mut wire).expect("memory takes all");
            }
        }
        wire
    }
}

impl Inside {
    fn open(&mut self, came: &[u8]) -> Vec<u8> {
        match self {
            Self::Plain => came.to_vec(),
            Self::Snappy { unfinished } => {
                unfinished.extend_from_slice(came);
                let mut whole = 0;
                while let Some(header) = unfinished.get(whole..whole + 4) {
                    let length = u32::from_le_bytes([header[1], header[2], header[3], 0]);
                    let end = whole + 4 + usize::try_from(length).expect("24 bits fit");
                    if unfinished.len() < end {
                        break;
                    }
                    whole = end;
                }
                // A stream of its own for what is whole: the identifier may come again.
                let chunks = [b"\xff\x06\0\0sNaPpY".to_vec(), unfinished.drain(..whole).collect()];
                let mut plain = Vec::new();
                snap::read::FrameDecoder::new(chunks.concat().as_slice())
                    .read_to_end(&mut plain)
                    .expect("the broker's chunks can be opened");
                plain
            }
            Self::Deflate { opening, .. } => {
                let mut plain = Vec::new();
                let mut rest = came;
                loop {
                    plain.reserve(4096);
                    let before = opening.total_in();
                    opening
                        .decompress_vec(rest, &mut plain, FlushDecompress::None)
                        .expect("the broker's deflate can be opened");
                    let taken = usize::try_from(opening.total_in() - before).expect("it fits");
                    rest = &rest[taken..];
                    if rest.is_empty() && plain.len() < plain.capacity() {
                        return plain;
                    }
                }
            }
        }
    }

    fn seal(&mut self, plain: &[u8]) -> Vec<u8> {
        match self {
            Self::Plain => plain.to_vec(),
            // As pynsq does: each piece is a stream with its own identifier.
            Self::Snappy { .. } => {
                let mut encoder = snap::write::FrameEncoder::new(Vec::new());
                encoder.write_all(plain).expect("memory takes all");
                encoder.into_inner().expect("memory takes all")
            }
            Self::Deflate { sealing, .. } => {
                let mut wire = Vec::new();
                let mut rest = plain;
                loop {
                    wire.reserve(plain.len() + 64);
                    let before = sealing.total_in();
                    sealing
                        .compress_vec(rest, &mut wire, FlushCompress::Sync)
                        .expect("it cannot fail");
                    let taken = usize::try_from(sealing.total_in() - before).expect("it fits");
                    rest = &rest[taken..];
                    if rest.is_empty() && wire.len() < wire.capacity() {
                        return wire;
                    }
                }
            }
        }
    }
}

/// Certificates of a test: an authority, what it has signed for a broker and for a client, and a
/// client's certificate that only it has signed itself. The files go with the value.
#[derive(Debug)]
pub struct Certificates {
    folder: TempDir,
}

impl Certificates {
    /// Made afresh.
    ///
    /// # Panics
    /// When they cannot be made or written.
    #[must_use]
    pub fn new() -> Self {
        let folder = TempDir::new().expect("the temporary folder can be written");
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).expect("a file can be written");
        };
        let key = || KeyPair::generate().expect("a key can be made");
        let mut root = CertificateParams::new(Vec::new()).expect("there are no names to refuse");
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        root.distinguished_name.push(rcgen::DnType::CommonName, "an authority");
        let root = CertifiedIssuer::self_signed(root, key()).expect("it can be signed");
        write("ca.pem", &root.pem());
        let issuer: &Issuer<'_, KeyPair> = &root;
        for (name, hosts) in [("server", vec!["127.0.0.1", "localhost"]), ("client", vec![])] {
            let hosts: Vec<String> = hosts.into_iter().map(str::to_owned).collect();
            let own = key();
            let mut params = CertificateParams::new(hosts).expect("the names are good");
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            let certificate = params.signed_by(&own, issuer).expect("it can be signed");
            write(&format!("{name}.pem"), &certificate.pem());
            write(&format!("{name}.key"), &own.serialize_pem());
        }
        let own = key();
        let stranger = CertificateParams::new(Vec::new()).expect("there are no names to refuse");
        let stranger = stranger.self_signed(&own).expect("it can be signed");
        write("stranger.pem", &stranger.pem());
        write("stranger.key", &own.serialize_pem());
        Self { folder }
    }

    /// The file of this name: `ca.pem`, or `.pem` and `.key` of `server`, `client`, `stranger`.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The folder of all of them.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The flags that give a broker its certificate.
    #[must_use]
    pub fn flags(&self) -> Vec<String> {
        vec![
            format!("--tls-cert={}", self.file("server.pem").display()),
            format!("--tls-key={}", self.file("server.key").display()),
            "--https-address=127.0.0.1:0".to_owned(),
        ]
    }

    /// A server that shows the certificate of `server` and asks for none.
    ///
    /// # Panics
    /// When the files are not there.
    #[must_use]
    pub fn server(&self) -> ServerConfig {
        let certificate = CertificateDer::from_pem_file(self.file("server.pem"));
        let key = PrivateKeyDer::from_pem_file(self.file("server.key"));
        ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the versions are good")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.expect("it is there")], key.expect("it is there"))
            .expect("they belong together")
    }

    /// A client that takes any certificate of the broker's, speaks these versions, and shows the
    /// certificate of this name, if any.
    ///
    /// # Panics
    /// When the files are not there.
    #[must_use]
    pub fn client(
        &self,
        shows: Option<&str>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ClientConnection {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)
            .expect("the versions are good")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer(provider)));
        let config = match shows {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let certificate = CertificateDer::from_pem_file(self.file(&format!("{name}.pem")));
                let key = PrivateKeyDer::from_pem_file(self.file(&format!("{name}.key")));
                builder
                    .with_client_auth_cert(
                        vec![certificate.expect("it is there")],
                        key.expect("it is there"),
                    )
                    .expect("they belong together")
            }
        };
        let host = ServerName::try_from("localhost").expect("it is a name");
        ClientConnection::new(Arc::new(config), host).expect("a client can be made")
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}

/// Takes every certificate: who the broker is, is not what is tried.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
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
        let algorithms = self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
