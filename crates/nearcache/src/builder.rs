//! From settings to a running cache: what is validated when, and how settings become the parts' own.
//!
//! The only place that draws random seeds. Never opens anything in `build`.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::Arc;

use nearcache_io::{IoThread, MemoryL2, PerProcess, SnapshotFile};
use nearcache_l1::{Key, RemovalCause, StoreConfig, Weigher};
use nearcache_proto::warm::{Snapshots, WarmConfig};
use nearcache_proto::working_set::KeyNames;
use nearcache_proto::{
    Cache, Error, ErrorKind, L2, LaneConfig, Pod, PodConfig, user_key, weighed_key,
};
#[cfg(feature = "redis")]
use nearcache_redis::{RedisL2, TlsFiles};

use crate::settings::{
    MEMORY_URL, ManifestKeys, Service, SettingValue, setting_methods, settings_table,
};
use crate::{NearCache, RemovalHook, Settings, SettingsBuilder, blocking};

/// Sets up a [`NearCache`]: where L2 is, and one method per setting.
///
/// What is called wins over the environment ([`env`](Self::env)), that over a file
/// ([`file`](Self::file)), that over [`settings`](Self::settings), and those over the defaults.
///
/// ```
/// # use std::time::Duration;
/// # use nearcache::NearCache;
/// let cache = NearCache::builder()
///     .redis("redis://127.0.0.1:6379")
///     .capacity("64MiB")
///     .max_staleness(Duration::from_millis(500))
///     .build()?; // only checked: nothing is connected yet
/// # Ok::<(), nearcache::Error>(())
/// ```
#[derive(Clone, Default)]
#[must_use]
pub struct Builder {
    settings: SettingsBuilder,
    store: Option<Arc<dyn L2>>,
    weigher: Option<Arc<dyn Weigher>>,
    on_removal: Option<RemovalHook>,
}

impl Builder {
    /// L2 is the Redis or Valkey at `url`: `redis://[user[:password]@]host[:port][/db]`, `rediss://`
    /// for TLS, or `unix:///path`. Reads and writes go to the db of the URL.
    pub fn redis(self, url: impl Into<String>) -> Self {
        Self {
            store: None,
            ..self
        }
        .url(url.into())
    }

    /// L2 is a new embedded store, inside this process and of this cache only: no server is needed, and
    /// nothing is shared with other processes, nor with a forked child, whose store is empty at first. Pods of
    /// one process that share an embedded store are made with [`store`](Self::store) and clones of one [`MemoryL2`], and so
    /// are tests that turn the clock. [`MemoryL2`] also has the list of the commands it knows.
    pub fn memory(self) -> Self {
        Self {
            store: None,
            ..self
        }
        .url(MEMORY_URL)
    }

    /// L2 is this store, whatever `url` says. Reads and writes go to its resting db. A forked child opens connections of
    /// its own through the copy it inherits: `connect` must not need a lock or a thread of the parent.
    pub fn store(self, store: impl L2) -> Self {
        Self {
            store: Some(Arc::new(store)),
            ..self
        }
    }

