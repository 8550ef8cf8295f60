/** Why a port for HTTP could not be taken, and what to do about it, to be put into a sentence. */
export function listenProblem({ code, message }: NodeJS.ErrnoException): string {
  return PROBLEMS[code ?? ''] ?? message;
}

const PROBLEMS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another program uses the port; stop it or choose another one',
  EACCES: 'this user may not use the port; choose one from 1024 on',
  EADDRNOTAVAIL: 'this machine does not have the address; choose one that it has',
};
