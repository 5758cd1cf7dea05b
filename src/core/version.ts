/** The release of this program; a test holds it against package.json. */
export const VERSION = '0.1.0';

/** What managers are told to be talking to: the release of the original whose part is played. */
export const SPOKEN_VERSION = { '25.17': '25.17.1', '26.9': '26.9.6' } as const;
