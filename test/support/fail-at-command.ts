/**
 * Preloaded into a process whose calls into the system and the native parts are to fail, once each, when it is told to: a line `CALL N` on standard input, or in
 * `FAIL_AT_START`, makes the Nth call from then on fail; a line with the event `call_failed` says that it has. Names are those of failing-calls.ts. What such a process
 * has forked is told by the file that `FAIL_IN_CHILD` names, once.
 */
import fs from 'node:fs';
import { createRequire, syncBuiltinESMExports } from 'node:module';
import { isMainThread } from 'node:worker_threads';

type Method = (...args: unknown[]) => unknown;
type Owner = Record<string, unknown>;
/** What a call does in the place of its work. */
type Fail = (this: unknown, ...args: unknown[]) => unknown;

const require = createRequire(import.meta.url);
const say = fs.writeSync.bind(null, 2);
const ERRNO = {
  EPERM: 1,
  EAGAIN: 11,
  ENOMEM: 12,
  ENOBUFS: 105,
  EMFILE: 24,
  EPIPE: 32,
  EINVAL: 22,
  ENOSPC: 28,
  EAI_AGAIN: 3001,
} as const;

let armed = '';
let left = 0;

function arm(line: string): void {
  const [, call = '', nth = '1'] = /^(.*) (\d+)\s*$/.exec(line) ?? [];
  armed = call;
  left = Number(nth);
}

function isToFail(call: string): boolean {
  if (call !== armed || --left > 0) return false;
  armed = '';
  say(`${JSON.stringify({ event: 'call_failed', call })}\n`);
  return true;
}

/** Has `owner[key]` fail under the name `call`. */
function wrap(owner: Owner, key: string, call: string, fail: Fail): void {
  const real = owner[key] as Method | undefined;
  if (typeof real !== 'function') return;
  const wrapper = function (this: unknown, ...args: unknown[]): unknown {
    return isToFail(call) ? fail.apply(this, args) : real.apply(this, args);
  };
  // util.promisify looks at its properties.
  Object.defineProperties(wrapper, Object.getOwnPropertyDescriptors(real));
  Object.defineProperty(owner, key, { value: wrapper, writable: true, configurable: true });
}

function failure(code: keyof typeof ERRNO): Error {
  return Object.assign(new Error(`${code}: injected`), { code, errno: -ERRNO[code], syscall: 'injected' });
}

function throwing(code: keyof typeof ERRNO): Fail {
  return () => {
    throw failure(code);
  };
}

/** libuv's way. */
function returning(code: keyof typeof ERRNO): Fail {
  return () => -ERRNO[code];
}

function callingBack(code: keyof typeof ERRNO): Fail {
  return (...args) => void process.nextTick(args.at(-1) as Method, failure(code));
}

function rejecting(code: keyof typeof ERRNO): Fail {
  return () => Promise.reject(failure(code));
}

function bindingOf(name: string): Record<string, { prototype: Owner }> {
  const { binding } = process as unknown as { binding(name: string): Record<string, { prototype: Owner }> };
  return binding.call(process, name);
}

function wrapStreams(): void {
  const TCP = bindingOf('tcp_wrap')['TCP']!.prototype;
  const codes = {
    open: 'EINVAL',
    listen: 'EMFILE',
    connect: 'EMFILE',
    connect6: 'EMFILE',
    bind: 'EMFILE',
    bind6: 'EMFILE',
  } as const;
  for (const [method, code] of Object.entries(codes)) wrap(TCP, method, `tcp.${method}`, returning(code));
  for (const method of ['setNoDelay', 'setKeepAlive', 'getsockname', 'getpeername', 'reset', 'readStart', 'readStop'])
    wrap(TCP, method, `tcp.${method}`, returning('EINVAL'));
  wrapAccept(TCP);
  const TLS = bindingOf('tls_wrap')['TLSWrap']!.prototype;
  for (const [name, prototype] of Object.entries({ tcp: TCP, tls: TLS }))
    for (const method of ['writeBuffer', 'writev', 'writeUtf8String', 'writeLatin1String', 'shutdown'])
      wrap(prototype, method, `${name}.${method}`, returning('EPIPE'));
  for (const method of ['readStart', 'readStop']) wrap(TLS, method, `tls.${method}`, returning('EINVAL'));
}

