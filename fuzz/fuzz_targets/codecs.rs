//! The codecs of the typed path: any bytes decode or are refused without a word of them, what was decoded is written
//! and read again as it was, and so is any value.
#![no_main]

use std::collections::BTreeMap;
use std::fmt::Debug;

use libfuzzer_sys::fuzz_target;
use nearcache::{Bytes, Codec, Json, MessagePack, Raw};
use nearcache_fuzz::Feed;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Every kind of thing that serde knows, floats apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Whole {
    small: i8,
    large: i64,
    unsigned: u64,
    wide: Option<u128>,
    flag: bool,
    letter: char,
    text: String,
    pair: (u16, Option<String>),
    list: Vec<Term>,
    table: BTreeMap<u32, Vec<u8>>,
    nothing: (),
}

/// A type that holds itself, in each of the forms that a variant may have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Term {
    Leaf,
    Not(Box<Term>),
    Both(Box<Term>, Box<Term>),
    Named { name: String, of: Option<Box<Term>> },
}

fuzz_target!(|data: &[u8]| {
    let bytes = Bytes::copy_from_slice(data);
    for value in [read::<Whole, _>(&Json, &bytes), read(&MessagePack, &bytes)] {
        value.inspect(|value| survives(value));
    }
    for value in [read::<Term, _>(&Json, &bytes), read(&MessagePack, &bytes)] {
        value.inspect(|value| survives(value));
    }
    plain::<String>(&bytes);
    plain::<Vec<Option<u16>>>(&bytes);
    plain::<i64>(&bytes);
    plain::<(bool, char)>(&bytes);
    floats(&bytes);
    anything(&bytes);
    assert_eq!(read(&Raw, &bytes), Some(bytes.clone()));
    assert_eq!(Raw.encode(&bytes).ok(), Some(bytes));
    survives(&made(&mut Feed(data)));
});

/// Decodes. What is refused is told without a part of it.
fn read<T, C: Codec<T>>(codec: &C, bytes: &Bytes) -> Option<T> {
    match codec.decode(bytes) {
        Ok(value) => {
            let _ = codec.decoded_bytes(&value, bytes.len());
            Some(value)
        }
        Err(error) => {
            let said = error.to_string();
            let (what, _) = said.split_once(", not a ").expect("what is wrong");
            let what: String = what
                .chars()
                .filter(|letter| !letter.is_ascii_digit())
                .collect();
            assert!(KNOWN.contains(&what.as_str()), "{said}");
            None
        }
    }
}

/// All that the codecs say of stored values, without the places.
const KNOWN: [&str; 8] = [
    "the stored value is not JSON (line  column )",
    "the stored value is JSON that ends early (line  column )",
    "the stored value is JSON of another shape (line  column )",
    "the stored value is MessagePack of another shape",
    "the stored value is MessagePack with bytes behind it (byte )",
    "the stored value is MessagePack that ends early (byte )",
    "the stored value is MessagePack nested too deep (byte )",
    "the stored value is not MessagePack (byte )",
];

fn plain<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &Bytes) {
    for value in [read::<T, _>(&Json, bytes), read(&MessagePack, bytes)] {
        value.inspect(|value| survives(value));
    }
}

/// A value is the same again through either codec.
fn survives<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    assert_eq!(again(&Json, value).as_ref(), Some(value));
    assert_eq!(again(&MessagePack, value).as_ref(), Some(value));
}

fn again<T, C: Codec<T>>(codec: &C, value: &T) -> Option<T> {
    let bytes = codec
        .encode(value)
        .expect("a value of this type has a form");
    read(codec, &bytes)
}

/// MessagePack keeps every bit of a float. JSON has no NaN and no infinity, and may lose the last bit.
fn floats(bytes: &Bytes) {
    type Floats = (f64, f32);
    if let Some(value) = read::<Floats, _>(&MessagePack, bytes) {
        let same = again(&MessagePack, &value).expect("what was written can be read");
        let bits = |floats: Floats| (floats.0.to_bits(), floats.1.to_bits());
        assert_eq!(bits(same), bits(value));
    }
    if let Some(value) = read::<Floats, _>(&Json, bytes)
        // A number too large for a float is read as infinity, which has no form.
        && value.0.is_finite()
        && value.1.is_finite()
    {
        let same = again(&Json, &value).expect("what was written can be read");
        assert!(
            close(same.0, value.0) && close(same.1.into(), value.1.into()),
            "{value:?}"
        );
    }
}

/// A value of any shape.
fn anything(bytes: &Bytes) {
    if let Some(value) = read::<Value, _>(&Json, bytes) {
        let same = again(&Json, &value).expect("what was written can be read");
        assert!(alike(&same, &value), "{value}");
    }
    if let Some(value) = read::<Value, _>(&MessagePack, bytes) {
        assert_eq!(again(&MessagePack, &value), Some(value));
    }
}

fn alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) if one.is_f64() => one
            .as_f64()
            .zip(other.as_f64())
            .is_some_and(|(one, other)| close(one, other)),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| alike(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let alike = |(name, value)| other.get(name).is_some_and(|other| alike(value, other));
            one.len() == other.len() && one.iter().all(alike)
        }
        (one, other) => one == other,
    }
}

fn close(one: f64, other: f64) -> bool {
    one == other || (one - other).abs() <= one.abs().max(f64::MIN_POSITIVE) * 1e-15
}

/// A value that follows from the bytes.
fn made(feed: &mut Feed) -> Whole {
    let text = |feed: &mut Feed| String::from_utf8_lossy(&feed.word()).into_owned();
    Whole {
        small: feed.byte() as i8,
        large: feed.number() as i64,
        unsigned: feed.number(),
        wide: (feed.byte() & 1 == 1).then(|| u128::from(feed.number()) << (feed.byte() & 63)),
        flag: feed.byte() & 1 == 1,
        letter: char::from_u32(feed.number() as u32 & 0x1f_ffff).unwrap_or('\0'),
        text: text(feed),
        pair: (
            feed.number() as u16,
            (feed.byte() & 1 == 1).then(|| text(feed)),
        ),
        list: (0..feed.byte() % 4).map(|_| term(feed, 5)).collect(),
        table: (0..feed.byte() % 4)
            .map(|_| (feed.number() as u32, feed.word().to_vec()))
            .collect(),
        nothing: (),
    }
}

/// Nested `depth` deep at most.
fn term(feed: &mut Feed, depth: usize) -> Term {
    let below = |feed: &mut Feed| Box::new(term(feed, depth.saturating_sub(1)));
    match feed.byte() % 4 {
        1 if depth > 0 => Term::Not(below(feed)),
        2 if depth > 0 => Term::Both(below(feed), below(feed)),
        3 if depth > 0 => Term::Named {
            name: String::from_utf8_lossy(&feed.word()).into_owned(),
            of: (feed.byte() & 1 == 1).then(|| below(feed)),
        },
        _ => Term::Leaf,
    }
}
