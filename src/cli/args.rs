//! Commands and flags.
#![allow(clippy::doc_markdown, reason = "doc comments here are what `--help` prints, where backticks are noise")]

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::config::Overrides;

/// Supervises sandboxes: every container lives as long as it is used, and not a minute longer.
#[derive(Debug, Parser)]
#[command(name = "sandglass", version, arg_required_else_help = true, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 something you can act on (the message says what), 2 wrong flags or \
configuration, 3 another supervisor is in charge of the prefix, 4 a demonstration did not go as told, 5 a drill broke a \
promise, 70 a bug; exec and shell end as the command does.";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Start the supervisor and serve its HTTP interface until SIGTERM or Ctrl-C.
    ///
    /// Stopping it ends no sandbox: the next start brings all of them back, each with the time it had left.
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(Serve),
    /// Print what happens to sandboxes: one line per event, or JSON lines when piped.
    ///
    /// Reads the status stream of a running supervisor, and waits for one that is not running yet. After a lost connection it
    /// reconnects and continues exactly where it was. Times of day are UTC.
    #[command(after_help = WATCH_EXAMPLES)]
    Watch(Watch),
    /// Run a command in a sandbox, and end with its exit code.
    ///
    /// The command holds the sandbox while it runs: nobody has to ping. A lost connection does not end it, and its output is
    /// read on when the connection is back. Ctrl-C is sent to the command; a second one leaves it running.
    #[command(after_help = EXEC_EXAMPLES)]
    Exec(Exec),
    /// Open a shell in a sandbox: bash where its image has one, else sh.
    Shell(Shell),
    /// Copy files and directories into a sandbox or out of it.
    ///
    /// One of the two is ID:PATH. A directory is copied with all that is in it; into an existing directory under its own name,
    /// else as the name that is given, whose directory has to be there. Modes and times
    /// are kept, symbolic links stay links.
    #[command(after_help = CP_EXAMPLES)]
    Cp(Copy),
    /// Print what the main process of a sandbox has written; of one that ended by itself, its last lines.
    Logs(Logs),
    /// Print what a sandbox uses: processor, memory, network and disk.
    Stats(Stats),
    /// Remove what is left over on the engine and its host: networks, the firewall's table and its helper, old agents.
    ///
    /// Only what is of this prefix, or an agent of another version, and what no sandbox needs. Sandboxes and records are not
    /// touched. Safe while a supervisor runs, which makes again what it needs.
    #[command(after_help = CLEAN_EXAMPLES)]
    Clean(Clean),
    /// Make API keys.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Show in half a minute, with real containers, that sandboxes live while they are used and end when they are not.
    ///
    /// Starts a separate instance on a free port with its own store. It touches nothing that it did not start, and cleans up,
    /// also on Ctrl-C.
    Demo(Demo),
    /// Break Sandglass on purpose and count what is lost. The exit code is 5 unless that is nothing.
    ///
    /// Each drill starts throw-away instances with their own prefix, real containers, and a real Redis if one is configured.
    /// They reach Docker and Redis through a relay that fails on command, so your Docker and Redis are not disturbed. A drill
    /// touches nothing that it did not start, and removes everything that it started, also on Ctrl-C.
    #[command(after_help = DRILL_EXAMPLES)]
    Drill(Drill),
}

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Print a new random key, which is good for http.api_key and for every version of E2B's SDKs.
    New,
}

const DRILL_EXAMPLES: &str = "Examples:
  sandglass drill --quick
  sandglass drill --redis-url redis://127.0.0.1:6379
  sandglass drill --only crowd --only kills
  sandglass drill --json > report.json

`early`: sandboxes that ended before the time that a client was promised. `leaked`: containers that were left over. `lost`: \
sandboxes that were acknowledged, and of which nothing is known. `lateness`: from deadlines to ends; where something had to \
be waited for (an outage, a restart), from its end.";

#[derive(Debug, Args)]
pub(super) struct Drill {
    /// Run only this drill; can be repeated.
    #[arg(long, value_name = "NAME")]
    pub(super) only: Vec<String>,
    /// Do a tenth of the rounds, with outages of six seconds.
    #[arg(long)]
    pub(super) quick: bool,
    /// List the drills and exit.
    #[arg(long)]
    pub(super) list: bool,
    /// Print the report as JSON and nothing else on standard output.
    #[arg(long)]
    pub(super) json: bool,
    /// A configuration file; only its Docker, Redis and base image are used.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Drill with this Redis, too, under separate keys (store.redis_url).
    #[arg(long, value_name = "URL")]
    pub(super) redis_url: Option<String>,
    /// The image to run; it needs `sh` and `sleep` (templates.base.image).
    #[arg(long, value_name = "IMAGE")]
    pub(super) image: Option<String>,
}

