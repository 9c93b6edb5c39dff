//! What a ping costs, counted and not timed: the instructions of a ping through the whole HTTP service, under valgrind's
//! callgrind, against those of a bare handler in the same run. Counts do not depend on how busy the machine is, and their
//! ratio hardly on the compiler and the processor. The build is the tests' own, without optimization: every look-up, copy,
//! lock and allocation that is added to the ping's path shows, and nobody waits for another build. What the optimizer makes
//! of it is measured by `make bench`.
#![cfg(target_arch = "x86_64")]

use std::{env, fs, io, process::Command};

use actix_web::{
    App, Error, HttpResponse,
    body::{MessageBody, to_bytes},
    dev::{Service, ServiceResponse},
    rt::{System, SystemRunner},
    test::{TestRequest, init_service},
    web,
};

use crate::support::bench::{Bench, id, idle};

/// Instructions of a ping over those of a bare request. When a change makes it cheaper, or is worth what it costs, the test
/// tells the number to put here.
const BASELINE: f64 = 3.32;
/// How much more is too much. Runs differ by a thousandth; one more look-up with a copy of the address is two hundredths.
const TOLERANCE: f64 = 1.05;

/// How many requests are counted.
const REQUESTS: &str = "SANDGLASS_COUNTED_REQUESTS";
const SANDBOXES: usize = 50;

#[test]
fn a_ping_takes_as_many_instructions_as_it_did() {
    let (pings, bare) = (instructions_of("counted_pings"), instructions_of("counted_bare_requests"));
    let ratio = pings / bare;
    println!("{pings:.0} instructions per ping, {bare:.0} per bare request: {ratio:.3} times as many");
    assert!(
        ratio <= BASELINE * TOLERANCE,
        "a ping takes {:.1} % more than the baseline: {ratio:.3} times the instructions of a bare request, not {BASELINE}. \
         `callgrind_annotate` tells where they went; if they are worth it, put {ratio:.3} into tests/core/instructions.rs",
        (ratio / BASELINE - 1.0) * 100.0
    );
    if ratio < BASELINE / TOLERANCE {
        println!(
            "that is better than the baseline of {BASELINE}: put {ratio:.3} into tests/core/instructions.rs to keep it"
        );
    }
}

/// Instructions per request inside a function of this file.
fn instructions_of(function: &str) -> f64 {
    const COUNTED: usize = 200;
    let directory = tempfile::tempdir().expect("a directory of the test's own");
    let out = directory.path().join("out");
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", &format!("--toggle-collect=*{function}*")]);
    command.arg(format!("--callgrind-out-file={}", out.display()));
    // This program again, for the other test.
    command.arg(env::current_exe().expect("the path of this program"));
    command.args(["--exact", "instructions::requests_go_through_the_service", "--test-threads=1"]);
    let ran = command.env(REQUESTS, COUNTED.to_string()).output();
    let ran = match ran {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            panic!("valgrind is needed: run `make test`, which installs it on Debian and Ubuntu, or install it by hand")
        }
        ran => ran.expect("valgrind can be started"),
    };
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}\n{}", String::from_utf8_lossy(&ran.stdout));
    let text = fs::read_to_string(out).expect("what callgrind has counted");
    let total = text.lines().find_map(|line| line.strip_prefix("totals: ")?.trim().parse::<f64>().ok());
    let total =
        total.filter(|total| *total > 0.0).unwrap_or_else(|| panic!("nothing was counted in {function}:\n{said}"));
    total / COUNTED as f64
}

#[test]
fn requests_go_through_the_service() {
    let count = env::var(REQUESTS).ok().and_then(|count| count.parse().ok()).unwrap_or(SANDBOXES);
    let system = System::new();
    let (bench, service, bare) = system.block_on(async {
        let bench = Bench::new(&[]).await;
        for number in 0..SANDBOXES {
            bench.create(idle(&name(number), 7200)).await;
        }
        let bare = App::new().route("/v1/sandboxes/{id}/activity", web::post().to(answer));
        let service = init_service(sandglass::http::app(
            bench.supervisor.sandboxes(),
            sandglass::work::Work::new(bench.supervisor.sandboxes()),
        ))
        .await;
        (bench, service, init_service(bare).await)
    });
    let requests = |count: usize| -> Vec<_> {
        let path = |number: usize| format!("/v1/sandboxes/{}/activity", name(number % SANDBOXES));
        (0..count).map(|number| TestRequest::post().uri(&path(number)).to_request()).collect()
    };
    // What happens only once is not counted.
    system.block_on(all(&service, requests(SANDBOXES)));
    system.block_on(all(&bare, requests(SANDBOXES)));
    counted_pings(&system, all(&service, requests(count)));
    counted_bare_requests(&system, all(&bare, requests(count)));
    let pinged = system.block_on(bench.supervisor.get(&id(&name(0)))).expect("it is there");
    let pings = pinged.activity_by(sandglass::domain::ActivitySource::Ping).count as usize;
    assert_eq!(pings, 1 + count.div_ceil(SANDBOXES), "every ping counts");
}

/// As long as the ids that Sandglass makes.
fn name(number: usize) -> String {
    format!("i{number:019}")
}

/// As long as a ping's answer.
async fn answer() -> HttpResponse {
    HttpResponse::Ok().insert_header(("content-type", "application/json")).body([b' '; 340].as_slice())
}

#[inline(never)]
fn counted_pings(system: &SystemRunner, pings: impl Future<Output = ()>) {
    system.block_on(pings);
}

#[inline(never)]
fn counted_bare_requests(system: &SystemRunner, requests: impl Future<Output = ()>) {
    system.block_on(requests);
}

async fn all<R, S, B>(service: &S, requests: Vec<R>)
where
    S: Service<R, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody,
{
    for request in requests {
        let response = service.call(request).await.expect("an answer");
        assert_eq!(response.status().as_u16(), 200);
        assert!(!to_bytes(response.into_body()).await.ok().expect("a whole body").is_empty());
    }
}
