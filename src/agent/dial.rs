//! Connects stdio with the agent.

use std::{
    fs::File,
    io::{self, Read, Write},
    net::Shutdown,
    os::{fd::AsFd, unix::net::UnixStream},
    path::Path,
    process::{self, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use crate::{
    handover::{self, Offered},
    peer,
};

/// This program, where there is a `/proc`.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// What programs without input and output have for both.
const NULL: &str = "/dev/null";

/// How long the agent may take to start.
const START: Duration = Duration::from_secs(10);

/// How often a socket is tried that another dial's agent is about to listen at.
const TRIES: u32 = 500;

/// How long to wait between two tries.
const PAUSE: Duration = Duration::from_millis(10);

/// The bytes that are copied at a time.
const BUFFER: usize = 256 << 10;

/// Connects stdio with the agent at `@NAME` until either side ends.
pub(crate) fn dial(own: &str, name: &str, user: &str) -> Result<(), String> {
    let stream = match peer::connect(name)? {
        Some(stream) => stream,
        None => {
            start(own, name, user)?;
            connect(name)?
        }
    };
    peer::check(&stream)
        .map_err(|why| format!("the process that listens at @{name} is not the agent of this container: {why}"))?;
    // Who runs the dial can tell by this that the rest comes from the agent, and not from an engine that failed.
    println!("sandglass-agent {}", sandglass_agent::VERSION);
    connect_stdio(stream).map_err(|error| format!("cannot use stdin and stdout: {error}"))
}

/// Starts the agent, and waits until somebody listens.
fn start(own: &str, name: &str, user: &str) -> Result<(), String> {
    let program = if Path::new(OWN_PROGRAM).exists() { OWN_PROGRAM } else { own };
    let failed = |why: &str| format!("the agent does not start: {why}");
    let null = File::options().read(true).write(true).open(NULL);
    let null = null.map_err(|error| failed(&format!("it and its commands need {NULL}: {error}")))?;
    let also_null = null.try_clone().map_err(|error| failed(&error.to_string()))?;
    let mut command = Command::new(program);
    command.args(["serve", name, user]).stdin(null).stdout(Stdio::piped()).stderr(also_null);
    let mut agent = command.spawn().map_err(|error| {
        failed(&format!("{program} cannot be executed ({error}): the container needs memory, and room for a process"))
    })?;
    let (teller, told) = mpsc::channel();
    let stdout = agent.stdout.take();
    // It tells one line, and then closes its stdout.
    thread::spawn(move || {
        let mut line = String::new();
        let read = stdout.map_or(Ok(0), |mut stdout| stdout.read_to_string(&mut line));
        _ = teller.send(read.map(|_| line));
    });
    match told.recv_timeout(START) {
        Ok(Ok(line)) => match line.strip_suffix('\n') {
            Some("") => Ok(()),
            Some(why) => Err(failed(why)),
            None => Err(failed("it has ended without a word, perhaps for want of memory")),
        },
        Ok(Err(error)) => Err(failed(&error.to_string())),
        Err(_) => {
            _ = agent.kill();
            Err(failed(&format!("it has not listened within {} s", START.as_secs())))
        }
    }
}

/// Connects to the agent that has just been started, by this dial or another.
fn connect(name: &str) -> Result<UnixStream, String> {
    for _ in 0..TRIES {
        if let Some(stream) = peer::connect(name)? {
            return Ok(stream);
        }
        thread::sleep(PAUSE);
    }
    Err(format!("the agent has started, but nobody listens at @{name}: has it been killed?"))
}

/// Hands stdin over to the agent, or copies it where that cannot be done, and copies to stdout.
fn connect_stdio(mut stream: UnixStream) -> io::Result<()> {
    let mut stdin = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let offered = handover::offer(&mut stream, &mut stdin)?;
    let mut to_agent = stream.try_clone()?;
    let mut from_agent = stream;
    let (read, answered) = match offered {
        Offered::Taken => (None, Vec::new()),
        Offered::Refused { read, answered } => (Some(read), answered),
    };
    thread::spawn(move || {
        match read {
            None => handover::wait_for_end(&stdin),
            Some(read) => _ = to_agent.write_all(&read).and_then(|()| pass_on(&mut stdin, &mut to_agent)),
        }
        _ = to_agent.shutdown(Shutdown::Both);
        // The other copy may hang in a stdout that nobody reads.
        process::exit(0);
    });
    // How it ends says nothing: either side may go whenever it likes.
    _ = stdout.write_all(&answered).and_then(|()| pass_on(&mut from_agent, &mut stdout));
    Ok(())
}

/// Copies until the end. `io::copy` would have the kernel do it (`splice`), which passes on some small messages late.
fn pass_on(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => to.write_all(&buffer[..read])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
