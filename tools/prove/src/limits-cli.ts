import { proof } from './limits.ts';
import { main } from './proof.ts';

await main(proof);
