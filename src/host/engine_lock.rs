//! Ensures that one supervisor is in charge per prefix and engine, whatever its store (see
//! [design](crate::design::persistence::one_per_engine)). Two of them would take each other's containers for left-overs.
//!
//! The lock is a Unix socket whose abstract name is made of the engine's id and the prefix. It needs no directory, the system
//! frees it however the process ends, and a process that connects to it reads who is in charge. It reaches as far as the
//! network namespace; [`domain`](EngineLock::domain) distinguishes containers made within that reach from others. Only
//! Linux has such sockets; elsewhere nobody is excluded.
//!
//! The name of a second socket contains the store's identity. A hanging supervisor can lose its store's lease to another one
//! with the same store. That one is then in charge although the lock is still taken, and waits for the lock while it works.

use std::{
    fmt, fs,
    future::poll_fn,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::watch,
    task::JoinHandle,
    time::timeout,
};

use super::holder::Holder;

/// How long to wait for a holder to say who it is. One that hangs never does.
const WORDS_WITHIN: Duration = Duration::from_millis(300);

/// More bytes than a holder sends.
const WORDS_AT_MOST: u64 = 16 * 1024;

/// How often to try for a lock that a hanging process with the same store still has.
const TRY_EVERY: Duration = Duration::from_secs(1);

/// The length limit of a socket's name, without the byte that makes it abstract.
const LONGEST_NAME: usize = 107;

/// Who is in charge, as a holder sends it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Charge {
    /// The process.
    #[serde(flatten)]
    pub holder: Holder,
    /// Where its records are, without secrets.
    pub store: String,
}

impl fmt::Display for Charge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}, with {}", self.holder, self.store)
    }
}

/// The lock of one prefix.
#[derive(Debug)]
pub struct EngineLock {
    prefix: String,
    charge: Charge,
    domain: Option<String>,
    /// Set when the lock could not be taken although nobody has it.
    failed: AtomicBool,
    held: Mutex<Option<Held>>,
    /// Serializes this process's own attempts, which come at once when an engine is back and must not meet each other.
    taking: tokio::sync::Mutex<()>,
    usurper: Arc<watch::Sender<Option<String>>>,
}

/// A lock that is held until this is dropped.
#[derive(Debug)]
struct Held {
    engine: String,
    /// Answers on the lock, or waits for it.
    keeper: JoinHandle<()>,
    sockets: Sockets,
}

/// Shared with the keeper, so that a released lock is free at once.
type Sockets = Arc<Mutex<Pair>>;

#[derive(Debug, Default)]
struct Pair {
    /// `None` while waiting for it, or after its release.
    lock: Option<UnixListener>,
    /// Its name contains the store's identity; nobody answers on it.
    #[expect(dead_code, reason = "it works by being held")]
    marker: Option<UnixListener>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.keeper.abort();
        *guard(&self.sockets) = Pair::default();
    }
}

impl EngineLock {
    /// A lock that is not held for any engine yet.
    pub fn new(prefix: &str, charge: Charge) -> Self {
        let domain = domain();
        Self {
            prefix: prefix.to_owned(),
            charge,
            domain,
            failed: AtomicBool::new(false),
            held: Mutex::default(),
            taking: tokio::sync::Mutex::default(),
            usurper: Arc::default(),
        }
    }

    /// How far the lock reaches, as a text that is unique to this host and network namespace. Of two supervisors in one
    /// domain, only one is in charge. `None` where the lock excludes nobody.
    pub fn domain(&self) -> Option<&str> {
        self.domain.as_deref().filter(|_| !self.failed.load(Ordering::Relaxed))
    }

    /// Who else is in charge of `engine`, if a holder answers.
    pub async fn holder(&self, engine: &str) -> Option<String> {
        self.domain.as_ref()?;
        if self.is_held_for(engine) {
            return None;
        }
        words(&self.name(engine)).await
    }

