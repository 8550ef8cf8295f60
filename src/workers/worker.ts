import { WorkerTunnels } from './worker-tunnels.ts';
import type { WorkerTask } from './messages.ts';
import { loadPrivately } from './private-addons.ts';

loadPrivately((file) => file.includes('@matrixai/quic'));

/** A worker's task: runs its part of all tunnels until the main thread ends it. */
export async function runTunnelWorker(task: WorkerTask): Promise<void> {
  await new WorkerTunnels(task).ended;
}
