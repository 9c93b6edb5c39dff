//! Records in Redis are damaged in every known way. The start succeeds, records that can be read come back, the bytes of the
//! others are kept in quarantine, and no container is lost.

use std::collections::BTreeMap;

use ::redis as redis_client;
use base64::{Engine, prelude::BASE64_STANDARD};
use redis_client::aio::MultiplexedConnection;

use super::kit::*;

const SEEN_WITHIN: Duration = Duration::from_secs(30);
const GONE_WITHIN: Duration = Duration::from_secs(60);
/// Sandboxes without containers are not declared vanished within this time, longer than the drill takes.
const GRACE: (&str, &str) = ("lifecycle.restart_grace", "3600");

/// Many scripts, characters beyond the first plane, combining marks, and marks that change the direction of text.
const SCRIPTS: &str = "αβγ Ж שלום مرحبا नमस्ते สวัสดี 漢字 かな 한글 ሰላም 𝄞🧪👩‍🚀 e\u{301} \u{202e}abc\u{202c} \u{0}\u{7f}";
const MEGABYTE: usize = 1 << 20;

/// What should become of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// A sandbox with its id lives.
    Back,
    /// It is in quarantine.
    Kept,
    /// It leaves the active set, since there is no record.
    Forgotten,
}

pub(super) async fn run(ground: Arc<Ground>) -> anyhow::Result<Findings> {
    let url = ground.options.redis_url.clone().context("this drill needs a Redis")?;
    let (ledger, mut findings) = (Ledger::default(), Findings::default());
    let instance = ground.serve_on(StoreChoice::Redis, &[GRACE]).await?;
    let real = ["broken", "lost", "mistyped", "sound"].map(|name| ground.id(name));
    create_all(&instance, &ledger, &real, LONG).await?;
    // After a clean stop, the next start grants no grace, and would find that most of these have no container.
    instance.kill().await?;

    let redis = redis_client::Client::open(url.as_str())?.get_multiplexed_async_connection().await?;
    let mut keys = Keys { redis, prefix: ground.prefix.clone() };
    ground.say("damaging records");
    keys.write(&real[0], b"{not json").await?;
    keys.command("HDEL", &[&keys.session(real[1].as_bytes()), b"__sandbox__"]).await?;
    keys.write(&real[2], sound(&real[2], &json!({ "last_activity_at": [] })).as_bytes()).await?;
    let mut fates = plant(&ground, &mut keys).await?;
    let planted = fates.len() + 3;

    let instance = ground.serve_on(StoreChoice::Redis, &[GRACE]).await?;
    // The instance adopts their containers by their labels.
    fates.extend(real.iter().map(|id| (id.as_bytes().to_vec(), Fate::Back)));
    for (member, fate) in &fates {
        let name = String::from_utf8_lossy(member).into_owned();
        let became = keys.until(&instance, member, *fate).await?;
        findings.expect(became == *fate, || format!("{name:?} should be {fate:?}, and is {became:?}"));
    }
    for id in [&real[0], &real[2]] {
        let kept = keys.is_quarantined(id.as_bytes()).await?;
        findings.expect(kept, || format!("the bytes of {id} are lost"));
    }
    for id in &real {
        let pinged = ledger.ping(&instance, id).await?;
        findings.expect(pinged.status == 200, || format!("{id} has a container, and is {}", pinged.body));
    }
    let there = ground.hand().containers().await?.len();
    findings.expect(there == real.len(), || format!("{there} of {} containers are left", real.len()));
    texts_are_kept(&ground, &instance, &mut findings).await?;

    for (member, _) in fates.iter().filter(|(_, fate)| **fate == Fate::Back) {
        let id = String::from_utf8_lossy(member);
        ledger.end(&instance, &id).await?;
    }
    findings.done = format!("{planted} damaged records, members and keys, 3 of them with containers");
    ground.settle(instance, &ledger, GONE_WITHIN, &mut findings).await?;
    Ok(findings)
}

