//! What goes through layers comes out as it was, however it is cut; what is hostile takes no memory.

use super::*;
use flate2::{Compress, FlushCompress};
use proptest::prelude::*;
use rcgen::{CertificateParams, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};
use std::io::{Read as _, Write as _};

/// NSQ's first answer through snappy: identifier, a chunk as it is, the frame of `OK`.
const SNAPPY_OK: &[u8] = b"\xff\x06\0\0sNaPpY\x01\x0e\0\0\x26\x98\x2b\xcf\0\0\0\x06\0\0\0\0OK";
/// The same through deflate: a stored block and the mark of a flush.
const DEFLATE_OK: &[u8] = b"\0\x0a\0\xf5\xff\0\0\0\x06\0\0\0\0OK\0\0\0\xff\xff";
const FRAME_OK: &[u8] = b"\0\0\0\x06\0\0\0\0OK";

/// All that is inside `wire`, which comes in pieces of `cut` bytes.
fn open_all(layers: &mut Layers, wire: &[u8], cut: usize) -> Result<Vec<u8>, Broken> {
    let mut plain = Vec::new();
    for piece in wire.chunks(cut) {
        let mut fresh = piece;
        loop {
            let before = plain.len();
            let opened = layers.open(fresh, &mut plain)?;
            fresh = &[];
            assert!(plain.len() - before <= OPENED_BYTES_MAX + 65_536, "one step opens too much");
            match opened {
                Opened::Bytes => assert!(before < plain.len()),
                Opened::NeedsInput => {
                    assert_eq!(before, plain.len());
                    break;
                }
                // What stands behind the end of a stream is not looked at, and no more is read.
                Opened::End => {
                    assert_eq!(before, plain.len());
                    return Ok(plain);
                }
            }
        }
    }
    Ok(plain)
}

/// What goes over the wire for `plain`, handed over in the pieces given.
fn seal_all(layers: &mut Layers, pieces: &[Vec<u8>]) -> Vec<u8> {
    let mut output = Output::default();
    let mut wire = Vec::new();
    for piece in pieces {
        output.share(Bytes::from(piece.clone()));
    }
    while !output.is_empty() {
        layers.seal(&mut output);
        assert!(layers.wire.len() <= WIRE_BYTES_FULL + SEALED_AT_ONCE + (16 << 10));
        layers.wire().take_into(&mut wire);
    }
    wire
}

fn pairs() -> [fn() -> Layers; 2] {
    [|| Layers::snappy(None, Vec::new()), || Layers::deflate(None, Vec::new(), 6)]
}

#[test]
fn what_nsq_was_seen_to_send_is_opened() {
    for cut in 1..20 {
        let mut snappy = Layers::snappy(None, Vec::new());
        assert_eq!(open_all(&mut snappy, SNAPPY_OK, cut).unwrap(), FRAME_OK);
        let mut deflate = Layers::deflate(None, Vec::new(), 6);
        assert_eq!(open_all(&mut deflate, DEFLATE_OK, cut).unwrap(), FRAME_OK);
    }
}

#[test]
fn the_first_answer_through_snappy_is_nsqs_byte_for_byte() {
    let mut snappy = Layers::snappy(None, Vec::new());
    assert_eq!(seal_all(&mut snappy, &[FRAME_OK.to_vec()]), SNAPPY_OK);
    // The identifier comes once.
    assert_eq!(seal_all(&mut snappy, &[FRAME_OK.to_vec()]), SNAPPY_OK[10..]);
}

#[test]
fn every_flush_of_deflate_ends_with_its_mark() {
    let mut deflate = Layers::deflate(None, Vec::new(), 6);
    for _ in 0..3 {
        let wire = seal_all(&mut deflate, &[b"some bytes".to_vec(), b"and more".to_vec()]);
        assert!(wire.ends_with(b"\0\0\xff\xff"), "{wire:x?}");
    }
}

#[test]
fn a_repeated_identifier_padding_and_skippable_chunks_are_passed_over() {
    let parts: [&[u8]; 5] =
        [SNAPPY_OK, b"\xff\x06\0\0sNaPpY", b"\xfe\x03\0\0abc", b"\x80\0\0\0", &SNAPPY_OK[10..]];
    let wire = parts.concat();
    for cut in [1, 2, 3, 7, wire.len()] {
        let mut snappy = Layers::snappy(None, Vec::new());
        assert_eq!(open_all(&mut snappy, &wire, cut).unwrap(), [FRAME_OK, FRAME_OK].concat());
    }
}

