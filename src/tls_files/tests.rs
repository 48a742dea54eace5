//! Files and keys of every form, whole and cut off.

use rustls::pki_types::PrivateKeyDer;

use super::{
    contents::{self, Item},
    unusable_key,
};

/// `PrivateKeyInfo` of an EC key on P-521, without its number.
const P521: &[u8] = &[
    0x30, 0x18, // sequence
    0x02, 0x01, 0x00, // version
    0x30, 0x10, // algorithm
    0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, // an EC key
    0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23, // on P-521
    0x04, 0x01, 0x00, // key
];

fn explain_key(der: &[u8]) -> String {
    unusable_key::explain(&PrivateKeyDer::Pkcs8(der.to_vec().into()), "key.pem")
}

#[test]
fn key_is_named_by_its_curve() {
    let said = explain_key(P521);
    assert!(said.starts_with("it is an EC key on the curve P-521 (secp521r1); RSA keys"), "{said}");
}

#[test]
fn key_of_an_unknown_kind_is_named_by_its_number() {
    let mut other = P521.to_vec();
    other[15] = 0x7f;
    assert!(explain_key(&other).starts_with("it is a key of the kind 1.2.840.10045.2.127;"));
}

#[test]
fn explicit_parameters_are_converted() {
    let mut explicit = P521.to_vec();
    explicit[16] = 0x30;
    assert!(explain_key(&explicit).contains("-param_enc named_curve"));
}

/// No cut, and no wrong byte, makes it panic.
#[test]
fn damaged_files_are_explained() {
    for length in 0..P521.len() {
        assert!(explain_key(&P521[..length]).contains("damaged"));
    }
    for place in 0..P521.len() {
        for byte in [0, 0x7f, 0x80, 0x84, 0x85, 0xff] {
            let mut wrong = P521.to_vec();
            wrong[place] = byte;
            assert!(!explain_key(&wrong).is_empty());
            for key in [
                PrivateKeyDer::Sec1(wrong.clone().into()),
                PrivateKeyDer::Pkcs1(wrong.clone().into()),
            ] {
                assert!(!unusable_key::explain(&key, "key.pem").is_empty());
            }
            for wanted in [Item::PrivateKey, Item::Certificate, Item::Authority] {
                assert!(!contents::explain(wanted, "file", &wrong).is_empty());
            }
        }
    }
}

#[test]
fn a_damaged_label_shows_nothing_of_the_key() {
    for begin in
        ["-----BEGIN PRIVATE KEYO----", "-----BEGIN PRIVATE KEY", "-----BEGIN private-----"]
    {
        let damaged = format!("{begin}\nc2VjcmV0\n-----END PRIVATE KEY-----\n");
        for wanted in [Item::PrivateKey, Item::Certificate] {
            let said = contents::explain(wanted, "file", damaged.as_bytes());
            assert!(said.starts_with("name a PEM file, which has a line"), "{said}");
            assert!(!said.contains("c2VjcmV0") && !said.contains('\n'), "{said}");
        }
    }
}
