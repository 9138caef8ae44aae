/** An attacker of `prove:floods`, a process of its own. */
import { ATTACKS, type AttackName, type Target } from './floods-attacks.ts';

process.once('disconnect', () => process.exit());
const [name, ports, sockets, attackMs] = process.argv.slice(2) as [AttackName, string, string, string];
// Its time begins when it does, however long a busy machine took to start it.
const target: Target = { ports: JSON.parse(ports) as Target['ports'], sockets: Number(sockets), until: Date.now() + Number(attackMs) };
await ATTACKS[name](target);
process.exit();
