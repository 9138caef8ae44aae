import { proof } from './balance.ts';
import { main } from './proof.ts';

await main(proof);
