import { fileURLToPath } from 'node:url';
import { brokenLayerRules } from './layers.ts';

const problems = brokenLayerRules(fileURLToPath(new URL('../../..', import.meta.url)));
for (const problem of problems) console.error(problem);
console.log(problems.length === 0 ? 'layers: every import goes down' : `layers: ${problems.length} broken rules`);
process.exitCode = problems.length === 0 ? 0 : 1;
