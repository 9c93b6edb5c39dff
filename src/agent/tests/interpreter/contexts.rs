//! Contexts: made, listed, restarted and removed.

use serde_json::{Value, json};

use super::Interpreter;

async fn list(interpreter: &Interpreter) -> Vec<Value> {
    let (status, body) = interpreter.call("GET", "/contexts", &Value::Null).await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

#[tokio::test]
async fn health_is_a_json_text() {
    let interpreter = Interpreter::new().await;
    assert_eq!(interpreter.call("GET", "/health", &Value::Null).await, (200, "\"OK\"".to_owned()));
}

#[tokio::test]
async fn default_contexts_are_always_listed_and_new_ones_are_last() {
    let interpreter = Interpreter::new().await;
    let languages = |contexts: &[Value]| {
        contexts.iter().map(|context| context["language"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(languages(&list(&interpreter).await), ["python", "javascript"]);
    let folder = tempfile::tempdir().unwrap();
    let cwd = folder.path().canonicalize().unwrap().join("made/below");
    let (status, made) = interpreter.call("POST", "/contexts", &json!({ "language": " BASH", "cwd": cwd })).await;
    assert_eq!(status, 200);
    let made: Value = serde_json::from_str(&made).unwrap();
    assert_eq!((made["language"].as_str(), made["cwd"].as_str()), (Some("bash"), cwd.to_str()));
    let contexts = list(&interpreter).await;
    assert_eq!(contexts.last(), Some(&made));
    let id = made["id"].as_str().unwrap();
    assert_eq!(interpreter.run_in(id, "pwd").await.out(), format!("{}\n", cwd.display()));
    let deleted = interpreter.call("DELETE", &format!("/contexts/{id}?source=test"), &Value::Null).await;
    assert_eq!(deleted, (200, "null".to_owned()));
    let first = contexts[0]["id"].as_str().unwrap();
    assert_eq!(interpreter.call("DELETE", &format!("/contexts/{first}"), &Value::Null).await.0, 200);
    let contexts = list(&interpreter).await;
    assert_eq!(contexts.len(), 2);
    assert!(languages(&contexts).contains(&"python".to_owned()));
}

#[tokio::test]
async fn a_list_makes_nothing_and_names_what_the_first_use_makes() {
    let interpreter = Interpreter::new().await;
    // As many as there can be; their processes end with the agent.
    for _ in 0..64 {
        interpreter.context(&json!({ "language": "bash" })).await;
    }
    let listed = list(&interpreter).await;
    assert_eq!(listed.len(), 2 + 64);
    for (path, body) in [("/contexts", json!({})), ("/execute", json!({ "code": "1" }))] {
        let (status, why) = interpreter.call("POST", path, &body).await;
        assert_eq!(status, 400, "{why}");
        assert!(why.starts_with("Failed to create context: 64 contexts"), "{why}");
    }
    let id = listed[2]["id"].as_str().unwrap();
    assert_eq!(interpreter.call("DELETE", &format!("/contexts/{id}"), &Value::Null).await.0, 200);
    let python = listed[0]["id"].as_str().unwrap();
    assert_eq!(interpreter.run_in(python, "1 + 1").await.text(), "2");
    interpreter.python("x = 7").await;
    assert_eq!(interpreter.run_in(python, "x").await.text(), "7");
    assert_eq!(list(&interpreter).await[..2], listed[..2]);
}

#[tokio::test]
async fn a_context_has_variables_of_its_own() {
    let interpreter = Interpreter::new().await;
    let id = interpreter.context(&json!({})).await;
    interpreter.python("x = 1").await;
    assert_eq!(interpreter.run_in(&id, "'x' in globals()").await.text(), "False");
    assert_eq!(interpreter.python("x").await.text(), "1");
}

#[tokio::test]
async fn what_cannot_be_is_refused_in_plain_text() {
    let interpreter = Interpreter::new().await;
    let id = interpreter.context(&json!({ "language": "bash" })).await;
    for (method, path, body, status, words) in [
        ("POST", "/execute", json!({ "code": "1", "context_id": id, "language": "bash" }), 400, "Only one of"),
        ("POST", "/execute", json!({ "code": "1", "context_id": "none" }), 404, "Context none not found"),
        ("POST", "/execute", json!({ "code": "1", "language": "R" }), 500, "Failed to create context: \"r\" is not"),
        ("POST", "/execute", json!({}), 400, "code"),
        ("POST", "/execute", json!({ "code": "1", "env_vars": { "": "x" } }), 400, "env_vars"),
        ("POST", "/contexts", json!({ "language": "cobol" }), 500, "Failed to create context: "),
        ("DELETE", "/contexts/none", Value::Null, 404, "Context none not found"),
        ("POST", "/contexts/none/restart", Value::Null, 404, "Context none not found"),
        ("GET", "/nothing", Value::Null, 404, "/nothing"),
    ] {
        let (answered, text) = interpreter.call(method, path, &body).await;
        assert_eq!(answered, status, "{method} {path} {body}: {text}");
        assert!(text.contains(words), "{text}");
    }
    assert_eq!(list(&interpreter).await.len(), 3, "nothing was left behind");
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_or_entered_is_told_and_home_is_used() {
    let setup = sandglass_agent::Setup {
        environment: vec![("PATH".into(), "/usr/bin:/bin".into())],
        user: "nobody".to_owned(),
        ..Default::default()
    };
    let agent = sandglass_agent::Agent::new(setup);
    let interpreter = Interpreter(crate::client::Client::of(&agent).await);
    let closed = tempfile::tempdir().unwrap();
    std::fs::set_permissions(closed.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    for cwd in [closed.path().to_str().unwrap(), "/proc/no"] {
        let (status, made) = interpreter.call("POST", "/contexts", &json!({ "language": "bash", "cwd": cwd })).await;
        assert_eq!(status, 200, "{made}");
        let made: Value = serde_json::from_str(&made).unwrap();
        assert_ne!(made["cwd"], cwd);
        assert_eq!(list(&interpreter).await.last(), Some(&made));
        let told = interpreter.run_in(made["id"].as_str().unwrap(), "pwd").await;
        assert!(told.stderr[0].contains(cwd), "{told:?}");
        assert!(!told.out().contains(cwd), "{told:?}");
    }
}

#[tokio::test]
async fn a_program_that_the_image_lacks_is_named() {
    let environment = vec![("PATH".into(), "/nowhere".into())];
    let agent = sandglass_agent::Agent::new(sandglass_agent::Setup { environment, ..Default::default() });
    let interpreter = Interpreter(crate::client::Client::of(&agent).await);
    for (language, program) in [("python", "python3"), ("js", "node"), ("bash", "bash")] {
        let (status, why) = interpreter.call("POST", "/execute", &json!({ "code": "1", "language": language })).await;
        assert_eq!(status, 500);
        assert!(why.starts_with(&format!("Failed to create context: this image has no {program}")), "{why}");
    }
}

#[tokio::test]
async fn cells_of_one_context_run_one_after_the_other() {
    let interpreter = Interpreter::new().await;
    let id = interpreter.context(&json!({})).await;
    let mut first = interpreter
        .begin(&json!({ "code": "import time; print('runs'); time.sleep(0.5); x = 1", "context_id": id }))
        .await;
    first.written().await;
    let second = interpreter.begin(&json!({ "code": "x", "context_id": id })).await;
    let third = interpreter.begin(&json!({ "code": "x + 1", "context_id": id })).await;
    // Other contexts do not wait.
    assert_eq!(interpreter.python("5").await.text(), "5");
    assert_eq!(third.rest().await.text(), "2");
    assert_eq!(second.rest().await.text(), "1");
    first.rest().await;
}

#[tokio::test]
async fn a_client_that_hangs_up_before_its_turn_runs_nothing() {
    let interpreter = Interpreter::new().await;
    let mut first = interpreter.begin(&json!({ "code": "import time; x = 0; print('runs'); time.sleep(1)" })).await;
    first.written().await;
    drop(interpreter.begin(&json!({ "code": "x += 1" })).await);
    first.rest().await;
    let told = interpreter.python("x").await;
    assert_eq!((told.text(), told.count), ("0", 2));
}

#[tokio::test]
async fn a_restart_ends_the_cell_that_runs_and_forgets_the_variables() {
    let interpreter = Interpreter::new().await;
    let id = interpreter.context(&json!({})).await;
    let restart = format!("/contexts/{id}/restart");
    let mut running = interpreter
        .begin(&json!({ "code": "x = 1\nprint('runs')\nimport time; time.sleep(600)", "context_id": id }))
        .await;
    running.written().await;
    let waiting = interpreter.begin(&json!({ "code": "'x' in globals()", "context_id": id })).await;
    assert_eq!(interpreter.call("POST", &restart, &Value::Null).await, (200, "null".to_owned()));
    let told = running.rest().await;
    assert_eq!(told.error_name(), "ContextRestarting");
    assert_eq!(waiting.rest().await.text(), "False");
    interpreter.run_in(&id, "x = 2").await;
    assert_eq!(interpreter.call("POST", &restart, &Value::Null).await.0, 200);
    let told = interpreter.run_in(&id, "'x' in globals()").await;
    assert_eq!((told.text(), told.count), ("False", 1));
}

#[tokio::test]
async fn a_removed_context_ends_its_cell_and_those_that_wait() {
    let interpreter = Interpreter::new().await;
    let id = interpreter.context(&json!({})).await;
    let code = "import os, time; print(os.getpid()); time.sleep(600)";
    let mut running = interpreter.begin(&json!({ "code": code, "context_id": id })).await;
    let pid: u32 = running.written().await.trim().parse().unwrap();
    let waiting = interpreter.begin(&json!({ "code": "1", "context_id": id })).await;
    assert_eq!(interpreter.call("DELETE", &format!("/contexts/{id}"), &Value::Null).await.0, 200);
    assert_eq!(running.rest().await.error_name(), "ContextRemoved");
    assert_eq!(waiting.rest().await.error_name(), "ContextRemoved");
    crate::process::eventually("the end of the process", async || !crate::process::is_alive(pid)).await;
}

#[tokio::test]
async fn everything_ends_with_the_agent() {
    let agent = crate::client::agent();
    let interpreter = Interpreter(crate::client::Client::of(&agent).await);
    let told = interpreter
        .python("import os, subprocess; p = subprocess.Popen(['sleep', '600']); print(os.getpid(), p.pid)")
        .await;
    let out = told.out();
    agent.end();
    for pid in out.split_whitespace() {
        let pid = pid.parse().unwrap();
        crate::process::eventually("the end of the process", async || !crate::process::is_alive(pid)).await;
    }
}

#[tokio::test]
async fn a_cell_runs_as_the_user_of_its_agent() {
    let setup = sandglass_agent::Setup {
        environment: vec![("PATH".into(), "/usr/bin:/bin".into())],
        user: "nobody".to_owned(),
        ..Default::default()
    };
    let interpreter = Interpreter(crate::client::Client::of(&sandglass_agent::Agent::new(setup)).await);
    assert_eq!(interpreter.run("bash", "id -un; echo $USER").await.out(), "nobody\nnobody\n");
    assert_eq!(interpreter.python("import getpass; getpass.getuser()").await.text(), "nobody");
}