const CLEAN_EXAMPLES: &str = "Examples:
  sandglass clean --list
  sandglass clean --config /etc/sandglass.toml
  sandglass clean --prefix blue --set docker.host=tcp://engine:2375";

#[derive(Debug, Args)]
pub(super) struct Clean {
    /// Only print what would be removed.
    #[arg(long)]
    pub(super) list: bool,
    /// The configuration file of the supervisor that it was made by.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// The prefix (store.prefix).
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,
    /// Any other setting by its dotted key; can be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl Clean {
    /// The settings from the flags.
    pub(super) fn overrides(&self) -> Overrides {
        let mut overrides = Overrides::default();
        if let Some(prefix) = &self.prefix {
            overrides.set("store.prefix", prefix, "--prefix");
        }
        set_all(&mut overrides, &self.set);
        overrides
    }
}

/// Adds what `--set` says.
fn set_all(overrides: &mut Overrides, settings: &[String]) {
    for setting in settings {
        let (key, value) = setting.split_once('=').unwrap_or((setting, ""));
        overrides.set(key, value, "--set");
    }
}

const SERVE_EXAMPLES: &str = "Examples:
  sandglass serve
  sandglass serve --config /etc/sandglass.toml --log-format json
  sandglass serve --redis-url redis://127.0.0.1:6379 --prefix wegent-sandbox
  sandglass serve --standby --bind 127.0.0.1:8081
  sandglass serve --set lifecycle.idle_timeout=30m --set templates.base.image=alpine:3

Every setting, its default and its variable: config/default.toml, or `sandglass serve --manual`.";

#[derive(Debug, Args)]
pub(super) struct Serve {
    /// A TOML file with settings that override the defaults.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Where to listen (http.bind).
    #[arg(long, value_name = "ADDRESS:PORT")]
    bind: Option<String>,
    /// The embedded store's file (store.path).
    #[arg(long, value_name = "FILE")]
    store_path: Option<String>,
    /// Keep the records in this Redis (store.redis_url).
    #[arg(long, value_name = "URL")]
    redis_url: Option<String>,
    /// The prefix of all keys, and the value of the containers' label (store.prefix).
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,
    /// How much to log: error, warn, info, debug, trace, or directives such as info,sandglass=debug (log.level).
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// The format of the log's lines: text or json (log.format).
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// Any other setting by its dotted key; can be repeated. Durations are seconds, or texts such as 2h or 1h 30m.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// While another supervisor is in charge of the prefix, wait and take over when it stops or dies, instead of exiting with
    /// code 3. Meanwhile /healthz answers 200, /readyz 503 with the one in charge, and everything else 503 `standby`.
    #[arg(long)]
    pub(super) standby: bool,
    /// Print the manual of all settings and exit.
    #[arg(long)]
    pub(super) manual: bool,
}

impl Serve {
    /// The settings from the flags.
    pub(super) fn overrides(&self) -> Overrides {
        let mut overrides = Overrides::default();
        for (key, value, flag) in [
            ("http.bind", &self.bind, "--bind"),
            ("store.path", &self.store_path, "--store-path"),
            ("store.redis_url", &self.redis_url, "--redis-url"),
            ("store.prefix", &self.prefix, "--prefix"),
            ("log.level", &self.log_level, "--log-level"),
            ("log.format", &self.log_format, "--log-format"),
        ] {
            if let Some(value) = value {
                overrides.set(key, value, flag);
            }
        }
        set_all(&mut overrides, &self.set);
        overrides
    }
}

/// The environment variables that set flags, of all commands.
pub(super) fn variables_of_flags() -> Vec<String> {
    let program = Cli::command();
    let flags = program.get_subcommands().flat_map(|command| command.get_arguments());
    flags.filter_map(|flag| Some(flag.get_env()?.to_string_lossy().into_owned())).collect()
}

const EXEC_EXAMPLES: &str = "Examples:
  sandglass exec i1 -- make test
  sandglass exec -it i1 -- python3
  sandglass exec -u root -w /srv -e LANG=C.UTF-8 i1 -- ls -l
  cat data | sandglass exec -i i1 -- sh -c 'wc -c'
  sandglass exec -d --timeout 2h i1 -- ./build.sh

The exit code is that of the command; 128 and the number of the signal that ended it; 126: it cannot be executed, 127: there \
is no such program; 125: Sandglass failed, or the end is not known, and the message says why.";

const CP_EXAMPLES: &str = "Examples:
  sandglass cp report.txt i1:/tmp/
  sandglass cp src i1:/home/user/project
  sandglass cp src/. i1:/srv
  sandglass cp i1:/var/log/app ./logs

A path that ends with /. means what is in that directory.";

