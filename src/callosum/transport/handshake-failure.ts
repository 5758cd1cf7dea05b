/**
 * Why a client did not get through: `auth` (key refused), `protocol` (wrong mechanism or server key), `other` (went
 * away or took too long).
 */
export type HandshakeFailure = 'auth' | 'protocol' | 'other';