#[test]
fn what_is_no_stream_of_a_compression_is_refused() {
    let mut wrong_checksum = SNAPPY_OK.to_vec();
    wrong_checksum[14] ^= 1;
    let too_long = b"\xff\x06\0\0sNaPpY\x01\xff\xff\xff";
    // A block that says that it becomes 70,000 bytes.
    let large = b"\xff\x06\0\0sNaPpY\0\x08\0\0\0\0\0\0\xf0\xa2\x04\0";
    let cases: [(&[u8], &str); 7] = [
        (b"PUB t\n\0\0\0\x01x", "snappy: a chunk is too long"),
        (b"\0\x05\0\0abcde", "snappy: the stream identifier is missing"),
        (b"\xff\x06\0\0SnApPy", "snappy: the stream identifier is missing"),
        (&wrong_checksum, "snappy: corrupt input"),
        (too_long, "snappy: a chunk is too long"),
        (large, "snappy: corrupt input"),
        (b"\xff\x06\0\0sNaPpY\x02\0\0\0", "snappy: a chunk is of an unknown type"),
    ];
    for (wire, reason) in cases {
        for cut in [1, 5, wire.len()] {
            let broken = open_all(&mut Layers::snappy(None, Vec::new()), wire, cut);
            assert_eq!(broken, Err(Broken(reason.to_string())), "{wire:x?}");
        }
    }
    let broken = open_all(&mut Layers::deflate(None, Vec::new(), 6), &[0xff; 64], 64);
    assert!(broken.is_err());
}

#[test]
fn the_end_of_a_deflate_stream_is_the_end_of_input() {
    let mut wire = Vec::with_capacity(100);
    let mut compress = Compress::new(flate2::Compression::fast(), false);
    compress.compress_vec(b"NOP\n", &mut wire, FlushCompress::Finish).unwrap();
    let mut layers = Layers::deflate(None, Vec::new(), 6);
    let mut plain = Vec::new();
    assert_eq!(layers.open(&wire, &mut plain), Ok(Opened::Bytes));
    assert_eq!(plain, b"NOP\n");
    assert_eq!(layers.open(&[], &mut plain), Ok(Opened::End));
}

#[test]
fn a_decompression_bomb_is_opened_in_bounded_steps() {
    // 64 MiB of zeros in 64 kB.
    let mut wire = Vec::with_capacity(1 << 20);
    let mut compress = Compress::new(flate2::Compression::best(), false);
    for _ in 0..64 {
        let zeros = vec![0; 1 << 20];
        let before = compress.total_in();
        compress.compress_vec(&zeros, &mut wire, FlushCompress::None).unwrap();
        assert_eq!(compress.total_in() - before, 1 << 20);
    }
    compress.compress_vec(&[], &mut wire, FlushCompress::Sync).unwrap();
    assert!(wire.len() < 100_000, "{}", wire.len());
    let mut layers = Layers::deflate(None, Vec::new(), 6);
    let (mut total, mut fresh) = (0, wire.as_slice());
    loop {
        let mut plain = Vec::new();
        let opened = layers.open(fresh, &mut plain).unwrap();
        fresh = &[];
        if opened != Opened::Bytes {
            break;
        }
        assert!(plain.capacity() <= 2 * OPENED_BYTES_MAX, "{}", plain.capacity());
        total += plain.len();
    }
    assert_eq!(total, 64 << 20);
}

/// Takes every certificate.
#[derive(Debug)]
struct AnyServer;

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
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// A client and the layers of its broker after their handshake, which came in pieces of `cut`.
fn shaken(cut: usize) -> (ClientConnection, Layers) {
    let provider = Arc::new(ring::default_provider());
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["localhost".to_string()]).unwrap().self_signed(&key).unwrap();
    let config = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer))
        .with_no_client_auth();
    let host = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(Arc::new(client), host).unwrap();
    let mut layers = Layers::tls(&Arc::new(config), Vec::new()).unwrap();
    let mut is_over = false;
    while !is_over {
        let mut to_server = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut to_server).unwrap();
        }
        for piece in to_server.chunks(cut) {
            // Nothing is sealed before it is over.
            layers.seal(&mut Output::default());
            is_over = layers.shake_hands(piece).unwrap();
        }
        let mut to_client = Vec::new();
        layers.wire().take_into(&mut to_client);
        feed(&mut client, &to_client);
    }
    (client, layers)
}

fn feed(client: &mut ClientConnection, mut wire: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    while !wire.is_empty() {
        client.read_tls(&mut wire).unwrap();
        let state = client.process_new_packets().unwrap();
        let mut opened = vec![0; state.plaintext_bytes_to_read()];
        client.reader().read_exact(&mut opened).unwrap();
        plain.extend(opened);
    }
    plain
}

