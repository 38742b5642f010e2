/** `pgflow worker`: works the steps of flows until it is told to stop. */
import { DATABASE, Exit } from './command.js';
import type { Command } from './command.js';

export const worker: Command = {
  name: 'worker',
  operands: 'FILE…',
  summary: 'do the steps of the flows',
  options: DATABASE,
  takes: { least: 1, most: Infinity },
  run: async () => Exit.no,
};
