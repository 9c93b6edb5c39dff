//! Cells of bash.

use serde_json::json;

use super::Interpreter;

#[tokio::test]
async fn a_shell_keeps_its_directory_and_variables() {
    let shell = Interpreter::new().await;
    let told = shell.run("bash", "cd /tmp; x='a b'; declare -A map=([k]=v); f() { echo \"f $1\"; }").await;
    assert_eq!((told.out().as_str(), told.count), ("", 1));
    let told = shell.run("Bash", "pwd; echo \"$x\"; echo \"${map[k]}\" >&2; f 1").await;
    assert_eq!(
        (told.stdout.as_slice(), told.stderr.as_slice()),
        (&["/tmp\n", "a b\n", "f 1\n"].map(str::to_owned)[..], &["v\n".to_owned()][..])
    );
    assert_eq!(told.count, 2);
}

#[tokio::test]
async fn a_failure_is_an_error() {
    let shell = Interpreter::new().await;
    let told = shell.run("bash", "echo out; false").await;
    assert_eq!(
        (told.stdout.concat().as_str(), told.error_name(), told.error["value"].as_str()),
        ("out\n", "ExitStatus", Some("1"))
    );
    let told = shell.run("bash", "if then").await;
    assert_eq!(told.error_name(), "ExitStatus");
    assert!(told.stderr.concat().contains("syntax error"), "{told:?}");
    let told = shell.run("bash", "x=1; exit 4").await;
    assert_eq!(told.error_name(), "UnexpectedEndOfExecution");
    assert_eq!(shell.run("bash", "echo \"[$x]\"").await.out(), "[]\n");
}

#[tokio::test]
async fn variables_hold_for_one_cell() {
    let shell = Interpreter::new().await;
    shell.run("bash", "KEPT='a  b'; FOO=old").await;
    let request = json!({ "code": "echo \"$FOO $KEPT\"; sh -c 'echo $FOO'", "language": "bash", "env_vars": { "FOO": "it's $HOME", "KEPT": "x" } });
    assert_eq!(shell.execute(&request).await.out(), "it's $HOME x\nit's $HOME\n");
    assert_eq!(shell.run("bash", "echo \"$FOO $KEPT\"; sh -c 'echo \"[$FOO]\"'").await.out(), "old a  b\n[]\n");
    let request = json!({ "code": "true", "language": "bash", "env_vars": { "A;reboot": "x" } });
    assert_eq!(shell.call("POST", "/execute", &request).await.0, 400);
}

#[tokio::test]
async fn a_cell_has_no_input_and_none_of_the_agents_descriptors() {
    let shell = Interpreter::new().await;
    let told = shell.run("bash", "read line; echo \"[$line]\"; ls -l /proc/self/fd").await.out();
    assert!(told.starts_with("[]\n") && told.contains("/dev/null") && !told.contains("socket:"), "{told}");
}

#[tokio::test]
async fn an_interrupt_that_comes_after_its_cell_is_not_for_the_next_one() {
    let bash = Interpreter::new().await;
    let directory = tempfile::tempdir().unwrap();
    let sent = directory.path().join("sent");
    bash.run("bash", &format!("(sleep 0.2; kill -INT $$; touch {}) &", sent.display())).await;
    let wait = async {
        while !sent.exists() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), wait).await.expect("the interrupt is sent");
    let told = bash.run("bash", "f() { echo one; echo two; }\nf\necho three").await;
    assert_eq!(
        (told.stdout.concat(), &told.error),
        ("one\ntwo\nthree\n".to_owned(), &serde_json::Value::Null),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_client_that_hangs_up_interrupts_the_cell_and_keeps_the_variables() {
    let shell = Interpreter::new().await;
    shell.run("bash", "x=1").await;
    for code in [
        "sleep 600; echo after",
        "while :; do :; done; echo after",
        "while :; do sleep 0.1; done",
        "f() { sleep 600; sleep 600; }; f; f",
        "(while :; do :; done)",
        "sleep 600 | cat",
    ] {
        let mut running = shell.begin(&json!({ "code": format!("echo runs\n{code}"), "language": "bash" })).await;
        running.written().await;
        drop(running);
        let told = shell.run("bash", "echo \"[$x]\"").await;
        assert_eq!((told.out().as_str(), told.stderr.len()), ("[1]\n", 0), "{code}: {told:?}");
    }
}

#[tokio::test]
async fn a_part_of_a_line_of_errors_comes_soon() {
    let shell = Interpreter::new().await;
    let request = json!({ "code": "printf part >&2; sleep 600", "language": "bash" });
    let mut running = shell.begin(&request).await;
    assert_eq!(running.next().await.unwrap()["type"], "number_of_executions");
    let line = running.next().await.unwrap();
    assert_eq!((line["type"].as_str(), line["text"].as_str()), (Some("stderr"), Some("part")));
}
