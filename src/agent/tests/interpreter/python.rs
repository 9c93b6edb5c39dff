//! Cells of Python.

use serde_json::{Value, json};

use super::Interpreter;

#[tokio::test]
async fn the_value_of_a_last_expression_is_the_main_result() {
    let python = Interpreter::new().await;
    for (code, text) in [
        ("x = 1; x", "1"),
        ("'abc'", "abc"),
        ("\"it's\"", "it's"),
        ("[1, 'a']", "[1, 'a']"),
        ("x += 1\nx", "2"),
        ("None", ""),
        ("x;", ""),
        ("x = 3", ""),
        ("_", "2"),
        ("", ""),
    ] {
        assert_eq!(python.python(code).await.text(), text, "{code}");
    }
}

#[tokio::test]
async fn lists_and_dicts_are_json_too() {
    let python = Interpreter::new().await;
    assert_eq!(python.python("{'a': [1, None]}").await.results[0]["json"], json!({ "a": [1, null] }));
    assert_eq!(python.python("[object()]").await.results[0]["json"], Value::Null);
    assert_eq!(python.python("[float('nan')]").await.results[0]["json"], Value::Null);
    assert_eq!(python.python("'[]'").await.results[0]["json"], Value::Null);
}

#[tokio::test]
async fn each_print_is_one_object_as_it_comes() {
    let python = Interpreter::new().await;
    let mut running = python
        .begin(&json!({ "code": "import time\nprint(1, 2)\nprint('a\\nb\\n')\nprint('x' * 50000, end='')\ntime.sleep(600)" }))
        .await;
    assert_eq!(running.written().await, "1 2\n");
    assert_eq!(running.written().await, "a\nb\n\n");
    assert_eq!(running.written().await, "x".repeat(50_000));
    drop(running);
    let told = python.python("import sys; print('err', file=sys.stderr); sys.stdout.write('no newline')").await;
    assert_eq!((told.stderr, told.stdout), (vec!["err\n".to_owned()], vec!["no newline".to_owned()]));
}

#[tokio::test]
async fn text_that_is_no_utf_8_is_told_all_the_same() {
    let python = Interpreter::new().await;
    assert_eq!(python.python("print('é😀', '\\udc80')").await.out(), "é😀 \\udc80\n");
    assert_eq!(python.python("import os; os.write(1, b'a\\xffb')").await.out(), "a\u{fffd}b");
}

#[tokio::test]
async fn what_programs_and_threads_write_is_told_in_order() {
    let python = Interpreter::new().await;
    let code = "import os, subprocess, threading\nprint('a')\nos.system('echo b')\nprint('c')\n\
                subprocess.run(['sh', '-c', 'echo d; echo e >&2'])\nthread = threading.Thread(target=print, args=('f',))\n\
                thread.start(); thread.join()\nprint('g');";
    let told = python.python(code).await;
    assert_eq!(told.stdout, ["a\n", "b\n", "c\n", "d\n", "f\n", "g\n"]);
    assert_eq!(told.stderr, ["e\n"]);
}

#[tokio::test]
async fn a_forked_child_writes_and_ends() {
    let python = Interpreter::new().await;
    let code = "import os\npid = os.fork()\nprint('child' if pid == 0 else 'parent')\nif pid: os.waitpid(pid, 0)";
    let mut told = python.python(code).await;
    told.stdout.sort();
    assert_eq!(told.stdout, ["child\n", "parent\n"], "{told:?}");
    assert_eq!(python.python("1").await.text(), "1");
    let code =
        "import multiprocessing as m\nwith m.get_context('fork').Pool(2) as pool: print(pool.map(abs, [-1, -2]))";
    assert_eq!(python.python(code).await.out(), "[1, 2]\n");
}