/** What `listen` has called for each connection. */
function wrapAccept(TCP: Owner): void {
  const listen = TCP['listen'] as Method;
  TCP['listen'] = function (this: { onconnection: Method }, ...args: unknown[]): unknown {
    const real = this.onconnection;
    this.onconnection = function (this: unknown, status: unknown, client: unknown): unknown {
      if (!isToFail('tcp.accept')) return real.call(this, status, client);
      (client as { close(): void }).close();
      return real.call(this, -ERRNO.EMFILE, undefined);
    };
    return listen.apply(this, args);
  };
}

function wrapDatagrams(): void {
  const UDP = bindingOf('udp_wrap')['UDP']!.prototype;
  for (const method of ['bind', 'bind6', 'open', 'connect', 'connect6', 'recvStart', 'recvStop', 'getsockname', 'getpeername'])
    wrap(UDP, method, `udp.${method}`, returning('EMFILE'));
  for (const method of ['send', 'send6']) wrap(UDP, method, `udp.${method}`, returning('EPERM'));
  wrap(UDP, 'bufferSize', 'udp.bufferSize', throwing('EINVAL'));
}

function wrapFiles(): void {
  const sync = ['openSync', 'readFileSync', 'appendFileSync', 'mkdirSync', 'closeSync', 'readSync', 'accessSync'];
  for (const method of sync) wrap(fs as unknown as Owner, method, `fs.${method}`, throwing('ENOSPC'));
  for (const method of ['open', 'write', 'close']) wrap(fs as unknown as Owner, method, `fs.${method}`, callingBack('ENOSPC'));
  const promises = fs.promises as unknown as Owner;
  for (const method of ['open', 'mkdir', 'link', 'rename', 'rm', 'copyFile'])
    wrap(promises, method, `promises.${method}`, rejecting('ENOSPC'));
}

/** The class is nowhere to be had but from an open file. */
async function wrapFileHandles(): Promise<void> {
  const file = await fs.promises.open('/dev/null');
  const prototype = Object.getPrototypeOf(file) as Owner;
  await file.close();
  for (const method of ['readFile', 'writeFile', 'sync', 'stat']) wrap(prototype, method, `file.${method}`, rejecting('ENOSPC'));
}

function wrapNames(): void {
  const dns = require('node:dns') as Owner;
  wrap(dns, 'lookup', 'dns.lookup', callingBack('EAI_AGAIN'));
  wrap(dns, 'lookup', 'dns.lookup without an answer', () => {});
  const promises = require('node:dns/promises') as Owner;
  wrap(promises, 'lookup', 'dns.promises.lookup', rejecting('EAI_AGAIN'));
  wrap(promises, 'lookup', 'dns.promises.lookup without an answer', () => new Promise(() => {}));
}

/** libuv has three ways to say that there is no process, for Node. */
function wrapProcesses(): void {
  const { prototype } = bindingOf('process_wrap')['Process']!;
  for (const code of ['EAGAIN', 'ENOMEM', 'EMFILE'] as const) wrap(prototype, 'spawn', `process.spawn ${code}`, returning(code));
  wrap(bindingOf('pipe_wrap')['Pipe']!.prototype, 'writeUtf8String', 'pipe.writeUtf8String', returning('EPIPE'));
}

/** Only a hub has a database. The binding's own methods cannot be replaced; this is where all of them are called. */
async function wrapDatabase(): Promise<void> {
  if (!process.argv.includes('hub')) return;
  const { SqliteDriver } = await import('kysely');
  const { acquireConnection } = SqliteDriver.prototype;
  const wrapped = new WeakSet<object>();
  SqliteDriver.prototype.acquireConnection = async function () {
    const connection = await acquireConnection.call(this);
    if (wrapped.has(connection)) return connection;
    wrapped.add(connection);
    for (const [name, sqliteCode, message] of DATABASE_FAILURES)
      wrap(connection as unknown as Owner, 'executeQuery', `sqlite ${name}`, () => {
        throw Object.assign(new Error(message), { sqliteCode });
      });
    return connection;
  };
}

