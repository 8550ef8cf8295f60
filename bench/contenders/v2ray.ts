import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from '../../test/support/tcp.ts';
import { makeCertificate } from '../certificate.ts';
import type { Contender, End, Stage } from '../contender.ts';
import { listening } from '../listening.ts';

/**
 * V2Ray (Go) with VLESS, which leaves encryption to the layer below: TLS over TCP, one connection for each, or streams of QUIC connections
 * (quic-go). VMess would encrypt a second time.
 */
export function v2ray(name: string, network: 'tcp' | 'quic'): Contender {
  return {
    name,
    needs: { v2ray: 'v2ray', openssl: 'openssl' },
    start: async (stage) => {
      const { site, backendPort, folder } = stage;
      const { cert, key } = makeCertificate(folder);
      const [middle, port] = [await freePort(), await freePort()];
      const server = await run(stage, 'server', {
        inbounds: [
          {
            listen: site.server.address,
            port: middle,
            protocol: 'vless',
            settings: { clients: [{ id: USER }], decryption: 'none' },
            streamSettings: transport(network, { certificates: [{ certificateFile: cert, keyFile: key }] }),
          },
        ],
        outbounds: [{ protocol: 'freedom' }],
      });
      await listening(server, middle, network === 'quic' ? 'udp' : 'tcp');
      const trust = {
        serverName: 'localhost',
        disableSystemRoot: true,
        certificates: [{ usage: 'verify', certificateFile: cert }],
      };
      const client = await run(stage, 'client', {
        inbounds: [
          {
            listen: '127.0.0.1',
            port,
            protocol: 'dokodemo-door',
            settings: { address: '127.0.0.1', port: backendPort, network: 'tcp', timeout: 600 },
          },
        ],
        outbounds: [
          {
            protocol: 'vless',
            settings: { vnext: [{ address: site.server.address, port: middle, users: [{ id: USER, encryption: 'none' }] }] },
            streamSettings: transport(network, trust),
          },
        ],
      });
      await listening(client, port);
      return { host: '127.0.0.1', port };
    },
  };
}

async function run({ folder, run: start }: Stage, end: End, settings: object) {
  const file = join(folder, `${end}.json`);
  writeFileSync(file, JSON.stringify({ log: { loglevel: 'warning' }, ...settings }));
  return start(end, 'v2ray', ['-config', file]);
}

function transport(network: 'tcp' | 'quic', tlsSettings: object): object {
  return { network, security: 'tls', tlsSettings, ...(network === 'quic' && { quicSettings: { security: 'none' } }) };
}

/** Any UUID: who knows it may use the server. */
const USER = '5e0d0f52-0b2c-4c8f-9a3e-6d1c2f0e7b11';
