# This part: the lines of a cell that are not Python: `!command`, `name = !command`, `%magic` and `%%magic`. Only lines at which
# Python fails are looked at, so nothing is changed inside of strings.
import ast
import re
import shlex
import subprocess
import time

ASSIGNED = re.compile(r"^(\s*)([\w.,\s\[\]'\"]+?)\s*=\s*([!%])\s*(.+)$")

# Magics that change how a notebook looks, and do nothing here.
IGNORED = ("matplotlib", "config", "load_ext", "reload_ext", "autoreload", "precision", "pylab", "colors", "xmode")


def dedented(code):
    """Cuts the indentation of the first line from all lines."""
    first = next((line for line in code.splitlines() if line.strip() and not line.lstrip().startswith("#")), "")
    indent = first[: len(first) - len(first.lstrip())]
    if not indent:
        return code
    lines = code.splitlines(keepends=True)
    return "".join(line[len(indent) :] if line.startswith(indent) else line for line in lines)


def parse(code, name):
    """Parses a cell as a module."""
    return compile(code, name, "exec", FLAGS | ast.PyCF_ONLY_AST, True)


def translated(code, name):
    """A cell as Python: its text and its module."""
    if code.lstrip().startswith("%%"):
        first, _, rest = code.lstrip().partition("\n")
        magic, _, line = first[2:].strip().partition(" ")
        code = "__sandglass_cell_magic__({!r}, {!r}, {!r})".format(magic, line.strip(), rest)
    failed = set()
    while True:
        try:
            return code, parse(code, name)
        except SyntaxError as error:
            line = error.lineno or 0
            changed = None if line in failed else replaced(code, line)
            if changed is None:
                raise
            # A line that is at fault after its translation is at fault.
            failed.add(line)
            code = changed


def replaced(code, number):
    """The cell with the line at this number translated, and those that continue it; None if it is none of ours."""
    lines = code.splitlines()
    if not 0 < number <= len(lines):
        return None
    line = lines[number - 1]
    assigned = ASSIGNED.match(line)
    if assigned:
        indent, target, kind, rest = assigned.groups()
        prefix = "{}{} = ".format(indent, target)
    else:
        stripped = line.lstrip()
        kind, rest = stripped[:1], stripped[1:]
        prefix = line[: len(line) - len(stripped)]
        if kind not in ("!", "%") or not rest.strip():
            return None
    end = number
    while rest.endswith("\\") and end < len(lines):
        rest = rest[:-1] + lines[end].lstrip()
        end += 1
    if kind == "%":
        magic, _, rest = rest.strip().partition(" ")
        call = "__sandglass_magic__({!r}, {!r})".format(magic, rest.strip())
    else:
        call = "__sandglass_{}__({!r})".format("lines" if assigned else "shell", rest)
    # The lines after it keep their numbers.
    lines[number - 1 : end] = [prefix + call] + [""] * (end - number)
    return "\n".join(lines)


def expanded(command):
    """A command with the values of {expressions} and $variables of Python in it, where there are such."""

    def expression(match):
        try:
            return str(eval(match.group(1), namespace))
        except Exception:
            return match.group(0)

    def variable(match):
        return str(namespace[match.group(1)]) if match.group(1) in namespace else match.group(0)

    command = re.sub(r"(?<![${])\{([^{}]+)\}", expression, command)
    return re.sub(r"\$([A-Za-z]\w*)", variable, command)


def run(arguments, **options):
    """Runs a program and returns its status, which is a cell's `_exit_code`, too."""
    sys.stdout.flush()
    sys.stderr.flush()
    done = subprocess.run(arguments, stdin=subprocess.DEVNULL, **options)
    importlib.invalidate_caches()
    namespace["_exit_code"] = done.returncode
    return done


def shell(command):
    return [next((one for one in ("/bin/bash", "/usr/bin/bash") if os.path.exists(one)), "/bin/sh"), "-c", command]


def run_shell(command):
    """`!command`"""
    run(shell(expanded(command)))


def run_lines(command):
    """`name = !command`"""
    return run(shell(expanded(command)), stdout=subprocess.PIPE).stdout.decode("utf-8", "replace").splitlines()


def magic(name, line):
    """`%name line`"""
    if name in IGNORED:
        return None
    known = {"cd": cd, "pip": pip, "env": env, "set_env": env, "pwd": lambda line: os.getcwd(), "time": timed, "sx": run_lines}
    if name in known:
        return known[name](line)
    if name in ("ls", "cat", "mkdir", "rm", "cp", "mv"):
        return run_shell("{} {}".format(name, line))
    raise UsageError("the magic %{} is not known here; %{} and !command are".format(name, ", %".join(sorted(known))))


class UsageError(Exception):
    """A magic that cannot be used so."""


def cd(line):
    words = shlex.split(expanded(line))
    os.chdir(os.path.expanduser(words[0] if words else "~"))
    print(os.getcwd())


def pip(line):
    run([sys.executable, "-m", "pip", *shlex.split(expanded(line))])


def env(line):
    if not line:
        return dict(os.environ)
    name, separator, value = line.partition("=") if "=" in line else line.partition(" ")
    if not separator:
        return os.environ.get(name)
    os.environ[name.strip()] = expanded(value.strip())
    print("env: {}={}".format(name.strip(), os.environ[name.strip()]))
    return None


def timed(line):
    began = time.perf_counter()
    try:
        return run_text(line) if line else None
    finally:
        print("Wall time: {:.3g} s".format(time.perf_counter() - began))


def cell_magic(name, line, rest):
    """`%%name line` and the rest of the cell."""
    if name in ("bash", "sh", "script", "!"):
        program = shlex.split(line) if name == "script" else ["/bin/sh"] if name == "sh" else shell("")[:1]
        done = run(program + ["-c", rest] if name != "script" else program, **({"input": rest.encode()} if name == "script" else {}))
        if done.returncode:
            raise subprocess.CalledProcessError(done.returncode, "%%" + name)
        return None
    if name == "writefile":
        words = shlex.split(line)
        append = "-a" in words
        path = os.path.expanduser(words[-1])
        with open(path, "a" if append else "w", encoding="utf-8") as file:
            file.write(rest)
        print("{} {}".format("Appending to" if append else "Writing", path))
        return None
    if name in ("time", "capture"):
        return timed(rest) if name == "time" else run_text(rest)
    raise UsageError("the magic %%{} is not known here; %%bash, %%sh, %%script, %%time and %%writefile are".format(name))
