export { DummyContainers } from './containers.js';
export {
  DummyBackend,
  type DummyBackendOptions,
  type DummyRunner,
  type ServeRunner,
} from './dummy-backend.js';
export type { DummySettings } from './settings.js';
