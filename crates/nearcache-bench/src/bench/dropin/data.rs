//! What a run reads and writes: names under one prefix, written before it and deleted after it.
//! Everything ends by itself within the hour, so that an interrupted run leaves nothing for good.

use redis::{Commands, Connection, RedisResult};

/// Bytes of a small value, and of a field's.
pub(super) const SMALL: usize = 100;
/// Bytes of a large value.
pub(super) const LARGE: usize = 200_000;
/// Fields of a hash.
pub(super) const FIELDS: usize = 20;
/// How many keys there are of each kind.
pub(super) const SMALLS: u32 = 1000;
pub(super) const LARGES: u32 = 16;
pub(super) const HASHES: u32 = 100;

const LIFE_SECONDS: i64 = 3600;

pub(super) fn small(number: u32) -> String {
    format!("nearcache-bench:small:{number:04}")
}

pub(super) fn large(number: u32) -> String {
    format!("nearcache-bench:large:{number:04}")
}

pub(super) fn hash(number: u32) -> String {
    format!("nearcache-bench:hash:{number:04}")
}

/// A key that is written while the clock runs; never one that L1 has.
pub(super) fn written(number: u32) -> String {
    format!("nearcache-bench:written:{number:04}")
}

/// A key that is counted up.
pub(super) fn counter(number: u32) -> String {
    format!("nearcache-bench:counter:{number:04}")
}

/// Writes everything.
pub(super) fn write(con: &mut Connection) -> RedisResult<()> {
    let life = LIFE_SECONDS.unsigned_abs();
    for number in 0..SMALLS {
        con.set_ex::<_, _, ()>(small(number), vec![b's'; SMALL], life)?;
        con.set_ex::<_, _, ()>(written(number), vec![b'w'; SMALL], life)?;
        con.set_ex::<_, _, ()>(counter(number), 0, life)?;
    }
    for number in 0..LARGES {
        con.set_ex::<_, _, ()>(large(number), vec![b'l'; LARGE], life)?;
    }
    let fields: Vec<(String, Vec<u8>)> = (0..FIELDS)
        .map(|field| (format!("field:{field:02}"), vec![b'h'; SMALL]))
        .collect();
    for number in 0..HASHES {
        con.hset_multiple::<_, _, _, ()>(hash(number), &fields)?;
        con.expire::<_, ()>(hash(number), LIFE_SECONDS)?;
    }
    Ok(())
}

/// Deletes everything.
pub(super) fn delete(con: &mut Connection) -> RedisResult<()> {
    let mut names: Vec<String> = (0..SMALLS).map(small).collect();
    names.extend((0..SMALLS).map(written));
    names.extend((0..SMALLS).map(counter));
    names.extend((0..LARGES).map(large));
    names.extend((0..HASHES).map(hash));
    con.del(names)
}
