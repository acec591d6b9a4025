//! Who a client's certificate says it is.
//!
//! Knows: as much of X.509 as leads to the subject's common name. Does not know: whether the
//! certificate can be believed, which is the handshake's affair.
//!
//! ```text
//! Certificate    = SEQ { TBSCertificate, ... }
//! TBSCertificate = SEQ { [0] version (may be missing), serial, algorithm, issuer, validity, subject, ... }
//! Name           = SEQ { SET { SEQ { OID, text } ... } ... }
//! ```

#![warn(clippy::indexing_slicing)]

const OBJECT_ID: u8 = 0x06;
const UTF8_TEXT: u8 = 0x0c;
const PRINTABLE_TEXT: u8 = 0x13;
const TELETEX_TEXT: u8 = 0x14;
const IA5_TEXT: u8 = 0x16;
const UCS2_TEXT: u8 = 0x1e;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;
/// 2.5.4.3
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// The common name of a certificate's subject, the last one if it has several (NSQ behaviour);
/// nothing when there is none, or no certificate.
pub(super) fn common_name(der: &[u8]) -> Option<String> {
    let mut certificate = inside(der, SEQUENCE)?;
    let mut fields = inside(element(&mut certificate)?.1, SEQUENCE)?;
    if fields.first() == Some(&VERSION) {
        element(&mut fields)?;
    }
    // Serial number, algorithm, issuer and validity.
    for _ in 0..4 {
        element(&mut fields)?;
    }
    let mut subject = inside(element(&mut fields)?.1, SEQUENCE)?;
    let mut found = None;
    while let Some((_, set)) = element(&mut subject) {
        let mut set = inside(set, SET)?;
        while let Some((_, pair)) = element(&mut set) {
            let mut pair = inside(pair, SEQUENCE)?;
            let (kind, id) = element(&mut pair)?;
            let (text_kind, text) = element(&mut pair)?;
            if kind == OBJECT_ID && content(id)? == COMMON_NAME {
                found = read_text(text_kind, content(text)?).or(found);
            }
        }
    }
    found
}

fn read_text(kind: u8, bytes: &[u8]) -> Option<String> {
    match kind {
        UTF8_TEXT | PRINTABLE_TEXT | TELETEX_TEXT | IA5_TEXT => {
            Some(String::from_utf8_lossy(bytes).into_owned())
        }
        UCS2_TEXT => {
            let units = bytes.chunks_exact(2).filter_map(|pair| pair.first_chunk());
            let units: Vec<u16> = units.map(|pair| u16::from_be_bytes(*pair)).collect();
            Some(String::from_utf16_lossy(&units))
        }
        _ => None,
    }
}

/// Takes the first element of `rest`: its tag, and all of its bytes.
fn element<'a>(rest: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let whole = *rest;
    let (&tag, behind) = whole.split_first()?;
    let length = length_of(behind)?;
    let (element, others) = whole.split_at_checked(1 + length.0 + length.1)?;
    *rest = others;
    Some((tag, element))
}

/// What a length takes up, and says.
fn length_of(bytes: &[u8]) -> Option<(usize, usize)> {
    let (&first, behind) = bytes.split_first()?;
    if first < 0x80 {
        return Some((1, first.into()));
    }
    let digits = usize::from(first & 0x7f);
    // No certificate has gigabytes.
    if digits == 0 || 3 < digits {
        return None;
    }
    let digits = behind.get(..digits)?;
    let length = digits.iter().fold(0, |length, &digit| length << 8 | usize::from(digit));
    Some((1 + digits.len(), length))
}

/// The content of an element with this tag.
fn inside(element: &[u8], tag: u8) -> Option<&[u8]> {
    if element.first() == Some(&tag) { content(element) } else { None }
}

fn content(element: &[u8]) -> Option<&[u8]> {
    let behind = element.get(1..)?;
    let (taken, length) = length_of(behind)?;
    behind.get(taken..taken + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrap(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).unwrap();
        let length = if length < 0x80 { vec![length] } else { vec![0x81, length] };
        [&[tag], &*length, content].concat()
    }

    fn name(pairs: &[(&[u8], u8, &[u8])]) -> Vec<u8> {
        let sets: Vec<u8> = pairs
            .iter()
            .flat_map(|(id, kind, text)| {
                let pair = [wrap(OBJECT_ID, id), wrap(*kind, text)].concat();
                wrap(SET, &wrap(SEQUENCE, &pair))
            })
            .collect();
        wrap(SEQUENCE, &sets)
    }

    fn certificate(has_version: bool, subject: &[u8]) -> Vec<u8> {
        let version = if has_version { wrap(VERSION, &[2, 1, 2]) } else { Vec::new() };
        let issuer = name(&[(COMMON_NAME, UTF8_TEXT, b"issuer")]);
        let others = [wrap(2, &[7]), wrap(SEQUENCE, &[5, 0]), issuer, wrap(SEQUENCE, &[])].concat();
        let tbs =
            wrap(SEQUENCE, &[version, others, subject.to_vec(), wrap(SEQUENCE, &[])].concat());
        wrap(SEQUENCE, &[tbs, wrap(SEQUENCE, &[]), wrap(3, &[0])].concat())
    }

    const COUNTRY: &[u8] = &[0x55, 0x04, 0x06];

    #[test]
    fn the_name_is_the_subjects_and_the_last_of_several() {
        let country: (&[u8], u8, &[u8]) = (COUNTRY, PRINTABLE_TEXT, b"AT");
        for (pairs, expected) in [
            (&[country, (COMMON_NAME, UTF8_TEXT, "\u{e4}nn".as_bytes())][..], Some("\u{e4}nn")),
            (&[(COMMON_NAME, PRINTABLE_TEXT, b"ann"), country], Some("ann")),
            (&[(COMMON_NAME, UCS2_TEXT, b"\0a\0n")], Some("an")),
            (&[(COMMON_NAME, IA5_TEXT, b"ann"), (COMMON_NAME, UTF8_TEXT, b"bob")], Some("bob")),
            (&[(COMMON_NAME, UTF8_TEXT, b"")], Some("")),
            (&[(COMMON_NAME, 2, b"1")], None),
            (&[country], None),
            (&[], None),
        ] {
            for has_version in [true, false] {
                let der = certificate(has_version, &name(pairs));
                assert_eq!(common_name(&der).as_deref(), expected, "{pairs:?}");
            }
        }
    }

    #[test]
    fn what_is_cut_short_or_changed_is_read_or_not_but_harms_nobody() {
        let der = certificate(true, &name(&[(COMMON_NAME, UTF8_TEXT, b"ann")]));
        for end in 0..der.len() {
            assert_eq!(common_name(der.get(..end).unwrap()), None, "{end}");
        }
        for at in 0..der.len() {
            for byte in [0, 0x7f, 0x80, 0x83, 0x84, 0xff] {
                let mut changed = der.clone();
                *changed.get_mut(at).unwrap() = byte;
                common_name(&changed);
            }
        }
    }
}
