import { proof } from './client.ts';
import { main } from './proof.ts';

// Whoever ends this ends frozen servers too, which would not notice.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
await main(proof);