const DATABASE_FAILURES = [
  ['SQLITE_FULL', 13, 'database or disk is full'],
  ['SQLITE_BUSY', 5, 'database is locked'],
  ['SQLITE_READONLY', 8, 'attempt to write a readonly database'],
  ['SQLITE_IOERR', 10, 'disk I/O error'],
] as const;

function wrapRest(): void {
  wrap(require('node:os') as Owner, 'networkInterfaces', 'os.networkInterfaces', throwing('EMFILE'));
  wrap(require('node:tls') as Owner, 'createSecureContext', 'tls.createSecureContext', throwing('EINVAL'));
}

async function wrapQuiche(): Promise<void> {
  const { quiche } = (await import('@matrixai/quic/native/index.js')) as unknown as { quiche: Record<string, unknown> };
  const fail: Fail = () => {
    throw Object.assign(new Error('Injected'), { code: 'GenericFailure' });
  };
  wrap(quiche, 'retry', 'quiche.retry', fail);
  for (const name of ['Connection', 'Config']) {
    const type = quiche[name] as Owner & { prototype: Owner };
    const { prototype } = type;
    const methods = (owner: Owner): [string, Method][] =>
      Object.entries(Object.getOwnPropertyDescriptors(owner)).flatMap(([method, { value }]) =>
        typeof value === 'function' && method !== 'constructor' ? [[method, value as Method]] : [],
      );
    // Factories are not to be assigned to.
    const factories = Object.fromEntries(methods(type).map(([method, factory]) => [method, factory.bind(type)])) as Owner;
    quiche[name] = { ...factories, prototype };
    for (const [method] of methods(type)) wrap(quiche[name] as Owner, method, `quiche.${method}`, fail);
    for (const [method] of methods(prototype)) wrap(prototype, method, `quiche.${method}`, fail);
  }
}

function wrapLibc(): void {
  const koffi = require('koffi') as { load(name: string): { func: Method }; errno(): number };
  const { load, errno } = koffi;
  let injected = 0;
  koffi.errno = () => (injected === 0 ? errno() : injected);
  koffi.load = (name) => {
    const library = load(name);
    return {
      func(signature) {
        const real = library.func(signature) as Method;
        const [, symbol = ''] = /(\w+)\(/.exec(signature as string) ?? [];
        return (...args: unknown[]) => {
          injected = isToFail(`libc.${symbol}`) ? (ERRNO_OF[symbol] ?? ERRNO.EMFILE) : 0;
          return injected === 0 ? real(...args) : -1;
        };
      },
    };
  };
}

const ERRNO_OF: Readonly<Record<string, number>> = { sendmsg: ERRNO.EPERM, recvmmsg: ERRNO.ENOBUFS, setsockopt: ERRNO.EINVAL };

/** A child has its parent's standard input, of which either would get a part. */
function listen(): void {
  arm(process.env['FAIL_AT_START'] ?? '');
  if (process.send === undefined) {
    process.stdin.on('data', (lines: Buffer) => arm(String(lines)));
    return void (process.stdin as unknown as { unref?: () => void }).unref?.();
  }
  const file = process.env['FAIL_IN_CHILD'] ?? '';
  if (!fs.existsSync(file)) return;
  arm(fs.readFileSync(file, 'utf8'));
  fs.unlinkSync(file);
}

if (isMainThread) {
  wrapStreams();
  wrapDatagrams();
  wrapFiles();
  wrapNames();
  wrapProcesses();
  wrapRest();
  wrapLibc();
  await Promise.all([wrapFileHandles(), wrapQuiche(), wrapDatabase()]);
  syncBuiltinESMExports();
  listen();
}