fn sealed_by(client: &mut ClientConnection, plain: &[u8]) -> Vec<u8> {
    client.set_buffer_limit(None);
    client.writer().write_all(plain).unwrap();
    let mut wire = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut wire).unwrap();
    }
    wire
}

#[test]
fn tls_carries_bytes_both_ways_with_and_without_compression() {
    let plain: Vec<u8> = (0..300_000_u32).flat_map(u32::to_be_bytes).collect();
    for cut in [1, 100, 4_096, 1 << 20] {
        let (mut client, mut layers) = shaken(cut);
        let facts = layers.tls_facts().unwrap();
        assert_eq!(facts.version, "TLS1.3");
        assert!(facts.cipher_suite.starts_with("TLS_AES_"), "{facts:?}");
        let few = &plain[..if cut == 1 { 5_000 } else { plain.len() }];
        let wire = sealed_by(&mut client, few);
        assert!(open_all(&mut layers, &wire, cut).unwrap() == few);
        let wire = seal_all(&mut layers, &[few.to_vec()]);
        assert!(feed(&mut client, &wire) == few);

        for begin in pairs() {
            let (mut client, layers) = shaken(cut);
            let mut outer = begin();
            let compressed = seal_all(&mut outer, &[few.to_vec()]);
            let mut layers = match begin() {
                snappy if snappy.has_snappy() => Layers::snappy(Some(layers), Vec::new()),
                _ => Layers::deflate(Some(layers), Vec::new(), 6),
            };
            let wire = sealed_by(&mut client, &compressed);
            assert!(open_all(&mut layers, &wire, cut).unwrap() == few);
            let sealed = seal_all(&mut layers, &[few.to_vec()]);
            let back = feed(&mut client, &sealed);
            assert!(open_all(&mut begin(), &back, 1 << 20).unwrap() == few);
        }
    }
}

#[test]
fn a_goodbye_is_the_end_and_a_changed_record_is_refused_with_an_alert() {
    let (mut client, mut layers) = shaken(1 << 20);
    let mut wire = sealed_by(&mut client, b"NOP\n");
    client.send_close_notify();
    client.write_tls(&mut wire).unwrap();
    let mut plain = Vec::new();
    assert_eq!(layers.open(&wire, &mut plain), Ok(Opened::Bytes));
    assert_eq!(plain, b"NOP\n");
    assert_eq!(layers.open(&[], &mut plain), Ok(Opened::End));

    let (mut client, mut layers) = shaken(1 << 20);
    let mut wire = sealed_by(&mut client, b"NOP\n");
    *wire.last_mut().unwrap() ^= 1;
    assert!(layers.open(&wire, &mut plain).is_err());
    assert!(!layers.is_wire_empty(), "the peer is told");
}

#[test]
fn what_is_no_tls_is_known_by_its_first_bytes() {
    for bytes in [&b"SUB t c\n"[..], b"GET / HTTP/1.1\r\n", &[22, 0x20], &[0x80, 0x2e, 1]] {
        let (_, mut layers) = {
            let (client, layers) = shaken(1 << 20);
            drop(layers);
            let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_cert_resolver(Arc::new(rustls::server::ResolvesServerCertUsingSni::new()));
            (client, Layers::tls(&Arc::new(config), Vec::new()).unwrap())
        };
        let reason = "tls: first record does not look like a TLS handshake";
        assert_eq!(layers.shake_hands(bytes), Err(Broken(reason.to_string())));
        assert!(layers.is_wire_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_is_compressed_comes_out_as_it_was(
        parts in prop::collection::vec((0_usize..150_000, any::<u8>(), any::<bool>()), 1..5),
        cut in 1_usize..100_000,
    ) {
        let pieces: Vec<Vec<u8>> = parts
            .into_iter()
            .map(|(length, seed, is_noise)| {
                let mut state = u32::from(seed) | 1;
                (0..length)
                    .map(|_| {
                        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        if is_noise { state.to_be_bytes()[0] } else { seed }
                    })
                    .collect()
            })
            .collect();
        for begin in pairs() {
            let wire = seal_all(&mut begin(), &pieces);
            prop_assert!(open_all(&mut begin(), &wire, cut).unwrap() == pieces.concat());
        }
    }

    #[test]
    fn no_input_of_a_compression_breaks_more_than_its_stream(
        bytes in prop::collection::vec(any::<u8>(), 0..2_000),
        keep in 0_usize..30,
        cut in 1_usize..300,
    ) {
        for (begin, good) in pairs().into_iter().zip([SNAPPY_OK, DEFLATE_OK]) {
            let wire = [&good[..keep.min(good.len())], &bytes].concat();
            // Whatever it is, it is opened or refused.
            drop(open_all(&mut begin(), &wire, cut));
        }
    }
}
