import { execFile } from 'node:child_process';
import { cpSync, existsSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, sep } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import tap, { test } from 'tap';
import { closeWorkers, runInWorker, workerUrl } from '../../src/identity/workers.ts';

tap.teardown(closeWorkers);

const compiledSource = fileURLToPath(new URL('../../src', import.meta.url));

test("the thread's code is where workerUrl says", async (t) => {
  t.ok(existsSync(workerUrl()), workerUrl().href);
});

test('the thread starts from dist/ too, and does not keep the process alive', async (t) => {
  const root = t.testdir();
  for (const part of ['errors.js', 'identity']) cpSync(join(compiledSource, part), join(root, 'dist', part), { recursive: true });
  writeFileSync(join(root, 'package.json'), '{"type":"module"}');
  symlinkSync(nodeModules(), join(root, 'node_modules'));
  const workers = pathToFileURL(join(root, 'dist/identity/workers.js'));
  const script = `import { runInWorker } from ${JSON.stringify(workers.href)};
    console.log((await runInWorker('scryptSecret', 'S')).length);`;
  writeFileSync(join(root, 'main.js'), script);
  const { stdout } = await promisify(execFile)(process.execPath, [join(root, 'main.js')]);
  t.equal(stdout, '32\n');
});

test('a failed task is an error of its own', async (t) => {
  const request = { dnsNames: [], ipAddresses: [], notBefore: new Date(), notAfter: new Date(), privateKey: 'no key' };
  await t.rejects(runInWorker('makeCertificate', request), { name: 'QtunnelError', code: 'INTERNAL', message: /makeCertificate/ });
});

test('after closeWorkers the next task starts the thread again', async (t) => {
  await closeWorkers();
  await closeWorkers();
  t.match(await runInWorker('generatePrivateKey', undefined), /^-----BEGIN PRIVATE KEY-----/);
});

function nodeModules(): string {
  return createRequire(import.meta.url)
    .resolve('piscina')
    .split(`${sep}piscina${sep}`)[0]!;
}
