import { main } from './proof.ts';
import { proof } from './transports.ts';

await main(proof);
