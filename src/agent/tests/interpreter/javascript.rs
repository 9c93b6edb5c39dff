//! Cells of JavaScript.

use serde_json::json;

use super::Interpreter;

#[tokio::test]
async fn values_output_and_variables_work_as_in_a_console() {
    let node = Interpreter::new().await;
    let told = node.run("js", "console.log('Hello', 1); console.error('e'); process.stdout.write('x')").await;
    assert_eq!(
        (told.stdout.as_slice(), told.stderr.as_slice()),
        (&["Hello 1\n", "x"].map(str::to_owned)[..], &["e\n".to_owned()][..])
    );
    for (code, text) in [
        ("const x = 1", ""),
        ("x", "1"),
        ("const x = 'a'; x", "a"),
        ("const add = (x, y) => x + y;\nadd(1, 2);", "3"),
        ("async function main() {\n  return 'Hello'\n}\n\nawait main()", "Hello"),
        ("main()", "Hello"),
        ("-0", "-0"),
        ("10n", "10n"),
        ("null", "null"),
        ("undefined", ""),
        ("new Map([[1, 2]])", "Map(1) { 1 => 2 }"),
        ("require('path').join('a', 'b')", "a/b"),
        (
            "import fs, { existsSync as e } from 'node:fs'\nimport * as os from 'os'\n[e('/'), fs.existsSync('/'), typeof os.cpus]",
            "[ true, true, 'function' ]",
        ),
        ("(await import('fs')).existsSync('/')", "true"),
        ("'import(x)'", "import(x)"),
        ("'😀' + '\\ud83d'.length", "😀1"),
    ] {
        assert_eq!(node.run("javascript", code).await.text(), text, "{code}");
    }
    assert_eq!(node.run("js", "({a: [1]})").await.results[0]["json"], json!({ "a": [1] }));
}

#[tokio::test]
async fn errors_name_the_lines_of_the_cell_and_none_of_the_driver() {
    let node = Interpreter::new().await;
    for (code, name, line) in [
        ("1\nthrow new TypeError('bad')", "TypeError", "cell-1.js:2"),
        ("1\nlet z = ;", "SyntaxError", "cell-2.js:2"),
        ("await (async () => { nope })()", "ReferenceError", "cell-3.js:1"),
        ("throw 5", "Error", "Uncaught 5"),
    ] {
        let error = node.run("js", code).await.error;
        assert_eq!(error["name"], name, "{error}");
        let traceback = error["traceback"].as_str().unwrap();
        assert!(traceback.contains(line) && !traceback.contains("inspector"), "{traceback}");
    }
}

#[tokio::test]
async fn variables_of_the_environment_hold_for_one_cell() {
    let node = Interpreter::new().await;
    let request = json!({ "code": "process.env.FOO", "language": "js", "env_vars": { "FOO": "bar" } });
    assert_eq!(node.execute(&request).await.text(), "bar");
    assert_eq!(node.run("js", "process.env.FOO || 'default'").await.text(), "default");
}

#[tokio::test]
async fn a_client_that_hangs_up_interrupts_a_cell_that_waits_and_ends_one_that_does_not() {
    let node = Interpreter::new().await;
    for (code, kept) in [("await new Promise(() => {})", "number"), ("while (true) {}", "undefined")] {
        node.run("js", "let x = 1").await;
        let mut running =
            node.begin(&json!({ "code": format!("console.log('runs'); {code}"), "language": "js" })).await;
        running.written().await;
        drop(running);
        assert_eq!(node.run("js", "typeof x").await.text(), kept, "{code}");
    }
}

#[tokio::test]
async fn a_failure_in_the_background_does_not_end_the_context() {
    let node = Interpreter::new().await;
    let code = "let x = 1; setTimeout(() => { throw new Error('late') }, 1); Promise.reject(new Error('lost')); await new Promise((done) => setTimeout(done, 50)); x";
    let told = node.run("js", code).await;
    assert_eq!(told.text(), "1");
    let written = told.stderr.concat();
    assert!(written.contains("late") && written.contains("lost"), "{written}");
}

#[tokio::test]
async fn typescript_runs_or_says_what_it_needs() {
    let node = Interpreter::new().await;
    let code = "enum Kind { A = 4 }\nfunction subtract(x: number, y: number): number {\n  return x - y;\n}\n\n\
                await Promise.resolve(subtract(1, 2) + Kind.A);";
    let request = json!({ "code": code, "language": "ts" });
    let response = node.call("POST", "/execute", &request).await;
    if response.0 == 200 {
        assert!(response.1.contains("\"text\":\"3\""), "{}", response.1);
        node.run("ts", "interface P { a: number }\nconst p: P = { a: 1 }").await;
        let told = node
            .run("ts", "import { join } from 'path'\nimport type { Stats } from 'fs'\njoin('a', String(p.a as number))")
            .await;
        assert_eq!(told.text(), "a/1");
    } else {
        assert_eq!(response.0, 500);
        assert!(response.1.starts_with("Failed to create context: typescript needs node"), "{}", response.1);
    }
}
