//! Every way out that the threat model names ([design: walls](crate::design::walls)), tried from the inside of an isolated
//! sandbox: none may lead anywhere. What leads somewhere without walls is tried from a sandbox without them, too, so that
//! the drill would notice.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
    sync::{Mutex, PoisonError},
};

use futures_util::{StreamExt, stream};
use nix::ifaddrs::getifaddrs;
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, UdpSocket},
    task::JoinSet,
};

use super::kit::*;

/// The template of sandboxes on the engine's own bridge.
const OPEN: &str = "open";
/// Where each sandbox answers.
const PORT: u16 = 80;
const STARTS: usize = 100;
/// How many starts run at once.
const STARTS_AT_ONCE: usize = 100;
/// How long a try waits for an answer, in seconds.
const PATIENCE: u32 = 2;
const GONE_WITHIN: Duration = Duration::from_secs(60);
/// Addresses that lead to nobody on most machines, one of each range that is closed.
const CLOSED: [Ipv4Addr; 5] = [
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(10, 0, 0, 1),
    Ipv4Addr::new(172, 16, 0, 1),
    Ipv4Addr::new(192, 168, 0, 1),
    Ipv4Addr::new(100, 64, 0, 1),
];

pub(super) async fn run(ground: Arc<Ground>) -> anyhow::Result<Findings> {
    let done = try_all(&ground).await;
    if done.is_err() {
        ground.hand().clear().await?;
    }
    // Bridges and the firewall's table stay when the last sandbox is gone.
    let mut clean = Instance::command(&[], &ground.options.program);
    clean.args(["clean", "--prefix", &ground.prefix, "--set", &format!("docker.host={}", ground.options.docker_host)]);
    let cleaned = clean.output().await.context("failed to run sandglass clean")?;
    let said = String::from_utf8_lossy(&cleaned.stderr);
    anyhow::ensure!(cleaned.status.success(), "sandglass clean ended with {}: {said}", cleaned.status);
    done
}

async fn try_all(ground: &Ground) -> anyhow::Result<Findings> {
    let mut findings = Findings::default();
    let ledger = Ledger::default();
    let image = format!("templates.{OPEN}.image");
    let network = format!("templates.{OPEN}.network");
    let settings = [
        ("docker.network", "isolated"),
        (image.as_str(), ground.options.image.as_str()),
        (network.as_str(), "default"),
        ("docker.max_creates", "200"),
    ];
    let instance = ground.serve(&settings).await?;
    let host = Host::listen().await?;

    ground.say("a sandbox with walls, one without, and a neighbour of each");
    let walled = Corner::create(ground, &instance, &ledger, "walled", "base").await?;
    let open = Corner::create(ground, &instance, &ledger, "open", OPEN).await?;
    let gap = instance.get("/readyz").await?.body["reasons"]
        .as_array()
        .and_then(|reasons| reasons.iter().find(|reason| reason["part"] == "walls").cloned());
    findings.expect(gap.is_none(), || format!("this machine has no walls: {gap:?}"));

    let mut noticed = 0;
    let ways = Way::all(&host)?;
    for way in &ways {
        ground.say(&way.what);
        let out = walled.gets_out(&instance, &host, way).await?;
        findings.expect(!out, || format!("a way out of a sandbox: {}", way.what));
        if way.is_open_without_walls {
            noticed += usize::from(open.gets_out(&instance, &host, way).await?);
        }
    }
    findings.expect(noticed > 0, || "no way led out without walls either, so that nothing is proved".to_owned());

    ground.say("what was blocked is told");
    let why = instance.get(&format!("/v1/sandboxes/{}/why", walled.id)).await?;
    let metadata = CLOSED[0].to_string();
    findings.expect(why.body.to_string().contains(&metadata), || {
        format!("{metadata} is not among what was blocked: {why}")
    });

    let count = ground.rounds(STARTS);
    ground.say(format!("{count} starts at once, each of which tries from its first instruction on"));
    let starts: Vec<_> = (0..count).map(|number| at_once(ground, &instance, &ledger, &host, number)).collect();
    let started: Vec<_> = stream::iter(starts).buffer_unordered(STARTS_AT_ONCE).collect().await;
    let started = started.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    for id in &started {
        ledger.end(&instance, id).await?;
    }
    let escaped: Vec<_> = host.heard().into_iter().filter(|token| token.starts_with("start-")).collect();
    findings
        .expect(escaped.is_empty(), || format!("{} of {count} got out as they started: {escaped:?}", escaped.len()));

    for id in [walled.id, walled.neighbour, open.id, open.neighbour] {
        ledger.end(&instance, &id).await?;
    }
    findings.done = format!(
        "{} ways out of a sandbox ({noticed} of which lead out without walls), and {count} starts at once",
        ways.len()
    );
    ground.settle(instance, &ledger, GONE_WITHIN, &mut findings).await?;
    Ok(findings)
}

