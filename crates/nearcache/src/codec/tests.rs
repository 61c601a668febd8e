//! What each codec writes, reads and refuses, and that no error holds a part of a value.

#[cfg(any(feature = "json", feature = "msgpack"))]
use std::error::Error as _;

#[cfg(any(feature = "json", feature = "msgpack"))]
use nearcache_proto::ErrorKind;

use super::*;

#[cfg(any(feature = "json", feature = "msgpack"))]
fn refused<T>(codec: &impl Codec<T>, bytes: impl Into<Bytes>) -> String {
    let error = codec.decode(&bytes.into()).err().expect("must be refused");
    assert_eq!(error.kind(), ErrorKind::Codec);
    assert!(error.source().is_none(), "a source could hold a value");
    error.to_string()
}

#[test]
fn raw_shares_the_bytes() {
    let bytes = Bytes::from(vec![0, 255, 7]);
    assert_eq!(Raw.encode(&bytes).unwrap().as_ptr(), bytes.as_ptr());
    assert_eq!(Raw.decode(&bytes).unwrap().as_ptr(), bytes.as_ptr());
    assert_eq!(Raw.decoded_bytes(&bytes, 3), size_of::<Bytes>());
    assert_eq!(Raw.decode(&Bytes::new()).unwrap(), Bytes::new());
}

#[cfg(any(feature = "json", feature = "msgpack"))]
mod shapes {
    use std::collections::BTreeMap;

    use serde::ser::Error as _;
    use serde::{Deserialize, Serialize, Serializer};

    use super::*;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub(super) struct Product {
        pub(super) name: String,
        pub(super) price: u32,
        pub(super) tags: BTreeMap<String, Option<f64>>,
    }

    #[derive(Debug, Serialize, Deserialize)]
    pub(super) enum Term {
        Leaf,
        Not(Box<Term>),
    }

    /// Its own code puts the value into the error.
    #[derive(Debug)]
    pub(super) struct Chatty;

    impl Serialize for Chatty {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(S::Error::custom("s3cret"))
        }
    }

    impl<'de> Deserialize<'de> for Chatty {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            Err(serde::de::Error::custom("s3cret"))
        }
    }

    pub(super) fn product() -> Product {
        Product {
            name: "chair".into(),
            price: 4900,
            tags: [("oak".into(), Some(0.5)), ("red".into(), None)].into(),
        }
    }

    pub(super) fn round_trip(codec: &impl Codec<Product>) {
        let bytes = codec.encode(&product()).unwrap();
        assert_eq!(codec.decode(&bytes).unwrap(), product());
        let estimate = codec.decoded_bytes(&product(), bytes.len());
        assert_eq!(estimate, size_of::<Product>() + bytes.len());
        assert_eq!(codec.decoded_bytes(&product(), usize::MAX), usize::MAX);
    }

    /// Every prefix, and every change of one byte: an answer, never a panic.
    pub(super) fn survives_damage(codec: &impl Codec<Product>) {
        let whole = codec.encode(&product()).unwrap();
        for end in 0..whole.len() {
            refused(codec, whole.slice(..end));
        }
        for place in 0..whole.len() {
            for byte in 0..=u8::MAX {
                let mut bytes = whole.to_vec();
                bytes[place] = byte;
                let _ = codec.decode(&bytes.into());
            }
        }
        let mut longer = whole.to_vec();
        longer.push(b'1');
        refused(codec, longer);
    }

    pub(super) fn errors_hold_no_value(
        codec: &(impl Codec<Chatty> + Codec<Product>),
        other: Bytes,
    ) {
        let error = Codec::<Chatty>::encode(codec, &Chatty).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Codec);
        assert!(error.source().is_none());
        assert!(error.to_string().contains("has no form in"), "{error}");
        assert!(!format!("{error} {error:?}").contains("s3cret"));

        let text = refused::<Product>(codec, other.clone());
        assert!(!text.contains("s3cret"), "{text}");
        let text = refused::<Chatty>(codec, other);
        assert!(!text.contains("s3cret"), "{text}");
    }
}

#[cfg(feature = "json")]
mod json {
    use std::collections::BTreeMap;

    use super::shapes::*;
    use super::*;

    #[test]
    fn reads_what_it_wrote() {
        round_trip(&Json);
        let text = Codec::<Product>::encode(&Json, &product()).unwrap();
        let expected = br#"{"name":"chair","price":4900,"tags":{"oak":0.5,"red":null}}"#;
        assert_eq!(&text[..], expected);
    }