/// Expects that texts come back unchanged, even long ones.
async fn texts_are_kept(ground: &Ground, instance: &Instance, findings: &mut Findings) -> anyhow::Result<()> {
    for (name, text) in [("scripts", SCRIPTS.to_owned()), ("megabyte", "x".repeat(MEGABYTE))] {
        let answer = instance.sandbox(&ground.id(name)).await?.body;
        let same = answer["metadata"]["text"] == text.as_str() && answer["user_name"] == SCRIPTS;
        findings.expect(same, || format!("the texts of {name} are not what they were"));
    }
    Ok(())
}

/// Writes records without containers, each damaged in another way, and returns what should become of them.
async fn plant(ground: &Ground, keys: &mut Keys) -> anyhow::Result<BTreeMap<Vec<u8>, Fate>> {
    use Fate::{Back, Forgotten, Kept};
    let mut fates = BTreeMap::new();
    for (name, changes, fate) in [
        ("whole", json!({}), Back),
        ("no-expiry", json!({ "expires_at": "-" }), Back),
        ("null-expiry", json!({ "expires_at": null }), Back),
        ("legacy", json!({ "expires_at": "-", "last_activity_at": "-" }), Back),
        ("future", json!({ "last_activity_at": wall_seconds() + 1e6 }), Back),
        ("scripts", json!({ "metadata": { "text": SCRIPTS } }), Back),
        ("megabyte", json!({ "metadata": { "text": "x".repeat(MEGABYTE) } }), Back),
        ("no-status", json!({ "status": "-", "base_url": "http://127.0.0.1:9" }), Back),
        ("status-unknown", json!({ "status": "sleeping" }), Kept),
        ("status-number", json!({ "status": 7 }), Kept),
        ("time-text", json!({ "created_at": "yesterday" }), Kept),
        ("time-object", json!({ "expires_at": { "at": 1 } }), Kept),
        ("metadata-text", json!({ "metadata": "none" }), Kept),
        ("timeout-zero", json!({ "idle_timeout": 0 }), Kept),
        ("someone-else", json!({ "sandbox_id": "someone-else" }), Kept),
    ] {
        let id = ground.id(name);
        keys.add(id.as_bytes()).await?;
        keys.write(&id, sound(&id, &changes).as_bytes()).await?;
        fates.insert(id.into_bytes(), fate);
    }
    let whole = sound("x", &Value::Null);
    let surrogate = sound("x", &json!({ "user_name": "SURROGATE" })).replace("SURROGATE", "\\ud800");
    for (name, bytes) in [
        ("truncated", &whole.as_bytes()[..whole.len() / 2]),
        ("empty", b""),
        ("null", b"null"),
        ("list", b"[1, 2]"),
        ("no-text", b"\xff\xfe\x00"),
        ("surrogate", surrogate.as_bytes()),
    ] {
        let id = ground.id(name);
        keys.add(id.as_bytes()).await?;
        keys.write(&id, bytes).await?;
        fates.insert(id.into_bytes(), Kept);
    }
    for (name, command) in [("string", "SET"), ("sorted-list", "RPUSH")] {
        let id = ground.id(name);
        keys.add(id.as_bytes()).await?;
        keys.command(command, &[&keys.session(id.as_bytes()), b"something else"]).await?;
        fates.insert(id.into_bytes(), Kept);
    }
    for name in ["no-hash", "no-field"] {
        let id = ground.id(name);
        keys.add(id.as_bytes()).await?;
        if name == "no-field" {
            keys.command("HSET", &[&keys.session(id.as_bytes()), b"7", b"another's"]).await?;
        }
        fates.insert(id.into_bytes(), Forgotten);
    }
    for member in [&b"../../etc/passwd"[..], b"with space", b"\xff\xfe", &[b'l'; 64]] {
        keys.add(member).await?;
        let key = keys.session(member);
        keys.command("HSET", &[&key, b"__sandbox__", whole.as_bytes()]).await?;
        fates.insert(member.to_vec(), Kept);
    }
    Ok(fates)
}