#[tokio::test]
async fn an_error_names_the_lines_of_the_cell_and_none_of_the_driver() {
    let python = Interpreter::new().await;
    python.python("def f():\n    return 1 / 0").await;
    let error = python.python("x = 1\nf()").await.error;
    assert_eq!(
        (error["name"].as_str(), error["value"].as_str()),
        (Some("ZeroDivisionError"), Some("division by zero"))
    );
    let traceback = error["traceback"].as_str().unwrap();
    assert!(
        traceback.contains("\"<cell 2>\", line 2") && traceback.contains("\"<cell 1>\", line 2, in f"),
        "{traceback}"
    );
    assert!(traceback.contains("return 1 / 0") && !traceback.contains("sandglass"), "{traceback}");
    let told = python.python("print('first')\n1 +").await;
    assert_eq!((told.error_name(), told.count, told.stdout.len()), ("SyntaxError", 3, 0));
    assert!(told.error["traceback"].as_str().unwrap().contains("line 2"));
    assert_eq!(python.python("1").await.count, 4);
}

#[tokio::test]
async fn neither_exit_nor_input_ends_or_hangs_a_context() {
    let python = Interpreter::new().await;
    python.python("x = 5").await;
    assert_eq!(python.python("import sys; sys.exit(3)").await.error_name(), "SystemExit");
    assert_eq!(python.python("exit()").await.error_name(), "SystemExit");
    let error = python.python("input('name?')").await.error;
    assert!(error["value"].as_str().unwrap().contains("input()"), "{error}");
    assert_eq!(python.python("x").await.text(), "5");
}

#[tokio::test]
async fn a_cell_may_be_indented_and_await() {
    let python = Interpreter::new().await;
    let code = "\n    import asyncio\n    async def f():\n        await asyncio.sleep(0)\n        return 7\n    y = await f()\n    y + 1\n    ";
    assert_eq!(python.python(code).await.text(), "8");
    assert_eq!(python.python("await f()").await.text(), "7");
    assert_eq!(python.python("import asyncio; asyncio.run(f())").await.text(), "7");
    assert_eq!(python.python("await f()").await.text(), "7");
}

#[tokio::test]
async fn lines_of_a_notebook_work() {
    let python = Interpreter::new().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap().display().to_string();
    assert_eq!(python.python(&format!("%cd {path}\n!pwd")).await.stdout, [format!("{path}\n"), format!("{path}\n")]);
    assert_eq!(
        python.python("name = 'x y'\n!echo \"{name}\" $name ${HOME:+home} '{print $1}'").await.out(),
        "x y x y home {print $1}\n"
    );
    assert_eq!(python.python("files = !printf 'a\\nb\\n'\nfiles").await.text(), "['a', 'b']");
    assert_eq!(python.python("if True:\n    !echo in\n    print('after')").await.out(), "in\nafter\n");
    assert_eq!(python.python("'''\n!echo no\n'''").await.text(), "\\n!echo no\\n");
    assert_eq!(python.python("%%bash\nx=1\necho $((x + 1))").await.out(), "2\n");
    assert_eq!(python.python("%matplotlib inline\n1").await.text(), "1");
    assert!(python.python("%pip --version").await.out().starts_with("pip "));
    assert_eq!(python.python("%nothing").await.error_name(), "UsageError");
    let told = python.python("x = 1\n!false\n1 / 0").await;
    assert!(told.error["traceback"].as_str().unwrap().contains("line 3"), "{told:?}");
}

#[tokio::test]
async fn variables_of_the_environment_hold_for_one_cell() {
    let python = Interpreter::new().await;
    let code = "import os; (os.getenv('FOO'), os.getenv('HOME') is not None, os.system('test \"$FOO\" = bar'))";
    let with = python.execute(&json!({ "code": code, "env_vars": { "FOO": "bar" } })).await;
    assert_eq!(with.text(), "('bar', True, 0)");
    assert_eq!(python.python(code).await.text(), "(None, True, 256)");
}

