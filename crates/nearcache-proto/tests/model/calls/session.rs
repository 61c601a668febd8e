//! Calls through a session: hidden writes, transactions of both kinds, optimistic ones, pipelines that read around
//! a write, and a change of the db.

use bytes::Bytes;
use nearcache_proto::resp::Reply;
use nearcache_proto::{
    Cache, Error, ErrorKind, Freshness, Protocol, ReadPolicy, Session, Source, WriteOutcome,
};

use super::{CallFuture, Outcome, decode_reply, encode, key, whole};
use crate::io::SimIo;
use crate::oracle::{Name, Seen};

/// Writes through a command whose keys cannot be seen: a script, or a transaction on the side connection.
pub fn hidden_write(cache: Cache<SimIo>, name: Name, value: u64, script: bool) -> CallFuture {
    Box::pin(async move {
        let mut session = Session::new(cache, name.0);
        let number = value;
        let (key, value) = (key(name), encode(value).to_vec());
        if script {
            let text = b"return redis.call('set', KEYS[1], ARGV[1])".to_vec();
            let argv = [b"EVAL".to_vec(), text, b"1".to_vec(), key, value];
            if number.is_multiple_of(2) {
                session.command(&argv).await?;
            } else {
                let reads = vec![Bytes::from_static(b"DBSIZE")];
                let pipeline = vec![argv.map(Bytes::from).to_vec(), reads];
                let replies = session.pipeline(pipeline).await?;
                if let Reply::Error { message, .. } = &replies[0] {
                    // As `command` says it.
                    return Err(Error::new(ErrorKind::Usage, message.clone()));
                }
            }
        } else if let Err(error) = transaction(&mut session, key, value).await {
            usable(&mut session).await;
            return Err(error);
        }
        Ok(Outcome::Done)
    })
}

async fn transaction(
    session: &mut Session<SimIo>,
    key: Vec<u8>,
    value: Vec<u8>,
) -> Result<(), Error> {
    session.command(&[b"MULTI".to_vec()]).await?;
    let set = session.command(&[b"SET".to_vec(), key, value]).await;
    if let Ok(set) = &set {
        assert_eq!(*set, Reply::Simple("QUEUED".into()), "C16: no transaction");
    } else if !refused(&set) {
        return set.map(drop);
    }
    let exec = session.command(&[b"EXEC".to_vec()]).await;
    set.and(exec).map(drop)
}

/// Whatever became of a session's transaction, it is over.
async fn usable(session: &mut Session<SimIo>) {
    for line in [&["SELECT", "1"][..], &["MULTI"], &["DISCARD"]] {
        let result = session.command(line).await;
        assert!(!refused(&result), "C16: {line:?} gave {result:?}");
        if result.is_err() {
            return;
        }
    }
}

/// Whether the server or the session said no, rather than nothing.
fn refused(result: &Result<Reply, Error>) -> bool {
    matches!(result, Err(error) if refused_by(error))
}

fn refused_by(error: &Error) -> bool {
    error.kind() == ErrorKind::Usage || error.write_outcome() == Some(WriteOutcome::Refused)
}

/// A session that L1 answers.
fn serving(cache: Cache<SimIo>, db: u32) -> Session<SimIo> {
    Session::serving(cache, db, Protocol::Resp3, Some(ReadPolicy::PassThrough))
}

fn words(words: &[&[u8]]) -> Vec<Bytes> {
    words.iter().map(|w| Bytes::copy_from_slice(w)).collect()
}

/// An error of the server among the replies fails the call, as `command` would.
fn check(replies: &[Reply]) -> Result<(), Error> {
    match replies
        .iter()
        .find(|reply| matches!(reply, Reply::Error { .. }))
    {
        Some(Reply::Error { message, .. }) => Err(Error::new(ErrorKind::Usage, message.clone())),
        _ => Ok(()),
    }
}

/// A read, a write and a read of one key as a pipeline: only the first may come from L1.
pub fn mixed(cache: Cache<SimIo>, name: Name, value: u64) -> CallFuture {
    Box::pin(async move {
        let mut session = serving(cache, name.0);
        let key = key(name);
        let get = words(&[b"GET", &key]);
        let set = words(&[b"SET", &key, &encode(value)]);
        let replies = session.pipeline(vec![get, set, whole(&key)]).await?;
        check(&replies)?;
        Ok(Outcome::Around {
            before: Some(decode_reply(&replies[0])),
            after: decode_reply(&replies[2]),
        })
    })
}

/// The same as one atomic transaction.
pub fn exec(cache: Cache<SimIo>, name: Name, value: u64) -> CallFuture {
    Box::pin(async move {
        let mut session = serving(cache, name.0);
        let key = key(name);
        let set = words(&[b"SET", &key, &encode(value)]);
        let get = words(&[b"GET", &key]);
        let mut commands = vec![set, get];
        if value.is_multiple_of(3) {
            // The lane does not take that: the whole goes over a connection that is shared.
            commands.push(words(&[b"KEYS", b"none"]));
        }
        let reply = session.transaction(commands).await?;
        let Reply::Array(replies) = &reply else {
            check(std::slice::from_ref(&reply))?;
            panic!("a transaction without WATCH is not given up: {reply:?}");
        };
        check(replies)?;
        assert_eq!(
            decode_reply(&replies[1]),
            Some(value),
            "C16: EXEC is atomic"
        );
        Ok(Outcome::Around {
            before: None,
            after: Some(value),
        })
    })
}

/// Reads under `WATCH` and writes if nobody else did.
pub fn watched(cache: Cache<SimIo>, name: Name, value: u64) -> CallFuture {
    Box::pin(async move {
        let mut session = serving(cache, name.0);
        match optimistic(&mut session, &key(name), value).await {
            Ok((seen, written)) => Ok(Outcome::Watched(seen, written)),
            Err(error) => Err(error),
        }
    })
}

async fn optimistic(
    session: &mut Session<SimIo>,
    key: &[u8],
    value: u64,
) -> Result<(Seen, bool), Error> {
    session.command(&[&b"WATCH"[..], key]).await?;
    let seen = decode_reply(&session.command(&[&b"GET"[..], key]).await?);
    session.command(&[b"MULTI"]).await?;
    let read = session.command(&[&b"GET"[..], key]).await?;
    assert_eq!(read, Reply::Simple("QUEUED".into()), "C16: served in MULTI");
    let set = session.command(&[&b"SET"[..], key, &encode(value)]).await;
    if !matches!(&set, Err(error) if refused_by(error)) {
        set?;
    }
    match session.command(&[b"EXEC"]).await? {
        Reply::Nil => Ok((seen, false)),
        Reply::Array(_) => Ok((seen, true)),
        other => panic!("EXEC gave {other:?}"),
    }
}

/// A read in another db than the session began in.
pub fn switched(cache: Cache<SimIo>, from: u32, name: Name) -> CallFuture {
    Box::pin(async move {
        let mut session = serving(cache, from);
        let db = name.0.to_string();
        session.command(&["SELECT", &db]).await?;
        let get = words(&[b"GET", &key(name)]);
        let (reply, source) = match session.resident(&get) {
            Some(reply) => (reply, Source::L1),
            None => (session.call(get).await?, Source::L2),
        };
        check(std::slice::from_ref(&reply))?;
        let seen = decode_reply(&reply);
        Ok(Outcome::Read(name, seen, Freshness::Fresh, source))
    })
}