/// Where the supervisor is.
#[derive(Debug, Args)]
pub(super) struct Server {
    /// Where the supervisor listens.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080", env = "SANDGLASS_URL")]
    pub(super) url: String,
    /// Its API key, if it has one; safer in the variable.
    #[arg(long, value_name = "KEY", env = "SANDGLASS_HTTP__API_KEY", hide_env_values = true)]
    pub(super) api_key: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Exec {
    #[command(flatten)]
    pub(super) server: Server,
    /// Pass on the standard input.
    #[arg(short, long)]
    pub(super) interactive: bool,
    /// Give the command a terminal.
    #[arg(short, long)]
    pub(super) tty: bool,
    /// Don't wait for the command; print its command_id.
    #[arg(short, long, conflicts_with_all = ["interactive", "tty"])]
    pub(super) detach: bool,
    /// An environment variable; a name alone takes the value from here. Can be repeated.
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub(super) env: Vec<String>,
    /// Who runs it: a name, UID or UID:GID; by default whom the image names.
    #[arg(short, long, value_name = "USER")]
    pub(super) user: Option<String>,
    /// The directory that it runs in; by default the container's.
    #[arg(short, long, value_name = "PATH")]
    pub(super) workdir: Option<String>,
    /// After how long it is ended: seconds, or a text such as 10m.
    #[arg(long, value_name = "DURATION")]
    pub(super) timeout: Option<String>,
    /// The sandbox.
    #[arg(value_name = "ID")]
    pub(super) sandbox: String,
    /// The program and its arguments.
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(super) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct Shell {
    #[command(flatten)]
    pub(super) server: Server,
    /// Who works: a name, UID or UID:GID; by default whom the image names.
    #[arg(short, long, value_name = "USER")]
    pub(super) user: Option<String>,
    /// The directory that it begins in.
    #[arg(short, long, value_name = "PATH")]
    pub(super) workdir: Option<String>,
    /// The sandbox.
    #[arg(value_name = "ID")]
    pub(super) sandbox: String,
}

#[derive(Debug, Args)]
pub(super) struct Copy {
    #[command(flatten)]
    pub(super) server: Server,
    /// Who reads or writes inside, and owns what is written: a name, UID or UID:GID; by default whom the image names.
    #[arg(short, long, value_name = "USER")]
    pub(super) user: Option<String>,
    /// Show no progress.
    #[arg(short, long)]
    pub(super) quiet: bool,
    /// What is copied: PATH, or ID:PATH.
    #[arg(value_name = "SRC")]
    pub(super) source: String,
    /// Where it is copied to: ID:PATH, or PATH.
    #[arg(value_name = "DST")]
    pub(super) destination: String,
}

#[derive(Debug, Args)]
pub(super) struct Logs {
    #[command(flatten)]
    pub(super) server: Server,
    /// Go on with what is written, until the sandbox ends or Ctrl-C.
    #[arg(short, long)]
    pub(super) follow: bool,
    /// Only that many lines from the end.
    #[arg(short = 'n', long, value_name = "LINES")]
    pub(super) tail: Option<u32>,
    /// Only what was written since then: how long ago (10m), or epoch seconds.
    #[arg(long, value_name = "TIME")]
    pub(super) since: Option<String>,
    /// The sandbox.
    #[arg(value_name = "ID")]
    pub(super) sandbox: String,
}

#[derive(Debug, Args)]
pub(super) struct Stats {
    #[command(flatten)]
    pub(super) server: Server,
    /// Print once, also on a terminal.
    #[arg(long)]
    pub(super) once: bool,
    /// Print once as JSON.
    #[arg(long)]
    pub(super) json: bool,
    /// The sandbox.
    #[arg(value_name = "ID")]
    pub(super) sandbox: String,
}

const WATCH_EXAMPLES: &str = "Examples:
  sandglass watch
  sandglass watch --url http://127.0.0.1:9000 --status running,paused
  sandglass watch --metadata team=blue --no-activity
  sandglass watch | jq 'select(.change == \"removed\") | .sandbox.reason'";

#[derive(Debug, Args)]
pub(super) struct Watch {
    #[command(flatten)]
    pub(super) server: Server,
    /// Only this sandbox; can be repeated.
    #[arg(long, value_name = "ID")]
    pub(super) id: Vec<String>,
    /// Only these statuses, separated by commas, or `all`; by default those that have not ended.
    #[arg(long, value_name = "STATUS")]
    pub(super) status: Vec<String>,
    /// Only sandboxes with this metadata; can be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) metadata: Vec<String>,
    /// Leave out events that only say that a sandbox was used.
    #[arg(long)]
    pub(super) no_activity: bool,
    /// Print the messages as JSON, one per line, also on a terminal.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Demo {
    /// The image to run; it needs `sleep`.
    #[arg(long, value_name = "IMAGE")]
    pub(super) image: Option<String>,
}
