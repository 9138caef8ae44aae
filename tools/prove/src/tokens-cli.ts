import { main } from './proof.ts';
import { proof } from './tokens.ts';

await main(proof);
