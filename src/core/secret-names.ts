const SECRET =
  /pass(word|wd|phrase)|secret|token|credential|authorization|cookie|(private|api|access)[-_]?key/i;
/** Places of secrets are not secrets, and an operator needs them: `secretKeyFile`, `credential_path`. */
const PLACE = /(file|path|dir|directory)$/i;

/** Does a field or variable of this name hold what nobody else should read? */
export const isSecretName = (name: string): boolean => SECRET.test(name) && !PLACE.test(name);
