import { METHODS, methodsFor, parametersOf } from '../../../src/rpc/method-table.js';
import { parseWire } from '../../../src/rpc/wire/parse.js';

/** spec/rpc-functions.md 2.1, and `health` of the release. */
const RELEASE_25_17_1 = [
  'ping gather_hwinfo scan_gpu_alloc_map get_local_config update_scaling_group shutdown_agent reset_agent',
  'assign_port release_port create_local_network destroy_local_network check_and_pull check_pulling push_image',
  'purge_images create_kernels restart_kernel destroy_kernel check_creating check_running ping_kernel',
  'sync_kernel_registry purge_containers drop_kernel_registry execute trigger_batch_execution interrupt_kernel',
  'get_completions get_logs start_service shutdown_service commit get_commit_status upload_file download_file',
  'download_single list_files health',
]
  .join(' ')
  .split(' ');
const REMOVED_IN_26 = ['update_scaling_group', 'purge_containers', 'drop_kernel_registry'];
const OURS = ['plan_kernel', 'list_kernels', 'describe_kernel', 'describe_resources', 'examine'];
const V3 = ['health_v2', 'gather_hwinfo_v2'];
const names = (version: '25.17' | '26.9') => methodsFor(version).map(({ name }) => name);

test('the surface of 25.17.1 is complete: 38 functions, besides ours and the typed ones', () => {
  expect(RELEASE_25_17_1).toHaveLength(38);
  expect(names('25.17').sort()).toEqual([...RELEASE_25_17_1, ...OURS, ...V3].sort());
});

test('the surface of 26.9 lacks what that line removed', () => {
  const expected = [...RELEASE_25_17_1, ...OURS, ...V3].filter((name) => !REMOVED_IN_26.includes(name));
  expect(names('26.9').sort()).toEqual(expected.sort());
});

/** As in the tables of the specification: name, `=` for optional, `*` for keyword-only. */
const PARAMETERS: Readonly<Record<string, string>> = {
  ping: 'msg',
  health: '',
  gather_hwinfo: 'agent_id=',
  get_local_config: 'agent_id=',
  update_scaling_group: 'scaling_group agent_id=',
  create_kernels: 'raw_session_id raw_kernel_ids raw_configs raw_cluster_info kernel_image_refs agent_id=',
  destroy_kernel: 'kernel_id session_id reason= suppress_events= agent_id=',
  execute: 'session_id kernel_id api_version run_id mode code opts flush_timeout agent_id=',
  commit: 'kernel_id subdir *canonical= *filename= *extra_labels= *agent_id=',
  trigger_batch_execution: 'session_id kernel_id code timeout agent_id=',
  gather_hwinfo_v2: 'req agent_id=',
};

test.each(Object.entries(PARAMETERS))('%s takes (%s)', (name, expected) => {
  const method = METHODS.find((row) => row.name === name);
  const written =
    method && parametersOf(method).map((p) => `${p.keywordOnly ? '*' : ''}${p.name}${p.optional ? '=' : ''}`);
  expect(written?.join(' ')).toBe(expected);
});

test.each(METHODS.map((method) => [method.name, method] as const))(
  '%s is documented, its types have names and its defaults are legal',
  (_name, method) => {
    expect(method.doc).toMatch(/[.?]$/);
    expect(method.returns.description).toEqual(expect.any(String));
    for (const parameter of parametersOf(method)) {
      expect(parameter.doc).toMatch(/\.$/);
      expect(parameter.schema.description).toEqual(expect.any(String));
      if (parameter.optional) parseWire(parameter.schema, parameter.defaultValue, parameter.name);
    }
  },
);
