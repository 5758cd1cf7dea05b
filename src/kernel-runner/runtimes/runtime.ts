/** What runs user code inside a kernel: one per kernel, state survives between queries. */
export interface Runtime {
  /**
   * Runs source text and resolves with its exit code once everything it wrote has been forwarded. Never rejects: a
   * runtime that cannot start says so on stderr and resolves with 127. One call at a time.
   */
  execute(code: string, prompt: InputPrompt): Promise<number>;
  /** Interrupts the code that runs now; without any it does nothing. Never reaches a later run. */
  interrupt(): void;
  /** Suggestions for the text before the cursor; empty while code runs. Never rejects. */
  complete(text: string): Promise<string[]>;
  /** What `*` means in batch mode: the command, 0 for "nothing to do", or 127 for "nothing to run". */
  builtinCommand(step: 'build' | 'exec'): BuiltinCommand;
  close(): Promise<void>;
}

/** Asks the user for a line of text. */
export type InputPrompt = (options: { readonly isPassword: boolean }) => Promise<string>;

export type BuiltinCommand =
  | { readonly argv: readonly string[]; readonly batchMode: boolean }
  | { readonly exitCode: number; readonly why: string };

/** Python's way to tell how a process ended: its status, or the negative number of the signal. */
export function exitCodeOf(
  code: number | null,
  signal: NodeJS.Signals | null,
  numbers: Readonly<Record<string, number>>,
): number {
  if (code !== null) return code;
  return signal === null ? -1 : -(numbers[signal] ?? 1);
}
