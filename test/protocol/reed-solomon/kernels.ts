import type { Kernel } from '../../../src/protocol/reed-solomon/kernel.ts';
import { TableKernel } from '../../../src/protocol/reed-solomon/table-kernel.ts';
import { createWasmKernel } from '../../../src/protocol/reed-solomon/wasm-kernel.ts';

/** Every kernel must pass every test. */
export const KERNELS: readonly (() => Kernel)[] = [() => createWasmKernel()!, () => new TableKernel()];
