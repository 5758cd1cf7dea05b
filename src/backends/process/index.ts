export { ProcessBackend } from './process-backend.js';
export type { ProcessBackendOptions } from './settings.js';