#[tokio::test]
async fn values_are_displayed_in_all_their_representations() {
    let python = Interpreter::new().await;
    let code = "from IPython.display import display, HTML, Markdown, Image\n\
                class Own:\n    def _repr_html_(self): return '<b>'\n    def _repr_latex_(self): return '$x$'\n    \
                def _repr_png_(self): return b'png'\n    def _repr_mimebundle_(self, include=None, exclude=None): return {'a/b': 1}\n    \
                def __repr__(self): return 'own'\n\
                display(Own())\ndisplay(HTML('<i>'), Markdown('# m'))\ndisplay({'text/latex': '$y$'}, raw=True)\nOwn";
    let told = python.python(code).await;
    assert_eq!(told.error, Value::Null, "{told:?}");
    let own = json!({ "type": "result", "text": "own", "html": "<b>", "latex": "$x$", "png": "cG5n", "extra": { "a/b": 1 },
        "is_main_result": false });
    assert_eq!(told.results[0], own);
    assert_eq!(told.results[1]["html"], "<i>");
    assert_eq!(told.results[2]["markdown"], "# m");
    assert_eq!(told.results[3], json!({ "type": "result", "latex": "$y$", "extra": {}, "is_main_result": false }));
    assert_eq!(told.results[4]["is_main_result"], true);
    assert_eq!(told.results[4]["html"], Value::Null);
}

#[tokio::test]
async fn a_client_that_hangs_up_interrupts_its_cell_and_nothing_else() {
    let python = Interpreter::new().await;
    python.python("x = 1").await;
    for code in ["import time; time.sleep(600)", "while True: pass", "import os; os.system('sleep 600')", "!sleep 600"]
    {
        let mut running = python.begin(&json!({ "code": format!("print('runs')\n{code}") })).await;
        running.written().await;
        drop(running);
        let told = python.python("x").await;
        assert_eq!((told.text(), told.stderr.len()), ("1", 0), "{code}");
    }
}

#[tokio::test]
async fn a_cell_that_misses_an_interrupt_gets_another() {
    let python = Interpreter::new().await;
    // As while it starts a command: the C library ignores interrupts then, and the command is not there yet.
    let code = "import signal, time\nx = 1\nhandler = signal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('runs')\n\
                time.sleep(0.5)\nsignal.signal(signal.SIGINT, handler)\ntime.sleep(600)";
    let mut running = python.begin(&json!({ "code": code })).await;
    running.written().await;
    drop(running);
    let told = python.python("x").await;
    assert_eq!((told.text(), told.stderr.len()), ("1", 0), "{told:?}");
}

#[tokio::test]
async fn a_client_that_hangs_up_at_the_begin_of_its_cell_interrupts_it() {
    let python = Interpreter::new().await;
    python.python("x = 1").await;
    // Python needs a moment for them before the code runs.
    let variables: serde_json::Map<_, _> = (0..2_000).map(|n| (format!("NAME_{n}"), "x".into())).collect();
    let mut running = python.begin(&json!({ "code": "while True: pass", "env_vars": variables })).await;
    running.next().await.unwrap();
    drop(running);
    let told = python.python("x").await;
    assert_eq!((told.text(), told.stderr.len()), ("1", 0), "{told:?}");
}

#[tokio::test]
async fn a_cell_that_ignores_interrupts_ends_with_its_context_and_the_next_cell_is_told() {
    let python = Interpreter::new().await;
    let code =
        "import signal, time\nx = 1\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('runs')\ntime.sleep(600)";
    let mut running = python.begin(&json!({ "code": code })).await;
    running.written().await;
    drop(running);
    let told = python.python("'x' in globals()").await;
    assert_eq!((told.text(), told.count), ("False", 1));
    assert!(told.stderr[0].contains("was restarted"), "{told:?}");
}

#[tokio::test]
async fn a_cell_is_not_interrupted_in_the_middle_of_a_line() {
    let python = Interpreter::new().await;
    for _ in 0..10 {
        let mut running = python.begin(&json!({ "code": "print('runs')\nwhile True: display('x' * 100000)" })).await;
        running.written().await;
        drop(running);
        let told = python.python("'whole'").await;
        assert_eq!((told.text(), told.stderr.len()), ("whole", 0), "{told:?}");
    }
}

