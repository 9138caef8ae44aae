import { type LoadJob, runLoad } from './load.ts';

// The load generator's process: the job as JSON in its only argument, the result as one JSON line.
try {
  console.log(JSON.stringify(await runLoad(JSON.parse(process.argv[2] as string) as LoadJob)));
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}
