//! Several services on one server: each is a fleet of its own, as long as each has a name of its own.

use std::fmt;
use std::sync::{Arc, Mutex};

use nearcache::redis_rs::AsyncCommands;
use nearcache::{Builder, LaneState, MemoryL2, NearCache, Ttl, WarmEnd, fleet_key};
use nearcache_testkit::{Server, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::support::{builder, name, read, resident, summed_up, until, write};