    /// Takes the lock of `engine` for a supervisor that holds the lease of `store`, and releases another engine's.
    ///
    /// # Errors
    /// Who is in charge, in words.
    pub async fn hold(&self, engine: &str, store: &str) -> Result<(), String> {
        let _alone = self.taking.lock().await;
        if self.domain.is_none() || self.is_held_for(engine) {
            return Ok(());
        }
        let (name, marker) = (self.name(engine), self.marker(engine, store));
        let lock = match bind(&name) {
            Ok(lock) => Some(lock),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => None,
            Err(error) => {
                if !self.failed.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "no lock for this prefix on this host; others are not kept out");
                }
                return Ok(());
            }
        };
        let marked = bind(&marker);
        if lock.is_none() && !matches!(&marked, Err(error) if error.kind() == io::ErrorKind::AddrInUse) {
            return Err(words(&name).await.unwrap_or_else(|| "a process on this host that does not answer".to_owned()));
        }
        let words = serde_json::json!(self.charge).to_string();
        let sockets: Sockets = Arc::new(Mutex::new(Pair { lock, marker: marked.ok() }));
        let keeper = tokio::spawn(keep(Arc::clone(&sockets), name, marker, words, Arc::clone(&self.usurper)));
        *self.held() = Some(Held { engine: engine.to_owned(), keeper, sockets });
        Ok(())
    }

    /// Releases the lock.
    pub fn release(&self) {
        *self.held() = None;
    }

    /// Resolves with the other one when somebody else turns out to be in charge.
    pub async fn usurped(&self) -> String {
        let mut usurper = self.usurper.subscribe();
        let found = usurper.wait_for(Option::is_some).await.ok().and_then(|usurper| usurper.clone());
        match found {
            Some(usurper) => usurper,
            // The sender lives as long as `self`.
            None => std::future::pending().await,
        }
    }

    /// Makes [`Self::usurped`] resolve.
    pub fn give_up_to(&self, usurper: String) {
        self.usurper.send_replace(Some(usurper));
    }

    fn is_held_for(&self, engine: &str) -> bool {
        self.held().as_ref().is_some_and(|held| held.engine == engine)
    }

    fn held(&self) -> MutexGuard<'_, Option<Held>> {
        guard(&self.held)
    }

    fn name(&self, engine: &str) -> String {
        bounded(format!("sandglass/{engine}/{}", self.prefix))
    }

    fn marker(&self, engine: &str, store: &str) -> String {
        bounded(format!("sandglass/{engine}/{}/{store}", self.prefix))
    }
}

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The name, or its hash if it is too long or contains a zero.
fn bounded(name: String) -> String {
    if name.len() <= LONGEST_NAME && !name.contains('\0') { name } else { format!("sandglass/{}", hash(&name)) }
}

