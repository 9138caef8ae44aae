import { proof } from './drain.ts';
import { main } from './proof.ts';

await main(proof);
