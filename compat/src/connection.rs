//! The blocking connection.

use std::time::Duration;

use real::{
    Cmd, ConnectionLike, ControlFlow, Msg, PubSub, PubSubCommands, PushInfo, RedisResult,
    ToRedisArgs, Value,
};

/// As redis-rs's own. Through nearcache, what is about pushes and sockets is done on a connection of redis-rs.
pub struct Connection {
    plain: real::Connection,
    through: Option<nearcache::blocking::Connection>,
}

impl Connection {
    pub(crate) fn of(plain: real::Connection) -> RedisResult<Self> {
        Ok(Self {
            plain,
            through: None,
        })
    }

    pub(crate) fn open(
        client: &real::Client,
        through: Option<nearcache::blocking::Connection>,
    ) -> RedisResult<Self> {
        let plain = client.get_connection()?;
        Ok(Self { plain, through })
    }

    pub fn as_pubsub(&mut self) -> PubSub<'_> {
        self.plain.as_pubsub()
    }

    pub fn set_push_sender(&mut self, sender: std::sync::mpsc::Sender<PushInfo>) {
        self.plain.set_push_sender(sender);
    }

    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> RedisResult<()> {
        self.plain.set_read_timeout(timeout)
    }

    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> RedisResult<()> {
        self.plain.set_write_timeout(timeout)
    }

    pub fn subscribe_resp3<T: ToRedisArgs>(&mut self, channel: T) -> RedisResult<()> {
        self.plain.subscribe_resp3(channel)
    }

    pub fn psubscribe_resp3<T: ToRedisArgs>(&mut self, channel: T) -> RedisResult<()> {
        self.plain.psubscribe_resp3(channel)
    }

    pub fn unsubscribe_resp3<T: ToRedisArgs>(&mut self, channel: T) -> RedisResult<()> {
        self.plain.unsubscribe_resp3(channel)
    }

    pub fn punsubscribe_resp3<T: ToRedisArgs>(&mut self, channel: T) -> RedisResult<()> {
        self.plain.punsubscribe_resp3(channel)
    }

    pub fn recv_response(&mut self) -> RedisResult<Value> {
        self.plain.recv_response()
    }

    fn con(&mut self) -> &mut dyn ConnectionLike {
        match &mut self.through {
            Some(con) => con,
            None => &mut self.plain,
        }
    }
}

impl PubSubCommands for Connection {
    fn subscribe<C, F, U>(&mut self, channel: C, func: F) -> RedisResult<U>
    where
        F: FnMut(Msg) -> ControlFlow<U>,
        C: ToRedisArgs,
    {
        self.plain.subscribe(channel, func)
    }

    fn psubscribe<P, F, U>(&mut self, pchannel: P, func: F) -> RedisResult<U>
    where
        F: FnMut(Msg) -> ControlFlow<U>,
        P: ToRedisArgs,
    {
        self.plain.psubscribe(pchannel, func)
    }
}

impl ConnectionLike for Connection {
    fn req_command(&mut self, cmd: &Cmd) -> RedisResult<Value> {
        self.con().req_command(cmd)
    }

    fn req_packed_command(&mut self, cmd: &[u8]) -> RedisResult<Value> {
        self.con().req_packed_command(cmd)
    }

    fn req_packed_commands(
        &mut self,
        cmd: &[u8],
        offset: usize,
        count: usize,
    ) -> RedisResult<Vec<Value>> {
        self.con().req_packed_commands(cmd, offset, count)
    }

    fn get_db(&self) -> i64 {
        match &self.through {
            Some(con) => con.get_db(),
            None => self.plain.get_db(),
        }
    }

    fn check_connection(&mut self) -> bool {
        self.con().check_connection()
    }

    fn is_open(&self) -> bool {
        match &self.through {
            Some(con) => con.is_open(),
            None => ConnectionLike::is_open(&self.plain),
        }
    }
}