fn hash(text: &str) -> String {
    Sha1::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Binds an abstract name, which begins with a zero byte; only Linux has them.
fn bind(name: &str) -> io::Result<UnixListener> {
    UnixListener::bind(format!("\0{name}"))
}

/// Asks the holder of a lock who it is; `None` if nobody holds it or the holder does not answer.
async fn words(name: &str) -> Option<String> {
    let asked = timeout(WORDS_WITHIN, async {
        let stream = UnixStream::connect(format!("\0{name}")).await?;
        let mut words = Vec::new();
        stream.take(WORDS_AT_MOST).read_to_end(&mut words).await?;
        Ok::<_, io::Error>(words)
    });
    let words = asked.await.ok()?.ok().filter(|words| !words.is_empty())?;
    match serde_json::from_slice::<Charge>(&words) {
        Ok(charge) => Some(charge.to_string()),
        Err(_) => Some("a process on this host that does not say which".to_owned()),
    }
}

/// Once the lock is taken, tells every process that connects who is in charge.
async fn keep(
    sockets: Sockets,
    name: String,
    marker: String,
    words: String,
    usurper: Arc<watch::Sender<Option<String>>>,
) {
    let waits = guard(&sockets).lock.is_none();
    if waits {
        match wait_for(&name, &marker).await {
            Ok(lock) => *guard(&sockets) = Pair { lock: Some(lock), marker: bind(&marker).ok() },
            Err(who) => {
                usurper.send_replace(Some(who));
                return;
            }
        }
    }
    loop {
        let accepted = poll_fn(|context| match &guard(&sockets).lock {
            Some(lock) => lock.poll_accept(context).map(Some),
            None => Poll::Ready(None),
        });
        match accepted.await {
            Some(Ok((mut stream, _))) => {
                // Fits the socket's buffer, so a reader that does not read delays nobody.
                let _ = timeout(WORDS_WITHIN, stream.write_all(words.as_bytes())).await;
            }
            // Too many open files, for example.
            Some(Err(_)) => tokio::time::sleep(TRY_EVERY).await,
            None => return,
        }
    }
}

/// Waits for the lock that a hanging process with the same store still has.
///
/// # Errors
/// Somebody with another store took it first.
async fn wait_for(name: &str, marker: &str) -> Result<UnixListener, String> {
    loop {
        tokio::time::sleep(TRY_EVERY).await;
        match bind(name) {
            Ok(lock) => return Ok(lock),
            Err(_) if bind(marker).is_err() => {}
            Err(_) => return Err(words(name).await.unwrap_or_else(|| "a process on this host".to_owned())),
        }
    }
}

/// Identifies the network namespace, which is as far as an abstract name reaches. Includes the host's names, since the
/// namespaces of two hosts can have the same number.
#[cfg(target_os = "linux")]
fn domain() -> Option<String> {
    let namespace = fs::read_link("/proc/self/ns/net").ok()?;
    let machine = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let host = hostname::get().ok()?;
    Some(
        hash(&format!("{}\0{}\0{}", machine.trim(), host.to_string_lossy(), namespace.to_string_lossy()))[..16]
            .to_owned(),
    )
}

#[cfg(not(target_os = "linux"))]
fn domain() -> Option<String> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::{domain::SandboxId, host::Process};

    fn lock(prefix: &str, instance: &str) -> EngineLock {
        let holder = Holder { instance: instance.to_owned(), process: Process::this(), since: 0.0 };
        EngineLock::new(prefix, Charge { holder, store: format!("the store of {instance}") })
    }

    fn prefix() -> String {
        SandboxId::generate().to_string()
    }

    #[tokio::test]
    async fn one_store_alone_is_in_charge_of_a_prefix_on_an_engine_and_says_who_it_is() {
        let prefix = prefix();
        let (one, two) = (lock(&prefix, "one"), lock(&prefix, "two"));
        assert_eq!(two.holder("engine").await, None);
        one.hold("engine", "a").await.unwrap();
        one.hold("engine", "a").await.expect("it has it already");
        for words in [two.holder("engine").await.unwrap(), two.hold("engine", "b").await.unwrap_err()] {
            assert!(words.contains("instance \"one\"") && words.contains("with the store of one"), "{words}");
        }
        assert_eq!(one.holder("engine").await, None, "that is nobody else");
        two.hold("another engine", "b").await.expect("an engine of its own");
        lock(&self::prefix(), "three").hold("engine", "c").await.expect("a prefix of its own");
        one.release();
        two.hold("engine", "b").await.expect("it is free");
        one.hold("another engine", "a").await.expect("who holds another engine's lets go of this one's");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn calls_that_take_it_at_once_do_not_keep_each_other_out() {
        for _ in 0..200 {
            let (lock, prefix) = (Arc::new(lock(&prefix(), "one")), prefix());
            let calls = (0..8).map(|_| {
                let (lock, engine) = (Arc::clone(&lock), prefix.clone());
                tokio::spawn(async move { lock.hold(&engine, "a").await })
            });
            for call in calls.collect::<Vec<_>>() {
                assert_eq!(call.await.unwrap(), Ok(()));
            }
            let held = guard(&lock.held);
            let pair = held.as_ref().map(|held| guard(&held.sockets));
            assert!(pair.is_some_and(|pair| pair.lock.is_some()), "it was let go of again");
        }
    }

    #[tokio::test]
    async fn long_prefixes_have_locks_of_their_own() {
        let long = "x".repeat(127);
        let (engine, other) = (prefix(), format!("{long}y"));
        let (one, two, three) = (lock(&other, "one"), lock(&format!("{long}z"), "two"), lock(&other, "three"));
        one.hold(&engine, "a").await.unwrap();
        two.hold(&engine, "b").await.expect("another prefix");
        assert!(three.hold(&engine, "c").await.is_err());
    }

    #[tokio::test]
    async fn who_has_the_same_store_is_in_charge_beside_a_process_that_hangs_until_that_ends() {
        let prefix = prefix();
        let (hanging, next, other) = (lock(&prefix, "hanging"), lock(&prefix, "next"), lock(&prefix, "other"));
        hanging.hold("engine", "same").await.unwrap();
        next.hold("engine", "same").await.expect("its lease was lost to this one");
        assert!(other.hold("engine", "other").await.is_err());
        hanging.release();
        let within = timeout(Duration::from_secs(10), async {
            while !other.holder("engine").await.is_some_and(|words| words.contains("next")) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        within.await.expect("the next one has the lock");
    }
}
