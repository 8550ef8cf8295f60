import { mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { QtunnelError } from '../errors.ts';
import { type Command, foreign, type Job, type Manager, MARK, thisProgram, writeJob } from './manager.ts';
import type { Home, Plan } from './plan.ts';
import { taskXml, USER } from './task-xml.ts';
import { ask, tell, tellAll } from './tell.ts';

/**
 * Windows: a task of the Task Scheduler's. Node is no service program: it does not speak to the service control manager, and a wrapper that does would have to be downloaded.
 * @param data the folder for what programs keep, `C:\ProgramData`.
 */
export function windows(data = process.env['ProgramData'] ?? 'C:\\ProgramData'): Manager {
  const { join } = data.startsWith('/') ? path.posix : path.win32;
  const home: Home = { folder: (unit) => join(data, unit), toldBy: 'flags' };
  // Beside the folder that the service may write in, so that it cannot change what is about to be registered.
  const xmlFile = (unit: string): string => join(data, `${unit}.xml`);
  const job = (plan: Plan): Job => ({
    folder: plan.state,
    file: xmlFile(plan.unit),
    text: taskXml(plan, thisProgram()),
    commands: [
      // Everybody may make a folder of this name before.
      ['icacls', plan.state, '/setowner', ADMINISTRATORS],
      ['icacls', plan.state, '/reset'],
      ['icacls', plan.state, '/inheritance:r', '/grant:r', ...RIGHTS],
      ['schtasks', '/Create', '/TN', plan.unit, '/XML', xmlFile(plan.unit), '/F'],
      ['schtasks', '/Run', '/TN', plan.unit],
    ],
  });
  return {
    platform: 'win32',
    home,
    job,
    // Who may read a file is not to be learnt from Node there.
    obstacles: () => [],

    async install(plan) {
      const { file, text, commands } = job(plan);
      if (isThere(plan.unit)) end(plan.unit);
      mkdirSync(plan.state, { recursive: true });
      await writeJob(file, Buffer.from(`${BYTE_ORDER_MARK}${text}`, 'utf16le'));
      tellAll(commands);
      return `${plan.unit} is started, and starts with the machine. Its log is in ${plan.state}\n${rightsToRead(plan)}`;
    },

    async uninstall(unit) {
      if (!isThere(unit)) throw new QtunnelError('SERVICE_FAILED', `there is no service ${unit}: schtasks /Query does not know it`);
      end(unit);
      tell(['schtasks', '/Delete', '/TN', unit, '/F']);
      rmSync(xmlFile(unit), { force: true });
      return `${unit} is stopped and removed; what it has remembered is still in ${home.folder(unit)}\n`;
    },

    status(unit) {
      const { code, stdout } = ask(['schtasks', '/Query', '/TN', unit, '/V', '/FO', 'LIST']);
      return { text: code === 0 ? stdout : `there is no service ${unit}\n`, runs: code === 0 && RUNNING.test(stdout) };
    },
  };
}

/** Whether there is a task of this name that was made here. @throws QtunnelError `FILE_EXISTS` for one of somebody else's. */
function isThere(unit: string): boolean {
  const { code, stdout } = ask(['schtasks', '/Query', '/TN', unit, '/XML']);
  if (code === 0 && !stdout.includes(MARK)) throw foreign(`the task ${unit}`);
  return code === 0;
}

/** Fails where it does not run, which is as well. */
function end(unit: string): void {
  ask(['schtasks', '/End', '/TN', unit]);
}

function rightsToRead({ reads }: Plan): string {
  const commands = reads.map((file): Command => ['icacls', file, '/grant', `*${USER}:R`]);
  if (commands.length === 0) return '';
  return `It runs as LOCAL SERVICE, which has to be able to read the files that it names:\n${commands.map((words) => `  ${words.join(' ')}\n`).join('')}`;
}

const ADMINISTRATORS = '*S-1-5-32-544';
/** Of the system, of administrators, and of the service; by their numbers, since names are in the machine's language. */
const RIGHTS = ['*S-1-5-18:(OI)(CI)F', `${ADMINISTRATORS}:(OI)(CI)F`, `*${USER}:(OI)(CI)M`] as const;
/** SCHED_S_TASK_RUNNING as the last result: the only thing in the answer that is the same in all languages. */
const RUNNING = /\b267009\b/;
const BYTE_ORDER_MARK = '\uFEFF';
