import { proof } from './audit.ts';
import { main } from './proof.ts';

await main(proof);
