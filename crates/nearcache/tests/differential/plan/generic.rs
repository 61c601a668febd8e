//! The templates that belong to no type: on any key, on whole databases, and wrong ones.

/// Writes that do not care for the type. `@F` is the key that the family is at.
pub const GENERIC_WRITES: &[&str] = &[
    "DEL @F",
    "DEL @F @k",
    "UNLINK @F",
    "RENAME @F @k",
    "RENAME @k @F",
    "RENAMENX @k @F",
    "COPY @k @F REPLACE|-",
    "COPY @F @k DB:@db REPLACE|-",
    "MOVE @F @db",
    "EXPIRE @F @ttl NX|XX|-",
    "PEXPIRE @F @pttl",
    "EXPIREAT @F 4102444800 GT|LT|-",
    "PEXPIREAT @F 4102444800000",
    "EXPIRE @F 0|-1",
    "PERSIST @F",
];

/// Reads that do not care for the type.
pub const GENERIC_OTHERS: &[&str] = &[
    "EXISTS @F @k @F",
    "TOUCH @F @k",
    "OBJECT ENCODING @F",
    "TTL @F",
    "PTTL @F",
    "EXPIRETIME @F",
    "PEXPIRETIME @F",
    "DUMP @F",
    "PING @v|-",
    "ECHO @v",
    "PUBLISH channel @v",
];

/// What concerns whole databases, for a handle that is alone with its servers.
pub const WIDE: &[&str] = &[
    "DBSIZE",
    "DBSIZE",
    "KEYS *",
    "FLUSHDB SYNC|ASYNC|-",
    "FLUSHALL",
    "SCRIPT FLUSH",
];

/// What is wrong in itself.
pub const BROKEN: &[&str] = &[
    "GET",
    "get",
    "GET @s @s",
    "HGET @h",
    "NOSUCHCOMMAND @k @v",
    "nosuch",
    "EXEC",
    "DISCARD",
    "SELECT 99|abc",
    "SELECT",
    "OBJECT NOSUCH @k",
    "OBJECT",
    "EVALSHA 0123456789012345678901234567890123456789 0",
    "SET @s @v EX 0|abc",
    "ZADD @z NX XX @d @m",
    "ZADD @z nan @m",
    "INCRBY @s 9223372036854775807",
    "SETRANGE @s -1 x",
    "SETBIT @b -1|99999999999 1",
    "BITCOUNT @b 0",
    "GETRANGE @s a b",
    "LRANGE @l 0 x",
    "ZRANGE @z (1 2",
    "ZRANGE @z a b BYLEX",
    "ZRANGE @z 0 -1 LIMIT 0 1",
    "ZRANGEBYSCORE @z x y",
    "GEODIST @g @m @m parsec",
    "GEOSEARCH @g BYRADIUS 1 km",
    "MSET @s @v @s",
    "HSET @h @f",
    "HMGET @h",
    "EXISTS",
    "MGET",
    "COPY @k @k DB 99",
    "MOVE @k 99|abc",
    "XADD @x 0-0 a b",
    "RESTORE @k 0 garbage",
    "EVAL return 1",
    "FCALL nosuch 0",
];
