import { proof } from './client.ts';
import { main } from './proof.ts';

await main(proof);
