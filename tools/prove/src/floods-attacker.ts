/** An attacker of `prove:floods`: a process of its own, at the lowest priority. */
import { constants, setPriority } from 'node:os';
import { ATTACKS, type AttackName, type Target } from './floods-attacks.ts';

setPriority(constants.priority.PRIORITY_LOW);
process.once('disconnect', () => process.exit());
const [name, target] = process.argv.slice(2) as [AttackName, string];
await ATTACKS[name](JSON.parse(target) as Target);
process.exit();
