import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { JsonObject } from '@mcp-blocks/core';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { onTestFinished } from 'vitest';

const CLI = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));
const PATIENCE_MS = 120_000;

/** One line of the log. */
export interface LogLine {
  readonly level: string;
  readonly message: string;
  readonly [field: string]: unknown;
}

/** The command as a process of its own. */
export class GatewayCommand {
  readonly child: ChildProcess;
  readonly ended: Promise<{ code: number | null; signal: string | null }>;
  stdout = '';
  stderr = '';
  #onOutput: () => void = () => {};

  constructor(args: readonly string[], env: NodeJS.ProcessEnv = {}, cli = CLI) {
    this.child = spawn(process.execPath, [cli, ...args], {
      env: { PATH: process.env.PATH, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.child.stdout?.on('data', (chunk) => {
      this.stdout += String(chunk);
    });
    this.child.stderr?.on('data', (chunk) => {
      this.stderr += String(chunk);
      this.#onOutput();
    });
    this.ended = new Promise((resolve) => {
      this.child.once('close', (code, signal) => {
        resolve({ code, signal });
        this.#onOutput();
      });
    });
    onTestFinished(async () => {
      this.child.kill('SIGKILL');
      await this.ended;
    });
  }

  get lines(): LogLine[] {
    return this.stderr
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as LogLine);
  }

  /** The `count`-th line with this message, once it is there. */
  async line(message: string, count = 1): Promise<LogLine> {
    const find = () => this.lines.filter((line) => line.message === message)[count - 1];
    return new Promise<LogLine>((resolve, reject) => {
      const timeout = setTimeout(() => reject(new Error(`no '${message}' in:\n${this.stderr}`)), PATIENCE_MS);
      const look = () => {
        const line = find();
        const gone = this.child.exitCode !== null || this.child.signalCode !== null;
        if (line === undefined && !gone) return;
        clearTimeout(timeout);
        if (line === undefined) reject(new Error(`ended without '${message}':\n${this.stderr}`));
        else resolve(line);
      };
      this.#onOutput = look;
      look();
    });
  }

  /** Where it listens: the HTTP endpoint first. */
  async endpoints(): Promise<string[]> {
    return (await this.line('listening')).endpoints as string[];
  }
}

/** A folder for one test. */
export function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'gateway-'));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** Writes a configuration and starts the command with it. */
export function startGateway(config: JsonObject, env: NodeJS.ProcessEnv = {}, options: readonly string[] = []) {
  const file = join(folder(), 'gateway.json');
  writeFileSync(file, JSON.stringify(config));
  return { file, command: new GatewayCommand(['gateway', '--config', file, ...options], env) };
}

/** A client of the SDK, with an API key where given. */
export async function connect(url: string, { apiKey, mode = 'auto' }: { apiKey?: string; mode?: 'auto' | 'legacy' } = {}): Promise<Client> {
  const client = new Client({ name: 'test', version: '1' }, { versionNegotiation: { mode } });
  const requestInit = { headers: apiKey === undefined ? {} : { 'x-api-key': apiKey } };
  await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit }));
  onTestFinished(() => client.close());
  return client;
}
