/** Why the system makes no process, as libuv's negative numbers: Node throws some, tells others later, and leaves out the pipes with some. */
export const NO_PROCESS = { EAGAIN: -11, ENOMEM: -12, EMFILE: -24 } as const;

/** No process can be made until the function that is returned is called. */
export function forbidProcesses(errno: number): () => void {
  const { binding } = process as unknown as { binding(name: string): Record<string, { prototype: Spawner }> };
  const { prototype } = binding.call(process, 'process_wrap')['Process']!;
  const { spawn } = prototype;
  prototype.spawn = () => errno;
  return () => void (prototype.spawn = spawn);
}

interface Spawner {
  spawn: (...words: unknown[]) => number;
}
