import { proof } from './floods.ts';
import { main } from './proof.ts';

await main(proof);
