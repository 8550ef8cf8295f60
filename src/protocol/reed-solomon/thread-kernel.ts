import { createKernel, type Kernel } from './kernel.ts';

/** The kernel of this thread, made when parity is needed for the first time. */
export function threadKernel(): Kernel {
  return (kernel ??= createKernel());
}

let kernel: Kernel | null = null;