/// A sound record with changes; fields changed to `"-"` are removed.
fn sound(id: &str, changes: &Value) -> String {
    let now = wall_seconds();
    let mut record = json!({
        "sandbox_id": id, "container_name": format!("sandglass-{id}"), "base_url": null, "status": "running",
        "error_message": null, "created_at": now, "started_at": now, "last_activity_at": now,
        "expires_at": now + 3600.0, "shell_type": null, "user_id": 7, "user_name": SCRIPTS, "executor_namespace": null,
        "metadata": {},
    });
    if let (Some(record), Some(changes)) = (record.as_object_mut(), changes.as_object()) {
        for (name, value) in changes {
            if value == "-" {
                record.remove(name);
            } else {
                record.insert(name.clone(), value.clone());
            }
        }
    }
    record.to_string()
}

/// The drill's keys in Redis.
struct Keys {
    redis: MultiplexedConnection,
    prefix: String,
}

impl Keys {
    fn session(&self, member: &[u8]) -> Vec<u8> {
        [self.prefix.as_bytes(), b"-session:", member].concat()
    }

    async fn command(&mut self, name: &str, arguments: &[&[u8]]) -> anyhow::Result<()> {
        let mut command = redis_client::cmd(name);
        for argument in arguments {
            command.arg(*argument);
        }
        Ok(command.query_async::<()>(&mut self.redis).await?)
    }

    async fn write(&mut self, id: &str, record: &[u8]) -> anyhow::Result<()> {
        let key = self.session(id.as_bytes());
        self.command("HSET", &[&key, b"__sandbox__", record]).await
    }

    async fn add(&mut self, member: &[u8]) -> anyhow::Result<()> {
        let active = format!("{}:active", self.prefix);
        self.command("ZADD", &[active.as_bytes(), wall_seconds().to_string().as_bytes(), member]).await
    }

    async fn is_quarantined(&mut self, member: &[u8]) -> anyhow::Result<bool> {
        // Members that are not UTF-8 are kept in Base64.
        let field = std::str::from_utf8(member)
            .map_or_else(|_| format!("base64:{}", BASE64_STANDARD.encode(member)), str::to_owned);
        let mut question = redis_client::cmd("HEXISTS");
        Ok(question.arg(format!("{}:quarantine", self.prefix)).arg(field).query_async(&mut self.redis).await?)
    }

    /// Waits until a member's fate is `wanted`, and returns what it is at the end.
    async fn until(&mut self, instance: &Instance, member: &[u8], wanted: Fate) -> anyhow::Result<Fate> {
        let deadline = Instant::now() + SEEN_WITHIN;
        loop {
            let became = self.fate(instance, member).await?;
            match became {
                Some(fate) if fate == wanted || Instant::now() > deadline => return Ok(fate),
                None if Instant::now() > deadline => anyhow::bail!("{member:?} is neither known nor kept nor gone"),
                _ => sleep(Duration::from_millis(50)).await,
            }
        }
    }

    async fn fate(&mut self, instance: &Instance, member: &[u8]) -> anyhow::Result<Option<Fate>> {
        if let Ok(id) = crate::domain::SandboxId::parse(&String::from_utf8_lossy(member)) {
            let answer = instance.sandbox(id.as_str()).await?;
            if answer.status == 200 && matches!(answer.body["status"].as_str(), Some("running" | "paused" | "pending"))
            {
                return Ok(Some(Fate::Back));
            }
        }
        if self.is_quarantined(member).await? {
            return Ok(Some(Fate::Kept));
        }
        let mut question = redis_client::cmd("ZSCORE");
        let score: Option<f64> =
            question.arg(format!("{}:active", self.prefix)).arg(member).query_async(&mut self.redis).await?;
        Ok(score.is_none().then_some(Fate::Forgotten))
    }
}
