export interface Account {
  readonly uid: number;
  readonly gid: number;
}

/** Looks a user up in the text of a passwd file, which Node has no call for. */
export function findAccount(passwd: string, name: string): Account | null {
  for (const line of passwd.split('\n')) {
    const [user, , uid = '', gid = ''] = line.split(':');
    if (user === name && /^\d+$/.test(uid) && /^\d+$/.test(gid))
      return { uid: Number(uid), gid: Number(gid) };
  }
  return null;
}