    #[test]
    fn c12_damaged_json_is_refused_without_panic() {
        survives_damage(&Json);
        let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        type Any = Vec<serde_json::Value>;
        assert!(Codec::<Any>::decode(&Json, &deep(120).into()).is_ok());
        let text = refused::<Any>(&Json, deep(200_000));
        assert!(text.contains("is not JSON (line 1 column 128)"), "{text}");
        let text = refused::<Term>(&Json, r#"{"Not":"#.repeat(200_000));
        assert!(text.contains("is not JSON"), "{text}");
    }

    #[test]
    fn c13_errors_hold_no_value() {
        errors_hold_no_value(&Json, r#"{"name":"x","price":"s3cret"}"#.into());
        errors_hold_no_value(&Json, r#""s3cret""#.into());
        errors_hold_no_value(&Json, r#"s3cret"#.into());
        // The keys of a map must be text.
        let keys = BTreeMap::from([(vec![1], 1)]);
        let error = Json.encode(&keys).unwrap_err();
        assert!(error.to_string().contains("the keys of its maps"));
    }

    #[test]
    fn errors_say_where_and_what_to_do() {
        let text = refused::<u32>(&Json, "\n  true");
        assert_eq!(
            text,
            "the stored value is JSON of another shape (line 2 column 6), not a u32: \
             use the type and codec it was written with, or delete the key"
        );
        let text = refused::<u32>(&Json, "");
        assert!(
            text.contains("is JSON that ends early (line 1 column 0)"),
            "{text}"
        );
        let text = refused::<u32>(&Json, "1 2");
        assert!(text.contains("is not JSON (line 1 column 3)"), "{text}");
        let text = refused::<String>(&Json, &b"\"\xff\""[..]);
        assert!(text.contains("is not JSON"), "{text}");
    }
}

#[cfg(feature = "msgpack")]
mod msgpack {
    use super::super::msgpack::{DEEPEST, scan};
    use super::shapes::*;
    use super::*;

    #[test]
    fn reads_what_it_wrote() {
        round_trip(&MessagePack);
        let bytes = Codec::<Product>::encode(&MessagePack, &product()).unwrap();
        // Fields by name: an added one does not make old values unreadable.
        assert!(bytes.windows(5).any(|part| part == b"price"));
        for size in [0, 31, 32, 255, 256, 65_535, 65_536] {
            let (text, list) = ("x".repeat(size), vec![1000u16; size]);
            let value = (
                text,
                list,
                -1i64,
                1.5f32,
                2.5f64,
                u64::MAX,
                i8::MIN,
                'c',
                (),
            );
            let bytes = MessagePack.encode(&value).unwrap();
            let read: (String, Vec<u16>, i64, f32, f64, u64, i8, char, ()) =
                MessagePack.decode(&bytes).unwrap();
            assert_eq!(read, value);
        }
    }

    #[test]
    fn c12_damaged_messagepack_is_refused_without_panic() {
        survives_damage(&MessagePack);
        for marker in 0..=u8::MAX {
            // Lengths up to 4 GiB behind every marker, and no data.
            let _ =
                Codec::<Product>::decode(&MessagePack, &vec![marker, 255, 255, 255, 255].into());
            let _ =
                Codec::<Vec<u64>>::decode(&MessagePack, &vec![marker, 255, 255, 255, 255].into());
        }
        let text = refused::<Vec<u64>>(&MessagePack, vec![0xdd, 255, 255, 255, 255]);
        assert!(text.contains("ends early (byte 5)"), "{text}");
    }

    #[test]
    fn every_marker_is_scanned_to_its_end() {
        // Marker, the bytes behind it.
        let whole: [(u8, &[u8]); 20] = [
            (0xc0, &[]),
            (0xc2, &[]),
            (0xc4, &[1, 9]),
            (0xc5, &[0, 1, 9]),
            (0xc6, &[0, 0, 0, 1, 9]),
            (0xc7, &[1, 5, 9]),
            (0xc8, &[0, 1, 5, 9]),
            (0xc9, &[0, 0, 0, 1, 5, 9]),
            (0xca, &[0; 4]),
            (0xcb, &[0; 8]),
            (0xcf, &[0; 8]),
            (0xd1, &[0; 2]),
            (0xd4, &[5, 9]),
            (0xd8, &[0; 17]),
            (0xd9, &[1, b'x']),
            (0xda, &[0, 1, b'x']),
            (0xdc, &[0, 1, 7]),
            (0xdd, &[0, 0, 0, 1, 7]),
            (0xde, &[0, 1, 7, 7]),
            (0xdf, &[0, 0, 0, 1, 7, 7]),
        ];
        for (marker, rest) in whole {
            let mut bytes = vec![marker];
            bytes.extend_from_slice(rest);
            assert!(scan(&bytes).is_ok(), "{marker:#x}");
            for end in 0..bytes.len() {
                assert!(scan(&bytes[..end]).is_err(), "{marker:#x} cut");
            }
            bytes.push(0);
            assert!(scan(&bytes).is_err(), "{marker:#x} and more");
        }
    }

    #[test]
    fn trap_nesting_the_decoder_does_not_count_is_refused() {
        let nested = |depth: usize| {
            let mut bytes = b"\x81\xa3Not".repeat(depth);
            bytes.extend_from_slice(b"\xa4Leaf");
            Bytes::from(bytes)
        };
        assert!(Codec::<Term>::decode(&MessagePack, &nested(DEEPEST)).is_ok());
        let text = refused::<Term>(&MessagePack, nested(DEEPEST + 1));
        assert!(
            text.contains("is MessagePack nested too deep (byte 636)"),
            "{text}"
        );
        refused::<Term>(&MessagePack, nested(200_000));
        let mut lists = vec![0x91; 200_000];
        lists.push(0xc0);
        assert!(scan(&lists).is_err());
    }

    #[test]
    fn c13_errors_hold_no_value() {
        let price = b"\x83\xa4name\xa1x\xa5price\xa6s3cret\xa4tags\x80";
        errors_hold_no_value(&MessagePack, price[..].into());
        errors_hold_no_value(&MessagePack, b"\xa6s3cret"[..].into());
        errors_hold_no_value(&MessagePack, b"\xa7s3cret"[..].into());
    }

    #[test]
    fn errors_say_where_and_what_to_do() {
        let text = refused::<u32>(&MessagePack, vec![0xc3]);
        assert_eq!(
            text,
            "the stored value is MessagePack of another shape, not a u32: \
             use the type and codec it was written with, or delete the key"
        );
        let text = refused::<u32>(&MessagePack, "");
        assert!(
            text.contains("is MessagePack that ends early (byte 0)"),
            "{text}"
        );
        let text = refused::<u32>(&MessagePack, vec![1, 2]);
        assert!(
            text.contains("is MessagePack with bytes behind it (byte 1)"),
            "{text}"
        );
        let text = refused::<u32>(&MessagePack, vec![0xc1]);
        assert!(text.contains("is not MessagePack (byte 0)"), "{text}");
    }
}