    /// Starts from these settings instead of the defaults.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = self.settings.base(settings);
        self
    }

    /// Reads this TOML file when the cache is built; it must exist.
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings = self.settings.file(path);
        self
    }

    /// Reads the `NEARCACHE_*` variables of this process when the cache is built.
    pub fn env(mut self) -> Self {
        self.settings = self.settings.env();
        self
    }

    /// Sets one setting by name.
    pub fn set(mut self, name: &str, value: impl SettingValue) -> Self {
        self.settings = self.settings.set(name, value);
        self
    }

    settings_table!(setting_methods);

    /// Calls `hook` for every entry that leaves L1, with its key, db and the cause. A kept reply to a command
    /// is an entry, too; one whose key was invalidated leaves when it is read anew, or evicted.
    ///
    /// It runs on whatever thread removed the entry, often the IO thread: it must be quick, and must
    /// not wait for a call of this cache.
    pub fn on_removal(
        mut self,
        hook: impl Fn(Key<'_>, RemovalCause) + Send + Sync + 'static,
    ) -> Self {
        self.on_removal = Some(Arc::new(hook));
        self
    }

    /// Counts entries against the capacity as `weigher` says, instead of by their bytes. The capacity
    /// and `max_entry` then are in its units.
    pub fn weigher(mut self, weigher: impl Weigher + 'static) -> Self {
        self.weigher = Some(Arc::new(weigher));
        self
    }

    /// The cache, set up and checked. Opens nothing: the lane starts at the first call that needs L2.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`](crate::ErrorKind) with the first thing that is wrong, and what is allowed.
    pub fn build(self) -> Result<NearCache, Error> {
        let mut settings = check(self.settings, self.store.is_some())?;
        for warning in settings.warnings() {
            tracing::warn!("{warning}");
        }
        let (l2, db) = open(self.store, &settings)?;
        name_service(&mut settings, &*l2)?;
        let lane = lane_config(&settings, &*l2, db);
        let (place, protocol) = (l2.describe(), l2.protocol());
        let weigher = self.weigher.map(by_user_key);
        let on_removal = self.on_removal.map(with_user_key);
        let of = settings.clone();
        let make = move || {
            let store = StoreConfig {
                max_entry_weight: of.max_entry,
                max_flights_per_key: of.flights_per_key,
                max_flights: most_flights(&of),
                seed: random(),
                weigher: weigher.clone(),
                on_removal: on_removal.clone(),
                ..StoreConfig::new(of.capacity)
            };
            let pod = Arc::new(Pod::new(store, pod_config(&of))?);
            let (l2, lane) = (l2.clone(), lane.clone());
            let io = IoThread::new(pod.clone(), l2, lane, random());
            let (background, snapshots) = warm_config(&of, db);
            io.set_background(background, snapshots);
            let while_away = of.while_away.unwrap_or_default();
            Ok::<_, Error>(Cache::new(pod, io).with_while_away(while_away))
        };
        let first = make()?;
        let again = move || make().expect("these settings have made a pod before");
        let lives = PerProcess::new(first, again);
        Ok(NearCache::new(lives, settings, place, protocol, db))
    }

    /// The cache, once its lane is up. What can heal - nothing listens yet, a name that does not resolve, a
    /// failover under way - is tried again until `warm_deadline`; an attempt that is the first has its own time
    /// (`connect_timeout`, and as much for the hand-shake). Needs no runtime.
    ///
    /// # Errors
    /// As [`build`](Self::build), and why the last attempt to connect failed:
    /// [`ErrorKind::Configuration`](crate::ErrorKind) at once (bad credentials, a certificate that is not valid, no
    /// Redis), [`ErrorKind::Retry`](crate::ErrorKind) at the deadline. Use [`build`](Self::build) to start without
    /// L2 and connect when it is there.
    pub async fn connect(self) -> Result<NearCache, Error> {
        let cache = self.build()?;
        let patience = cache.settings().warm_deadline;
        cache.cache().ready(patience).await?;
        Ok(cache)
    }

    /// The same for callers without an executor.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn connect_blocking(self) -> Result<blocking::NearCache, Error> {
        pollster::block_on(self.connect()).map(NearCache::into_blocking)
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").finish_non_exhaustive()
    }
}

/// A hook that is told keys of users, whatever lies under them in L1.
fn with_user_key(hook: RemovalHook) -> RemovalHook {
    Arc::new(move |slot, cause| {
        if let Some(key) = user_key(slot) {
            hook(key, cause);
        }
    })
}

/// A weigher that is asked of keys of users.
fn by_user_key(weigher: Arc<dyn Weigher>) -> Arc<dyn Weigher> {
    Arc::new(UserWeigher(weigher))
}

struct UserWeigher(Arc<dyn Weigher>);

impl Weigher for UserWeigher {
    fn weigh(&self, slot: Key<'_>, value_bytes: usize, decoded_bytes: usize) -> usize {
        // What only tells which replies are good has no weight that a user could know of.
        weighed_key(slot).map_or(0, |key| self.0.weigh(key, value_bytes, decoded_bytes))
    }
}

fn check(builder: SettingsBuilder, has_store: bool) -> Result<Settings, Error> {
    // A store needs no address; what was set as one is not used, and must not look as if it were.
    if !has_store {
        return builder.build();
    }
    let mut settings = builder.set("url", MEMORY_URL).build()?;
    settings.url.clear();
    Ok(settings)
}

/// Settles what the service is called. A doubtful name matters where other services can be.
fn name_service(settings: &mut Settings, l2: &dyn L2) -> Result<(), Error> {
    let service = Service::of_process(&settings.service)?;
    settings.service = service.name;
    let alone = l2.is_local() || !counts_reads(settings);
    match service.doubt.filter(|_| !alone) {
        Some(doubt) if settings.strict => Err(Error::new(
            ErrorKind::Configuration,
            format!("{doubt} (strict = true)"),
        )),
        Some(doubt) => {
            tracing::warn!("{doubt}");
            Ok(())
        }
        None => Ok(()),
    }
}

/// The store and the db that calls go to unless told otherwise.
fn open(store: Option<Arc<dyn L2>>, settings: &Settings) -> Result<(Arc<dyn L2>, u32), Error> {
    if let Some(store) = store {
        let db = store.resting_db();
        return Ok((store, db));
    }
    if settings.is_memory() {
        return Ok((Arc::new(MemoryL2::new()), 0));
    }
    open_url(settings)
}

