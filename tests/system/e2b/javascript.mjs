// The SDKs in JavaScript: `node javascript.mjs`, in a folder whose node_modules has them.

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const resolve = createRequire(pathToFileURL(process.argv[2] + '/')).resolve
const e2b = await import(resolve('e2b'))
const { Sandbox: CodeSandbox } = await import(resolve('@e2b/code-interpreter'))
const { Sandbox } = e2b

async function until(question, what) {
  const deadline = Date.now() + 15_000
  while (!(await question())) {
    assert(Date.now() < deadline, `it was not ${what} within 15 s`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

async function withSandbox(check, options = {}) {
  const sandbox = await Sandbox.create('base', { timeoutMs: 120_000, ...options })
  try {
    await check(sandbox)
  } finally {
    await sandbox.kill()
  }
}

const checks = {
  life: () =>
    withSandbox(
      async (sandbox) => {
        assert(await sandbox.isRunning())
        const info = await sandbox.getInfo()
        assert.equal(info.templateId, 'base')
        assert.deepEqual(info.metadata, { owner: 'a b&c=d', kind: 'js' })
        assert.equal(info.state, 'running')
        await sandbox.setTimeout(300_000)
        const longer = (await sandbox.getInfo()).endAt
        assert(longer - info.endAt > 150_000)
        const other = await Sandbox.connect(sandbox.sandboxId, { timeoutMs: 10_000 })
        assert.equal((await other.getInfo()).endAt.getTime(), longer.getTime())

        const pages = Sandbox.list({ query: { metadata: { owner: 'a b&c=d', kind: 'js' } }, limit: 1 })
        assert.deepEqual((await pages.nextItems()).map((entry) => entry.sandboxId), [sandbox.sandboxId])
        assert.equal(pages.hasNext, false)

        assert.equal(await sandbox.pause(), true)
        assert.equal(await sandbox.pause(), false)
        assert.equal((await sandbox.getInfo()).state, 'paused')
        assert.equal(await sandbox.isRunning(), false)
        await Sandbox.connect(sandbox.sandboxId)
        assert(await sandbox.isRunning())
        await until(async () => (await sandbox.getMetrics()).length, 'measured')

        assert.equal(await sandbox.kill(), true)
        assert.equal(await sandbox.kill(), false)
        await assert.rejects(Sandbox.getInfo(sandbox.sandboxId), e2b.NotFoundError)
        await assert.rejects(Sandbox.connect(sandbox.sandboxId), e2b.NotFoundError)
      },
      { metadata: { owner: 'a b&c=d', kind: 'js' } },
    ),

  commands: () =>
    withSandbox(
      async (sandbox) => {
        const { commands } = sandbox
        const ran = await commands.run('echo out; echo err >&2; pwd; id -un; echo $FOO')
        assert.deepEqual([ran.exitCode, ran.stdout, ran.stderr], [0, 'out\n/home/user\nuser\nbar\n', 'err\n'])
        await assert.rejects(commands.run('exit 7'), (error) => error instanceof e2b.CommandExitError && error.exitCode === 7)
        await assert.rejects(commands.run('sleep 10', { timeoutMs: 1000 }), e2b.TimeoutError)
        const sleeping = await commands.run('exec sleep 1000', { background: true })
        assert((await commands.list()).some((process) => process.pid === sleeping.pid))
        assert.equal(await commands.kill(sleeping.pid), true)
        await assert.rejects(sleeping.wait())
        assert.equal(await commands.kill(999_999), false)
        const cat = await commands.run('cat', { background: true, stdin: true })
        await commands.sendStdin(cat.pid, 'Hello,\nWorld!')
        await commands.closeStdin(cat.pid)
        assert.equal((await cat.wait()).stdout, 'Hello,\nWorld!')

        let shown = ''
        const decoder = new TextDecoder()
        const terminal = await sandbox.pty.create({ cols: 80, rows: 24, onData: (data) => (shown += decoder.decode(data)) })
        await sandbox.pty.resize(terminal.pid, { cols: 101, rows: 30 })
        await sandbox.pty.sendInput(terminal.pid, new TextEncoder().encode('stty size; exit\n'))
        await terminal.wait()
        assert(shown.includes('30 101'), shown)

        const waiting = (await commands.run('sleep 1000', { background: true })).wait()
        const refused = assert.rejects(waiting, e2b.TimeoutError)
        await sandbox.kill()
        await refused
      },
      { envs: { FOO: 'bar' } },
    ),

  files: () =>
    withSandbox(async (sandbox) => {
      const { files } = sandbox
      assert.equal((await files.write('a/b/text.txt', 'Hellö')).path, '/home/user/a/b/text.txt')
      assert.equal(await files.read('a/b/text.txt'), 'Hellö')
      assert.equal((await files.read('a/b/text.txt', { format: 'bytes' })).length, 6)
      assert.deepEqual((await files.list('a')).map((entry) => entry.path), ['/home/user/a/b'])
      assert.equal((await files.getInfo('a/b/text.txt')).owner, 'user')
      await files.rename('a/b/text.txt', 'moved.txt')
      assert(!(await files.exists('a/b/text.txt')) && (await files.exists('moved.txt')))
      await assert.rejects(files.read('gone'), e2b.NotFoundError)

      const seen = []
      const watch = await files.watchDir('a', (event) => seen.push([event.type, event.name].join()), { recursive: true })
      await files.write('a/b/new.txt', 'x')
      await until(() => seen.includes('create,b/new.txt') && seen.includes('write,b/new.txt'), 'told')
      await watch.stop()
      await assert.rejects(files.watchDir('gone', () => {}), e2b.NotFoundError)

      const signed = await sandbox.downloadUrl('moved.txt', { useSignatureExpiration: 60_000 })
      assert.equal(await (await fetch(signed)).text(), 'Hellö')
      assert.equal((await fetch(signed.replace('moved', 'other'))).status, 401)
    }),

  snapshots: () =>
    withSandbox(async (sandbox) => {
      await sandbox.files.write('kept.txt', 'before')
      const snapshot = await sandbox.createSnapshot()
      const made = []
      try {
        await sandbox.files.write('kept.txt', 'after')
        made.push(await Sandbox.create(snapshot.snapshotId))
        assert.equal(await made[0].files.read('kept.txt'), 'before')
        made.push(...(await sandbox.fork()))
        assert.equal(await made[1].files.read('kept.txt'), 'after')
      } finally {
        for (const one of made) await one.kill()
        assert.equal(await Sandbox.deleteSnapshot(snapshot.snapshotId), true)
      }
      assert.equal(await Sandbox.deleteSnapshot(snapshot.snapshotId), false)
    }),

  errors: async () => {
    await assert.rejects(Sandbox.create('no-such-template'), /no-such-template/)
    await assert.rejects(Sandbox.create('base', { apiKey: 'e2b_' + '0'.repeat(40) }), e2b.AuthenticationError)
    await assert.rejects(Sandbox.create('base', { allowInternetAccess: false }), /400/)
  },

  code: async () => {
    const sandbox = await CodeSandbox.create({ timeoutMs: 120_000 })
    try {
      assert.equal((await sandbox.runCode('x = 41; x + 1')).text, '42')
      const out = []
      const ran = await sandbox.runCode('print(x)', { onStdout: (line) => out.push(line.line) })
      assert.deepEqual([out, ran.logs.stdout], [['41\n'], ['41\n']])
      assert.equal((await sandbox.runCode('1 / 0')).error.name, 'ZeroDivisionError')
      const context = await sandbox.createCodeContext({ cwd: '/tmp' })
      assert.equal((await sandbox.runCode('import os; os.getcwd()', { context })).text, '/tmp')
      assert.equal((await sandbox.runCode('process.cwd()', { language: 'js' })).text, '/home/user')
      await assert.rejects(sandbox.runCode('import time; time.sleep(60)', { timeoutMs: 1000 }), e2b.TimeoutError)
      assert.equal((await sandbox.runCode('x')).text, '41')
    } finally {
      await sandbox.kill()
    }
  },
}

const results = await Promise.all(
  Object.entries(checks).map(async ([name, check]) => {
    try {
      await check()
      return true
    } catch (error) {
      console.log(`FAILED ${name}\n${error.stack}`)
      return false
    }
  }),
)
const passed = results.filter(Boolean).length
console.log(`${passed} of ${results.length} checks passed`)
process.exit(passed === results.length ? 0 : 1)
