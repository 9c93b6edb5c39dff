//! The firewall for another process.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
};

use sandglass_agent::walls::{Answer, Blocked, Kind, Request, Rules};

use super::lab::*;

#[test]
fn the_program_does_what_it_is_asked_until_its_input_ends() {
    let host = Namespace::new();
    let mut program = host.within(|| {
        Command::new(env!("CARGO_BIN_EXE_sandglass-agent"))
            .arg("walls")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    });
    let mut requests = program.stdin.take().unwrap();
    let mut answers = BufReader::new(program.stdout.take().unwrap());
    let mut ask = |line: String| -> Answer {
        requests.write_all(format!("{line}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        answers.read_line(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap()
    };
    let line = |request: &Request| serde_json::to_string(request).unwrap();

    let error = ask(line(&Request::Put { address: FIRST, rules: Rules::default() })).into_result::<()>().unwrap_err();
    assert_eq!(error.kind, Kind::Missing);
    assert_eq!(ask("{\"do\":\"dance\"}".to_owned()).into_result::<()>().unwrap_err().kind, Kind::Invalid);
    let whole = table([(FIRST, deny("1.0.0.0/8"))]);
    ask(line(&Request::Replace { table: whole })).into_result::<()>().unwrap();
    // As others would write it.
    let put = "{\"do\":\"put\",\"address\":\"10.213.0.8\",\"rules\":{\"deny\":[\"2.0.0.0/8\"]}}";
    ask(put.to_owned()).into_result::<()>().unwrap();
    assert!(host.nft(&["list", "ruleset"]).contains("ip daddr 2.0.0.0/8 goto blocked"));
    let no_names: Vec<String> = Vec::new();
    assert_eq!(ask(line(&Request::Check)).into_result::<Vec<String>>().unwrap(), no_names);
    assert_eq!(ask(line(&Request::Blocked { address: FIRST })).into_result::<Blocked>().unwrap(), Blocked::default());
    ask(line(&Request::Remove { address: FIRST })).into_result::<()>().unwrap();
    assert_eq!(ask(line(&Request::Tables)).into_result::<Vec<String>>().unwrap(), [NAME]);
    ask(line(&Request::Delete { name: NAME.to_owned() })).into_result::<()>().unwrap();
    assert_eq!(ask(line(&Request::Tables)).into_result::<Vec<String>>().unwrap(), no_names);

    drop(requests);
    assert!(program.wait().unwrap().success());
}
