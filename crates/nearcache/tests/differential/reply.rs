//! What came back, in a form in which two servers agree: sorted where order is the server's own affair,
//! errors by kind, code and text.

use redis::{ErrorKind, RedisError, RedisResult, ServerError, Value};

use crate::command::{Shape, escaped};

/// One reply or error, as a user of redis-rs sees it.
#[derive(Clone, PartialEq)]
pub enum Reply {
    Value(Value),
    Error {
        kind: ErrorKind,
        code: Option<String>,
        detail: Option<String>,
        /// Of a pipeline that failed as a whole.
        inner: Vec<(usize, ServerError)>,
    },
}

impl Reply {
    /// Whether the two are the same to somebody who does not rely on what no server promises.
    pub fn agrees(&self, other: &Self, shape: Shape) -> bool {
        match (self, other) {
            (Self::Value(left), Self::Value(right)) => same(left, right, shape),
            _ => self == other,
        }
    }

    pub fn value(&self) -> Option<&Value> {
        match self {
            Self::Value(value) => Some(value),
            Self::Error { .. } => None,
        }
    }

    /// Whether the connection is of no more use, on account of a reply or otherwise.
    pub fn is_broken(&self) -> bool {
        let Self::Error { kind, .. } = self else {
            return false;
        };
        [ErrorKind::Parse, ErrorKind::Io].contains(kind)
    }

    pub fn is_okay(&self) -> bool {
        self.value() == Some(&Value::Okay)
    }
}

impl From<Value> for Reply {
    fn from(value: Value) -> Self {
        match value {
            // Whether an error is the reply or the result makes no difference to who queries.
            Value::ServerError(error) => RedisError::from(error).into(),
            value => Self::Value(value),
        }
    }
}

impl From<RedisError> for Reply {
    fn from(error: RedisError) -> Self {
        let (kind, code) = (error.kind(), error.code().map(str::to_owned));
        let detail = error.detail().map(str::to_owned);
        // redis-rs lists which commands were refused, by a constructor of its own that nobody else can call; kind
        // and code are the same.
        if kind == ErrorKind::Server(redis::ServerErrorKind::ExecAbort) {
            return Self::Error {
                kind,
                code,
                detail: None,
                inner: Vec::new(),
            };
        }
        let inner = match detail {
            Some(_) => None,
            None => error.into_server_errors(),
        };
        Self::Error {
            kind,
            code,
            detail,
            inner: inner.map(|errors| errors.to_vec()).unwrap_or_default(),
        }
    }
}

impl<V: Into<Reply>> From<RedisResult<V>> for Reply {
    fn from(result: RedisResult<V>) -> Self {
        match result {
            Ok(value) => value.into(),
            Err(error) => error.into(),
        }
    }
}

impl std::fmt::Display for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Value(value) => f.write_str(&shown(value)),
            Self::Error {
                kind,
                code,
                detail,
                inner,
            } => {
                let text = detail.as_deref().unwrap_or_default();
                write!(f, "error {kind:?} {}", code.as_deref().unwrap_or("-"))?;
                write!(f, " {}", text.escape_debug())?;
                if !inner.is_empty() {
                    write!(f, " {inner:?}")?;
                }
                Ok(())
            }
        }
    }
}

fn same(left: &Value, right: &Value, shape: Shape) -> bool {
    match shape {
        Shape::Exact => left == right,
        Shape::Bag => sorted(left.clone()) == sorted(right.clone()),
        Shape::Pairs => paired(left.clone()) == paired(right.clone()),
        Shape::Clock(tolerance) => close(left, right, tolerance),
        Shape::Opaque => (*left == Value::Nil) == (*right == Value::Nil),
    }
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Array(mut items) => {
            items.sort_by_cached_key(key);
            Value::Array(items)
        }
        Value::Set(mut items) => {
            items.sort_by_cached_key(key);
            Value::Set(items)
        }
        other => other,
    }
}

/// A map, or an array of names and values in turn, sorted by name; the form stays what it was.
fn paired(value: Value) -> Value {
    match value {
        Value::Map(mut pairs) => {
            pairs.sort_by_cached_key(|(name, _)| key(name));
            Value::Map(pairs)
        }
        Value::Array(items) if items.len() % 2 == 0 => {
            let mut pairs: Vec<Vec<Value>> = items.chunks(2).map(<[Value]>::to_vec).collect();
            pairs.sort_by_cached_key(|pair| key(&pair[0]));
            Value::Array(pairs.concat())
        }
        other => other,
    }
}

fn key(value: &Value) -> Vec<u8> {
    match value {
        Value::BulkString(bytes) => bytes.clone(),
        other => format!("{other:?}").into_bytes(),
    }
}

fn close(left: &Value, right: &Value, tolerance: i64) -> bool {
    match (left, right) {
        // Negative: no such key, or no expiry.
        (Value::Int(a), Value::Int(b)) if *a >= 0 && *b >= 0 => (a - b).abs() <= tolerance,
        (Value::Array(a), Value::Array(b)) => {
            let all = |(a, b): (&Value, &Value)| close(a, b, tolerance);
            a.len() == b.len() && a.iter().zip(b).all(all)
        }
        _ => left == right,
    }
}

/// A value for a message, long ones cut.
fn shown(value: &Value) -> String {
    const ITEMS_MAX: usize = 24;
    let list = |items: &[Value], ends: [&str; 2]| {
        let mut text: Vec<String> = items.iter().take(ITEMS_MAX).map(shown).collect();
        if items.len() > ITEMS_MAX {
            text.push(format!("...({} items)", items.len()));
        }
        format!("{}{}{}", ends[0], text.join(" "), ends[1])
    };
    match value {
        Value::BulkString(bytes) => escaped(bytes),
        Value::Array(items) => list(items, ["[", "]"]),
        Value::Set(items) => list(items, ["~[", "]"]),
        Value::Map(pairs) => {
            let flat: Vec<Value> = pairs
                .iter()
                .flat_map(|(name, value)| [name.clone(), value.clone()])
                .collect();
            list(&flat, ["%{", "}"])
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn what_differs_is_told_from_what_may_differ() {
    let bulk = |text: &str| Value::BulkString(text.into());
    let bag = |items: &[&str]| Value::Array(items.iter().map(|text| bulk(text)).collect());
    assert!(same(&bag(&["a", "b"]), &bag(&["b", "a"]), Shape::Bag));
    assert!(!same(&bag(&["a", "b"]), &bag(&["b", "a"]), Shape::Exact));
    assert!(!same(&bag(&["a", "a"]), &bag(&["a", "b"]), Shape::Bag));
    let (left, right) = (bag(&["a", "1", "b", "2"]), bag(&["b", "2", "a", "1"]));
    assert!(same(&left, &right, Shape::Pairs));
    let crossed = bag(&["b", "1", "a", "2"]);
    assert!(same(&left, &crossed, Shape::Bag) && !same(&left, &crossed, Shape::Pairs));
    let set = Value::Set(vec![bulk("a")]);
    assert!(!same(&bag(&["a"]), &set, Shape::Bag), "the form counts");
    assert!(same(&Value::Int(100), &Value::Int(99), Shape::Clock(2)));
    assert!(!same(&Value::Int(1), &Value::Int(-1), Shape::Clock(2)));
    assert!(!same(&Value::Int(-1), &Value::Int(-2), Shape::Clock(2)));
}