/// Creates a sandbox whose command tries to reach the host at once and ten times more, and returns its id.
async fn at_once(
    ground: &Ground,
    instance: &Instance,
    ledger: &Ledger,
    host: &Host,
    number: usize,
) -> anyhow::Result<String> {
    let id = ground.id(&format!("start-{number}"));
    let port = host.port;
    let script = format!(
        "for try in 0 1 2 3 4 5 6 7 8 9; do echo start-{number} | nc -w 1 $({GATEWAY}) {port}; done; exec sleep 600"
    );
    let body = json!({ "id": id, "idle_timeout": LONG.as_secs(), "command": ["sh", "-c", script] });
    ledger.must_create(instance, &body).await?;
    Ok(id)
}

/// A shell's command that prints the address of a sandbox's gateway, which is one of the host's.
const GATEWAY: &str = "ip route | sed -n 's/^default via \\([0-9.]*\\).*/\\1/p'";

/// A way out of a sandbox.
struct Way {
    what: String,
    /// A shell's command; `$PEER` and `$NAME` are the neighbour's address and name, `$TOKEN` is to reach the host.
    command: String,
    /// Whether it leads out where `$TOKEN` has arrived, and otherwise, where the command has succeeded.
    is_heard: bool,
    /// Whether it leads out of a sandbox without walls on any machine of the usual kind.
    is_open_without_walls: bool,
}

impl Way {
    fn all(host: &Host) -> anyhow::Result<Vec<Self>> {
        let port = host.port;
        let mut ways = vec![
            Self::tried(
                "a neighbour by its address",
                format!("nc -w {PATIENCE} $PEER {PORT} </dev/null | grep -q yes"),
                true,
            ),
            Self::tried("a neighbour by ICMP", format!("ping -c 1 -W {PATIENCE} $PEER"), true),
            // The engine's own bridge knows no names.
            Self::tried(
                "a neighbour by its name",
                format!("nc -w {PATIENCE} $NAME {PORT} </dev/null | grep -q yes"),
                false,
            ),
            Self::heard("the gateway by TCP", format!("echo $TOKEN | nc -w {PATIENCE} $({GATEWAY}) {port}")),
            Self::heard("the gateway by UDP", datagram(&format!("$({GATEWAY})"), port)),
            Self::tried("the gateway by ICMP", format!("ping -c 1 -W {PATIENCE} $({GATEWAY})"), true),
            Self::tried(
                "the gateway's DNS",
                format!("timeout {PATIENCE} nslookup example.com $({GATEWAY}) | grep -q answer"),
                false,
            ),
            Self::tried(
                "the engine's socket",
                "ls /var/run/docker.sock /run/docker.sock 2>/dev/null | grep -q .",
                false,
            ),
            Self::tried("the engine by TCP", format!("nc -w {PATIENCE} $({GATEWAY}) 2375 </dev/null"), false),
            Self::tried("IPv6", "grep -v ' lo$' /proc/net/if_inet6 | grep -q .", false),
            Self::tried("a raw socket", format!("arping -c 1 -w {PATIENCE} -I eth0 $PEER"), false),
            Self::tried("the right to raw sockets", has_capability(13), false),
            Self::tried("the right to change the network", has_capability(12), false),
            Self::tried("another's address", "ip addr add $PEER/32 dev eth0", false),
            Self::tried(
                "a packet from another's address",
                format!("ping -c 1 -W {PATIENCE} -I $PEER $({GATEWAY})"),
                false,
            ),
        ];
        for address in host_addresses()? {
            ways.push(Self::heard(
                format!("the host's address {address}"),
                format!("echo $TOKEN | nc -w {PATIENCE} {address} {port}"),
            ));
            ways.push(Self::heard(
                format!("the host's address {address} by UDP"),
                datagram(&address.to_string(), port),
            ));
        }
        for address in CLOSED {
            ways.push(Self::tried(format!("{address}"), format!("nc -w 1 {address} 80 </dev/null"), false));
        }
        Ok(ways)
    }

    fn tried(what: impl Into<String>, command: impl Into<String>, is_open_without_walls: bool) -> Self {
        Self { what: what.into(), command: command.into(), is_heard: false, is_open_without_walls }
    }

    fn heard(what: impl Into<String>, command: impl Into<String>) -> Self {
        Self { what: what.into(), command: command.into(), is_heard: true, is_open_without_walls: true }
    }
}

/// A command that sends `$TOKEN` in a datagram: as the name of a file that is asked for.
fn datagram(address: &str, port: u16) -> String {
    format!("timeout {PATIENCE} tftp -g -r $TOKEN -l /dev/null {address} {port}")
}

