//! A client that sends requests and writes down what it was promised.

use std::time::Duration;

use sandglass::{
    domain::{
        ActivitySource, OnTimeout, Sandbox,
        sandbox::{HoldRequest, RuleClock, Work, command_hold},
    },
    sandboxes::{Connected, Create, Created, RequestError},
    supervisor::Supervisor,
};

use super::{
    bench::{id, idle},
    life::{Birth, Hold, HoldKey, Life, ROUNDING, reason_of},
    stage::Stage,
};

/// A client's request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Ask {
    /// The idle timeout and the active timeout, in seconds.
    Create {
        idle: u64,
        active: u64,
        on_timeout: OnTimeout,
    },
    Ping,
    /// Seconds.
    KeepAlive(u64),
    /// Takes or renews the hold with this number.
    Hold {
        number: u64,
        /// Seconds.
        ttl: u64,
    },
    /// Releases the hold with this number.
    Release(u64),
    /// Begins a command, which holds with this number.
    Command {
        number: u64,
        /// Seconds.
        longest: u64,
    },
    /// The command with this number has ended.
    CommandEnds(u64),
    Pause,
    Resume,
    /// Makes sure that it runs and is active for so many seconds.
    Connect(u64),
    /// Moves the active timeout, in seconds, unless it is paused.
    SetTimeout(u64),
    /// With the seconds to wait.
    Terminate(u64),
    Get,
}

impl Ask {
    /// The hold that it takes, and for how many seconds.
    fn takes(self) -> Option<(HoldKey, u64)> {
        match self {
            Self::Hold { number, ttl } => Some((HoldKey::Client(number), ttl)),
            Self::Command { number, longest } => Some((HoldKey::Command(number), longest)),
            _ => None,
        }
    }

    /// The hold that it releases.
    fn releases(self) -> Option<HoldKey> {
        match self {
            Self::Release(number) => Some(HoldKey::Client(number)),
            Self::CommandEnds(number) => Some(HoldKey::Command(number)),
            _ => None,
        }
    }
}

fn hold_name(number: u64) -> Box<str> {
    format!("hold-{number}").into()
}

fn command_id(number: u64) -> String {
    format!("c{number}")
}

/// The answer to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Success.
    Yes,
    /// A refusal.
    No,
    /// The sandbox is ending.
    Ending,
    /// The sandbox has ended, or does not exist.
    Gone,
    /// No answer in time.
    Nothing,
}

/// The client of one sandbox.
pub(crate) struct Client<'a> {
    pub(crate) stage: &'a Stage,
    pub(crate) supervisor: &'a Supervisor,
    pub(crate) name: &'a str,
}

