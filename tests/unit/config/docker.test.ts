import { loadIn, MINIMAL, problemsOf, withDirectory } from './config-file.js';

const OPTIONS = 'agent-docker-container-opts.json';

test('the docker backend is as with the original unless something is written', () =>
  withDirectory(async (directory) => {
    const { config } = await loadIn(directory, MINIMAL);
    expect(config.docker).toMatchObject({
      socketPath: null,
      hardening: 'original',
      pidsLimit: null,
      seccompProfileFile: null,
      allowedMountRoots: null,
      overrideFiles: [
        `/etc/backend.ai/${OPTIONS}`,
        `${directory}/.config/backend.ai/${OPTIONS}`,
        `${directory}/${OPTIONS}`,
      ],
      engineDeadlineMs: 30_000,
      killDeadlineMs: 30_000,
    });
    expect(config.maxParallelStarts).toBeNull();
  }));

test('what is written counts, with paths from the working directory', () =>
  withDirectory(async (directory) => {
    const { config } = await loadIn(
      directory,
      `${MINIMAL}[splenium]
max-parallel-starts = 3
[splenium.docker]
socket = "/run/engine.sock"
hardening = "strict"
pids-limit = 0
seccomp-profile = "seccomp.json"
allowed-mount-roots = ["/vfroot", "data"]
override-files = []
engine-deadline-sec = 5
kill-deadline-sec = 0.5
`,
    );
    expect(config.maxParallelStarts).toBe(3);
    expect(config.docker).toMatchObject({
      socketPath: '/run/engine.sock',
      hardening: 'strict',
      pidsLimit: { most: null },
      seccompProfileFile: `${directory}/seccomp.json`,
      allowedMountRoots: ['/vfroot', `${directory}/data`],
      overrideFiles: [],
      engineDeadlineMs: 5_000,
      killDeadlineMs: 500,
    });
  }));

test.each(['hardening = "lax"', 'pids-limit = -1', 'engine-deadline-sec = 0', 'override-files = [""]'])(
  '%s is refused',
  async (line) => {
    const problems = await problemsOf(`${MINIMAL}[splenium.docker]\n${line}\n`);
    expect(problems).toHaveLength(1);
  },
);