/// A command that succeeds where a process can get this capability.
fn has_capability(number: u32) -> String {
    format!("[ $(( (0x$(sed -n 's/^CapBnd:[^0-9a-f]*//p' /proc/self/status) >> {number}) & 1 )) = 1 ]")
}

/// The addresses of this machine, without its loopback.
fn host_addresses() -> anyhow::Result<BTreeSet<Ipv4Addr>> {
    let addresses = getifaddrs()?.filter_map(|interface| Some(interface.address?.as_sockaddr_in()?.ip()));
    Ok(addresses.filter(|address| !address.is_loopback()).collect())
}

/// A sandbox that tries to get out, and its neighbour, which answers.
struct Corner {
    id: String,
    neighbour: String,
    /// The neighbour's address.
    address: String,
    /// The name of the neighbour's container.
    name: String,
}

impl Corner {
    async fn create(
        ground: &Ground,
        instance: &Instance,
        ledger: &Ledger,
        name: &str,
        template: &str,
    ) -> anyhow::Result<Self> {
        let (id, neighbour) = (ground.id(name), ground.id(&format!("{name}-peer")));
        let serve = format!("while :; do echo yes | nc -l -p {PORT}; done");
        for (id, command) in [(&id, "exec sleep 600"), (&neighbour, serve.as_str())] {
            let command = ["sh", "-c", command];
            let body = json!({ "id": id, "template": template, "idle_timeout": LONG.as_secs(), "command": command });
            ledger.must_create(instance, &body).await?;
        }
        let found = ground.hand().containers_of(&neighbour).await?;
        let container = found.first().context("the neighbour has a container")?;
        let inspected = ground.hand().inspect(container).await?.context("the neighbour's container is there")?;
        let networks = inspected.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
        let address =
            networks.into_values().find_map(|network| network.ip_address.filter(|address| !address.is_empty()));
        Ok(Self {
            id,
            neighbour,
            address: address.context("the neighbour has an address")?,
            name: inspected.name.unwrap_or_default().trim_start_matches('/').to_owned(),
        })
    }

    async fn gets_out(&self, instance: &Instance, host: &Host, way: &Way) -> anyhow::Result<bool> {
        let token = host.token();
        let env = json!({ "PEER": self.address, "NAME": self.name, "TOKEN": token });
        let body = json!({ "shell": way.command, "env": env, "timeout": 10 });
        let answer = instance.post(&format!("/v1/sandboxes/{}/commands", self.id), &body).await?;
        anyhow::ensure!(answer.status == 200, "{} could not be tried: {answer}", way.what);
        Ok(if way.is_heard { host.heard().contains(&token) } else { answer.body["exit_code"] == 0 })
    }
}

/// This machine, listening on all of its addresses, with what it was sent. It stops when it is dropped.
struct Host {
    port: u16,
    heard: Arc<Mutex<BTreeSet<String>>>,
    tokens: Mutex<u32>,
    _listening: JoinSet<()>,
}

impl Host {
    async fn listen() -> anyhow::Result<Self> {
        let tcp = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
        let port = tcp.local_addr()?.port();
        let udp = UdpSocket::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).await?;
        let heard = Arc::new(Mutex::new(BTreeSet::new()));
        let mut listening = JoinSet::new();
        listening.spawn(hear_streams(tcp, Arc::clone(&heard)));
        listening.spawn(hear_datagrams(udp, Arc::clone(&heard)));
        Ok(Self { port, heard, tokens: Mutex::default(), _listening: listening })
    }

    fn heard(&self) -> BTreeSet<String> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A new text to be sent.
    fn token(&self) -> String {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        *tokens += 1;
        format!("token-{tokens}.")
    }
}

async fn hear_streams(listener: TcpListener, heard: Arc<Mutex<BTreeSet<String>>>) {
    let mut streams = JoinSet::new();
    while let Ok((mut stream, _)) = listener.accept().await {
        let heard = Arc::clone(&heard);
        streams.spawn(async move {
            let mut bytes = [0; 64];
            let read = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut bytes)).await;
            let length = read.map_or(0, |read| read.unwrap_or(0));
            note(&heard, &bytes[..length]);
        });
    }
}

async fn hear_datagrams(socket: UdpSocket, heard: Arc<Mutex<BTreeSet<String>>>) {
    let mut bytes = [0; 512];
    while let Ok((length, _)) = socket.recv_from(&mut bytes).await {
        note(&heard, &bytes[..length]);
    }
}

/// Notes the words of a message; those of other protocols are between bytes that are no letters.
fn note(heard: &Mutex<BTreeSet<String>>, message: &[u8]) {
    let text = String::from_utf8_lossy(message);
    let words = text.split(|character: char| !character.is_ascii_graphic()).filter(|word| !word.is_empty());
    heard.lock().unwrap_or_else(PoisonError::into_inner).extend(words.map(str::to_owned));
}