impl Client<'_> {
    /// Sends a request and waits for at most `patience`. A request without an answer may still be carried out.
    pub(crate) async fn ask(&self, ask: Ask, patience: Duration) -> Told {
        self.stage.look_at_containers();
        let asked = self.now();
        let before = self.stage.model().life(self.name).cloned();
        self.stage.model().tell(self.now(), &format!("{} asks: {ask:?}", self.name));
        self.announce(ask);
        let answer = tokio::time::timeout(patience, self.call(ask)).await;
        let now = self.now();
        if let Some(life) = self.stage.model().life(self.name) {
            life.awaited = false;
        }
        let told = match answer {
            Ok(Ok(sandbox)) => self.granted(ask, &sandbox, asked),
            Ok(Err(rejection)) => self.refused(ask, &rejection, before),
            Err(_) => {
                // A client that hangs up does not learn the outcome.
                if ask != Ask::Get
                    && let Some(life) = self.stage.model().life(self.name)
                {
                    life.unsure = true;
                }
                Told::Nothing
            }
        };
        self.stage.model().tell(now, &format!("{} is told: {told:?}", self.name));
        told
    }

    fn now(&self) -> f64 {
        self.stage.clock.now()
    }

    /// Notes what the request may change, answered or not.
    fn announce(&self, ask: Ask) {
        let (now, mut model) = (self.now(), self.stage.model());
        if let Ask::Create { idle, on_timeout, .. } = ask {
            let old = model.life(self.name);
            let former = old.as_ref().and_then(|life| life.gone);
            if old.is_none_or(|life| life.gone.is_some()) {
                model.begin(self.name, Life::asked(ask, idle, on_timeout, former, now));
            }
        }
        let Some(life) = model.life(self.name) else { return };
        life.awaited = ask != Ask::Get;
        match ask {
            Ask::Get => return,
            Ask::Terminate(_) => {
                life.end_asked = true;
                return;
            }
            Ask::Pause => {
                life.pause_asked = true;
                return;
            }
            Ask::Resume | Ask::Connect(_) => life.may_end_from(now + life.idle_timeout, f64::INFINITY),
            Ask::KeepAlive(timeout) | Ask::SetTimeout(timeout) => {
                life.may_end_from(f64::INFINITY, now + Duration::from_secs(timeout).as_secs_f64());
            }
            Ask::Create { .. } | Ask::Ping => {}
            // Below.
            Ask::Hold { .. } | Ask::Command { .. } | Ask::Release(_) | Ask::CommandEnds(_) => {}
        }
        if let Some((key, ttl)) = ask.takes() {
            // A renewed hold can be over sooner.
            life.may_end_from(now + life.idle_timeout, f64::INFINITY);
            let until = now + Duration::from_secs(ttl).as_secs_f64();
            let hold = life.holds.entry(key).or_insert(Hold { until, firm_until: f64::NEG_INFINITY });
            *hold = Hold { until: hold.until.max(until), firm_until: hold.firm_until.min(until) };
            life.last_hold = life.last_hold.max(until);
        }
        if let Some(key) = ask.releases() {
            life.may_end_from(now + life.idle_timeout, f64::INFINITY);
            if let Some(hold) = life.holds.get_mut(&key) {
                hold.firm_until = f64::NEG_INFINITY;
            }
        }
        life.last_use = now;
    }

    async fn call(&self, ask: Ask) -> Result<Sandbox, RequestError> {
        let (supervisor, name) = (self.supervisor, id(self.name));
        match ask {
            Ask::Create { idle, active, on_timeout } => {
                let created = supervisor.create(create(self.name, idle, active, on_timeout), true).await?;
                let mut model = self.stage.model();
                let certain = model.life(self.name).is_some_and(|life| life.lives(self.now(), 0.0));
                if certain && matches!(created, Created::New(_)) {
                    model.violated(self.now(), &format!("{name}: a new one, and the old one was to live"));
                }
                match created {
                    Created::New(sandbox) | Created::Pending(sandbox) | Created::Reused(sandbox) => Ok(sandbox),
                }
            }
            Ask::Ping => supervisor.touch(&name, ActivitySource::Ping).await,
            Ask::KeepAlive(timeout) => supervisor.keep_alive(&name, Duration::from_secs(timeout)).await,
            Ask::Hold { number, ttl } => {
                let ttl = Duration::from_secs(ttl);
                supervisor.hold(&name, HoldRequest { name: hold_name(number), ttl, reason: None }).await
            }
            Ask::Release(number) => supervisor.release(&name, &hold_name(number)).await,
            Ask::Command { number, longest } => {
                let longest = Duration::from_secs(longest);
                let hold = HoldRequest::of_command(&command_id(number), longest, "sleep".into());
                let work = Work { source: ActivitySource::Command, hold: Some(hold) };
                supervisor.sandboxes().work(&name, &work).await
            }
            Ask::CommandEnds(number) => supervisor.release(&name, &command_hold(&command_id(number))).await,
            Ask::Pause => supervisor.pause(&name).await,
            Ask::Resume => supervisor.resume(&name, None).await,
            Ask::Connect(timeout) => {
                let connected = supervisor.sandboxes().connect(&name, Duration::from_secs(timeout)).await?;
                let (Connected::Running(sandbox) | Connected::Resumed(sandbox)) = connected;
                let promised = self.supervisor.now().wall_at(sandbox.expires_at());
                if promised + ROUNDING < self.now() {
                    self.stage.model().violated(self.now(), &format!("{name}: connected, and over"));
                }
                Ok(sandbox)
            }
            Ask::SetTimeout(timeout) => supervisor.sandboxes().set_timeout(&name, Duration::from_secs(timeout)).await,
            Ask::Terminate(wait) => supervisor.terminate(&name, Duration::from_secs(wait)).await,
            Ask::Get => supervisor.get(&name).await,
        }
    }

    fn granted(&self, ask: Ask, sandbox: &Sandbox, asked: f64) -> Told {
        let now = self.now();
        let clock = self.supervisor.now();
        let in_memory = !self.supervisor.health().store().is_up();
        let mut model = self.stage.model();
        let firmly = model.is_well(now) && !in_memory;
        if let Some(end) = sandbox.end() {
            let (at, gone) = (clock.wall_at(end.decided_at), sandbox.is_gone());
            model.told_ending(self.name, end.reason, at, gone, now);
            if matches!(ask, Ask::Terminate(_))
                && let Some(life) = model.life(self.name)
            {
                life.held.end = true;
                life.firm.end |= firmly;
                return Told::Yes;
            }
            return if gone { Told::Gone } else { Told::Ending };
        }
        model.told_alive(self.name, now);
        let (deadline, expires_at) = deadlines(sandbox, &clock);
        if let (Some((key, ttl)), Some(life)) = (ask.takes(), model.life(self.name)) {
            let ttl = Duration::from_secs(ttl).as_secs_f64();
            let firm_until = asked + ttl;
            life.holds.insert(key, Hold { until: now + ttl, firm_until });
            let early = deadline.filter(|_| !sandbox.is_starting()).map(|at| firm_until + life.idle_timeout - at);
            if let Some(early) = early.filter(|early| *early > ROUNDING) {
                model.violated(now, &format!("{}: it ends {early:.3} s before its hold allows", self.name));
            }
        }
        if let (Some(key), Some(life)) = (ask.releases(), model.life(self.name)) {
            life.holds.remove(&key);
        }
        match (ask, model.life(self.name)) {
            (Ask::Get, _) | (_, None) => {}
            (_, Some(life)) => {
                // A resume whose client hung up may thaw the sandbox at any time from now on.
                let thawed = life.unsure.then_some(now + life.idle_timeout);
                life.acknowledged(deadline.or(thawed), expires_at, firmly);
                // Starts and thaws count when they are completed.
                if matches!(ask, Ask::Create { .. } | Ask::Resume | Ask::Connect(_)) {
                    life.last_use = now;
                }
                // A start may still fail.
                if !sandbox.is_starting() {
                    life.birth = Birth::Confirmed;
                }
                return Told::Yes;
            }
        }
        if sandbox.is_alive() && ask == Ask::Get { Told::Yes } else { Told::No }
    }

    fn refused(&self, ask: Ask, rejection: &RequestError, before: Option<Life>) -> Told {
        let now = self.now();
        let clock = self.supervisor.now();
        let mut model = self.stage.model();
        model.tell(now, &format!("{} is refused: {rejection}", self.name));
        // These were applied to what was being paused, and refused when it was.
        let too_late =
            matches!(ask, Ask::Connect(_) | Ask::SetTimeout(_)) && matches!(rejection, RequestError::Paused(_));
        if let Some(life) = model.life(self.name).filter(|_| too_late) {
            life.unsure = true;
        }
        // A request that was refused at once changes nothing.
        if let (Some(before), Some(life), false) = (&before, model.life(self.name), too_late)
            && matches!(
                rejection,
                RequestError::Gone(_)
                    | RequestError::Terminating { .. }
                    | RequestError::Starting
                    | RequestError::NoSuchHold(_)
                    | RequestError::Paused(_)
                    | RequestError::Inactive(_)
            )
        {
            life.nothing_changed(before);
        }
        match rejection {
            RequestError::Gone(sandbox) => {
                if let Some(end) = sandbox.end() {
                    model.told_ending(self.name, end.reason, clock.wall_at(end.decided_at), true, now);
                }
                Told::Gone
            }
            RequestError::Terminating { reason, .. } => {
                model.told_ending(self.name, *reason, now, false, now);
                Told::Ending
            }
            RequestError::NoSuchHold(_) => {
                let known = before.filter(|before| !before.unsure);
                let hold = known.zip(ask.releases()).and_then(|(before, key)| before.holds.get(&key).copied());
                if hold.is_some_and(|hold| hold.firm_until > now + ROUNDING) {
                    model.violated(now, &format!("{}: a hold on it is forgotten", self.name));
                }
                Told::No
            }
            RequestError::Paused(_) | RequestError::Inactive(_) => {
                model.told_alive(self.name, now);
                Told::No
            }
            RequestError::NotFound(_) => {
                model.told_unknown(self.name, now);
                Told::Gone
            }
            RequestError::Internal(problem) => {
                model.violated(now, &format!("{}: an internal error: {problem}", self.name));
                Told::No
            }
            RequestError::StartFailed(sandbox) => {
                if let Some(reason) = reason_of(sandbox) {
                    model.told_ending(self.name, reason, now, false, now);
                }
                Told::No
            }
            _ => {
                if let Some(life) = model.life(self.name) {
                    // Only the first create knows that nothing began.
                    let first = before.is_none_or(|before| before.gone.is_some());
                    if matches!(ask, Ask::Create { .. }) && life.birth == Birth::Asked && first {
                        life.birth = Birth::Refused;
                    } else if ask != Ask::Get {
                        life.unsure = true;
                    }
                }
                Told::No
            }
        }
    }
}

/// The idle deadline and the end of the active timeout, in epoch seconds.
pub(crate) fn deadlines(sandbox: &Sandbox, now: &sandglass::domain::Now) -> (Option<f64>, f64) {
    // A starting sandbox has no deadline, but will get one that counts from later.
    let idle_timeout = sandbox.rules().after(RuleClock::Idle).filter(|_| sandbox.is_starting());
    let starting = idle_timeout.map(|timeout| now.moment.plus(timeout));
    let idle = sandbox.idle_deadline().or(starting).map(|at| now.wall_at(at));
    (idle, now.wall_at(sandbox.expires_at()))
}

fn create(name: &str, seconds: u64, active: u64, on_timeout: OnTimeout) -> Create {
    let timeout = Some(Duration::from_secs(active));
    Create { timeout, on_timeout: Some(on_timeout), ..idle(name, seconds) }
}
