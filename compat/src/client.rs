//! A client whose connections are opened in one of the ways. Those of one client share one L1, as a process's would.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use real::aio::{ConnectionManagerConfig, Monitor, PubSub};
use real::{
    AsyncConnectionConfig, ConnectionInfo, ConnectionLike, IntoConnectionInfo, RedisResult, Value,
};

use crate::aio::{ConnectionManager, MultiplexedConnection};
use crate::{Connection, Way, way};

/// As redis-rs's own.
#[derive(Clone, Debug)]
pub struct Client {
    plain: real::Client,
    through: Arc<OnceLock<nearcache::redis::Connection>>,
}

impl Client {
    pub fn open<T: IntoConnectionInfo>(params: T) -> RedisResult<Self> {
        Ok(Self {
            plain: real::Client::open(params)?,
            through: Arc::default(),
        })
    }

    pub fn get_connection_info(&self) -> &ConnectionInfo {
        self.plain.get_connection_info()
    }

    pub fn get_connection(&self) -> RedisResult<Connection> {
        let through = match way() {
            Way::RedisRs => None,
            _ => Some(nearcache::blocking::Connection::new(
                &self.through()?.cache().clone().into_blocking(),
            )),
        };
        Connection::open(&self.plain, through)
    }

    pub fn get_connection_with_timeout(&self, timeout: Duration) -> RedisResult<Connection> {
        match way() {
            Way::RedisRs => Connection::of(self.plain.get_connection_with_timeout(timeout)?),
            _ => self.get_connection(),
        }
    }

    pub async fn get_multiplexed_async_connection(&self) -> RedisResult<MultiplexedConnection> {
        self.get_multiplexed_async_connection_with_config(&AsyncConnectionConfig::new())
            .await
    }

    pub async fn get_multiplexed_async_connection_with_config(
        &self,
        config: &AsyncConnectionConfig,
    ) -> RedisResult<MultiplexedConnection> {
        Ok(match way() {
            Way::RedisRs => {
                let opened = self
                    .plain
                    .get_multiplexed_async_connection_with_config(config);
                MultiplexedConnection::RedisRs(opened.await?)
            }
            Way::DropIn => MultiplexedConnection::DropIn(self.handle().await?),
            Way::Multiplexed => {
                let handle = self.handle().await?;
                let (con, driver) = handle.multiplexed_with_config(config.clone()).await?;
                tokio::spawn(driver);
                MultiplexedConnection::RedisRs(con)
            }
        })
    }

    pub async fn get_connection_manager(&self) -> RedisResult<ConnectionManager> {
        self.get_connection_manager_with_config(ConnectionManagerConfig::new())
            .await
    }

    pub async fn get_connection_manager_with_config(
        &self,
        config: ConnectionManagerConfig,
    ) -> RedisResult<ConnectionManager> {
        Ok(match way() {
            Way::RedisRs => {
                let opened = self.plain.get_connection_manager_with_config(config);
                ConnectionManager::RedisRs(opened.await?)
            }
            _ => ConnectionManager::DropIn(self.handle().await?),
        })
    }

    pub fn get_connection_manager_lazy(
        &self,
        config: ConnectionManagerConfig,
    ) -> RedisResult<ConnectionManager> {
        Ok(match way() {
            Way::RedisRs => {
                ConnectionManager::RedisRs(self.plain.get_connection_manager_lazy(config)?)
            }
            _ => ConnectionManager::DropIn(self.through()?.clone()),
        })
    }

    pub async fn get_async_pubsub(&self) -> RedisResult<PubSub> {
        self.plain.get_async_pubsub().await
    }

    pub async fn get_async_monitor(&self) -> RedisResult<Monitor> {
        self.plain.get_async_monitor().await
    }

    /// A handle in the db of the address, as one of redis-rs's would be.
    async fn handle(&self) -> RedisResult<nearcache::redis::Connection> {
        if self.through.get().is_none() {
            let info = self.get_connection_info().clone();
            let opened = nearcache::redis::Connection::open(info).await?;
            let _ = self.through.set(opened);
        }
        Ok(self.through()?.clone())
    }

    fn through(&self) -> RedisResult<&nearcache::redis::Connection> {
        if self.through.get().is_none() {
            let info = self.get_connection_info().clone();
            let opened = nearcache::blocking::Connection::open(info)?;
            let _ = self.through.set(opened.as_async().clone());
        }
        Ok(self.through.get().expect("it was set above"))
    }
}

impl ConnectionLike for Client {
    fn req_packed_command(&mut self, cmd: &[u8]) -> RedisResult<Value> {
        self.get_connection()?.req_packed_command(cmd)
    }

    fn req_packed_commands(
        &mut self,
        cmd: &[u8],
        offset: usize,
        count: usize,
    ) -> RedisResult<Vec<Value>> {
        self.get_connection()?
            .req_packed_commands(cmd, offset, count)
    }

    fn get_db(&self) -> i64 {
        self.plain.get_db()
    }

    fn check_connection(&mut self) -> bool {
        self.get_connection()
            .is_ok_and(|mut con| con.check_connection())
    }

    fn is_open(&self) -> bool {
        self.get_connection().is_ok_and(|con| con.is_open())
    }
}
