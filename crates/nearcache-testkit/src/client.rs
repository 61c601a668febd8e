//! A minimal blocking client: the independent writer of the tests. One connection, no pool, no retry.
//! Must never use code of nearcache or of redis-rs: what they misread, this must still read right.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::WAIT_MAX;

/// One reply or push of a server, RESP2 or RESP3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Any of the three null forms.
    Nil,
    /// A simple string such as `OK`.
    Simple(String),
    /// An error reply, code word included.
    Error(String),
    /// An integer.
    Int(i64),
    /// A bulk or verbatim string.
    Bulk(Vec<u8>),
    /// A boolean.
    Bool(bool),
    /// A double or big number, as it was written.
    Number(String),
    /// An array or a set.
    Array(Vec<Value>),
    /// A map, key and value alternating.
    Map(Vec<Value>),
    /// An out-of-band push.
    Push(Vec<Value>),
}

impl Value {
    /// The text of a simple, bulk, error or number reply; panics for anything else or for bytes that are not UTF-8.
    #[track_caller]
    pub fn text(&self) -> String {
        match self {
            Self::Simple(text) | Self::Error(text) | Self::Number(text) => text.clone(),
            Self::Bulk(bytes) => String::from_utf8(bytes.clone()).expect("a UTF-8 reply"),
            other => panic!("expected a text reply, got {other:?}"),
        }
    }

    /// The integer; panics for anything else.
    #[track_caller]
    pub fn int(&self) -> i64 {
        match self {
            Self::Int(number) => *number,
            other => panic!("expected an integer reply, got {other:?}"),
        }
    }

    /// Whether this is an error reply.
    pub fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }
}

/// One blocking connection to a server.
///
/// Every read and write gives up after [`WAIT_MAX`].
pub struct Client {
    stream: BufReader<Box<dyn Stream>>,
}

impl Client {
    /// Connects over TCP to a loopback port.
    ///
    /// # Errors
    /// What connecting returns.
    pub fn tcp(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(WAIT_MAX))?;
        stream.set_write_timeout(Some(WAIT_MAX))?;
        Ok(Self::over(Box::new(stream)))
    }

    /// Connects to a unix socket.
    ///
    /// # Errors
    /// What connecting returns.
    pub fn unix(path: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(WAIT_MAX))?;
        stream.set_write_timeout(Some(WAIT_MAX))?;
        Ok(Self::over(Box::new(stream)))
    }

    fn over(stream: Box<dyn Stream>) -> Self {
        Self {
            stream: BufReader::new(stream),
        }
    }

    /// Sends one command and returns its reply; panics when the connection fails. Error replies are returned.
    #[track_caller]
    pub fn cmd<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Value {
        match self.try_cmd(args) {
            Ok(reply) => reply,
            Err(error) => panic!("the test's own connection failed: {error}"),
        }
    }

    /// Like [`cmd`](Self::cmd), but panics for an error reply too.
    #[track_caller]
    pub fn ok<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Value {
        let reply = self.cmd(args);
        assert!(
            !reply.is_error(),
            "the server refused the command: {reply:?}"
        );
        reply
    }

    /// Sends one command and returns its reply.
    ///
    /// # Errors
    /// When the connection fails, ends or is silent for [`WAIT_MAX`], or the server breaks the protocol.
    pub fn try_cmd<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<Value> {
        self.send(args)?;
        self.recv()
    }

    /// Sends one command without waiting for its reply.
    ///
    /// # Errors
    /// When the connection fails.
    pub fn send<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<()> {
        let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
        for arg in args {
            let arg = arg.as_ref();
            bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            bytes.extend_from_slice(arg);
            bytes.extend_from_slice(b"\r\n");
        }
        self.send_raw(&bytes)
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the connection fails.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Waits for the next reply or push.
    ///
    /// # Errors
    /// As for [`try_cmd`](Self::try_cmd).
    pub fn recv(&mut self) -> io::Result<Value> {
        let line = self.line()?;
        let (kind, rest) = line.split_at_checked(1).ok_or_else(|| broken(&line))?;
        let items = |this: &mut Self, each: usize| -> io::Result<Option<Vec<Value>>> {
            let Ok(count) = usize::try_from(number(rest)?) else {
                return Ok(None);
            };
            (0..count * each)
                .map(|_| this.recv())
                .collect::<io::Result<_>>()
                .map(Some)
        };
        Ok(match kind {
            "+" => Value::Simple(rest.to_owned()),
            "-" => Value::Error(rest.to_owned()),
            ":" => Value::Int(number(rest)?),
            "," | "(" => Value::Number(rest.to_owned()),
            "#" => Value::Bool(rest == "t"),
            "_" => Value::Nil,
            "$" | "=" | "!" => match usize::try_from(number(rest)?) {
                Err(_) => Value::Nil,
                Ok(len) => self.blob(kind, len)?,
            },
            "*" | "~" => items(self, 1)?.map_or(Value::Nil, Value::Array),
            ">" => items(self, 1)?.map_or(Value::Nil, Value::Push),
            "%" => items(self, 2)?.map_or(Value::Nil, Value::Map),
            _ => return Err(broken(&line)),
        })
    }

    fn blob(&mut self, kind: &str, len: usize) -> io::Result<Value> {
        let mut bytes = vec![0; len + 2];
        self.stream.read_exact(&mut bytes)?;
        bytes.truncate(len);
        Ok(match kind {
            "!" => Value::Error(String::from_utf8_lossy(&bytes).into_owned()),
            // A verbatim string begins with its format, "txt:".
            "=" => Value::Bulk(bytes.split_off(4.min(len))),
            _ => Value::Bulk(bytes),
        })
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        match line.strip_suffix("\r\n") {
            Some(line) => Ok(line.to_owned()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

trait Stream: Read + Write + Send {}

impl<S: Read + Write + Send> Stream for S {}

fn number(text: &str) -> io::Result<i64> {
    text.parse().map_err(|_| broken(text))
}

fn broken(line: &str) -> io::Error {
    let what = format!("the server sent a line that is no RESP: {line:?}");
    io::Error::new(io::ErrorKind::InvalidData, what)
}
