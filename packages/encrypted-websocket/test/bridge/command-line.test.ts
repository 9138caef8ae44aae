import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HELP, parseCommandLine } from '../../src/bridge/command-line.js';
import { EventStreamParser } from '../../src/bridge/event-stream.js';

const WSS = 'wss://mcp.example/ws';

describe('the command line', () => {
  it('has a default for everything but the URL', () => {
    expect(parseCommandLine(['bridge', WSS])).toMatchObject({
      command: 'bridge',
      options: { allowInsecure: false, connectTimeoutMs: 30_000, waitTimeoutMs: 30_000, drainTimeoutMs: 5_000, maxMessageBytes: 4_194_304 },
    });
  });

  it.each<[args: string[], message: RegExp]>([
    [['bridge', WSS, '--token', 's3cret'], /--token is refused: everybody/],
    [['bridge', WSS, '--token=s3cret'], /--token is refused: everybody/],
    [['bridge', WSS, '--api-key=s3cret'], /--api-key is refused: everybody/],
    [['bridge', WSS, '--header', 'x-api-key: s3cret'], /--header: expected NAME=VARIABLE/],
    [['bridge', WSS, '--header', 'x-api-key=s3cret!'], /--header: expected NAME=VARIABLE/],
    [['bridge', WSS, '--header', 'mcp-session-id=A'], /set by the bridge itself/],
    [['bridge', WSS, '--header', 'Authorization=A', '--token-env', 'B'], /exclude each other/],
    [['bridge', WSS, '--tokn=s3cret'], /^Unknown option --tokn$/],
    [['bridge', WSS, '--ca'], /^--ca: a value is missing/],
    [['bridge', WSS, '--verbose=s3cret'], /^--verbose: /],
    [['bridge', WSS, '--token-env', 'A', '--token-file', 'b'], /exclude each other/],
    [['bridge', WSS, '--cert', 'a'], /belong together/],
    [['bridge', 'ws://127.0.0.1/ws', '--pin', 'a'], /need wss:/],
    [['bridge', 'http://[::1]/mcp', '--ca', 'a'], /need https:/],
    [['bridge', WSS, '--noise', 'KK', '--server-key', 'a'], /--noise: expected NK, XK, IK, XX$/],
    [['bridge', WSS, '--noise', 'toString', '--server-key', 'a'], /--noise: expected/],
    [['bridge', WSS, '--noise', 'NK', '--noise-cipher', 'AES', '--server-key', 'a'], /--noise-cipher: expected AESGCM, ChaChaPoly$/],
    [['bridge', WSS, '--noise', 'XX', '--client-key-file', 'a'], /needs --server-key/],
    [['bridge', WSS, '--noise', 'IK', '--server-key', 'a'], /--noise IK needs --client-key-file/],
    [['bridge', WSS, '--noise', 'NK', '--server-key', 'a', '--client-key-file', 'b'], /NK has no --client-key-file/],
    [['bridge', WSS, '--server-key', 'a'], /--server-key needs --noise/],
    [['bridge', WSS, '--client-key-file', 'a'], /--client-key-file needs --noise/],
    [['bridge', WSS, '--noise-cipher', 'AESGCM'], /--noise-cipher needs --noise/],
    [['bridge', WSS, '--client-key=s3cret'], /^Unknown option --client-key$/],
    [['bridge', 'https://mcp.example/mcp', '--noise', 'NK', '--server-key', 'a'], /--noise needs ws/],
    [['bridge', 'ws://mcp.example/ws'], /not encrypted: use wss:/],
    [['bridge', 'http://mcp.example/mcp'], /not encrypted: use https:/],
    [['bridge', 'https://u:s3cret@mcp.example/mcp'], /holds a credential/],
    [['bridge', 'https://mcp.example/mcp?access_token=s3cret'], /holds a credential/],
    [['bridge', 'ftp://mcp.example'], /must begin with/],
    [['bridge', `${WSS}#a`], /fragment/],
    [['bridge', WSS, WSS], /more than one URL/],
    [['bridge'], /URL is missing/],
    [['bridge', WSS, '--connect-timeout', '0'], /--connect-timeout: expected an integer from 1/],
    [['bridge', WSS, '--max-waiting', '1e3'], /--max-waiting: expected an integer/],
    [['bogus'], /Unknown command/],
    [[], /command is missing/],
    [['keygen'], /file for the private key/],
    [['keygen', 'a', 'b'], /one file/],
    [['keygen', 'a', '--verbose'], /one file/],
  ])('%j is refused', (args, message) => {
    expect(() => parseCommandLine(args)).toThrow(message);
    expect(() => parseCommandLine(args)).not.toThrow(/s3cret/);
  });

  it('has every option of its help in the README, whose sample is one it takes', () => {
    const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
    const options = [...HELP.matchAll(/^ {2}(--[a-z-]+)(?: [A-Z=]+ (--[a-z-]+))?/gm)].flatMap(([, ...names]) => names.filter(Boolean));
    expect(options).toHaveLength(19);
    for (const option of options.filter((name) => name !== '--help')) expect(readme).toContain(`\`${option}`);
    const sample = JSON.parse(/```json\n([^`]*)```/.exec(readme)?.[1] ?? '') as { mcpServers: { orders: { args: string[] } } };
    const [yes, name, ...args] = sample.mcpServers.orders.args;
    expect([yes, name]).toEqual(['-y', '@mcp-blocks/encrypted-websocket']);
    expect(parseCommandLine(args)).toMatchObject({ command: 'bridge', options: { tokenEnv: 'ORDERS_TOKEN' } });
  });
});

describe('a stream of events', () => {
  const events = [
    { data: 'one', id: undefined, type: 'message' },
    { data: 'two\nlines: 日本', id: '7', type: 'other' },
    { data: '', id: '7', type: 'message' },
  ];
  const text = [
    'data:one',
    '',
    ': comment',
    'event: other',
    'id: 7',
    'retry: 250',
    'data: two',
    'data: lines: 日本',
    '',
    'data',
    '',
    'id: 8',
    'unknown: x',
    '',
    'data: cut',
  ];

  it('is the same however it is cut, and whatever ends its lines', () => {
    fc.assert(
      fc.property(fc.constantFrom('\n', '\r', '\r\n'), fc.array(fc.nat({ max: 12 })), (newline, cuts) => {
        const bytes = Buffer.from(text.join(newline));
        const parser = new EventStreamParser(100);
        const found = [];
        let at = 0;
        for (const cut of [...cuts, bytes.length]) {
          found.push(...parser.push(bytes.subarray(at, at + cut)));
          at += cut;
        }
        expect(found).toEqual(events);
        expect([parser.lastEventId, parser.retryMs]).toEqual(['8', 250]);
      }),
    );
  });
});
