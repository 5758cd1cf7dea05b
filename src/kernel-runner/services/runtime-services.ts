import type { RuntimeType } from '../options.js';
import { directService } from './definition.js';
import type { ServiceDefinition } from './definition.js';

/** Services that belong to the runtime rather than to the image (spec/kernel-runner.md 4.9). */
export function runtimeServices(
  runtime: RuntimeType,
  runtimePath: string,
): (name: string, port: number) => ServiceDefinition | undefined {
  return (name, port) => {
    if (runtime !== 'python') return undefined;
    const server = [
      '--ip=0.0.0.0',
      `--port=${String(port)}`,
      '--no-browser',
      '--allow-root',
      "--ServerApp.token=''",
      "--ServerApp.allow_origin='*'",
    ];
    switch (name) {
      case 'jupyter':
        return directService([runtimePath, '-m', 'notebook', ...server]);
      case 'jupyterlab':
        return directService([runtimePath, '-m', 'jupyterlab', ...server]);
      case 'tensorboard':
        return directService([
          runtimePath,
          ...['-m', 'tensorboard.main', '--logdir', 'logs', '--host', '0.0.0.0', '--port', String(port)],
        ]);
      default:
        return undefined;
    }
  };
}
