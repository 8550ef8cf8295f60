/** Whether `-database` is a URL, and no file. One with a slash too few is too: with its password it must not become the name of a file. */
export function isUrl(database: string): boolean {
  return URL_LIKE.test(database);
}

/** Whether others could read a password in it. */
export function hasPassword(database: string): boolean {
  return isUrl(database) && /:\/+[^/?]*:[^/?]*@|[?&]password=/i.test(database);
}

/** The scheme is longer than the letter of a disk. */
const URL_LIKE = /^[a-z][a-z\d+.-]+:\//i;
