import type { Contender } from '../contender.ts';
import { direct } from './direct.ts';
import { direct as hubDirect, throughAgent } from './hub.ts';
import { kcptun } from './kcptun.ts';
import { qtunnel } from './qtunnel.ts';
import { haproxy, nftables } from './relays.ts';
import { shadowsocks } from './shadowsocks.ts';
import { ssh, sshReverse } from './ssh.ts';
import { stunnel } from './stunnel.ts';
import { trojan } from './trojan.ts';
import { v2ray } from './v2ray.ts';

/** All tunnels, in the order of the tables. */
export const TUNNELS: readonly Contender[] = [
  qtunnel('qtunnel QUIC', ['-quic']),
  qtunnel('qtunnel TCP mode', []),
  stunnel,
  shadowsocks,
  trojan,
  ssh,
  v2ray('v2ray TLS', 'tcp'),
  kcptun,
  v2ray('v2ray QUIC', 'quic'),
];

/** No tunnel, on one machine. */
export const DIRECT: Contender = direct('direct TCP');

/** No tunnel, on a path where congestion control matters. */
export const DIRECT_ON_WAN: readonly Contender[] = [direct('direct TCP cubic', 'cubic'), direct('direct TCP bbr', 'bbr')];

/** Ways of having a public port lead to a service inside, through an agent. */
export const AGENTS = [throughAgent('qtunnel hub, QUIC', 'quic'), throughAgent('qtunnel hub, TLS', 'tls')] as const;

/** Ways of having a port of a public server lead to a service that is elsewhere, in the order of the tables. */
export const HUBS: readonly Contender[] = [...AGENTS, sshReverse, hubDirect('qtunnel hub, direct'), haproxy, nftables];
