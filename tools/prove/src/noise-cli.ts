import { proof } from './noise.ts';
import { main } from './proof.ts';

await main(proof);
