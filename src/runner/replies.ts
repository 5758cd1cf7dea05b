import { Unpackr } from 'msgpackr';
import { z } from 'zod';
import { parseJson } from '../kernel-runner/messages.js';

/** Replies of the runner, checked (spec/kernel-runner.md 2.2, 2.4 to 2.6). */

export interface RunnerStatus {
  /** Seconds on the runner's monotonic clock when it was started. */
  readonly startedAt: number;
}

export interface ServiceResult {
  readonly status: 'started' | 'running' | 'failed';
  readonly error?: string;
}

export interface CompletionResult {
  readonly status: 'finished' | 'failed';
  readonly error: string | null;
  readonly suggestions: readonly string[];
}

/** A service of the kernel's image as its definition describes it; absent keys say nothing. */
export interface RunnerApp {
  readonly name: string;
  readonly urlTemplate?: string;
  readonly allowedArguments?: readonly string[];
  readonly allowedEnvs?: readonly string[];
}

export interface AppsResult {
  readonly status: 'done' | 'failed';
  readonly error: string | null;
  readonly apps: readonly RunnerApp[];
}

const statusSchema = z.object({
  started_at: z.number(),
  pending: z.array(z.string()).optional(),
  last_exec: z.int().optional(),
});
const serviceSchema = z.object({
  status: z.enum(['started', 'running', 'failed']),
  error: z.string().optional(),
});
const completionSchema = z.object({ suggestions: z.array(z.string()) });
const appSchema = z.object({
  name: z.string(),
  url_template: z.string().optional(),
  allowed_arguments: z.array(z.string()).optional(),
  allowed_envs: z.array(z.string()).optional(),
});
const appsSchema = z.object({
  status: z.string(),
  error: z.string().optional(),
  data: z.array(appSchema).default([]),
});
const modelStatusSchema = z.object({ model_name: z.string(), is_healthy: z.boolean() });

/** Undefined for a payload that is no status. `pending` is absent when the runner does not tell. */
export function readStatus(payload: Uint8Array):
  | {
      readonly status: RunnerStatus;
      readonly pending: readonly string[] | undefined;
      readonly lastExec: number | undefined;
    }
  | undefined {
  let value: unknown;
  try {
    value = new Unpackr({ useRecords: false, mapsAsObjects: true }).unpack(Buffer.from(payload));
  } catch {
    return undefined;
  }
  const parsed = statusSchema.safeParse(value);
  if (!parsed.success) return undefined;
  const { started_at: startedAt, pending, last_exec: lastExec } = parsed.data;
  return { status: { startedAt }, pending, lastExec };
}

const unreadable = (what: string) => `the kernel runner sent an unreadable ${what}`;

export function readServiceResult(payload: Uint8Array): ServiceResult {
  const parsed = serviceSchema.safeParse(parseJson(payload));
  if (!parsed.success) return { status: 'failed', error: unreadable('service-result') };
  const { status, error } = parsed.data;
  return error === undefined ? { status } : { status, error };
}

export function readCompletion(payload: Uint8Array): CompletionResult {
  const parsed = completionSchema.safeParse(parseJson(payload));
  return parsed.success
    ? { status: 'finished', error: null, suggestions: parsed.data.suggestions }
    : { status: 'failed', error: unreadable('completion'), suggestions: [] };
}

export function readApps(payload: Uint8Array): AppsResult {
  const parsed = appsSchema.safeParse(parseJson(payload));
  if (!parsed.success) return { status: 'failed', error: unreadable('apps-result'), apps: [] };
  const { status, error, data } = parsed.data;
  if (status !== 'done') return { status: 'failed', error: error ?? status, apps: [] };
  const apps = data.map((app) => ({
    name: app.name,
    ...(app.url_template === undefined ? {} : { urlTemplate: app.url_template }),
    ...(app.allowed_arguments === undefined ? {} : { allowedArguments: app.allowed_arguments }),
    ...(app.allowed_envs === undefined ? {} : { allowedEnvs: app.allowed_envs }),
  }));
  return { status: 'done', error: null, apps };
}

export function readModelStatus(
  payload: Uint8Array,
): { readonly modelName: string; readonly isHealthy: boolean } | undefined {
  const parsed = modelStatusSchema.safeParse(parseJson(payload));
  if (!parsed.success) return undefined;
  return { modelName: parsed.data.model_name, isHealthy: parsed.data.is_healthy };
}
