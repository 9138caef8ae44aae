import { proof } from './cluster.ts';
import { main } from './proof.ts';

await main(proof);
