// Runs cells in this node, by the same means as its debugger's console: constants can be declared again, `await` works
// everywhere, and the last expression's value is known. CONTROL is the descriptor of the agent's socket.
'use strict';

const inspector = require('inspector');
const modules = require('module');
const net = require('net');
const path = require('path');
const { pathToFileURL } = require('url');
const util = require('util');

const socket = new net.Socket({ fd: CONTROL, readable: true, writable: true });
const tell = (line) => socket.write(`${typeof line === 'string' ? line : JSON.stringify(line)}\n`);

// Strings and comments, which are left as they are, or a call of import.
const IMPORT_CALL = /(\/\/.*|\/\*[\s\S]*?\*\/|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`)|\bimport\s*\(/g;
const IMPORT_LINE = /^([ \t]*)import\s+(?:([\w$]+)\s*,?\s*)?(?:\*\s*as\s+([\w$]+)|\{([^}]*)\})?\s*(?:from\s*)?(['"])([^'"]+)\5[ \t]*;?/gm;
// The media types that a result has fields for.
const FIELDS = {
  'text/plain': 'text', 'text/html': 'html', 'text/markdown': 'markdown', 'image/svg+xml': 'svg', 'image/png': 'png',
  'image/jpeg': 'jpeg', 'application/pdf': 'pdf', 'text/latex': 'latex', 'application/json': 'json',
  'application/javascript': 'javascript',
};

const session = new inspector.Session();
session.connect();
const post = (method, parameters) => new Promise((resolve, reject) => {
  session.post(method, parameters, (error, answer) => (error ? reject(error) : resolve(answer)));
});

let count = 0;
let interrupt = null;
let took;

const here = () => path.join(process.cwd(), 'cell.js');
const load = async (name) => {
  // As a file in the working directory would find it.
  const found = /^(node|data|https?|file):/.test(name) || modules.builtinModules.includes(name)
    ? name
    : pathToFileURL(modules.createRequire(here()).resolve(name)).href;
  return import(found);
};

Object.defineProperty(globalThis, 'require', { configurable: true, writable: true, value: (name) => modules.createRequire(here())(name) });
Object.defineProperty(globalThis, '__sandglass', { value: { load, take: (value) => { took = value; } } });

// Lines of import are declarations that an interactive cell cannot have.
function imports(line, indent, own, all, names, quote, from) {
  const parts = [];
  if (own) parts.push(`default: ${own}`);
  if (names) parts.push(...names.split(',').map((name) => name.trim().replace(/\s+as\s+/, ': ')).filter(Boolean));
  const loaded = `await __sandglass.load(${JSON.stringify(from.replace(/^npm:/, ''))})`;
  if (all) return `${indent}const ${all} = ${loaded};${own ? ` const {default: ${own}} = ${all};` : ''}`;
  return parts.length ? `${indent}const {${parts.join(', ')}} = ${loaded};` : `${indent}${loaded};`;
}

// What makes JavaScript of TypeScript: node itself, or the compiler if the image has it.
function findCompiler() {
  if (typeof modules.stripTypeScriptTypes === 'function') {
    return (code) => modules.stripTypeScriptTypes(code, { mode: 'transform' });
  }
  const global = [path.resolve(process.execPath, '../../lib/node_modules'), '/usr/local/lib/node_modules', '/usr/share/nodejs'];
  try {
    const typescript = require(require.resolve('typescript', { paths: [process.cwd(), ...global] }));
    const compilerOptions = { target: 'ES2022', module: 'ESNext' };
    return (code) => {
      const { outputText, diagnostics } = typescript.transpileModule(code, { compilerOptions, reportDiagnostics: true });
      if (diagnostics.length) {
        const [{ messageText, file, start }] = diagnostics;
        const line = file.getLineAndCharacterOfPosition(start).line + 1;
        throw new SyntaxError(`${typescript.flattenDiagnosticMessageText(messageText, ' ')} (line ${line})`);
      }
      // It marks modules whose imports are only types.
      return outputText.replace(/^export \{\};$/m, '');
    };
  } catch {
    return null;
  }
}

const compile = LANGUAGE === 'typescript' ? findCompiler() : (code) => code;

function translate(code) {
  const script = compile(code);
  return script.replace(IMPORT_LINE, imports)
    .replace(IMPORT_CALL, (match, kept) => (kept === undefined ? '__sandglass.load(' : kept));
}

// The value itself of what the debugger describes.
async function valueOf(described) {
  if (described.type === 'undefined') return undefined;
  const given = described.objectId !== undefined ? { objectId: described.objectId }
    : described.unserializableValue !== undefined ? { unserializableValue: described.unserializableValue }
      : { value: described.value };
  const { result } = await post('Runtime.evaluate', { expression: '__sandglass' });
  await post('Runtime.callFunctionOn', {
    objectId: result.objectId, functionDeclaration: 'function (value) { this.take(value); }', arguments: [given],
  });
  const value = took;
  took = undefined;
  return value;
}

async function show(value) {
  const result = { type: 'result' };
  const extra = {};
  const own = value === null || value === undefined ? undefined : value[Symbol.for('Jupyter.display')];
  const shown = typeof own === 'function' ? await own.call(value) : {};
  for (const [type, item] of Object.entries(shown)) {
    if (FIELDS[type]) result[FIELDS[type]] = item; else extra[type] = item;
  }
  if (result.text === undefined) result.text = typeof value === 'string' ? value : util.inspect(value);
  const isPlain = Array.isArray(value) || (value && Object.getPrototypeOf(value) === Object.prototype);
  if (isPlain && result.json === undefined) {
    try { result.json = JSON.parse(JSON.stringify(value)); } catch { /* It has no JSON, as one that contains itself. */ }
  }
  tell({ ...result, extra, is_main_result: true });
}

// The stack without the driver and the debugger.
function stackOf(stack, source) {
  const lines = String(stack).split('\n');
  const last = lines.map((line) => line.includes(source)).lastIndexOf(true);
  const kept = lines.filter((line, at) => at <= last || !/^\s+at /.test(line));
  return kept.join('\n');
}

function tellError(error, source, details) {
  const isError = util.types.isNativeError(error) || error instanceof Error;
  const name = isError ? String(error.name) : 'Error';
  const value = isError ? String(error.message) : util.inspect(error);
  let traceback = isError ? stackOf(error.stack || `${name}: ${value}`, source) : `Uncaught ${value}`;
  if (details && name === 'SyntaxError') traceback += `\n    at ${source}:${details.lineNumber + 1}:${details.columnNumber + 1}`;
  tell({ type: 'error', name, value, traceback });
}

async function run(code) {
  count += 1;
  const source = `cell-${count}.js`;
  const interrupted = new Promise((_, reject) => {
    interrupt = () => reject(Object.assign(new Error('the cell was interrupted'), { name: 'KeyboardInterrupt', stack: '' }));
  });
  try {
    const expression = `${translate(code)}\n//# sourceURL=${source}`;
    const work = (async () => {
      const evaluated = await post('Runtime.evaluate', { expression, replMode: true, awaitPromise: true, objectGroup: 'cell' });
      const value = await valueOf(evaluated.result);
      if (evaluated.exceptionDetails) {
        tellError(value, source, evaluated.exceptionDetails);
        return;
      }
      // Nobody could see what comes out of a promise later.
      const settled = util.types.isPromise(value) ? await value : value;
      if (settled !== undefined) await show(settled);
    })();
    await Promise.race([work, interrupted]);
  } catch (error) {
    tellError(error, source);
  } finally {
    interrupt = null;
    await post('Runtime.releaseObjectGroup', { objectGroup: 'cell' });
  }
}

const written = (stream) => new Promise((resolve) => { stream.write('', () => resolve()); });

async function answer(request) {
  const before = Object.keys(request.variables).map((name) => [name, process.env[name]]);
  Object.assign(process.env, request.variables);
  tell('begun');
  await run(request.code);
  for (const [name, value] of before) {
    if (value === undefined) delete process.env[name]; else process.env[name] = value;
  }
  await Promise.all([written(process.stdout), written(process.stderr)]);
  tell('done 0');
}

process.on('SIGINT', () => { if (interrupt) interrupt(); });
// What a cell has left running must not end the context.
process.on('uncaughtException', (error) => console.error(error));
process.on('unhandledRejection', (error) => console.error(error));

if (!compile) {
  tell(`failed typescript needs node 22.13 or later, or the package typescript; this image has node ${process.version}`);
  socket.end(() => process.exit());
} else {
  process.argv.length = 1;
  let text = '';
  let turn = Promise.resolve();
  socket.setEncoding('utf8');
  socket.on('data', (more) => {
    const lines = (text + more).split('\n');
    text = lines.pop();
    for (const line of lines) turn = turn.then(() => answer(JSON.parse(line)));
  });
  socket.on('end', () => process.exit());
  tell('ready');
}
