import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { newBlock } from './new-block.ts';

const USAGE = 'Usage: npm run new:block -- NAME [--layer 1|2] [--description "One sentence."]';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    layer: { type: 'string', default: '1' },
    description: { type: 'string', default: 'A building block for MCP servers and clients.' },
  },
});
const [name] = positionals;
if (name === undefined || (values.layer !== '1' && values.layer !== '2')) {
  console.error(USAGE);
  process.exitCode = 2;
} else {
  try {
    const root = fileURLToPath(new URL('../../..', import.meta.url));
    const files = newBlock(root, { name, layer: values.layer === '1' ? 1 : 2, description: values.description });
    for (const file of files) console.log(`wrote ${file}`);
    console.log(`\nNext: npm install, then npm run check && npx vitest run packages/${name}`);
  } catch (error) {
    console.error(`${(error as Error).message}\n${USAGE}`);
    process.exitCode = 1;
  }
}