#[cfg(feature = "redis")]
fn open_url(settings: &Settings) -> Result<(Arc<dyn L2>, u32), Error> {
    let files = tls_files(settings);
    let redis = RedisL2::open_with(&settings.url, settings.connect_timeout, &files)?;
    let db = redis.db();
    Ok((Arc::new(redis), db))
}

#[cfg(not(feature = "redis"))]
fn open_url(_: &Settings) -> Result<(Arc<dyn L2>, u32), Error> {
    Err(Error::new(
        ErrorKind::Configuration,
        "`url` names a server, and this build has no client for one: turn on the feature `redis` of the crate \
         nearcache, or use the embedded store (url = \"memory:\") or one of your own",
    ))
}

#[cfg(feature = "redis")]
pub(crate) fn tls_files(settings: &Settings) -> TlsFiles {
    TlsFiles {
        ca: settings.tls_ca_file.clone(),
        cert: settings.tls_cert_file.clone(),
        key: settings.tls_key_file.clone(),
        server_name: settings.tls_server_name.clone(),
    }
}

fn pod_config(settings: &Settings) -> PodConfig {
    PodConfig {
        max_staleness: settings.max_staleness,
        untracked_life: settings.untracked_lifetime(),
        cache_absent: settings.cache_absent,
        admit_after: u32::try_from(settings.admit_after).unwrap_or(u32::MAX),
        max_inline: settings.max_inline,
        operation_timeout: settings.operation_timeout,
        bypass: match settings.enabled {
            true => settings
                .bypass
                .iter()
                .map(|p| p.clone().into_bytes())
                .collect(),
            // Every key begins with it.
            false => vec![Vec::new()],
        },
        load_timeout: settings.load_timeout,
        max_loads: settings.max_loads,
        hash_field_expiry: settings.hash_field_expiry,
        service: settings.service.clone(),
        statistics_bytes: statistics_bytes(settings),
        queue_requests: settings.queue_requests,
    }
}

fn warm_config(settings: &Settings, db: u32) -> (WarmConfig, Option<Arc<dyn Snapshots>>) {
    let snapshots = || {
        let file = SnapshotFile::new(&settings.snapshot_dir, &settings.service);
        Arc::new(file) as Arc<dyn Snapshots>
    };
    let config = WarmConfig {
        statistics: counts_reads(settings),
        start: settings.warm_start,
        db: fleet_db(settings).unwrap_or(db),
        names: match settings.manifest_keys {
            ManifestKeys::Hashed => Some(KeyNames::Hashed),
            ManifestKeys::Off => None,
            _ => Some(KeyNames::Plain),
        },
        deadline: settings.warm_deadline,
        reads_per_s: settings.warm_reads as u64,
        bytes_per_s: settings.warm_bytes as u64,
        share: settings.warm_share as f64 / 100.0,
        top_up: settings.top_up,
        refetch: settings.refetch,
        half_life: settings.half_life,
        publish_every: settings.publish_every,
        look_every: settings.look_every,
        fold_every: WarmConfig::default()
            .fold_every
            .min(settings.publish_every / 2),
        most_bytes: statistics_bytes(settings),
        ..WarmConfig::default()
    };
    let wanted = counts_reads(settings) && !settings.snapshot_dir.is_empty();
    (config, wanted.then(snapshots))
}

/// Enough for what may wait in line, and be on its way beside: a limit that the one in line keeps calls from.
fn most_flights(settings: &Settings) -> usize {
    StoreConfig::new(settings.capacity)
        .max_flights
        .max(settings.queue_requests * 4)
}

/// The db of the fleet's keys, when it is not that of the URL.
fn fleet_db(settings: &Settings) -> Option<u32> {
    settings.fleet_db.and_then(|db| u32::try_from(db).ok())
}

fn counts_reads(settings: &Settings) -> bool {
    settings.statistics && settings.enabled
}

/// What the counts of reads may take of the capacity.
fn statistics_bytes(settings: &Settings) -> usize {
    match counts_reads(settings) {
        true => (settings.capacity / 16).min(WarmConfig::default().most_bytes),
        false => 0,
    }
}

fn lane_config(settings: &Settings, l2: &dyn L2, resting_db: u32) -> LaneConfig {
    LaneConfig {
        tracking: l2.tracking(),
        resting_db,
        user: l2.user(),
        fleet_db: fleet_db(settings),
        connect_timeout: settings.connect_timeout,
        dead_after: settings.dead_after,
        backoff_min: settings.backoff_min,
        backoff_max: settings.backoff_max,
        inflight_bytes: settings.inflight,
    }
}

/// A number nobody can foresee: each hasher of the standard library is keyed anew. A forked child inherits what comes
/// next; its id and the moment set it apart from its parent and from whoever had that id before.
pub(crate) fn random() -> u64 {
    let moment = nearcache_io::now().as_micros();
    RandomState::new().hash_one((std::process::id(), moment))
}
