import { X509Certificate } from 'node:crypto';
import { test } from 'tap';
import { untrustedReason } from '../../src/identity/certificate-path.ts';
import { issueCertificate, type Issued, type IssueOptions } from '../support/issue-certificate.ts';

const HOST = 'tunnel.example';
const root = issueCertificate({ name: 'root', ca: true });
const middle = issueCertificate({ name: 'middle', ca: true, issuer: root });

const server = (options: Partial<IssueOptions> = {}) =>
  issueCertificate({ name: 'server', hosts: [HOST], issuer: root, ...options });
const parse = (list: readonly Issued[]) => list.map(({ der }) => new X509Certificate(der));
const reason = (chain: readonly Issued[], anchors: readonly Issued[], host = HOST) =>
  untrustedReason(parse(chain), parse(anchors), { host });

test('paths that hold', async (t) => {
  const below = server({ issuer: middle });
  t.equal(reason([server()], [root]), null, 'straight from the root');
  t.equal(reason([below, middle], [root]), null, 'over one in between');
  t.equal(reason([below, server(), root, middle], [root]), null, 'in any order, with others');
  t.equal(reason([below], [middle]), null, 'the one in between is trusted itself');
  t.equal(reason([below], [stranger(), root, middle]), null, 'everything in the CA file');
  t.equal(
    reason([stranger()], [stranger()]),
    `its issuer "CN=stranger" is not a certificate authority`,
    'another of the same name',
  );
  const itself = stranger();
  t.equal(reason([itself], [itself]), null, 'the certificate itself is in the CA file');
});

test('paths that lead nowhere', async (t) => {
  t.equal(reason([], [root]), 'there is none');
  t.match(reason([server({ issuer: middle })], [root]), /issuer "CN=middle" is not in the CA file/);
  t.match(reason([stranger()], [root]), /issuer "CN=stranger" is not in the CA file/);
  t.match(
    reason([server(), root], [middle]),
    /issuer "CN=root" is not in the CA file/,
    'a root from the server itself counts for nothing',
  );
});

test('authorities that are none', async (t) => {
  const notCa = server({ name: 'not a CA' });
  t.match(reason([server({ issuer: notCa }), notCa], [root]), /"CN=not a CA" is not a certificate authority/);
  const tight = issueCertificate({ name: 'tight', ca: true, pathLength: 0 });
  const beyond = issueCertificate({ name: 'beyond', ca: true, issuer: tight });
  t.equal(reason([server({ issuer: tight })], [tight]), null);
  t.match(reason([server({ issuer: beyond }), beyond], [tight]), /path below "CN=tight" is longer/);
});

test('a forged signature', async (t) => {
  const der = Uint8Array.from(server().der);
  der[der.length - 1]! ^= 1;
  t.match(untrustedReason([new X509Certificate(der)], parse([root]), { host: HOST }), /signature of "CN=root" on it is wrong/);
});

test('every certificate of the path must be in its period', async (t) => {
  t.match(reason([server({ validFrom: -2, validTo: -1 })], [root]), /"CN=server" expired at/);
  t.match(reason([server({ validFrom: 1, validTo: 2 })], [root]), /"CN=server" is not valid before/);
  const oldMiddle = issueCertificate({ name: 'middle', ca: true, issuer: root, validFrom: -2, validTo: -1 });
  t.match(reason([server({ issuer: oldMiddle }), oldMiddle], [root]), /"CN=middle" expired/);
  t.equal(reason([server({ issuer: oldMiddle }), oldMiddle, middle], [root]), null, 'there is a newer one');
  const oldRoot = issueCertificate({ name: 'root', ca: true, validFrom: -2, validTo: -1 });
  t.match(reason([server()], [oldRoot]), /"CN=root" expired/);
});

test('the name must be in the certificate', async (t) => {
  const chain = [server({ hosts: [HOST, '*.wild.example', '192.0.2.1', '2001:db8::1'] })];
  for (const host of [HOST, 'TUNNEL.example', 'a.wild.example', '192.0.2.1', '2001:db8::1', '2001:DB8:0::1', '2001:db8::1%eth0']) {
    t.equal(reason(chain, [root], host), null, host);
  }
  for (const host of ['other.example', 'a.b.wild.example', 'wild.example', '192.0.2.2', '2001:db8::2', 'server']) {
    t.match(reason(chain, [root], host), /it is not for .* but for .*DNS:tunnel\.example/, host);
  }
  t.match(reason([server({ name: HOST, hosts: [] })], [root]), /no name at all/, 'the common name does not count');
});

test('what a certificate is not for', async (t) => {
  t.match(reason([server({ clientOnly: true })], [root]), /"CN=server" is not meant for servers/);
  const constrained = issueCertificate({ name: 'constrained', ca: true, issuer: root, nameConstraints: true });
  t.match(reason([server({ issuer: constrained }), constrained], [root]), /"CN=constrained" has an extension .*2\.5\.29\.30/);
  t.match(reason([server({ sha1: true })], [root]), /signed with MD5 or SHA-1/);
});

test('a hostile heap of authorities that vouch for each other ends', async (t) => {
  const loop = Array.from({ length: 40 }, () => issueCertificate({ name: 'loop', ca: true }));
  t.type(reason([server({ issuer: loop[0]! }), ...loop], [middle]), 'string');
});

function stranger(): Issued {
  return issueCertificate({ name: 'stranger', hosts: [HOST] });
}