#[tokio::test]
async fn a_process_that_dies_is_told_and_the_next_cell_starts_another() {
    let python = Interpreter::new().await;
    let told = python.python("x = 1\nprint('last')\nimport os; os._exit(7)").await;
    assert_eq!((told.error_name(), told.stdout.len()), ("UnexpectedEndOfExecution", 1));
    assert!(told.error["value"].as_str().unwrap().contains("exit status 7"), "{told:?}");
    let told = python.python("'x' in globals()").await;
    assert_eq!((told.text(), told.count), ("False", 1));
    let told = python.python("import os, signal; os.kill(os.getpid(), signal.SIGKILL)").await;
    assert!(told.error["value"].as_str().unwrap().contains("killed"), "{told:?}");
}

#[tokio::test]
async fn a_quiet_cell_is_kept_alive() {
    let python = Interpreter::new().await;
    let told = python.python("import time; time.sleep(6)").await;
    assert_eq!(told.keepalives, 1);
}

#[tokio::test]
async fn much_output_is_told_whole() {
    let python = Interpreter::new().await;
    let told = python.python("for n in range(20000): print(n)").await;
    assert_eq!(told.stdout.len(), 20_000);
    assert_eq!(told.stdout[19_999], "19999\n");
    let told = python.python("print('x' * 5_000_000)").await;
    assert_eq!(told.out().len(), 5_000_001);
    let told = python.python("'y' * 20_000_000").await;
    assert!(told.stderr[0].contains("not passed on") && told.text().len() > 1000, "{:?}", told.stderr);
}

#[tokio::test]
async fn what_a_cell_leaves_running_goes_on_and_is_not_told_later() {
    let python = Interpreter::new().await;
    let code =
        "import subprocess\nbackground = subprocess.Popen(['sh', '-c', 'sleep 0.2; yes | head -n 200000; exit 3'])";
    python.python(code).await;
    // It would wait for ever if nobody read what it writes.
    let told = python.python("background.wait(timeout=15)").await;
    assert_eq!(told.text(), "3");
}

/// Stand-ins for libraries that this machine need not have: only what the driver uses of them.
const LIBRARIES: [(&str, &str); 4] = [
    (
        "pandas/__init__.py",
        "class DataFrame:\n    def to_dict(self, orient): return {'a': [1, float('nan')], 2: ['x', None]}\n    \
         def _repr_html_(self): return '<table>'\n",
    ),
    ("matplotlib/__init__.py", ""),
    (
        "matplotlib/figure.py",
        "class Figure:\n    axes = []\n    def savefig(self, file, **options): file.write(b'picture')\n",
    ),
    (
        "matplotlib/pyplot.py",
        "from matplotlib.figure import Figure\nopened = {}\ndef figure(number=None):\n    \
         return opened.setdefault(number or len(opened) + 1, Figure())\ndef get_fignums(): return list(opened)\n\
         def close(which): opened.clear()\ndef show(): raise RuntimeError('no display')\n\
         def switch_backend(name): assert name == 'agg'\n",
    ),
];

#[tokio::test]
async fn frames_have_data_and_figures_are_shown_once() {
    let python = Interpreter::new().await;
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in LIBRARIES {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let code = format!("import sys; sys.path.insert(0, {:?})\nimport pandas\npandas.DataFrame()", folder.path());
    let frame = &python.python(&code).await.results[0];
    assert_eq!((&frame["data"], &frame["html"]), (&json!({ "a": [1, null], "2": ["x", null] }), &json!("<table>")));
    let pictures = async |code: &str| {
        let told = python.python(code).await;
        assert_eq!(told.error, Value::Null, "{told:?}");
        told.results.iter().map(|result| (result["png"] == "cGljdHVyZQ==", result["is_main_result"] == true)).collect()
    };
    let shown: Vec<_> = pictures("import matplotlib.pyplot as plt\nplt.figure()\nplt.show()\n5").await;
    assert_eq!(shown, [(true, false), (false, true)], "when it is shown");
    let shown: Vec<_> = pictures("figure = plt.figure()").await;
    assert_eq!(shown, [(true, false)], "at the end of the cell");
    let shown: Vec<_> = pictures("figure = plt.figure()\nfigure").await;
    assert_eq!(shown, [(true, true)], "and not twice");
    let shown: Vec<_> = pictures("5;").await;
    assert!(shown.is_empty(), "it is closed");
}
