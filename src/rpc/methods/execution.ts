import { z } from 'zod';
import { agentMethod, required } from '../method.js';
import { executionResult, executionResultToWire } from '../wire/execution.js';
import { completionResult } from '../wire/results.js';
import { anyMap, float, int, kernelId, nothing, orNil, sessionId, text } from '../wire/scalars.js';

const kernel = required('kernel_id', kernelId, 'The kernel.');
const session = required('session_id', sessionId, 'The session the kernel belongs to.');

/** Functions that run code in a kernel (spec/rpc-functions.md 3.8, spec/kernel-runner.md 3). */
export const executionMethods = [
  agentMethod({
    name: 'execute',
    doc: 'Starts a run of code or goes on with it, and returns what it wrote until it changed its state.',
    params: [
      session,
      kernel,
      required('api_version', int, '1 splits the output streams; 2 and above answer with one console list.'),
      required('run_id', orNil(text), 'Of the run to go on with; nil makes one up.'),
      required('mode', text, 'query, batch, input or continue.'),
      required('code', text, 'Code for query, the answer for input.'),
      required('opts', anyMap, 'For batch: the commands clean, build and exec.'),
      required('flush_timeout', orNil(float), 'Seconds to collect output; nil: no limit.'),
    ],
    returns: executionResult,
    repeat: 'unsafe',
    handler: async (args, { agent, signal }) => {
      const request = {
        apiVersion: args.api_version,
        runId: args.run_id,
        mode: args.mode,
        code: args.code,
        opts: args.opts,
        flushTimeoutMs: args.flush_timeout === null ? null : args.flush_timeout * 1000,
      };
      return executionResultToWire(await agent.execute(args.kernel_id, request, signal));
    },
  }),
  agentMethod({
    name: 'trigger_batch_execution',
    doc: 'Starts the batch job of a session and returns at once; its outcome is an event.',
    params: [
      session,
      kernel,
      required('code', text, 'The command.'),
      required('timeout', orNil(float), 'Seconds; nil and 0: no limit.', {
        nameIn26: 'timeout_seconds',
      }),
    ],
    returns: nothing,
    repeat: 'unsafe',
    handler: async (args, { agent }) => {
      await agent.triggerBatchExecution({
        kernelId: args.kernel_id,
        sessionId: args.session_id,
        code: args.code,
        // A limit that has passed before the job begins is nobody's wish (spec/kernel-lifecycle.md 4.8).
        timeoutMs: args.timeout === null || args.timeout === 0 ? null : args.timeout * 1000,
      });
      return null;
    },
  }),
  agentMethod({
    name: 'interrupt_kernel',
    doc: 'Interrupts what runs in the kernel; does not wait for it.',
    params: [kernel],
    returns: z
      .object({ status: z.literal('finished') })
      .nullable()
      .describe('nil, or {status: "finished"} for 26.9'),
    repeat: 'safe',
    handler: async (args, { agent, managerVersion }) => {
      await agent.interruptKernel(args.kernel_id);
      return managerVersion === '25.17' ? null : { status: 'finished' as const };
    },
  }),
  agentMethod({
    name: 'get_completions',
    doc: 'Asks the kernel how a piece of code could go on.',
    params: [
      kernel,
      required('text', text, 'The code.'),
      required('opts', anyMap, 'Sent along: usually post, line, row and col.'),
    ],
    returns: completionResult,
    repeat: 'safe',
    handler: async (args, { agent, signal }) => {
      const suggestions = await agent.complete(args.kernel_id, args.text, args.opts, signal);
      return {
        result: {
          status: suggestions === null ? ('failed' as const) : ('finished' as const),
          error: null,
          suggestions: [...(suggestions ?? [])],
        },
      };
    },
  }),
  agentMethod({
    name: 'get_logs',
    doc: 'What the kernel wrote to its standard output and error.',
    params: [kernel],
    returns: z.object({ logs: text }).describe('{logs: str}'),
    repeat: 'safe',
    handler: async (args, { agent }) => ({ logs: await agent.logs(args.kernel_id) }),
  }),
] as const;
