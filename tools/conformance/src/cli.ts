import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { explainMissing } from './known-gaps.ts';
import { type ServerUnderTest, startGateway, startServer } from './servers.ts';
import { type Revision, runClientSuite, runSuite, type SuiteOutcome } from './suite.ts';

interface Target {
  readonly name: string;
  readonly run: (revision: Revision) => Promise<SuiteOutcome>;
}

const CLIENT = fileURLToPath(new URL('client-cli.ts', import.meta.url));

const TARGETS: readonly Target[] = [
  { name: 'server', run: against(startServer) },
  { name: 'gateway', run: against(startGateway) },
  { name: 'client', run: (revision) => runClientSuite(CLIENT, revision) },
];

const REVISIONS: readonly Revision[] = ['2026-07-28', '2025-11-25'];

const { values } = parseArgs({ options: { verbose: { type: 'boolean' }, only: { type: 'string' } } });

const summaries: string[] = [];
for (const { name, run } of TARGETS) {
  if (values.only !== undefined && values.only !== name) continue;
  for (const revision of REVISIONS) {
    const { required, missing, output } = await run(revision);
    if (values.verbose) console.log(output);
    const { explained, unexplained, outdated } = explainMissing(`${name} ${revision}`, missing);
    for (const [scenario, why] of explained) console.log(`  ${name} ${revision} lacks ${scenario}: ${why}`);
    for (const scenario of unexplained) console.error(`  ${name} ${revision} fails ${scenario}: not explained in known-gaps.json`);
    for (const scenario of outdated) console.error(`  ${name} ${revision} passes ${scenario}: take it out of known-gaps.json`);
    if (unexplained.length + outdated.length > 0) {
      process.exitCode = 1;
      if (!values.verbose) console.error(`  npm run conformance -- --only ${name} --verbose shows what the suite says`);
    }
    summaries.push(`conformance ${name} ${revision}: ${required.length - missing.length}/${required.length}`);
  }
}
for (const summary of summaries) console.log(summary);

function against(start: () => Promise<ServerUnderTest>): Target['run'] {
  return async (revision) => {
    const server = await start();
    try {
      return await runSuite(server.url, revision);
    } finally {
      await server.stop();
    }
  };
}
