import { proof } from './authz.ts';
import { main } from './proof.ts';

await main(proof);
